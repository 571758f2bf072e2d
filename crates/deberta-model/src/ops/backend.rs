//! What a backend may take over from the reference bodies.

use std::ops::Range;

use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::{BoolTensor, FloatTensor, IntTensor, ModuleOps};
use burn::tensor::{DType, Shape, TensorMetadata};

use super::HostTable;

/// A Burn backend that runs DeBERTa.
///
/// The defaults are right for every backend: an empty `impl DebertaBackend for MyBackend {}` makes
/// it run the reference bodies. A backend with kernels overrides [`fuses`](Self::fuses),
/// [`fused`](Self::fused) and [`fused_backward`](Self::fused_backward); `Autodiff` around it then
/// uses them forward and backward.
pub trait DebertaBackend: Backend {
    /// Whether there is a kernel of this kind for this float type on this device.
    fn fuses(_kind: FusedKind, _dtype: DType, _device: &Self::Device) -> bool {
        false
    }

    /// Runs a fused operation. Called only for what [`fuses`](Self::fuses) names.
    fn fused(call: &FusedCall<Self>, _inputs: &[FloatTensor<Self>]) -> Fused<Self> {
        no_kernel(call)
    }

    /// Gradients of a fused operation for each of its inputs, in their order.
    ///
    /// - `output`: what [`fused`](Self::fused) gave for the same call and inputs.
    /// - `grad`: gradient of the output.
    fn fused_backward(
        call: &FusedCall<Self>,
        _inputs: &[FloatTensor<Self>],
        _output: &Fused<Self>,
        _grad: FloatTensor<Self>,
    ) -> Vec<FloatTensor<Self>> {
        no_kernel(call)
    }

    /// Gradients of [`FusedCall::Linear`] without GELU. Called only where it is fused.
    fn linear_backward(call: LinearGradients<'_, Self>) -> [Option<FloatTensor<Self>>; 3] {
        unreachable!("`fuses` is false, so the gradients of {call:?} must not be asked for")
    }

    /// Product of matrices `[..., rows, inner]` and `[..., inner, columns]`.
    ///
    /// An axis before the last two has the same size in both, or is 1 in one of them.
    fn product(left: FloatTensor<Self>, right: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(left, right)
    }

    /// Rows `ids` `[batch, seq_len]` of `table` `[rows, width]`: `[batch, seq_len, width]`.
    fn lookup(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        <Self as ModuleOps<Self>>::embedding(table, ids)
    }

    /// Gradient of [`lookup`](Self::lookup) for the table, added to `sum`, a gradient from elsewhere.
    ///
    /// A table of words is large and few of its rows are looked up: what they get is best added in
    /// place.
    fn lookup_backward(
        table: FloatTensor<Self>,
        ids: IntTensor<Self>,
        grad: FloatTensor<Self>,
        sum: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        lookup_backward::<Self>(table, ids, grad, sum)
    }

    /// One update of a parameter. Called only where [`fuses`](Self::fuses) names it.
    fn adamw(update: &AdamWUpdate, _tensors: AdamWTensors<Self>) -> AdamWTensors<Self> {
        unreachable!("`fuses` is false, so {update:?} must not be asked for")
    }

    /// `Σ x²` over all numbers of a tensor, `[1]`.
    fn sum_of_squares(x: &FloatTensor<Self>) -> FloatTensor<Self> {
        let square = Self::float_mul(x.clone(), x.clone());
        Self::float_sum(square)
    }

    /// `x` times `factor` `[1]`.
    fn scale(x: FloatTensor<Self>, factor: &FloatTensor<Self>) -> FloatTensor<Self> {
        let axes = Shape::from(vec![1; x.rank()]);
        Self::float_mul(x, Self::float_reshape(factor.clone(), axes))
    }

    /// What the network calls: the output of a fused operation, tracked by autodiff if there is.
    fn apply(call: FusedCall<Self>, inputs: Vec<FloatTensor<Self>>) -> FloatTensor<Self> {
        Self::fused(&call, &inputs).output
    }
}

