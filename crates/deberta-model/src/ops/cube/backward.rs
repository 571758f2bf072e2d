//! The backward kernels, which compute the probabilities of a tile again.
//!
//! ```text
//! p[i, j]  = exp(s[i, j] − lse[i])                        f[i, j]: dropout's factor
//! dv[j]    = Σ_i f p do[i]
//! ds[i, j] = p (f do[i]·v[j] − delta[i])                  delta[i] = do[i]·o[i]
//! dq[i]    = scale Σ_j ds k[j]                            dk[j]    = scale Σ_i ds q[i]
//! dc[i, r] = scale Σ_{j: slot(i − j) = r} ds              dd[j, r] = scale Σ_{i: slot(i − j) = r} ds
//! ```
//!
//! One kernel owns queries and sums over keys, the other owns keys and sums over queries, so nothing
//! is added to memory that another cube writes. What position terms add to `dq` and `dk` are products
//! of `dc` and `dd`, which the host leaves to Burn. The scale comes last, so that half precision, to which
//! matrix units want `ds` rounded, holds smaller gradients.

use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Shape, TensorMetadata};
use burn_cubecl::cubecl;
use burn_cubecl::kernel::{cast, into_contiguous};
use burn_cubecl::ops::{numeric, permute};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::call::{Attention, PositionScores, Sizes, product};
use super::cubes;
use super::key_gradients::key_kernel;
use super::query_gradients::query_kernel;
use super::tiles::{Pass, Tile, VECTOR};
use super::tune::{Launch, tuned};
use crate::ops::{AttentionCall, Fused};

/// Gradients for query, key, value and the position tables that the call has.
pub(in crate::ops) fn backward<R, F, I, BT>(
    call: &AttentionCall<CubeBackend<R, F, I, BT>>,
    inputs: &[FloatTensor<CubeBackend<R, F, I, BT>>],
    output: &Fused<CubeBackend<R, F, I, BT>>,
    grad: FloatTensor<CubeBackend<R, F, I, BT>>,
) -> Vec<FloatTensor<CubeBackend<R, F, I, BT>>>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
    let attention = Attention::read(call, inputs);
    let scores = attention.position_scores();
    let Some(log_sums) = output.statistics.clone() else {
        unreachable!("the forward pass keeps the sums of all rows");
    };
    let shapes: Vec<Shape> = inputs.iter().map(TensorMetadata::shape).collect();
    Gradient::new(attention, scores, output.output.clone(), grad, log_sums).run(&shapes)
}

/// What the backward kernels read.
#[derive(Clone)]
pub(super) struct Gradient<R: CubeRuntime> {
    attention: Attention<R>,
    scores: PositionScores<R>,
    d_out: CubeTensor<R>,
    log_sums: CubeTensor<R>,
    /// `[heads, q_rows]`
    delta: CubeTensor<R>,
}

impl<R: CubeRuntime> Gradient<R> {
    pub(super) fn new(
        attention: Attention<R>,
        scores: PositionScores<R>,
        out: CubeTensor<R>,
        d_out: CubeTensor<R>,
        log_sums: CubeTensor<R>,
    ) -> Self {
        let Sizes {
            heads,
            q_rows,
            head_dim,
            ..
        } = attention.sizes;
        let d_out = into_contiguous(d_out);
        let out = into_contiguous(out);
        let delta = attention.unwritten(Shape::new([heads, q_rows]), DType::F32);
        let client = attention.client();
        let dim = CubeDim::new_1d(64);
        let count = calculate_cube_count_elemwise(client, heads * q_rows, dim);
        delta_kernel::launch::<R>(
            client,
            count,
            dim,
            VECTOR,
            out.into_tensor_arg(),
            d_out.clone().into_tensor_arg(),
            delta.clone().into_tensor_arg(),
            heads,
            head_dim / VECTOR,
            attention.dtype().into(),
        );
        Self {
            attention,
            scores,
            d_out,
            log_sums,
            delta,
        }
    }

