//! Tiles of states in shared memory, and products of them: by units, whose sums are in registers, or by
//! matrix units.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::matrices::multiply_heads;
use super::pairs::{Geometry, HeadRows};
use super::tiles::ALIGN;

/// Room for a head of so many rows, with which matrix units can begin.
#[cube]
pub(super) fn state_tile<S: Float, N: Size>(
    #[comptime] rows: usize,
    #[comptime] geometry: Geometry,
) -> SharedMemory<Vector<S, N>> {
    SharedMemory::<Vector<S, N>>::new_aligned(comptime!(rows * geometry.stride()), ALIGN)
}

/// Room for the scores of a tile.
#[cube]
pub(super) fn score_tile(#[comptime] geometry: Geometry) -> SharedMemory<f32> {
    SharedMemory::<f32>::new_aligned(comptime!(geometry.tile.scores()), ALIGN)
}

/// Copies a head of `tile_rows` rows into shared memory; those after the last are zero.
///
/// `states` is `[rows, heads * head_dim]`.
#[cube]
pub(super) fn load_rows<F: Float, S: Float, N: Size>(
    shared: &mut SharedMemory<Vector<S, N>>,
    states: &Tensor<Vector<F, N>>,
    rows: HeadRows,
    #[comptime] tile_rows: usize,
    #[comptime] geometry: Geometry,
) {
    let vectors = comptime!(geometry.head_vectors);
    let stride = comptime!(geometry.stride());
    let units = comptime!(geometry.tile.units());
    let total = comptime!(tile_rows * vectors);
    let mut index = UNIT_POS as usize;
    while index < total {
        let row = index / vectors;
        let vector = index % vectors;
        let mut value = Vector::<S, N>::new(S::new(0.0));
        if rows.has(row) {
            value = Vector::cast_from(states[rows.at(row) * vectors + vector]);
        }
        shared[row * stride + vector] = value;
        index += units;
    }
}

/// `out[r, c] = left[row + r * row_units] · right[col + c * col_units]`, and what `scores` has there if
/// `added`. The tile of scores is not read anew, and may be written.
#[cube]
pub(super) fn multiply_rows<S: Float, N: Size>(
    out: &mut Array<f32>,
    scores: &mut SharedMemory<f32>,
    left: &SharedMemory<Vector<S, N>>,
    right: &SharedMemory<Vector<S, N>>,
    row: usize,
    col: usize,
    #[comptime] added: bool,
    #[comptime] geometry: Geometry,
) {
    let tile = comptime!(geometry.tile);
    let rows = comptime!(tile.rows / tile.row_units);
    let cols = comptime!(tile.cols / tile.col_units);
    let stride = comptime!(tile.score_stride());
    match comptime!(tile.matrices) {
        Some(matrices) => {
            multiply_heads(scores, left, right, added, comptime!(matrices), geometry);
            sync_cube();
        }
        None => multiply_by_units(out, left, right, row, col, geometry),
    }
    #[unroll]
    for r in 0..rows {
        #[unroll]
        for c in 0..cols {
            let y = row + comptime!(r * tile.row_units);
            let x = col + comptime!(c * tile.col_units);
            let at = comptime!(r * cols + c);
            if comptime!(tile.matrices.is_some()) {
                out[at] = scores[y * stride + x];
            } else if comptime!(added) {
                out[at] += scores[y * stride + x];
            }
        }
    }
}

/// As [`multiply_rows`], of whole vectors in registers.
#[cube]
fn multiply_by_units<S: Float, N: Size>(
    out: &mut Array<f32>,
    left: &SharedMemory<Vector<S, N>>,
    right: &SharedMemory<Vector<S, N>>,
    row: usize,
    col: usize,
    #[comptime] geometry: Geometry,
) {
    let tile = comptime!(geometry.tile);
    let stride = comptime!(geometry.stride());
    let rows = comptime!(tile.rows / tile.row_units);
    let cols = comptime!(tile.cols / tile.col_units);
    let mut sums = Array::<Vector<f32, N>>::new(comptime!(rows * cols));
    #[unroll]
    for at in 0..comptime!(rows * cols) {
        sums[at] = Vector::new(f32::new(0.0));
    }
    for vector in 0..geometry.head_vectors {
        let mut lefts = Array::<Vector<f32, N>>::new(rows);
        #[unroll]
        for r in 0..rows {
            let y = row + comptime!(r * tile.row_units);
            lefts[r] = Vector::cast_from(left[y * stride + vector]);
        }
        #[unroll]
        for c in 0..cols {
            let x = col + comptime!(c * tile.col_units);
            let value = Vector::<f32, N>::cast_from(right[x * stride + vector]);
            #[unroll]
            for r in 0..rows {
                let at = comptime!(r * cols + c);
                sums[at] += lefts[r] * value;
            }
        }
    }
    #[unroll]
    for at in 0..comptime!(rows * cols) {
        let sum = sums[at];
        let mut total = f32::new(0.0);
        #[unroll]
        for lane in 0..N::value() {
            total += sum[lane];
        }
        out[at] = total;
    }
}
