//! Attention for Burn's GPU backends, one source in CubeCL for all of them.
//!
//! ```text
//! s[i, j] = scale (q_i·k_j + C[i, slot(i − j)] + D[j, slot(i − j)])       C = Q·Krᵀ, D = K·Qrᵀ
//! out_i   = Σ_j dropout(softmax(s_i))_j v_j                                              Eq. (4)
//! ```
//!
//! `C` and `D` are products with the live rows only, by Burn's matrix product; a pair finds its two
//! scores in them by its distance. One kernel then walks over tiles of scores with a running softmax in
//! f32, so no tensor has a query and a key axis. The forward pass keeps the logarithm of the sum of each
//! row, from which two kernels of the backward pass compute the probabilities again.
//!
//! Numbers are read and written in the type of the states; everything is added up in f32.
#![allow(
    clippy::too_many_arguments,
    clippy::too_many_lines,
    reason = "a kernel's tensors are its arguments, and its registers live in one function"
)]
#![allow(
    clippy::collapsible_if,
    clippy::neg_cmp_op_on_partial_ord,
    reason = "`&&` evaluates both sides on a device; what is not a number is not below anything"
)]

mod backward;
mod call;
mod forward;
pub(super) mod fusion;
mod key_gradients;
mod matrices;
mod pairs;
mod position_gradients;
mod products;
mod query_gradients;
mod sums;
mod tables;
#[cfg(all(test, feature = "test-wgpu"))]
mod tests;
mod tiles;
mod tune;

use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Shape, TensorMetadata};
use burn_cubecl::cubecl::calculate_cube_count_elemwise;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

pub(super) use self::backward::backward;
use self::call::{Attention, PositionScores, Sizes, limits};
pub(super) use self::call::{LARGEST_PLANE, is_tunable, product};
use self::tiles::{Layout, Pass, Tile, VECTOR};
use self::tune::{Launch, tuned};
use super::{AttentionCall, Fused};

/// Tensors of the backward pass with most of them, and one more for sizes.
const BINDINGS: u32 = 17;

/// Whether the kernels run on this device for heads of `head_dim` in `dtype`.
pub(super) fn supports<R: CubeRuntime>(
    head_dim: usize,
    dtype: DType,
    device: &R::CubeDevice,
) -> bool {
    let is_float = matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
    if !is_float || !head_dim.is_multiple_of(VECTOR) || head_dim == 0 {
        return false;
    }
    let client = R::client(device);
    let limits = limits(&client);
    let fits = |pass| {
        let tile = |layout: Layout| layout.tile(pass, head_dim, None, limits);
        Layout::ALL.into_iter().any(|layout| tile(layout).is_some())
    };
    client.properties().hardware.max_bindings >= BINDINGS
        && [Pass::Forward, Pass::QueryGradients, Pass::KeyGradients]
            .into_iter()
            .all(fits)
}

/// Runs attention; the statistics are the logarithms of sums, `[heads, q_rows]`.
pub(super) fn forward<R, F, I, BT>(
    call: &AttentionCall<CubeBackend<R, F, I, BT>>,
    inputs: &[FloatTensor<CubeBackend<R, F, I, BT>>],
) -> Fused<CubeBackend<R, F, I, BT>>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
    let attention = Attention::read(call, inputs);
    let scores = attention.position_scores();
    let (output, log_sums) = tuned(Forward {
        attention,
        scores,
        shape: inputs[0].shape(),
    });
    Fused {
        output,
        statistics: Some(log_sums),
    }
}

/// A launch of the forward kernel.
#[derive(Clone)]
struct Forward<R: CubeRuntime> {
    attention: Attention<R>,
    scores: PositionScores<R>,
    shape: Shape,
}

impl<R: CubeRuntime> Launch<R> for Forward<R> {
    const PASS: Pass = Pass::Forward;

    /// Output and logarithms of sums.
    type Output = (CubeTensor<R>, CubeTensor<R>);

    fn attention(&self) -> &Attention<R> {
        &self.attention
    }

    fn run(self, tile: Tile) -> Self::Output {
        if self.attention.mask_is_bytes() {
            self.launch::<u8>(tile)
        } else {
            self.launch::<u32>(tile)
        }
    }
}

impl<R: CubeRuntime> Forward<R> {
    fn launch<M: BoolElement>(self, tile: Tile) -> (CubeTensor<R>, CubeTensor<R>) {
        let Self {
            attention,
            scores,
            shape,
        } = self;
        let Sizes {
            heads,
            q_rows,
            q_len,
            ..
        } = attention.sizes;
        let out = attention.rows(shape, attention.dtype());
        let log_sums = attention.unwritten(Shape::new([heads, q_rows]), DType::F32);
        let [query, key, value] = attention.states.clone();
        if let Some(count) = cubes(&attention, q_len.div_ceil(tile.rows)) {
            forward::forward_kernel::launch::<M, R>(
                attention.client(),
                count,
                CubeDim::new_1d(tile.units() as u32),
                VECTOR,
                query.into_tensor_arg(),
                key.into_tensor_arg(),
                value.into_tensor_arg(),
                attention.pairs::<_, M>(&scores),
                out.clone().into_tensor_arg(),
                log_sums.clone().into_tensor_arg(),
                attention.geometry(tile),
                attention.dtypes(tile),
            );
        }
        (out, log_sums)
    }
}

/// A cube for each tile of each head of each sequence, along as many axes as the device needs for so
/// many; `None` if there are none.
fn cubes<R: CubeRuntime>(attention: &Attention<R>, tiles: usize) -> Option<CubeCount> {
    let Sizes {
        heads, sequences, ..
    } = attention.sizes;
    let cubes = tiles * heads * sequences;
    let spread = || calculate_cube_count_elemwise(attention.client(), cubes, CubeDim::new_1d(1));
    (cubes > 0).then(spread)
}