/// One update of a parameter by AdamW, all scalars computed.
///
/// ```text
/// m ← β₁ m + (1 − β₁) g
/// v ← β₂ v + (1 − β₂) g²
/// θ ← (1 − decay) θ − rate · m / (√v + epsilon)
/// ```
#[derive(Debug, Clone, Copy)]
pub struct AdamWUpdate {
    /// `β₁` and `β₂`.
    pub betas: [f64; 2],
    /// Added to the root, with the correction of the bias.
    pub epsilon: f64,
    /// Learning rate, with the correction of the bias.
    pub rate: f64,
    /// Learning rate times weight decay.
    pub decay: f64,
}

/// Tensors of an update, all of one shape.
#[derive(Debug, Clone)]
pub struct AdamWTensors<B: Backend> {
    /// `θ`.
    pub parameter: FloatTensor<B>,
    /// `g`; comes back as it was.
    pub gradient: FloatTensor<B>,
    /// `m` and `v`; `None` before the first update.
    pub moments: Option<(FloatTensor<B>, FloatTensor<B>)>,
}

/// What gradients of [`FusedCall::Linear`] are computed from.
#[derive(Debug)]
pub struct LinearGradients<'a, B: Backend> {
    /// As in the call.
    pub tied: bool,
    /// `x`, if the gradient of `W` is wanted.
    pub x: Option<&'a FloatTensor<B>>,
    /// `W`, if the gradient of `x` is wanted.
    pub weight: Option<&'a FloatTensor<B>>,
    /// Whether the gradient of `b` is wanted.
    pub bias: bool,
    /// Gradient of the output.
    pub grad: &'a FloatTensor<B>,
    /// Gradients of `x`, `W` and `b` from elsewhere, to which these are added.
    pub sums: [Option<FloatTensor<B>>; 3],
}

/// A backend that trains DeBERTa: `Autodiff` around any [`DebertaBackend`].
pub trait DebertaAutodiffBackend:
    AutodiffBackend<InnerBackend: DebertaBackend> + DebertaBackend
{
}

impl<B> DebertaAutodiffBackend for B where
    B: AutodiffBackend<InnerBackend: DebertaBackend> + DebertaBackend
{
}

/// [`DebertaBackend::lookup_backward`] by operations of Burn.
pub(super) fn lookup_backward<B: Backend>(
    table: FloatTensor<B>,
    ids: IntTensor<B>,
    grad: FloatTensor<B>,
    sum: Option<FloatTensor<B>>,
) -> FloatTensor<B> {
    let own = B::embedding_backward(table, grad, ids);
    match sum {
        None => own,
        Some(sum) => B::float_add(own, sum),
    }
}

fn no_kernel<B: Backend, T>(call: &FusedCall<B>) -> T {
    unreachable!("`fuses` is false, so {call:?} must not be called")
}

/// What a backend may have a kernel for; a backend may own some and leave the others to Burn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FusedKind {
    /// [`FusedCall::Attention`] with heads of this size.
    Attention {
        /// Width of a head.
        head_dim: usize,
    },
    /// [`FusedCall::Linear`] without GELU.
    Linear,
    /// [`FusedCall::Linear`] with GELU. `Autodiff` does not have it.
    LinearGelu,
    /// [`FusedCall::BiasGelu`].
    BiasGelu,
    /// [`FusedCall::ResidualNorm`].
    ResidualNorm,
    /// [`FusedCall::LayerNorm`].
    LayerNorm,
    /// [`FusedCall::CrossEntropy`].
    CrossEntropy,
    /// [`DebertaBackend::adamw`].
    AdamW,
}

/// Result of a fused operation.
#[derive(Debug, Clone)]
pub struct Fused<B: Backend> {
    /// The output.
    pub output: FloatTensor<B>,
    /// Numbers per row that the backward pass would have to compute again: the logarithm of the
    /// sum of exponentials (attention, cross-entropy), or mean and inverse deviation (layer norm).
    pub statistics: Option<FloatTensor<B>>,
}

