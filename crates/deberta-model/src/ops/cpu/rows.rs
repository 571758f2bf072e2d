//! Kernels over rows: bias, GELU, residual and layer norm.

use rayon::prelude::*;

use super::Dropout;
use super::math::{dispatch, drop_threshold, normal, random_u32};

/// Rows that one task works on. Sums over rows are taken per task and then in order, so that the
/// result does not depend on the number of threads.
const ROWS: usize = 64;

/// `gelu(x + bias)`, row by row.
pub(super) fn bias_gelu(x: &[f32], bias: &[f32]) -> Vec<f32> {
    let width = bias.len();
    map_rows(x, width, |_, x, out| {
        dispatch(
            #[inline(always)]
            || {
                for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
                    for ((out, x), bias) in out.iter_mut().zip(x).zip(bias) {
                        let h = x + bias;
                        *out = h * normal(h).0;
                    }
                }
            },
        );
    })
}

/// Gradients of [`bias_gelu`] for `x` and `bias`.
pub(super) fn bias_gelu_backward(x: &[f32], bias: &[f32], d_out: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let width = bias.len();
    let d_x = map_rows(x, width, |start, x, d_x| {
        let d_out = &d_out[start..start + x.len()];
        dispatch(
            #[inline(always)]
            || {
                let rows = x.chunks_exact(width).zip(d_out.chunks_exact(width));
                for ((x, d_out), d_x) in rows.zip(d_x.chunks_exact_mut(width)) {
                    for (((d_x, x), bias), d_out) in d_x.iter_mut().zip(x).zip(bias).zip(d_out) {
                        let h = x + bias;
                        let (cdf, pdf) = normal(h);
                        *d_x = d_out * (cdf + h * pdf);
                    }
                }
            },
        );
    });
    let d_bias = column_sums(&d_x, width);
    (d_x, d_bias)
}

/// Sum of all rows of `x`.
pub(super) fn column_sums(x: &[f32], width: usize) -> Vec<f32> {
    let partial = x.par_chunks(ROWS * width).map(|x| {
        let mut sums = vec![0.0; width];
        dispatch(
            #[inline(always)]
            || {
                for row in x.chunks_exact(width) {
                    add_to(&mut sums, row);
                }
            },
        );
        sums
    });
    sum_in_order(partial.collect(), width)
}

/// Adds row `i` of `rows` to row `ids[i]` of `table`; rows of the same id are summed first.
pub(super) fn add_rows(table: &mut [f32], width: usize, ids: &[i32], rows: &[f32]) {
    let mut order: Vec<_> = (0..ids.len()).collect();
    order.sort_by_key(|&row| ids[row]);
    let row_of = |index: usize| index * width..(index + 1) * width;
    let mut sum = vec![0.0; width];
    for same in order.chunk_by(|&a, &b| ids[a] == ids[b]) {
        sum.fill(0.0);
        for &row in same {
            add_to(&mut sum, &rows[row_of(row)]);
        }
        add_to(&mut table[row_of(ids[same[0]] as usize)], &sum);
    }
}

/// Inputs of a layer norm, with or without what is added before it.
pub(super) struct Norm<'a> {
    /// `[rows, width]`
    pub(super) x: &'a [f32],
    /// Bias `[width]` and residual `[rows, width]` that are added first.
    pub(super) added: Option<(&'a [f32], &'a [f32])>,
    /// Weight `[width]`.
    pub(super) weight: &'a [f32],
    /// Bias `[width]`.
    pub(super) bias: &'a [f32],
    /// Added to the variance.
    pub(super) epsilon: f32,
    /// Dropout of `x` plus its bias, before the residual.
    pub(super) dropout: Option<Dropout>,
}

