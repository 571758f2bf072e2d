//! Matrix products, and what follows them while a block is in the cache.
//!
//! Each task computes some columns for some rows on its own. The parallel product of the `gemm`
//! crate makes all threads wait for each other at every panel of the weights, and packs panels once
//! more for every part of the rows; at 128 rows the two cost a fifth of the time.

#![allow(
    unsafe_code,
    reason = "gemm takes raw pointers; tasks share one output"
)]

use std::cell::RefCell;
use std::ops::Range;

use gemm::Parallelism;
use rayon::prelude::*;

use super::math::{dispatch, normal};
use super::shared::{CacheLines, SharedOutput};
use super::transpose::transpose;

/// Columns of `b` that are packed together: what one kernel of `gemm` works on, or a few.
const PANEL: usize = 64;

/// Rows that are multiplied by a panel at once: with more, `gemm` would pack the panel again.
const GROUP: usize = 48;

/// Depth of a packed panel, which stays in the second cache.
const DEPTH: usize = 1024;

/// Rows of a task at most: enough of them that packing costs little.
const ROWS: usize = GROUP * 43;

/// Columns of a task, the widest first.
const WIDTHS: [usize; 3] = [256, 128, PANEL];

/// Rows that are transposed at once.
const STRIP: usize = 64;

/// Tasks for each thread, if there are that many, so that none waits long for the last.
const TASKS_PER_THREAD: usize = 6;

/// A column of the left operand that is longer takes more lines than a first cache has. Where the
/// operand is given column after column, each task would read all of them for a few numbers of each,
/// and `gemm` pack these once more for every panel.
const LONG: usize = 512;

/// From this depth on the left operand, which every task would read, is larger than the caches.
const DEEP: usize = 16_384;

/// Depth of a task then.
const DEEP_PART: usize = 8_192;

thread_local! {
    static PACKED: RefCell<CacheLines> = RefCell::default();
}

