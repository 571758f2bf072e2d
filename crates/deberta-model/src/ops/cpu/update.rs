//! What happens to parameters and gradients after the backward pass, in place.
//!
//! Burn's operations would make ten passes over the memory of a word table of 400 MB, and fault in
//! as much again for each result.

use rayon::prelude::*;

use super::math::dispatch;
use crate::ops::AdamWUpdate;

/// Numbers that one task works on. Sums are taken per task and then in order, so that the result
/// does not depend on the number of threads.
const CHUNK: usize = 1 << 15;

/// Partial sums of one task, enough to fill the vector units.
const LANES: usize = 32;

/// One update of a parameter and its moments.
pub(super) fn adamw(
    update: &AdamWUpdate,
    parameter: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    let [beta_1, beta_2] = update.betas.map(|it| it as f32);
    let [rest_1, rest_2] = update.betas.map(|it| (1.0 - it) as f32);
    let epsilon = update.epsilon as f32;
    let rate = update.rate as f32;
    let keep = (1.0 - update.decay) as f32;
    let parameter = parameter.par_chunks_mut(CHUNK);
    let moments = first
        .par_chunks_mut(CHUNK)
        .zip(second.par_chunks_mut(CHUNK));
    let chunks = parameter.zip(gradient.par_chunks(CHUNK)).zip(moments);
    chunks.for_each(|((parameter, gradient), (first, second))| {
        dispatch(
            #[inline(always)]
            || {
                let moments = first.iter_mut().zip(second);
                let numbers = parameter.iter_mut().zip(gradient).zip(moments);
                for ((parameter, &gradient), (first, second)) in numbers {
                    *first = beta_1 * *first + rest_1 * gradient;
                    *second = beta_2 * *second + rest_2 * (gradient * gradient);
                    *parameter = keep * *parameter - rate * (*first / (second.sqrt() + epsilon));
                }
            },
        );
    });
}

/// `Σ x²`.
pub(super) fn sum_of_squares(x: &[f32]) -> f32 {
    let partial: Vec<f64> = x
        .par_chunks(CHUNK)
        .map(|x| {
            let mut sums = [0.0_f32; LANES];
            dispatch(
                #[inline(always)]
                || {
                    let blocks = x.chunks_exact(LANES);
                    let rest = blocks.remainder();
                    for block in blocks {
                        for (sum, x) in sums.iter_mut().zip(block) {
                            *sum += x * x;
                        }
                    }
                    for (sum, x) in sums.iter_mut().zip(rest) {
                        *sum += x * x;
                    }
                },
            );
            sums.iter().map(|&it| f64::from(it)).sum()
        })
        .collect();
    partial.iter().sum::<f64>() as f32
}

/// Multiplies all numbers by `factor`.
pub(super) fn scale(x: &mut [f32], factor: f32) {
    x.par_chunks_mut(CHUNK).for_each(|x| {
        dispatch(
            #[inline(always)]
            || x.iter_mut().for_each(|x| *x *= factor),
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than one task, and not a multiple of anything.
    const LEN: usize = 2 * CHUNK + 37;

    fn numbers(seed: usize) -> Vec<f32> {
        (0..LEN)
            .map(|i| ((i * 7919 + seed * 104_729) % 1000) as f32 / 500.0 - 1.0)
            .collect()
    }

    #[test]
    fn an_update_follows_the_formula_in_64_bits() {
        let update = AdamWUpdate {
            betas: [0.9, 0.999],
            epsilon: 1e-6,
            rate: 0.01,
            decay: 1e-4,
        };
        let (before, gradient, m, v) = (numbers(1), numbers(2), numbers(3), numbers(4));
        let v: Vec<f32> = v.iter().map(|it| it.abs()).collect();
        let (mut parameter, mut first, mut second) = (before.clone(), m.clone(), v.clone());
        adamw(&update, &mut parameter, &gradient, &mut first, &mut second);
        for i in 0..LEN {
            let [theta, g, m, v] = [before[i], gradient[i], m[i], v[i]].map(f64::from);
            let m = 0.9 * m + 0.1 * g;
            let v = 0.999 * v + 0.001 * g * g;
            let theta = theta * (1.0 - 1e-4) - 0.01 * m / (v.sqrt() + 1e-6);
            for (ours, exact) in [(parameter[i], theta), (first[i], m), (second[i], v)] {
                let tolerance = 1e-6 * exact.abs().max(1.0);
                assert!(
                    (f64::from(ours) - exact).abs() < tolerance,
                    "{i}: {ours} {exact}"
                );
            }
        }
    }

    #[test]
    fn squares_are_summed_to_the_last_number() {
        let x = numbers(5);
        let exact: f64 = x.iter().map(|&it| f64::from(it) * f64::from(it)).sum();
        assert!((f64::from(sum_of_squares(&x)) / exact - 1.0).abs() < 1e-6);
        assert_eq!(sum_of_squares(&[]), 0.0);
        assert_eq!(sum_of_squares(&[3.0]), 9.0);
        assert!(sum_of_squares(&[1.0, f32::NAN]).is_nan());
    }

    #[test]
    fn every_number_is_scaled() {
        let before = numbers(6);
        let mut x = before.clone();
        scale(&mut x, 0.5);
        assert!(x.iter().zip(&before).all(|(x, before)| *x == before * 0.5));
    }
}
