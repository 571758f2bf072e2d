//! Tiles of states in shared memory, and products of them in registers.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::pairs::Geometry;

/// Copies a head of `tile_rows` rows from `first` on into shared memory; rows from `end` on are zero.
///
/// `states` is `[rows, heads * head_dim]`, of which the sequence starts at `start`.
#[cube]
pub(super) fn load_rows<F: Float, N: Size>(
    shared: &mut SharedMemory<Vector<f32, N>>,
    states: &Tensor<Vector<F, N>>,
    start: usize,
    first: usize,
    end: usize,
    head: usize,
    heads: usize,
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
        let mut value = Vector::<f32, N>::new(f32::new(0.0));
        if first + row < end {
            let at = ((start + first + row) * heads + head) * vectors + vector;
            value = Vector::cast_from(states[at]);
        }
        shared[row * stride + vector] = value;
        index += units;
    }
}

/// `out[r, c] = left[row + r * row_units] · right[col + c * col_units]`.
#[cube]
pub(super) fn multiply_rows<N: Size>(
    out: &mut Array<f32>,
    left: &SharedMemory<Vector<f32, N>>,
    right: &SharedMemory<Vector<f32, N>>,
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
            lefts[r] = left[(row + comptime!(r * tile.row_units)) * stride + vector];
        }
        #[unroll]
        for c in 0..cols {
            let value = right[(col + comptime!(c * tile.col_units)) * stride + vector];
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

/// `out[r, c] += Σ_x weights[row + r * row_units, x] states[x, col + c * col_units]` over the columns
/// of a score tile, or over its rows if `transposed`.
///
/// The columns of `out` are vectors of a head.
#[cube]
pub(super) fn add_weighted<N: Size>(
    out: &mut Array<Vector<f32, N>>,
    weights: &SharedMemory<f32>,
    states: &SharedMemory<Vector<f32, N>>,
    row: usize,
    col: usize,
    #[comptime] transposed: bool,
    #[comptime] geometry: Geometry,
) {
    let tile = comptime!(geometry.tile);
    let stride = comptime!(geometry.stride());
    let weight_stride = comptime!(tile.cols + 1);
    let rows = comptime!(output_rows(geometry, transposed));
    let cols = comptime!(output_vectors(geometry));
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
                let value = states[x * stride + vector];
                #[unroll]
                for r in 0..rows {
                    let at = comptime!(r * cols + c);
                    out[at] += value * Vector::new(factors[r]);
                }
            }
        }
    }
}

/// Rows of [`add_weighted`]'s output that a unit sums.
pub(super) fn output_rows(geometry: Geometry, transposed: bool) -> usize {
    let tile = geometry.tile;
    let rows = if transposed { tile.cols } else { tile.rows };
    rows / tile.row_units
}

/// Vectors in each of them.
pub(super) fn output_vectors(geometry: Geometry) -> usize {
    geometry.head_vectors.div_ceil(geometry.tile.col_units)
}

/// Sums of nothing.
#[cube]
pub(super) fn clear<N: Size>(sums: &mut Array<Vector<f32, N>>, #[comptime] count: usize) {
    #[unroll]
    for at in 0..count {
        sums[at] = Vector::new(f32::new(0.0));
    }
}

/// Writes `factors[r] * sums[r, c]` to the rows before `end` of `states`.
#[cube]
pub(super) fn store_rows<F: Float, N: Size>(
    states: &mut Tensor<Vector<F, N>>,
    sums: &Array<Vector<f32, N>>,
    factors: &Array<f32>,
    start: usize,
    first: usize,
    end: usize,
    head: usize,
    heads: usize,
    row: usize,
    col: usize,
    #[comptime] transposed: bool,
    #[comptime] geometry: Geometry,
) {
    let tile = comptime!(geometry.tile);
    let rows = comptime!(output_rows(geometry, transposed));
    let cols = comptime!(output_vectors(geometry));
    #[unroll]
    for r in 0..rows {
        let y = first + row + comptime!(r * tile.row_units);
        if y < end {
            #[unroll]
            for c in 0..cols {
                let vector = col + comptime!(c * tile.col_units);
                if vector < geometry.head_vectors {
                    let at = ((start + y) * heads + head) * geometry.head_vectors + vector;
                    let value = sums[comptime!(r * cols + c)] * Vector::new(factors[r]);
                    states[at] = Vector::cast_from(value);
                }
            }
        }
    }
}