/// What follows the product.
#[derive(Debug, Clone, Copy)]
pub(super) enum Epilogue<'a> {
    /// Nothing.
    None,
    /// `+ b`, `[columns]`.
    Bias(&'a [f32]),
    /// `gelu(· + b)`, `[columns]`.
    BiasGelu(&'a [f32]),
    /// `+ c`, `[rows, columns]`.
    Add(&'a [f32]),
}

/// A matrix `[rows, columns]` in either order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    dims: [usize; 2],
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// Row after row, with this number of columns.
    pub(super) fn new(data: &'a [f32], columns: usize) -> Self {
        let rows = data.len().checked_div(columns).unwrap_or(0);
        assert_eq!(data.len(), rows * columns, "size of a matrix");
        Self {
            data,
            dims: [rows, columns],
            strides: [columns, 1],
        }
    }

    pub(super) fn transpose(self) -> Self {
        let ([rows, columns], [row, column]) = (self.dims, self.strides);
        Self {
            data: self.data,
            dims: [columns, rows],
            strides: [column, row],
        }
    }

    /// Some of its rows.
    fn rows(self, rows: Range<usize>) -> Self {
        assert!(
            rows.start <= rows.end && rows.end <= self.dims[0],
            "rows of a matrix"
        );
        // With no columns there may be no numbers to skip.
        let skipped = (rows.start * self.strides[0]).min(self.data.len());
        Self {
            data: &self.data[skipped..],
            dims: [rows.len(), self.dims[1]],
            strides: self.strides,
        }
    }

    fn columns(self, columns: Range<usize>) -> Self {
        self.transpose().rows(columns).transpose()
    }

    /// Copies a panel, row after row.
    fn pack(self, buffer: &mut CacheLines) -> &[f32] {
        let ([rows, columns], [row_stride, column_stride]) = (self.dims, self.strides);
        let packed = buffer.take(rows * columns);
        if column_stride == 1 {
            for (row, packed) in packed.chunks_exact_mut(columns).enumerate() {
                packed.copy_from_slice(&self.data[row * row_stride..][..columns]);
            }
            return packed;
        }
        dispatch(
            #[inline(always)]
            || {
                // A few rows at a time, whose part of the panel stays in the first cache.
                for (block, packed) in packed.chunks_mut(STRIP * columns).enumerate() {
                    let first = block * STRIP * row_stride;
                    for column in 0..columns {
                        let source = self.data[first + column * column_stride..].iter();
                        let target = packed.iter_mut().skip(column).step_by(columns);
                        for (target, source) in target.zip(source.step_by(row_stride)) {
                            *target = *source;
                        }
                    }
                }
            },
        );
        packed
    }
}

/// `a b` `[rows, columns]` and what follows.
///
/// The result does not depend on the number of threads.
pub(super) fn product(a: Matrix<'_>, b: Matrix<'_>, epilogue: Epilogue<'_>) -> Vec<f32> {
    let ([rows, depth], [b_rows, columns]) = (a.dims, b.dims);
    assert_eq!(depth, b_rows, "depth of a product");
    match epilogue {
        Epilogue::None => {}
        Epilogue::Bias(bias) | Epilogue::BiasGelu(bias) => {
            assert_eq!(bias.len(), columns, "size of the bias");
        }
        Epilogue::Add(sum) => assert_eq!(sum.len(), rows * columns, "size of the sum"),
    }
    if a.strides[1] != 1 && depth > LONG {
        let row_major = transpose(a.data, rows);
        return product(Matrix::new(&row_major, depth), b, epilogue);
    }
    if depth >= DEEP {
        return deep_product(a, b, epilogue);
    }
    let mut out = Vec::with_capacity(rows * columns);
    let shared = SharedOutput::spare(&mut out);
    Blocks::new(rows, columns).for_each(|row, column, rows_here, columns_here| {
        let a = a.rows(row..row + rows_here);
        let b = b.columns(column..column + columns_here);
        // SAFETY: every index of the block is below `rows * columns`, the capacity; blocks of
        // different tasks have no number in common.
        unsafe {
            multiply(a, b, shared.start(row * columns + column), columns);
            for row in row..row + rows_here {
                let start = shared.start(row * columns + column);
                let values = std::slice::from_raw_parts_mut(start, columns_here);
                epilogue.apply(values, row * columns, column);
            }
        }
    });
    // SAFETY: the tasks have written every number.
    unsafe { out.set_len(rows * columns) };
    out
}

/// [`product`] with tasks that take a part of the depth each.
fn deep_product(a: Matrix<'_>, b: Matrix<'_>, epilogue: Epilogue<'_>) -> Vec<f32> {
    let ([rows, depth], [_, columns]) = (a.dims, b.dims);
    let partial: Vec<Vec<f32>> = (0..depth.div_ceil(DEEP_PART))
        .into_par_iter()
        .with_max_len(1)
        .map(|task| {
            let part = task * DEEP_PART..depth.min((task + 1) * DEEP_PART);
            let a = a.columns(part.clone());
            let mut out = vec![0.0; rows * columns];
            // SAFETY: the output is as large as the product.
            unsafe { multiply(a, b.rows(part), out.as_mut_ptr(), columns) };
            out
        })
        .collect();
    let mut out = vec![0.0; rows * columns];
    for part in partial {
        add(&mut out, &part);
    }
    for (row, values) in out.chunks_exact_mut(columns.max(1)).enumerate() {
        epilogue.apply(values, row * columns, 0);
    }
    out
}

/// `a b` on one thread, to `out` with this many numbers from row to row.
///
/// Panels of `b` are packed before their use and groups of rows multiplied by them. Seen from the
/// start of the product, both lie in the same places whatever the tasks, which is why these do not
/// change a bit.
///
/// # Safety
///
/// `out` must have room for the product.
unsafe fn multiply(a: Matrix<'_>, b: Matrix<'_>, out: *mut f32, out_stride: usize) {
    let ([rows, depth], [_, columns]) = (a.dims, b.dims);
    if depth == 0 {
        for row in 0..rows {
            // SAFETY: inside the output.
            unsafe { std::slice::from_raw_parts_mut(out.add(row * out_stride), columns) }.fill(0.0);
        }
    }
    PACKED.with_borrow_mut(|buffer| {
        for start in (0..depth).step_by(DEPTH) {
            let part = start..depth.min(start + DEPTH);
            let (a, b) = (a.columns(part.clone()), b.rows(part));
            for column in (0..columns).step_by(PANEL) {
                let panel = b.columns(column..columns.min(column + PANEL));
                let packed = panel.pack(buffer);
                for row in (0..rows).step_by(GROUP) {
                    let group = a.rows(row..rows.min(row + GROUP));
                    // SAFETY: inside the output.
                    unsafe {
                        let out = out.add(row * out_stride + column);
                        multiply_panel(group, packed, panel.dims[1], out, out_stride, start > 0);
                    }
                }
            }
        }
    });
}

/// `a` times a packed panel with this many columns, added to `out` or in its place.
///
/// # Safety
///
/// `out` must have room for the product.
unsafe fn multiply_panel(
    a: Matrix<'_>,
    panel: &[f32],
    columns: usize,
    out: *mut f32,
    out_stride: usize,
    adds: bool,
) {
    assert_eq!(panel.len(), a.dims[1] * columns, "size of a panel");
    // SAFETY: the sources are as large as they say; the destination is read if it is written.
    unsafe {
        // As column-major matrices: out' = panel' a'.
        gemm::gemm(
            columns,
            a.dims[0],
            a.dims[1],
            out,
            out_stride as isize,
            1,
            adds,
            panel.as_ptr(),
            columns as isize,
            1,
            a.data.as_ptr(),
            a.strides[0] as isize,
            a.strides[1] as isize,
            if adds { 1.0 } else { 0.0 },
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Parts of an output, one per task.
#[derive(Debug, Clone, Copy)]
struct Blocks {
    sizes: [usize; 2],
    /// Rows and columns of a part.
    part: [usize; 2],
}

impl Blocks {
    /// Parts that start where a group of rows and a panel do.
    fn new(rows: usize, columns: usize) -> Self {
        let enough = TASKS_PER_THREAD * rayon::current_num_threads();
        let row_parts = rows.div_ceil(ROWS);
        let width = WIDTHS
            .into_iter()
            .find(|&width| row_parts * columns.div_ceil(width) >= enough)
            .unwrap_or(PANEL);
        let row_parts = row_parts
            .max(enough / columns.div_ceil(width).max(1))
            .max(1);
        let height = rows.div_ceil(row_parts).next_multiple_of(GROUP).max(GROUP);
        Self {
            sizes: [rows, columns],
            part: [height, width],
        }
    }

    fn counts(self) -> [usize; 2] {
        [0, 1].map(|axis| self.sizes[axis].div_ceil(self.part[axis]))
    }

    /// Runs `work(row, column, rows, columns)` for each part.
    fn for_each(self, work: impl Fn(usize, usize, usize, usize) + Sync) {
        let [row_blocks, column_blocks] = self.counts();
        (0..row_blocks * column_blocks)
            .into_par_iter()
            .with_max_len(1)
            .for_each(|task| {
                // Tasks of the same columns follow each other, so that what they read is in the cache.
                let (column, row) = (
                    task / row_blocks * self.part[1],
                    task % row_blocks * self.part[0],
                );
                let rows = self.part[0].min(self.sizes[0] - row);
                work(row, column, rows, self.part[1].min(self.sizes[1] - column));
            });
    }
}

impl Epilogue<'_> {
    /// Applies it to a part of a row, from `column` on; `row` is where the row starts in the output.
    fn apply(self, values: &mut [f32], row: usize, column: usize) {
        let columns = column..column + values.len();
        match self {
            Self::None => {}
            Self::Bias(bias) => add(values, &bias[columns]),
            Self::Add(sum) => add(values, &sum[row..][columns]),
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

fn add(values: &mut [f32], others: &[f32]) {
    dispatch(
        #[inline(always)]
        || {
            for (value, other) in values.iter_mut().zip(others) {
                *value += other;
            }
        },
    );
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

    fn transposed(data: &[f32], columns: usize) -> Vec<f32> {
        (0..columns)
            .flat_map(|column| data[column.min(data.len())..].iter().step_by(columns))
            .copied()
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn products_equal_the_loops(
            rows in prop_oneof![0_usize..70, Just(513), Just(1030)],
            depth in prop_oneof![9 => 1_usize..40, 1 => Just(LONG + 3)],
            columns in prop_oneof![1_usize..70, Just(257), Just(1025)],
            transpose in any::<[bool; 2]>(),
        ) {
            let (x, weight) = (numbers(rows * depth, 1), numbers(depth * columns, 2));
            let (bias, sum) = (numbers(columns, 3), numbers(rows * columns, 4));
            let products = by_loops(&x, &weight, depth, columns);
            let biased: Vec<f64> = products
                .iter()
                .zip(bias.iter().cycle())
                .map(|(product, &bias)| product + f64::from(bias))
                .collect();
            let added = products.iter().zip(&sum).map(|(it, &sum)| it + f64::from(sum)).collect();
            let cases = [
                (Epilogue::None, products),
                (Epilogue::BiasGelu(&bias), biased.iter().copied().map(gelu).collect()),
                (Epilogue::Bias(&bias), biased),
                (Epilogue::Add(&sum), added),
            ];
            let (x_columns, w_columns) = (transposed(&x, depth), transposed(&weight, columns));
            let a = match transpose[0] {
                true if rows > 0 => Matrix::new(&x_columns, rows).transpose(),
                _ => Matrix::new(&x, depth),
            };
            let b = match transpose[1] {
                true => Matrix::new(&w_columns, depth).transpose(),
                false => Matrix::new(&weight, columns),
            };
            for (epilogue, expected) in cases {
                let actual = product(a, b, epilogue);
                prop_assert_eq!(actual.len(), expected.len());
                for (actual, expected) in actual.iter().zip(&expected) {
                    let tolerance = 1e-5 * (depth as f64 / 40.0).max(1.0);
                    prop_assert!((f64::from(*actual) - expected).abs() < tolerance);
                }
            }
        }
    }

    #[test]
    fn a_deep_product_is_cut_in_depth() {
        let (rows, depth, columns) = (3, DEEP + 5, 130);
        let (x, weight) = (numbers(rows * depth, 1), numbers(depth * columns, 2));
        let sum = numbers(rows * columns, 4);
        let (a, b) = (Matrix::new(&x, depth), Matrix::new(&weight, columns));
        let actual = product(a, b, Epilogue::Add(&sum));
        let expected = by_loops(&x, &weight, depth, columns);
        for ((actual, expected), sum) in actual.iter().zip(&expected).zip(&sum) {
            let expected = expected + f64::from(*sum);
            assert!(
                (f64::from(*actual) - expected).abs() < 1e-2,
                "{actual} {expected}"
            );
        }
    }

    #[test]
    fn the_number_of_threads_does_not_change_a_bit() {
        let (rows, depth, columns) = (600, 70, 200);
        let (x, weight) = (numbers(rows * depth, 1), numbers(depth * columns, 2));
        let (a, b) = (Matrix::new(&x, depth), Matrix::new(&weight, columns));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap().install(|| product(a, b, Epilogue::None))
        };
        assert_eq!(run(1), run(3));
    }
}