    fn run(self, shapes: &[Shape]) -> Vec<CubeTensor<R>> {
        let attention = self.attention.clone();
        let dtype = attention.dtype();
        let [query, key, _] = attention.states.clone();
        let (mut d_query, d_c2p) = tuned(Queries(self.clone(), shapes[0].clone()));
        let (mut d_key, d_value, d_p2c) = tuned(Keys(self, shapes[1].clone()));

        // What a table passes on to states, and what states pass on to it.
        let through = |d_scores: CubeTensor<R>,
                       table: &Option<CubeTensor<R>>,
                       states: CubeTensor<R>,
                       shape: &Shape| {
            let table = table.clone()?;
            let table_shape = table.shape();
            let d_states = product(d_scores.clone(), attention.heads_first(table), dtype);
            let d_scores = permute(d_scores, &[0, 2, 1]);
            let d_table = product(d_scores, attention.heads_first(states), dtype);
            Some((
                attention.rows_first(d_states, shape.clone()),
                attention.rows_first(d_table, table_shape),
            ))
        };
        let c2p = d_c2p.and_then(|it| through(it, &attention.pos_key, query, &shapes[0]));
        let p2c = d_p2c.and_then(|it| through(it, &attention.pos_query, key, &shapes[1]));
        let mut d_tables = Vec::new();
        if let Some((d_states, d_table)) = c2p {
            d_query = numeric::add(d_query, d_states);
            d_tables.push(d_table);
        }
        if let Some((d_states, d_table)) = p2c {
            d_key = numeric::add(d_key, d_states);
            d_tables.push(d_table);
        }
        [d_query, d_key, d_value]
            .into_iter()
            .chain(d_tables)
            .collect()
    }
}

/// The kernel that owns queries, of this shape.
#[derive(Clone)]
pub(super) struct Queries<R: CubeRuntime>(pub(super) Gradient<R>, pub(super) Shape);

impl<R: CubeRuntime> Launch<R> for Queries<R> {
    const PASS: Pass = Pass::QueryGradients;

    /// Gradients of queries, and of their scores against position keys.
    type Output = (CubeTensor<R>, Option<CubeTensor<R>>);

    fn attention(&self) -> &Attention<R> {
        &self.0.attention
    }

    fn run(self, tile: Tile) -> Self::Output {
        if self.0.attention.mask_is_bytes() {
            self.launch::<u8>(tile)
        } else {
            self.launch::<u32>(tile)
        }
    }
}

impl<R: CubeRuntime> Queries<R> {
    fn launch<M: BoolElement>(self, tile: Tile) -> <Self as Launch<R>>::Output {
        let Self(gradient, shape) = self;
        let attention = &gradient.attention;
        let Sizes {
            heads,
            q_rows,
            q_len,
            live,
            ..
        } = attention.sizes;
        let dtype = attention.dtype();
        let d_query = attention.rows(shape, dtype);
        let d_c2p = attention.pos_key.as_ref().map(|_| {
            // No pair reaches the rows of the table that are too far from a query.
            attention.zeros(Shape::new([heads, q_rows, live]), dtype)
        });
        let [query, key, value] = attention.states.clone();
        if let Some(count) = cubes(attention, q_len.div_ceil(tile.rows)) {
            query_kernel::launch::<M, R>(
                attention.client(),
                count,
                CubeDim::new_1d(tile.units() as u32),
                VECTOR,
                query.into_tensor_arg(),
                key.into_tensor_arg(),
                value.into_tensor_arg(),
                gradient.d_out.clone().into_tensor_arg(),
                gradient.log_sums.clone().into_tensor_arg(),
                gradient.delta.clone().into_tensor_arg(),
                attention.pairs::<_, M>(&gradient.scores),
                d_query.clone().into_tensor_arg(),
                d_c2p.clone().map(CubeTensor::into_tensor_arg).into(),
                attention.geometry(tile),
                attention.dtypes(tile),
            );
        }
        (d_query, d_c2p)
    }
}