/// Gradients of [`norm`]; `added_bias` and `residual` are empty without them.
pub(super) struct NormGradients {
    pub(super) x: Vec<f32>,
    pub(super) added_bias: Vec<f32>,
    pub(super) residual: Vec<f32>,
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

/// Keeps or drops elements of a row, scaling what is kept.
#[derive(Clone, Copy)]
struct DropMask {
    seed: u64,
    threshold: u32,
    scale: f32,
}

impl DropMask {
    fn new(dropout: Option<Dropout>) -> Self {
        let (prob, seed) = dropout.map_or((0.0, 0), |it| (it.prob, it.seed));
        Self {
            seed,
            threshold: drop_threshold(prob),
            scale: (1.0 / (1.0 - prob)) as f32,
        }
    }

    /// Factor of element `index`: 0 or the scale.
    #[inline(always)]
    fn factor(self, index: usize) -> f32 {
        if self.threshold > 0 && random_u32(self.seed, index as u64) < self.threshold {
            0.0
        } else {
            self.scale
        }
    }
}

impl Norm<'_> {
    fn width(&self) -> usize {
        self.weight.len()
    }

    /// The row that is normalised, into `h`; `start` is the index of its first element.
    #[inline(always)]
    fn sum_row(&self, start: usize, mask: DropMask, h: &mut [f32]) {
        let x = &self.x[start..start + h.len()];
        let Some((bias, residual)) = self.added else {
            h.copy_from_slice(x);
            return;
        };
        let residual = &residual[start..start + h.len()];
        if mask.threshold == 0 {
            for (((h, x), bias), residual) in h.iter_mut().zip(x).zip(bias).zip(residual) {
                *h = x + bias + residual;
            }
        } else {
            let elements = h.iter_mut().zip(x).zip(bias).zip(residual);
            for (offset, (((h, x), bias), residual)) in elements.enumerate() {
                *h = (x + bias) * mask.factor(start + offset) + residual;
            }
        }
    }
}

/// `LN(dropout(x + bias) + residual)` and, per row, the mean and the inverse deviation.
pub(super) fn norm(inputs: &Norm<'_>) -> (Vec<f32>, Vec<f32>) {
    let width = inputs.width();
    let mask = DropMask::new(inputs.dropout);
    let rows = inputs.x.len() / width;
    let mut statistics = vec![0.0; 2 * rows];
    let mut out = vec![0.0; inputs.x.len()];
    out.par_chunks_mut(ROWS * width)
        .zip(statistics.par_chunks_mut(2 * ROWS))
        .enumerate()
        .for_each(|(task, (out, statistics))| {
            dispatch(
                #[inline(always)]
                || {
                    let rows = out
                        .chunks_exact_mut(width)
                        .zip(statistics.chunks_exact_mut(2));
                    for (row, (out, statistics)) in rows.enumerate() {
                        inputs.sum_row((task * ROWS + row) * width, mask, out);
                        let mean = sum(out) / width as f32;
                        let variance = sum_of_squares(out, mean) / width as f32;
                        let inverse = 1.0 / (variance + inputs.epsilon).sqrt();
                        let parameters = inputs.weight.iter().zip(inputs.bias);
                        for (out, (weight, bias)) in out.iter_mut().zip(parameters) {
                            *out = (*out - mean) * inverse * weight + bias;
                        }
                        statistics.copy_from_slice(&[mean, inverse]);
                    }
                },
            );
        });
    (out, statistics)
}

