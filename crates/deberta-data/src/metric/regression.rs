//! Metrics of numbers: correlations as in scipy, errors as in scikit-learn.

use super::{MetricError, check_lengths};

/// Pearson's correlation; NaN if one side is constant or a number is not finite.
///
/// # Errors
///
/// If the lengths differ, or there are fewer than two examples.
pub fn pearson(predictions: &[f64], references: &[f64]) -> Result<f64, MetricError> {
    check_correlation(predictions, references)?;
    Ok(correlation(predictions, references))
}

/// Spearman's rank correlation, ties having their mean rank; NaN if one side is constant or a
/// number is NaN.
///
/// # Errors
///
/// If the lengths differ, or there are fewer than two examples.
pub fn spearman(predictions: &[f64], references: &[f64]) -> Result<f64, MetricError> {
    check_correlation(predictions, references)?;
    if predictions.iter().chain(references).any(|it| it.is_nan()) {
        return Ok(f64::NAN);
    }
    Ok(correlation(
        &average_ranks(predictions),
        &average_ranks(references),
    ))
}

/// Mean of the squared differences.
///
/// # Errors
///
/// If the lengths differ or are zero.
pub fn mean_squared_error(predictions: &[f64], references: &[f64]) -> Result<f64, MetricError> {
    mean_of(predictions, references, |difference| {
        difference * difference
    })
}

/// Mean of the absolute differences.
///
/// # Errors
///
/// If the lengths differ or are zero.
pub fn mean_absolute_error(predictions: &[f64], references: &[f64]) -> Result<f64, MetricError> {
    mean_of(predictions, references, f64::abs)
}

fn mean_of(
    predictions: &[f64],
    references: &[f64],
    loss: impl Fn(f64) -> f64,
) -> Result<f64, MetricError> {
    check_lengths(predictions.len(), references.len())?;
    let pairs = predictions.iter().zip(references);
    let sum: f64 = pairs.map(|(a, b)| loss(a - b)).sum();
    Ok(sum / references.len() as f64)
}

fn check_correlation(predictions: &[f64], references: &[f64]) -> Result<(), MetricError> {
    check_lengths(predictions.len(), references.len())?;
    match references.len() {
        1 => Err(MetricError::TooFew { found: 1 }),
        _ => Ok(()),
    }
}

fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let is_constant = |values: &[f64]| values.iter().all(|value| *value == values[0]);
    if is_constant(x) || is_constant(y) {
        return f64::NAN;
    }
    let (x, y) = (unit_deviations(x), unit_deviations(y));
    let dot: f64 = x.iter().zip(&y).map(|(a, b)| a * b).sum();
    // `clamp` keeps NaN.
    dot.clamp(-1.0, 1.0)
}

/// Differences from the mean, scaled to a vector of length 1.
fn unit_deviations(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let deviations: Vec<f64> = values.iter().map(|value| value - mean).collect();
    // Scaling by the largest first keeps the squares from overflow and underflow.
    let largest = deviations
        .iter()
        .fold(0.0, |max: f64, it| max.max(it.abs()));
    let scaled: Vec<f64> = deviations.iter().map(|it| it / largest).collect();
    let norm = scaled.iter().map(|it| it * it).sum::<f64>().sqrt();
    scaled.iter().map(|it| it / norm).collect()
}

/// Ranks from 1; equal values share the mean of their ranks. The values must not be NaN.
pub(super) fn average_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    // `total_cmp` alone would set 0 above −0, which are equal.
    order.sort_by(|&a, &b| (values[a] + 0.0).total_cmp(&(values[b] + 0.0)));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    for tie in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = from as f64 + (tie.len() as f64 + 1.0) / 2.0;
        for &index in tie {
            ranks[index] = rank;
        }
        from += tie.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ties_share_their_mean_rank() {
        assert_eq!(average_ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        assert_eq!(average_ranks(&[0.0, -0.0]), [1.5, 1.5]);
    }

    #[test]
    fn huge_and_tiny_numbers_correlate() {
        let r = pearson(&[1e200, 2e200, 3e200], &[1e-200, 2e-200, 3e-200]);
        assert!((r.unwrap() - 1.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn correlations_are_symmetric_and_bounded(
            pairs in prop::collection::vec((-1e6f64..1e6, -1e6f64..1e6), 3..30)
        ) {
            let (x, y): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            for metric in [pearson, spearman] {
                let r = metric(&x, &y).unwrap();
                prop_assert!(r.is_nan() || r.abs() <= 1.0);
                let back = metric(&y, &x).unwrap();
                prop_assert!(r.is_nan() == back.is_nan());
                prop_assert!(r.is_nan() || (r - back).abs() < 1e-12);
            }
        }
    }
}