/// The kernel that owns keys, of this shape.
#[derive(Clone)]
pub(super) struct Keys<R: CubeRuntime>(pub(super) Gradient<R>, pub(super) Shape);

impl<R: CubeRuntime> Launch<R> for Keys<R> {
    const PASS: Pass = Pass::KeyGradients;

    /// Gradients of keys and values, and of the keys' scores against position queries.
    type Output = (CubeTensor<R>, CubeTensor<R>, Option<CubeTensor<R>>);

    fn attention(&self) -> &Attention<R> {
        &self.0.attention
    }

    fn run(self, tile: Tile) -> Self::Output {
        if self.0.attention.mask_is_bytes() {
            self.launch::<u8>(tile)
        } else {
            self.launch::<u32>(tile)
        }
    }
}

impl<R: CubeRuntime> Keys<R> {
    fn launch<M: BoolElement>(self, tile: Tile) -> <Self as Launch<R>>::Output {
        let Self(gradient, shape) = self;
        let attention = &gradient.attention;
        let Sizes {
            heads,
            k_rows,
            k_len,
            live,
            ..
        } = attention.sizes;
        let dtype = attention.dtype();
        // Half precision would swallow what is added one by one.
        let sum_dtype = if attention.scattered {
            DType::F32
        } else {
            dtype
        };
        let d_key = attention.rows(shape.clone(), dtype);
        let d_value = attention.rows(shape, dtype);
        let d_p2c = attention
            .pos_query
            .as_ref()
            .map(|_| attention.zeros(Shape::new([heads, k_rows, live]), sum_dtype));
        let [query, key, value] = attention.states.clone();
        let [states, of_tile] = attention.dtypes(tile);
        if let Some(count) = cubes(attention, k_len.div_ceil(tile.cols)) {
            key_kernel::launch::<M, R>(
                attention.client(),
                count,
                CubeDim::new_1d(tile.units() as u32),
                VECTOR,
                query.into_tensor_arg(),
                key.into_tensor_arg(),
                value.into_tensor_arg(),
                gradient.d_out.clone().into_tensor_arg(),
                gradient.log_sums.clone().into_tensor_arg(),
                gradient.delta.clone().into_tensor_arg(),
                attention.pairs::<_, M>(&gradient.scores),
                d_key.clone().into_tensor_arg(),
                d_value.clone().into_tensor_arg(),
                d_p2c.clone().map(CubeTensor::into_tensor_arg).into(),
                attention.scattered,
                attention.geometry(tile),
                [states, of_tile, sum_dtype.into()],
            );
        }
        let d_p2c = d_p2c.map(|it| cast(it, dtype));
        (d_key, d_value, d_p2c)
    }
}

/// `delta[head, row] = d_out[row]·out[row]`, one unit for each.
#[cube(launch)]
pub(super) fn delta_kernel<F: Float, N: Size>(
    out: &Tensor<Vector<F, N>>,
    d_out: &Tensor<Vector<F, N>>,
    delta: &mut Tensor<f32>,
    heads: usize,
    #[comptime] head_vectors: usize,
    #[define(F)] _dtype: StorageType,
) {
    let index = ABSOLUTE_POS;
    if index >= delta.len() {
        terminate!();
    }
    // Heads of a row lie side by side in the inputs.
    let row = index / heads;
    let head = index % heads;
    let mut sums = Vector::<f32, N>::new(f32::new(0.0));
    for vector in 0..head_vectors {
        let at = index * head_vectors + vector;
        sums += Vector::<f32, N>::cast_from(out[at]) * Vector::<f32, N>::cast_from(d_out[at]);
    }
    let mut total = f32::new(0.0);
    #[unroll]
    for lane in 0..N::value() {
        total += sums[lane];
    }
    delta[head * (delta.len() / heads) + row] = total;
}
