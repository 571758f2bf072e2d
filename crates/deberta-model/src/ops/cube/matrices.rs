//! Products by the matrix units of a device, in half precision with sums in f32.
//!
//! The planes of a cube share the matrices of a tile in turn. A matrix lives in the registers of a plane,
//! whose layout only the device knows, so what single numbers are needed for goes through shared memory.

use burn::tensor::DType;
use burn_cubecl::cubecl;
use cubecl::cmma;
use cubecl::ir::{ElemType, FloatKind, StorageType};
use cubecl::prelude::*;

use super::pairs::Geometry;
use super::tiles::{Tile, VECTOR};

/// Sizes of the matrices that a plane multiplies, `[m, k]` by `[k, n]`, and the planes of a cube.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Matrices {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    /// Units of a plane.
    pub(super) plane_dim: usize,
    /// Planes side by side along the rows of a product.
    pub(super) row_planes: usize,
    /// Planes side by side along the columns of a product.
    pub(super) col_planes: usize,
}

impl Matrices {
    /// The largest square products that the device has for `dtype`, one plane a cube; none for f32, which
    /// matrix units would round.
    pub(super) fn of<R: Runtime>(client: &ComputeClient<R>, dtype: DType) -> Option<Self> {
        let kind = match dtype {
            DType::F16 => FloatKind::F16,
            DType::BF16 => FloatKind::BF16,
            _ => return None,
        };
        let properties = client.properties();
        let hardware = &properties.hardware;
        // Which unit is in which plane must be known.
        if hardware.plane_size_min != hardware.plane_size_max {
            return None;
        }
        let of = |kind| StorageType::from(ElemType::Float(kind));
        let (factor, sum) = (of(kind), of(FloatKind::F32));
        let sizes = properties.features.matmul.cmma.iter();
        let sizes = sizes.filter(|it| [it.a_type, it.b_type] == [factor; 2] && it.cd_type == sum);
        let square = sizes
            .filter(|it| it.m == it.n)
            .max_by_key(|it| it.m * it.k)?;
        Some(Self {
            m: square.m as usize,
            n: square.n as usize,
            k: square.k as usize,
            plane_dim: hardware.plane_size_max as usize,
            row_planes: 1,
            col_planes: 1,
        })
    }
}

/// Sums of weighted states, `[rows, head_dim]`, of which a plane has every `row_planes`-th row of matrices
/// and every `col_planes`-th column.
pub(super) type MatrixSums = Sequence<cmma::Matrix<f32>>;

/// Row and column of this plane among those of its cube.
#[cube]
fn place(#[comptime] matrices: Matrices) -> (usize, usize) {
    let plane = UNIT_POS as usize / matrices.plane_dim;
    (plane / matrices.col_planes, plane % matrices.col_planes)
}

/// `scores = left · rightᵀ` of tiles of heads, or `+=` if `added`.
#[cube]
pub(super) fn multiply_heads<S: Float, N: Size>(
    scores: &mut SharedMemory<f32>,
    left: &SharedMemory<Vector<S, N>>,
    right: &SharedMemory<Vector<S, N>>,
    #[comptime] added: bool,
    #[comptime] matrices: Matrices,
    #[comptime] geometry: Geometry,
) {
    let tile = comptime!(geometry.tile);
    let m = comptime!(matrices.m);
    let n = comptime!(matrices.n);
    let k = comptime!(matrices.k);
    let rows = comptime!(tile.rows / m / matrices.row_planes);
    let cols = comptime!(tile.cols / n / matrices.col_planes);
    let stride = comptime!(geometry.stride());
    let score_stride = comptime!(tile.score_stride());
    let (plane_row, plane_col) = place(matrices);
    #[unroll]
    for r in 0..rows {
        let y = (plane_row + comptime!(r * matrices.row_planes)) * m;
        let mut sums = MatrixSums::new();
        #[unroll]
        for c in 0..cols {
            let sum = zero(matrices);
            if comptime!(added) {
                let x = (plane_col + comptime!(c * matrices.col_planes)) * n;
                let at = y * score_stride + x;
                cmma::load_with_layout(
                    &sum,
                    &scores.slice(at, at + comptime!(m * score_stride)),
                    comptime!(score_stride as u32),
                    cmma::MatrixLayout::RowMajor,
                );
            }
            sums.push(sum);
        }
        #[unroll]
        for step in 0..comptime!(geometry.head_dim() / k) {
            let first = comptime!(step * k / VECTOR);
            let from = y * stride + first;
            let factor =
                new_factor::<S>(cmma::MatrixIdent::A, cmma::MatrixLayout::RowMajor, matrices);
            cmma::load(
                &factor,
                &left.slice(from, from + comptime!(m * stride)),
                comptime!((stride * VECTOR) as u32),
            );
            #[unroll]
            for c in 0..cols {
                let x = (plane_col + comptime!(c * matrices.col_planes)) * n;
                let from = x * stride + first;
                let other =
                    new_factor::<S>(cmma::MatrixIdent::B, cmma::MatrixLayout::ColMajor, matrices);
                cmma::load(
                    &other,
                    &right.slice(from, from + comptime!(n * stride)),
                    comptime!((stride * VECTOR) as u32),
                );
                let sum = sums.index(c);
                cmma::execute::<S, S, f32, f32>(&factor, &other, sum, sum);
            }
        }
        #[unroll]
        for c in 0..cols {
            let x = (plane_col + comptime!(c * matrices.col_planes)) * n;
            store(scores, sums.index(c), y, x, matrices, geometry);
        }
    }
}

