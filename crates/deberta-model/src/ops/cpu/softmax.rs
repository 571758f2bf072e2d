//! Cross-entropy over a large vocabulary without keeping the probabilities.

use rayon::prelude::*;

use super::math::{dispatch, exp};

/// Loss of each row and the logarithm of its sum of exponentials.
pub(super) fn cross_entropy(logits: &[f32], labels: &[i32]) -> (Vec<f32>, Vec<f32>) {
    let width = logits.len() / labels.len().max(1);
    let rows = logits.par_chunks_exact(width).zip(labels);
    rows.map(|(row, &label)| {
        let log_sum = dispatch(
            #[inline(always)]
            || log_sum_exp(row),
        );
        (log_sum - row[label as usize], log_sum)
    })
    .unzip()
}

/// Gradient of [`cross_entropy`] for the logits: `(softmax − one-hot) · d_loss`.
pub(super) fn cross_entropy_backward(
    logits: &[f32],
    labels: &[i32],
    log_sums: &[f32],
    d_loss: &[f32],
) -> Vec<f32> {
    let width = logits.len() / labels.len().max(1);
    let mut d_logits = vec![0.0; logits.len()];
    let rows = d_logits
        .par_chunks_exact_mut(width)
        .zip(logits.par_chunks_exact(width));
    rows.enumerate().for_each(|(row, (d_row, logits))| {
        let (log_sum, d_loss) = (log_sums[row], d_loss[row]);
        dispatch(
            #[inline(always)]
            || {
                for (d, logit) in d_row.iter_mut().zip(logits) {
                    *d = exp(logit - log_sum) * d_loss;
                }
            },
        );
        d_row[labels[row] as usize] -= d_loss;
    });
    d_logits
}

/// Lanes of the reductions.
const LANES: usize = 16;

#[inline(always)]
fn log_sum_exp(row: &[f32]) -> f32 {
    let chunks = row.chunks_exact(LANES);
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks.clone() {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = if *x > *lane { *x } else { *lane };
        }
    }
    let largest = lanes
        .iter()
        .chain(chunks.remainder())
        .fold(f32::NEG_INFINITY, |largest, x| largest.max(*x));

    let mut sums = [0.0; LANES];
    for chunk in chunks.clone() {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += exp(x - largest);
        }
    }
    let rest: f32 = chunks.remainder().iter().map(|x| exp(x - largest)).sum();
    largest + (sums.iter().sum::<f32>() + rest).ln()
}
