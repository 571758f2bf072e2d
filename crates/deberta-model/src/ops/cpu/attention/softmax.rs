//! Row-wise softmax over plain slices, written so that the compiler turns it into vector code.
//!
//! A score of minus infinity is a masked one: its probability is exactly zero. NaN stays NaN.

/// Running results per row: as many as the widest vector registers hold floats.
pub(super) const LANES: usize = 16;

/// Below this, the exponential is a subnormal number or zero; it is taken as zero.
const SMALLEST: f32 = -87.3;

/// `e^x` for `x` at most a little above zero, to about one unit in the last place.
///
/// No fused multiply-add: without hardware for it, it would be a function call.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding 1.5 · 2^23 rounds to whole numbers; the extra 127 leaves the exponent of 2^n, biased
    // as floats store it, in the low bits.
    const ROUND: f32 = 12_582_912.0 + 127.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;

    let clamped = if x < SMALLEST { SMALLEST } else { x };
    let biased = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = biased - ROUND;
    let r = (clamped - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let power = f32::from_bits(biased.to_bits() << 23);
    let value = (p * (r * r) + r + 1.0) * power;
    if x < SMALLEST { 0.0 } else { value }
}

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