/// `sums += weights · states`, or `weightsᵀ · states` if `transposed`.
#[cube]
pub(super) fn add_weighted_heads<S: Float, N: Size>(
    sums: &mut MatrixSums,
    weights: &SharedMemory<S>,
    states: &SharedMemory<Vector<S, N>>,
    #[comptime] transposed: bool,
    #[comptime] matrices: Matrices,
    #[comptime] geometry: Geometry,
) {
    let tile = comptime!(geometry.tile);
    let m = comptime!(matrices.m);
    let n = comptime!(matrices.n);
    let k = comptime!(matrices.k);
    let rows = comptime!(matrices.sum_rows(geometry, transposed));
    let cols = comptime!(matrices.sum_cols(geometry));
    let terms = comptime!(if transposed { tile.rows } else { tile.cols });
    let stride = comptime!(geometry.stride());
    let weight_stride = comptime!(tile.weight_stride());
    let (plane_row, plane_col) = place(matrices);
    #[unroll]
    for step in 0..comptime!(terms / k) {
        let mut factors = Sequence::<cmma::Matrix<S>>::new();
        #[unroll]
        for r in 0..rows {
            let y = (plane_row + comptime!(r * matrices.row_planes)) * m;
            if comptime!(transposed) {
                let from = comptime!(step * k * weight_stride) + y;
                let factor =
                    new_factor::<S>(cmma::MatrixIdent::A, cmma::MatrixLayout::ColMajor, matrices);
                let rows = weights.slice(from, from + comptime!(k * weight_stride));
                cmma::load(&factor, &rows, comptime!(weight_stride as u32));
                factors.push(factor);
            } else {
                let from = y * weight_stride + comptime!(step * k);
                let factor =
                    new_factor::<S>(cmma::MatrixIdent::A, cmma::MatrixLayout::RowMajor, matrices);
                let rows = weights.slice(from, from + comptime!(m * weight_stride));
                cmma::load(&factor, &rows, comptime!(weight_stride as u32));
                factors.push(factor);
            }
        }
        #[unroll]
        for c in 0..cols {
            let x = (plane_col + comptime!(c * matrices.col_planes)) * comptime!(n / VECTOR);
            let from = comptime!(step * k * stride) + x;
            let other =
                new_factor::<S>(cmma::MatrixIdent::B, cmma::MatrixLayout::RowMajor, matrices);
            cmma::load(
                &other,
                &states.slice(from, from + comptime!(k * stride)),
                comptime!((stride * VECTOR) as u32),
            );
            #[unroll]
            for r in 0..rows {
                let sum = sums.index(comptime!(r * cols + c));
                cmma::execute::<S, S, f32, f32>(factors.index(r), &other, sum, sum);
            }
        }
    }
}