/// Gradients of [`norm`].
pub(super) fn norm_backward(inputs: &Norm<'_>, statistics: &[f32], d_out: &[f32]) -> NormGradients {
    let width = inputs.width();
    let mask = DropMask::new(inputs.dropout);
    let mut d_h = vec![0.0; inputs.x.len()];
    let partial = d_h
        .par_chunks_mut(ROWS * width)
        .enumerate()
        .map(|(task, d_h)| {
            let mut sums = vec![0.0; 2 * width];
            let mut h = vec![0.0; width];
            dispatch(
                #[inline(always)]
                || {
                    for (row, d_h) in d_h.chunks_exact_mut(width).enumerate() {
                        let row = task * ROWS + row;
                        let start = row * width;
                        inputs.sum_row(start, mask, &mut h);
                        let (mean, inverse) = (statistics[2 * row], statistics[2 * row + 1]);
                        let d_out = &d_out[start..start + width];
                        norm_row_backward(inputs.weight, mean, inverse, &mut h, d_out, d_h);
                        // `h` now holds the normalised row.
                        let (d_weight, d_bias) = sums.split_at_mut(width);
                        for (d_weight, (d_out, h)) in d_weight.iter_mut().zip(d_out.iter().zip(&h))
                        {
                            *d_weight += d_out * h;
                        }
                        add_to(d_bias, d_out);
                    }
                },
            );
            sums
        })
        .collect();
    let mut weight = sum_in_order(partial, 2 * width);
    let bias = weight.split_off(width);
    if inputs.added.is_none() {
        return NormGradients {
            x: d_h,
            added_bias: Vec::new(),
            residual: Vec::new(),
            weight,
            bias,
        };
    }
    let x = if mask.threshold == 0 {
        d_h.clone()
    } else {
        map_rows(&d_h, width, |start, d_h, d_x| {
            for (offset, (d_x, d_h)) in d_x.iter_mut().zip(d_h).enumerate() {
                *d_x = d_h * mask.factor(start + offset);
            }
        })
    };
    NormGradients {
        added_bias: column_sums(&x, width),
        x,
        residual: d_h,
        weight,
        bias,
    }
}

/// Gradient of one normalised row; leaves the normalised values in `h`.
#[inline(always)]
fn norm_row_backward(
    weight: &[f32],
    mean: f32,
    inverse: f32,
    h: &mut [f32],
    d_out: &[f32],
    d_h: &mut [f32],
) {
    for h in h.iter_mut() {
        *h = (*h - mean) * inverse;
    }
    for (d_h, (d_out, weight)) in d_h.iter_mut().zip(d_out.iter().zip(weight)) {
        *d_h = d_out * weight;
    }
    let scale = 1.0 / h.len() as f32;
    let mean_grad = sum(d_h) * scale;
    let mean_product = dot(d_h, h) * scale;
    for (d_h, h) in d_h.iter_mut().zip(h.iter()) {
        *d_h = inverse * (*d_h - mean_grad - h * mean_product);
    }
}

/// Applies `work(first element, rows of x, rows of out)` to blocks of rows in parallel.
fn map_rows(x: &[f32], width: usize, work: impl Fn(usize, &[f32], &mut [f32]) + Sync) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    let block = ROWS * width;
    out.par_chunks_mut(block)
        .zip(x.par_chunks(block))
        .enumerate()
        .for_each(|(task, (out, x))| work(task * block, x, out));
    out
}

#[inline(always)]
pub(super) fn add_to(sums: &mut [f32], row: &[f32]) {
    for (sum, x) in sums.iter_mut().zip(row) {
        *sum += x;
    }
}

/// Adds the partial sums of the tasks, first to last.
fn sum_in_order(partial: Vec<Vec<f32>>, width: usize) -> Vec<f32> {
    let mut total = vec![0.0; width];
    for sums in partial {
        add_to(&mut total, &sums);
    }
    total
}

/// Lanes of the reductions: independent sums that the compiler keeps in vector registers.
const LANES: usize = 16;

#[inline(always)]
fn reduce(x: &[f32], y: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (x_chunks, y_chunks) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let rest: f32 = x_chunks
        .remainder()
        .iter()
        .zip(y_chunks.remainder())
        .map(|(x, y)| term(*x, *y))
        .sum();
    for (x, y) in x_chunks.zip(y_chunks) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += term(*x, *y);
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[inline(always)]
fn sum(x: &[f32]) -> f32 {
    reduce(x, x, |x, _| x)
}

#[inline(always)]
fn sum_of_squares(x: &[f32], mean: f32) -> f32 {
    reduce(x, x, |x, _| (x - mean) * (x - mean))
}

#[inline(always)]
fn dot(x: &[f32], y: &[f32]) -> f32 {
    reduce(x, y, |x, y| x * y)
}
