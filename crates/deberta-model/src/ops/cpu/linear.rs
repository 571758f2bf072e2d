//! Linear maps, with the bias and the nonlinearity while a block is in the cache.
//!
//! Each task computes some columns for some rows on its own. The parallel product of the `gemm`
//! crate makes all threads wait for each other at every panel of the weights, which at 128 rows costs
//! a seventh of the time.

#![allow(
    unsafe_code,
    reason = "gemm takes raw pointers; tasks share one output"
)]

use gemm::Parallelism;
use rayon::prelude::*;

use super::math::{dispatch, normal};
use super::shared::SharedOutput;

/// Rows of a task: enough of them that packing the columns of the weights costs little.
const ROWS: usize = 512;

/// Columns of a task, the widest first.
const WIDTHS: [usize; 3] = [256, 128, 64];

/// With fewer tasks than this, narrower ones are made.
const ENOUGH_TASKS: usize = 32;

/// What follows the product.
#[derive(Debug, Clone, Copy)]
pub(super) enum Epilogue<'a> {
    /// Nothing.
    None,
    /// `+ b`, `[d_output]`.
    Bias(&'a [f32]),
    /// `gelu(· + b)`, `[d_output]`.
    BiasGelu(&'a [f32]),
}

/// `x W` and what follows.
///
/// The result does not depend on the number of threads: tasks depend on the sizes alone.
///
/// # Shapes
///
/// - x: `[rows, d_input]`
/// - weight: `[d_input, d_output]`
/// - output: `[rows, d_output]`
pub(super) fn linear(
    x: &[f32],
    weight: &[f32],
    d_input: usize,
    d_output: usize,
    epilogue: Epilogue<'_>,
) -> Vec<f32> {
    let rows = x.len().checked_div(d_input).unwrap_or(0);
    assert_eq!(x.len(), rows * d_input, "size of x");
    assert_eq!(weight.len(), d_input * d_output, "size of the weight");
    if let Epilogue::Bias(bias) | Epilogue::BiasGelu(bias) = epilogue {
        assert_eq!(bias.len(), d_output, "size of the bias");
    }
    let mut out = Vec::with_capacity(rows * d_output);
    let shared = SharedOutput::spare(&mut out);
    let row_blocks = rows.div_ceil(ROWS);
    let tasks_of = |width: usize| row_blocks * d_output.div_ceil(width);
    let width = WIDTHS
        .into_iter()
        .find(|&width| tasks_of(width) >= ENOUGH_TASKS)
        .unwrap_or(WIDTHS[WIDTHS.len() - 1]);
    (0..tasks_of(width))
        .into_par_iter()
        .with_max_len(1)
        .for_each(|task| {
            // Tasks of the same columns follow each other, so that their weights are in the cache.
            let (column, row) = (task / row_blocks * width, task % row_blocks * ROWS);
            let (columns, rows) = (width.min(d_output - column), ROWS.min(rows - row));
            // SAFETY: every index of the block is below `rows * d_output`, the capacity; blocks of
            // different tasks have no number in common.
            unsafe {
                let block = shared.start(row * d_output + column);
                // As column-major matrices: out' = W' x'.
                gemm::gemm(
                    columns,
                    rows,
                    d_input,
                    block,
                    d_output as isize,
                    1,
                    false,
                    weight.as_ptr().add(column),
                    d_output as isize,
                    1,
                    x.as_ptr().add(row * d_input),
                    d_input as isize,
                    1,
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    Parallelism::None,
                );
                for row in 0..rows {
                    let values = std::slice::from_raw_parts_mut(block.add(row * d_output), columns);
                    epilogue.apply(values, column);
                }
            }
        });
    // SAFETY: the tasks have written every number, as `gemm` does not read its destination.
    unsafe { out.set_len(rows * d_output) };
    out
}

impl Epilogue<'_> {
    /// Applies it to a part of a row that starts at `column`.
    fn apply(self, values: &mut [f32], column: usize) {
        let columns = column..column + values.len();
        match self {
            Self::None => {}
            Self::Bias(bias) => dispatch(
                #[inline(always)]
                || {
                    for (value, bias) in values.iter_mut().zip(&bias[columns]) {
                        *value += bias;
                    }
                },
            ),
            Self::BiasGelu(bias) => dispatch(
                #[inline(always)]
                || {
                    for (value, bias) in values.iter_mut().zip(&bias[columns]) {
                        let h = *value + bias;
                        *value = h * normal(h).0;
                    }
                },
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(count: usize, salt: usize) -> Vec<f32> {
        (0..count)
            .map(|i| ((i * 37 + salt * 101) % 89) as f32 / 89.0 - 0.5)
            .collect()
    }

    /// The formula as loops, in f64.
    fn by_loops(x: &[f32], weight: &[f32], d_input: usize, d_output: usize) -> Vec<f64> {
        let product = |row: &[f32], column: usize| -> f64 {
            let pairs = row.iter().zip(weight[column..].iter().step_by(d_output));
            pairs.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum()
        };
        x.chunks_exact(d_input)
            .flat_map(|row| (0..d_output).map(move |column| product(row, column)))
            .collect()
    }

    fn gelu(h: f64) -> f64 {
        h * f64::from(normal(h as f32).0)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn linear_maps_equal_the_loops(
            rows in prop_oneof![0_usize..70, Just(513), Just(1030)],
            d_input in 1_usize..40,
            d_output in prop_oneof![1_usize..70, Just(257), Just(1025)],
        ) {
            let (x, weight) = (numbers(rows * d_input, 1), numbers(d_input * d_output, 2));
            let bias = numbers(d_output, 3);
            let products = by_loops(&x, &weight, d_input, d_output);
            let biased: Vec<f64> = products
                .iter()
                .zip(bias.iter().cycle())
                .map(|(product, &bias)| product + f64::from(bias))
                .collect();
            let cases = [
                (Epilogue::None, products),
                (Epilogue::BiasGelu(&bias), biased.iter().copied().map(gelu).collect()),
                (Epilogue::Bias(&bias), biased),
            ];
            for (epilogue, expected) in cases {
                let actual = linear(&x, &weight, d_input, d_output, epilogue);
                prop_assert_eq!(actual.len(), expected.len());
                for (actual, expected) in actual.iter().zip(&expected) {
                    prop_assert!((f64::from(*actual) - expected).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn the_number_of_threads_does_not_change_a_bit() {
        let (rows, d_input, d_output) = (600, 70, 200);
        let (x, weight) = (numbers(rows * d_input, 1), numbers(d_input * d_output, 2));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap()
                .install(|| linear(&x, &weight, d_input, d_output, Epilogue::None))
        };
        assert_eq!(run(1), run(3));
    }
}