/// Sums of nothing.
#[cube]
pub(super) fn zero_sums(
    #[comptime] transposed: bool,
    #[comptime] matrices: Matrices,
    #[comptime] geometry: Geometry,
) -> MatrixSums {
    let mut sums = MatrixSums::new();
    let count = comptime!(matrices.sum_rows(geometry, transposed) * matrices.sum_cols(geometry));
    #[unroll]
    for _ in 0..count {
        sums.push(zero(matrices));
    }
    sums
}

/// A factor to be loaded.
#[cube]
fn new_factor<S: Float>(
    #[comptime] ident: cmma::MatrixIdent,
    #[comptime] layout: cmma::MatrixLayout,
    #[comptime] matrices: Matrices,
) -> cmma::Matrix<S> {
    cmma::Matrix::<S>::from_value(
        ident,
        matrices.m,
        matrices.n,
        matrices.k,
        layout,
        S::new(0.0),
    )
}

#[cube]
fn zero(#[comptime] matrices: Matrices) -> cmma::Matrix<f32> {
    cmma::Matrix::<f32>::from_value(
        cmma::MatrixIdent::Accumulator,
        matrices.m,
        matrices.n,
        matrices.k,
        cmma::MatrixLayout::Undefined,
        0.0f32,
    )
}

#[cube]
fn store(
    scores: &mut SharedMemory<f32>,
    matrix: &cmma::Matrix<f32>,
    row: usize,
    col: usize,
    #[comptime] matrices: Matrices,
    #[comptime] geometry: Geometry,
) {
    let stride = comptime!(geometry.tile.score_stride());
    let at = row * stride + col;
    cmma::store(
        &mut scores.slice_mut(at, at + comptime!(matrices.m * stride)),
        matrix,
        comptime!(stride as u32),
        cmma::MatrixLayout::RowMajor,
    );
}

impl Matrices {
    /// Matrices that a plane has along the rows of weighted states.
    fn sum_rows(self, geometry: Geometry, transposed: bool) -> usize {
        let Tile { rows, cols, .. } = geometry.tile;
        let rows = if transposed { cols } else { rows };
        rows / self.m / self.row_planes
    }

    /// Matrices that a plane has along the columns of weighted states.
    fn sum_cols(self, geometry: Geometry) -> usize {
        geometry.head_dim() / self.n / self.col_planes
    }

    /// Of those, how many a tile of scores has room for.
    fn slab_cols(self, geometry: Geometry) -> usize {
        self.sum_cols(geometry)
            .min(geometry.tile.cols / self.n / self.col_planes)
    }

    /// How many times the tile must be filled for all of them.
    pub(super) fn slabs(self, geometry: Geometry) -> usize {
        self.sum_cols(geometry).div_ceil(self.slab_cols(geometry))
    }

    /// Columns of weighted states that a tile of scores has room for.
    pub(super) fn slab_width(self, geometry: Geometry) -> usize {
        geometry.head_dim().min(geometry.tile.cols)
    }
}

/// Moves a slab of sums to the tile of scores, or back.
#[cube]
pub(super) fn move_slab(
    sums: &mut MatrixSums,
    scores: &mut SharedMemory<f32>,
    #[comptime] slab: usize,
    #[comptime] back: bool,
    #[comptime] transposed: bool,
    #[comptime] matrices: Matrices,
    #[comptime] geometry: Geometry,
) {
    let stride = comptime!(geometry.tile.score_stride());
    let rows = comptime!(matrices.sum_rows(geometry, transposed));
    let cols = comptime!(matrices.sum_cols(geometry));
    let slab_cols = comptime!(matrices.slab_cols(geometry));
    let (plane_row, plane_col) = place(matrices);
    #[unroll]
    for r in 0..rows {
        let y = (plane_row + comptime!(r * matrices.row_planes)) * matrices.m;
        #[unroll]
        for c in 0..comptime!(slab_cols.min(cols - slab * slab_cols)) {
            let x = (plane_col + comptime!(c * matrices.col_planes)) * matrices.n;
            let sum = sums.index(comptime!(r * cols + slab * slab_cols + c));
            if comptime!(back) {
                let at = y * stride + x;
                cmma::load_with_layout(
                    sum,
                    &scores.slice(at, at + comptime!(matrices.m * stride)),
                    comptime!(stride as u32),
                    cmma::MatrixLayout::RowMajor,
                );
            } else {
                store(scores, sum, y, x, matrices, geometry);
            }
        }
    }
}
