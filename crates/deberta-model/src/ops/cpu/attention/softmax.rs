//! Row-wise softmax over plain slices, written so that the compiler turns it into vector code.
//!
//! A score of minus infinity is a masked one: its probability is exactly zero. NaN stays NaN.

use crate::ops::cpu::math::exp;

/// Running results per row: as many as the widest vector registers hold floats.
pub(super) const LANES: usize = 16;

/// Turns scores into `e^(score - max)`; gives the maximum and the sum.
///
/// `row` is a multiple of [`LANES`] long.
#[inline(always)]
pub(super) fn exponentials(row: &mut [f32]) -> (f32, f32) {
    let (lanes, _) = row.as_chunks_mut::<LANES>();
    let mut max = [f32::NEG_INFINITY; LANES];
    for scores in lanes.iter() {
        for (max, &score) in max.iter_mut().zip(scores) {
            *max = if score > *max { score } else { *max };
        }
    }
    let max = max.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = [0.0; LANES];
    for scores in lanes {
        for (sum, score) in sum.iter_mut().zip(scores) {
            *score = exp(*score - max);
            *sum += *score;
        }
    }
    (max, sum.into_iter().sum())
}

/// From scores and the gradient of the probabilities to the probabilities and the gradient of the
/// scores: `p = e^(s - lse)`, `ds = p (dp - dot)`.
#[inline(always)]
pub(super) fn backward(scores: &mut [f32], gradients: &mut [f32], lse: f32, dot: f32) {
    for (score, gradient) in scores.iter_mut().zip(gradients) {
        let prob = exp(*score - lse);
        *gradient = prob * (*gradient - dot);
        *score = prob;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_exact_value() {
        for step in 0..200_000 {
            let x = 0.5 - step as f32 * (87.7 / 200_000.0);
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 1.6e-7, "exp({x}) is off by {error}");
        }
    }

    #[test]
    fn exp_of_masked_scores_is_zero_and_nan_stays() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-1e30), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }
}
