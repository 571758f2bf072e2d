//! Sums of states weighted by a tile of pairs, over many tiles.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::matrices::{MatrixSums, add_weighted_heads, move_slab, zero_sums};
use super::pairs::{Geometry, HeadRows};
use super::tiles::{ALIGN, VECTOR};

/// A weight for each pair of a tile, in shared memory.
#[derive(CubeType)]
#[allow(
    dead_code,
    reason = "variants are constructed while a kernel is expanded"
)]
pub(super) enum Weights<S: Float> {
    Exact(SharedMemory<f32>),
    /// As matrix units take them.
    Rounded(SharedMemory<S>),
}

#[cube]
impl<S: Float> Weights<S> {
    /// In the place of `scores`, if they need not be rounded.
    pub(super) fn over(scores: SharedMemory<f32>, #[comptime] geometry: Geometry) -> Weights<S> {
        if comptime!(geometry.tile.matrices.is_some()) {
            Weights::new_Rounded(rounded::<S>(geometry))
        } else {
            Weights::new_Exact(scores)
        }
    }

    /// In a place of their own.
    pub(super) fn new(#[comptime] geometry: Geometry) -> Weights<S> {
        if comptime!(geometry.tile.matrices.is_some()) {
            Weights::new_Rounded(rounded::<S>(geometry))
        } else {
            Weights::new_Exact(SharedMemory::<f32>::new(comptime!(geometry.tile.scores())))
        }
    }

    pub(super) fn set(
        &mut self,
        row: usize,
        col: usize,
        weight: f32,
        #[comptime] geometry: Geometry,
    ) {
        let at = row * comptime!(geometry.tile.weight_stride()) + col;
        #[comptime]
        match self {
            Weights::Exact(weights) => {
                weights[at] = weight;
            }
            Weights::Rounded(weights) => {
                weights[at] = S::cast_from(weight);
            }
        }
    }
}

#[cube]
fn rounded<S: Float>(#[comptime] geometry: Geometry) -> SharedMemory<S> {
    let tile = comptime!(geometry.tile);
    SharedMemory::<S>::new_aligned(comptime!(tile.rows * tile.weight_stride()), ALIGN)
}

/// `Σ_x weights[row, x] states[x]` over the columns of tiles, or over their rows if `transposed`.
///
/// `row` and `col` are the place of the unit in its cube; a unit has every `row_units`-th row and, in
/// vectors, every `col_units`-th column.
#[derive(CubeType)]
#[allow(
    dead_code,
    reason = "variants are constructed while a kernel is expanded"
)]
pub(super) enum Sums<N: Size> {
    Vectors(Array<Vector<f32, N>>),
    Matrices(MatrixSums),
}

#[cube]
impl<N: Size> Sums<N> {
    pub(super) fn zero(#[comptime] transposed: bool, #[comptime] geometry: Geometry) -> Sums<N> {
        match comptime!(geometry.tile.matrices) {
            Some(matrices) => {
                Sums::new_Matrices(zero_sums(transposed, comptime!(matrices), geometry))
            }
            None => {
                let count = comptime!(unit_rows(geometry, transposed) * unit_vectors(geometry));
                let mut sums = Array::<Vector<f32, N>>::new(count);
                #[unroll]
                for at in 0..count {
                    sums[at] = Vector::new(f32::new(0.0));
                }
                Sums::new_Vectors(sums)
            }
        }
    }

    pub(super) fn add<S: Float>(
        &mut self,
        weights: &Weights<S>,
        states: &SharedMemory<Vector<S, N>>,
        row: usize,
        col: usize,
        #[comptime] transposed: bool,
        #[comptime] geometry: Geometry,
    ) {
        #[comptime]
        match self {
            Sums::Vectors(sums) =>
            {
                #[comptime]
                match weights {
                    Weights::Exact(weights) => {
                        add_by_units(sums, weights, states, row, col, transposed, geometry);
                    }
                    Weights::Rounded(_) => {}
                }
            }
            Sums::Matrices(sums) =>
            {
                #[comptime]
                match weights {
                    Weights::Exact(_) => {}
                    Weights::Rounded(weights) => {
                        let matrices = comptime!(geometry.matrices());
                        add_weighted_heads(sums, weights, states, transposed, matrices, geometry);
                    }
                }
            }
        }
    }

    /// Multiplies each row of the unit by its factor. `scores` is overwritten; all units of the cube
    /// must come here.
    pub(super) fn scale(
        &mut self,
        factors: &Array<f32>,
        scores: &mut SharedMemory<f32>,
        row: usize,
        col: usize,
        #[comptime] geometry: Geometry,
    ) {
        let tile = comptime!(geometry.tile);
        let rows = comptime!(unit_rows(geometry, false));
        #[comptime]
        match self {
            Sums::Vectors(sums) => {
                let vectors = comptime!(unit_vectors(geometry));
                #[unroll]
                for r in 0..rows {
                    #[unroll]
                    for c in 0..vectors {
                        let at = comptime!(r * vectors + c);
                        sums[at] *= Vector::new(factors[r]);
                    }
                }
            }
            Sums::Matrices(sums) => {
                let matrices = comptime!(geometry.matrices());
                let cols = comptime!(matrices.slab_width(geometry) / tile.col_units);
                #[unroll]
                for slab in 0..comptime!(matrices.slabs(geometry)) {
                    move_slab(sums, scores, slab, false, false, matrices, geometry);
                    sync_cube();
                    #[unroll]
                    for r in 0..rows {
                        let y = row + comptime!(r * tile.row_units);
                        #[unroll]
                        for c in 0..cols {
                            let x = col + comptime!(c * tile.col_units);
                            scores[y * comptime!(tile.score_stride()) + x] *= factors[r];
                        }
                    }
                    sync_cube();
                    move_slab(sums, scores, slab, true, false, matrices, geometry);
                    sync_cube();
                }
            }
        }
    }

