//! Matrix products of tiles, and where they go.

#![allow(
    unsafe_code,
    reason = "gemm takes raw pointers; tasks share one output"
)]

use std::ops::Range;

use gemm::Parallelism;

use crate::ops::cpu::shared::SharedOutput;

/// A matrix inside a slice, any strides.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Row-major, `stride` numbers from one row to the next.
    pub(super) fn new(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        Self {
            data,
            rows,
            cols,
            row_stride: stride,
            col_stride: 1,
        }
    }

    /// The transpose, without moving a number.
    pub(super) fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// How a product enters its destination.
#[derive(Clone, Copy)]
pub(super) enum Into {
    /// It replaces what was there.
    Replace,
    /// It is added.
    Add,
}

/// `dst = factor · lhs · rhs`, or `dst += …`; `dst` is row-major, `dst_stride` from row to row.
///
/// # Panics
///
/// If the sizes disagree or a matrix leaves its slice.
pub(super) fn matmul(
    dst: &mut [f32],
    dst_stride: usize,
    into: Into,
    factor: f32,
    lhs: Matrix<'_>,
    rhs: Matrix<'_>,
) {
    let (rows, cols, depth) = (lhs.rows, rhs.cols, lhs.cols);
    assert_eq!(depth, rhs.rows, "inner sizes of a product");
    if rows == 0 || cols == 0 {
        return;
    }
    assert!(cols <= dst_stride && (rows - 1) * dst_stride + cols <= dst.len());
    for m in [lhs, rhs] {
        let used = (m.rows.max(1) - 1) * m.row_stride + (m.cols.max(1) - 1) * m.col_stride;
        assert!(depth == 0 || used < m.data.len());
    }
    // SAFETY: the assertions above keep every index of the three matrices inside their slices, and
    // `dst` is borrowed mutably, hence overlaps neither operand.
    unsafe {
        gemm::gemm(
            rows,
            cols,
            depth,
            dst.as_mut_ptr(),
            1,
            dst_stride as isize,
            matches!(into, Into::Add),
            lhs.data.as_ptr(),
            lhs.col_stride as isize,
            lhs.row_stride as isize,
            rhs.data.as_ptr(),
            rhs.col_stride as isize,
            rhs.row_stride as isize,
            1.0,
            factor,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Where one head of a `[batch, len, heads * head_dim]` tensor lies.
#[derive(Clone, Copy)]
pub(super) struct HeadRows {
    /// Index of the first number of row 0.
    pub(super) first: usize,
    /// From one row to the next.
    pub(super) stride: usize,
    pub(super) head_dim: usize,
}

impl HeadRows {
    /// Indices of row `row`.
    pub(super) fn row(self, row: usize) -> Range<usize> {
        let first = self.first + row * self.stride;
        first..first + self.head_dim
    }

    /// Copies rows `rows` of `src` to contiguous rows, each number times `factor`.
    pub(super) fn read(self, dst: &mut [f32], src: &[f32], rows: Range<usize>, factor: f32) {
        for (dst, row) in dst.chunks_exact_mut(self.head_dim).zip(rows) {
            for (dst, &src) in dst.iter_mut().zip(&src[self.row(row)]) {
                *dst = src * factor;
            }
        }
    }

    /// Copies contiguous rows of `src` to `rows` of `dst`.
    ///
    /// # Safety
    ///
    /// No other task may write these rows of this head.
    pub(super) unsafe fn write(self, dst: &SharedOutput<'_>, src: &[f32], rows: Range<usize>) {
        for (src, row) in src.chunks_exact(self.head_dim).zip(rows) {
            // SAFETY: rows of one head are disjoint; the caller promises the rest.
            unsafe { dst.write(self.row(row).start, src) };
        }
    }
}