/// A fused operation with its arguments that no gradient flows to.
#[derive(Debug, Clone)]
pub enum FusedCall<B: Backend> {
    /// Disentangled attention, Eq. (4), from projected states to weighted values.
    ///
    /// Inputs: query, key, value, then position key if `c2p` and position query if `p2c`.
    Attention(AttentionCall<B>),
    /// `x W + b` or `gelu(x W + b)`.
    ///
    /// Inputs: `x` `[..., d_input]`, `W` `[d_input, d_output]`, and `b` `[d_output]` unless there is
    /// none. Output: `[..., d_output]`.
    Linear {
        /// Whether GELU follows; it takes a bias. For inference: the gradients need `x W + b`.
        gelu: bool,
        /// Whether `W` is given as `[d_output, d_input]`, as a word table that is an output matrix.
        tied: bool,
    },
    /// `gelu(x + b)`. Inputs: `x` `[..., width]`, `b` `[width]`.
    BiasGelu,
    /// `LN(dropout(x + b) + residual)`.
    ///
    /// Inputs: `x` `[..., width]`, `b` `[width]`, residual, weight `[width]`, bias `[width]`.
    ResidualNorm {
        /// Added to the variance.
        epsilon: f64,
        /// Dropout of `x + b`.
        dropout: Option<DropoutCall<B>>,
    },
    /// Layer norm. Inputs: `x` `[..., width]`, weight `[width]`, bias `[width]`.
    LayerNorm {
        /// Added to the variance.
        epsilon: f64,
    },
    /// `-log softmax(x)[label]`, `[rows]`. Inputs: `x` `[rows, width]`.
    CrossEntropy {
        /// Label of each row.
        labels: IntTensor<B>,
    },
}

/// Arguments of fused attention.
#[derive(Debug, Clone)]
pub struct AttentionCall<B: Backend> {
    /// Number of heads.
    pub heads: usize,
    /// Whether there is a position key.
    pub c2p: bool,
    /// Whether there is a position query.
    pub p2c: bool,
    /// Multiplies the sum of the three terms.
    pub scale: f64,
    /// Live row of each distance, smallest distance first; rows never fall as distances rise.
    pub slot_of_distance: HostTable<IntTensor<B>>,
    /// Where in `slot_of_distance` the distance 0 stands.
    pub zero_distance: usize,
    /// Positions of the queries, `[batch, q_len]`; `None` for `0..q_len` in each sequence.
    pub query_positions: Option<IntTensor<B>>,
    /// Keys that must not be seen.
    pub mask: MaskCall<B>,
    /// Dropout of the probabilities.
    pub dropout: Option<DropoutCall<B>>,
}

/// Mask of fused attention.
#[derive(Debug, Clone)]
pub enum MaskCall<B: Backend> {
    /// Every query sees every key.
    Full,
    /// Sequences anywhere in the rows of the batch, counted through all of it. They rise and do not
    /// overlap; a row of no sequence is not computed, and is zero.
    Segments(HostTable<IntTensor<B>, Segment>),
    /// `true` at padding, `[batch, k_len]`.
    Padding(BoolTensor<B>),
    /// `true` where the query must not see the key, `[batch, q_len, k_len]`.
    Pairwise(BoolTensor<B>),
}

/// Queries and keys of one sequence, as rows of the flattened batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Rows among `batch * q_len`.
    pub queries: Range<usize>,
    /// Rows among `batch * k_len`.
    pub keys: Range<usize>,
}

/// Dropout whose mask is a function of the seed and the position of the element.
#[derive(Debug, Clone)]
pub struct DropoutCall<B: Backend> {
    /// Probability of zero.
    pub prob: f64,
    /// Chooses the mask: two numbers in `[0, 2^24)` in f32, `[2]`, of which the whole parts count,
    /// the upper 24 bits first. They come from the backend's random state and stay on the device.
    pub seed: FloatTensor<B>,
}