    /// Writes each row of the unit, times its factor, to `states`. `scores` is overwritten; all units of
    /// the cube must come here.
    pub(super) fn store<F: Float>(
        &mut self,
        states: &mut Tensor<Vector<F, N>>,
        rows: HeadRows,
        factors: &Array<f32>,
        scores: &mut SharedMemory<f32>,
        row: usize,
        col: usize,
        #[comptime] transposed: bool,
        #[comptime] geometry: Geometry,
    ) {
        let tile = comptime!(geometry.tile);
        let count = comptime!(unit_rows(geometry, transposed));
        #[comptime]
        match self {
            Sums::Vectors(sums) => {
                let vectors = comptime!(unit_vectors(geometry));
                #[unroll]
                for r in 0..count {
                    let y = row + comptime!(r * tile.row_units);
                    #[unroll]
                    for c in 0..vectors {
                        let vector = col + comptime!(c * tile.col_units);
                        if rows.has(y) && vector < geometry.head_vectors {
                            let value = sums[comptime!(r * vectors + c)] * Vector::new(factors[r]);
                            let at = rows.at(y) * geometry.head_vectors + vector;
                            states[at] = Vector::cast_from(value);
                        }
                    }
                }
            }
            Sums::Matrices(sums) => {
                let matrices = comptime!(geometry.matrices());
                let width = comptime!(matrices.slab_width(geometry) / VECTOR);
                let stride = comptime!(tile.score_stride());
                #[unroll]
                for slab in 0..comptime!(matrices.slabs(geometry)) {
                    sync_cube();
                    move_slab(sums, scores, slab, false, transposed, matrices, geometry);
                    sync_cube();
                    #[unroll]
                    for r in 0..count {
                        let y = row + comptime!(r * tile.row_units);
                        #[unroll]
                        for c in 0..comptime!(width.div_ceil(tile.col_units)) {
                            let x = col + comptime!(c * tile.col_units);
                            let vector = x + comptime!(slab * width);
                            if rows.has(y) && x < width && vector < geometry.head_vectors {
                                let mut value = Vector::<f32, N>::new(f32::new(0.0));
                                #[unroll]
                                for lane in 0..N::value() {
                                    value[lane] = scores[y * stride + x * VECTOR + lane];
                                }
                                let at = rows.at(y) * geometry.head_vectors + vector;
                                states[at] = Vector::cast_from(value * Vector::new(factors[r]));
                            }
                        }
                    }
                }
            }
        }
    }
}

/// As [`Sums::add`], of vectors in registers.
#[cube]
fn add_by_units<S: Float, N: Size>(
    sums: &mut Array<Vector<f32, N>>,
    weights: &SharedMemory<f32>,
    states: &SharedMemory<Vector<S, N>>,
    row: usize,
    col: usize,
    #[comptime] transposed: bool,
    #[comptime] geometry: Geometry,
) {
    let tile = comptime!(geometry.tile);
    let stride = comptime!(geometry.stride());
    let weight_stride = comptime!(tile.weight_stride());
    let rows = comptime!(unit_rows(geometry, transposed));
    let cols = comptime!(unit_vectors(geometry));
    let terms = comptime!(if transposed { tile.rows } else { tile.cols });
    for x in 0..terms {
        let mut factors = Array::<f32>::new(rows);
        #[unroll]
        for r in 0..rows {
            let y = row + comptime!(r * tile.row_units);
            factors[r] = if comptime!(transposed) {
                weights[x * weight_stride + y]
            } else {
                weights[y * weight_stride + x]
            };
        }
        #[unroll]
        for c in 0..cols {
            let vector = col + comptime!(c * tile.col_units);
            if vector < geometry.head_vectors {
                let value = Vector::<f32, N>::cast_from(states[x * stride + vector]);
                #[unroll]
                for r in 0..rows {
                    let at = comptime!(r * cols + c);
                    sums[at] += value * Vector::new(factors[r]);
                }
            }
        }
    }
}

/// Rows of sums that a unit has.
pub(super) fn unit_rows(geometry: Geometry, transposed: bool) -> usize {
    let tile = geometry.tile;
    let rows = if transposed { tile.cols } else { tile.rows };
    rows / tile.row_units
}

/// Vectors in each of them.
fn unit_vectors(geometry: Geometry) -> usize {
    geometry.head_vectors.div_ceil(geometry.tile.col_units)
}
