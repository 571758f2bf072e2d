//! Quadratic weighted kappa of tasks whose targets are ratings on a scale of whole numbers.

use crate::metric::{Confusion, MetricError};

/// A scale of more steps is hardly one of ratings.
const MAX_STEPS: f64 = 1000.0;

/// The values of labels, if they are at least three different whole numbers.
pub(super) fn scale_of_labels(labels: &[String]) -> Option<Vec<f64>> {
    let values = labels
        .iter()
        .map(|label| Some(label.parse::<i32>().ok()?.into()));
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    (values.len() > 2 && range(&values).is_some()).then_some(values)
}

/// Least and greatest of the numbers, if all are whole and they are on a scale.
fn range(values: &[f64]) -> Option<(f64, f64)> {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let is_scale = (2.0..=MAX_STEPS).contains(&(most - least));
    (is_scale && values.iter().all(|it| it.fract() == 0.0)).then_some((least, most))
}

/// Kappa of predictions that are rounded and kept on the scale; `None` if `scale` is none.
///
/// - `scale`: values that occur or may occur
///
/// # Errors
///
/// If the numbers of predictions and references differ or are zero.
pub(super) fn quadratic_kappa(
    predictions: &[f64],
    references: &[f64],
    scale: &[f64],
) -> Result<Option<f64>, MetricError> {
    let Some((least, most)) = range(scale) else {
        return Ok(None);
    };
    if predictions.iter().any(|it| it.is_nan()) {
        return Ok(Some(f64::NAN));
    }
    let steps = |values: &[f64]| -> Vec<usize> {
        let values = values.iter();
        let places = values.map(|it| (it.round().clamp(least, most) - least) as usize);
        places.collect()
    };
    let steps_of_scale = (most - least) as usize + 1;
    let confusion = Confusion::new(&steps(predictions), &steps(references), steps_of_scale)?;
    Ok(Some(confusion.quadratic_kappa()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_values() {
        let kappa = |predictions: &[f64], references: &[f64]| {
            quadratic_kappa(predictions, references, references).unwrap()
        };
        // Squared errors 0 + 9 + 0, and by chance (17 + 25 + 25) / 3.
        let value = kappa(&[1.0, 5.0, 5.0], &[1.0, 2.0, 5.0]).unwrap();
        assert!((value - (1.0 - 27.0 / 67.0)).abs() < 1e-12, "{value}");
        assert_eq!(kappa(&[0.8, 2.4, 99.0], &[1.0, 2.0, 5.0]), Some(1.0));
        assert_eq!(kappa(&[1.0, 2.0], &[1.0, 2.5]), None);
        assert_eq!(kappa(&[1.0, 2.0], &[0.0, 1.0]), None);
        assert!(kappa(&[f64::NAN, 1.0], &[0.0, 2.0]).unwrap().is_nan());
    }
}
