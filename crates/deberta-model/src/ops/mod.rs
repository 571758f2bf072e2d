//! The kernel seam: operations that a backend may own a faster version of.
//!
//! Every function here has a reference body of plain Burn operations, which any backend runs and
//! autodiff differentiates. [`DebertaBackend`] lets a backend take over; the CPU backends do.

mod autodiff;
mod backend;
mod backends;
#[cfg(any(feature = "flex", feature = "ndarray"))]
mod cpu;
#[cfg(feature = "cubecl")]
mod cube;
mod position_terms;
mod reference;
mod table;

use burn::nn::{Dropout, LayerNorm, Linear};
use burn::tensor::{DType, Distribution, Int, Tensor, TensorPrimitive, backend::Backend};

pub use backend::{
    AdamWTensors, AdamWUpdate, AttentionCall, DebertaAutodiffBackend, DebertaBackend, DropoutCall,
    Fused, FusedCall, FusedKind, LinearGradients, MaskCall, Segment,
};
pub(crate) use position_terms::{content_to_position, position_to_content};
pub(crate) use reference::gelu;
pub use reference::widen;
pub use table::HostTable;

/// Runs a fused operation of the backend.
fn call<B: DebertaBackend, const D: usize>(
    call: FusedCall<B>,
    inputs: Vec<B::FloatTensorPrimitive>,
) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(B::apply(call, inputs)))
}

/// Whether the backend has a kernel of this kind for `x`.
pub(crate) fn fuses<B: DebertaBackend, const D: usize>(kind: FusedKind, x: &Tensor<B, D>) -> bool {
    B::fuses(kind, x.dtype(), &x.device())
}

fn primitive<B: Backend, const D: usize>(x: Tensor<B, D>) -> B::FloatTensorPrimitive {
    x.into_primitive().tensor()
}

/// Dropout of a fused operation: a probability and a seed from the backend's random state.
///
/// `None` outside training and for probability 0.
pub(crate) fn dropout_call<B: Backend>(
    dropout: &Dropout,
    device: &B::Device,
) -> Option<DropoutCall<B>> {
    if dropout.prob == 0.0 || !B::ad_enabled(device) {
        return None;
    }
    // Two draws of 24 bits, which f32 holds exactly. To read them here would wait for the device.
    let bits = Distribution::Uniform(0.0, f64::from(1 << 24));
    let seed = Tensor::<B, 1>::random([2], bits, (device, DType::F32));
    Some(DropoutCall {
        prob: dropout.prob,
        seed: primitive(seed),
    })
}

/// Attention over projected states, where the backend has a kernel for it.
///
/// # Shapes
///
/// - inputs: query `[batch, q_len, heads * head_dim]`, key and value
///   `[batch, k_len, heads * head_dim]`, then position key and position query
///   `[live, heads * head_dim]` as far as the call has them
/// - output: `[batch, q_len, heads * head_dim]`
pub(crate) fn attention<B: DebertaBackend>(
    attention: AttentionCall<B>,
    inputs: Vec<Tensor<B, 3>>,
    positions: Vec<Tensor<B, 2>>,
) -> Tensor<B, 3> {
    let positions = positions.into_iter().map(primitive);
    let inputs = inputs.into_iter().map(primitive).chain(positions);
    call(FusedCall::Attention(attention), inputs.collect())
}

/// `x W + b` for `x` `[..., d_input]`.
pub(crate) fn linear<B: DebertaBackend, const D: usize>(
    linear: &Linear<B>,
    x: Tensor<B, D>,
) -> Tensor<B, D> {
    if fuses(FusedKind::Linear, &x) {
        let bias = linear.bias.as_ref().map(|bias| bias.val());
        return linear_call(false, false, x, linear.weight.val(), bias);
    }
    let rows = rows_product(linear, &x);
    // Before the reshape, so that Burn's fusion may add it in the product's kernel.
    let rows = match &linear.bias {
        Some(bias) => rows + bias.val().unsqueeze(),
        None => rows,
    };
    rows.reshape(mapped(linear, &x))
}

/// `gelu(x W + b)` for `x` `[..., d_input]`.
pub(crate) fn linear_gelu<B: DebertaBackend, const D: usize>(
    linear: &Linear<B>,
    x: Tensor<B, D>,
) -> Tensor<B, D> {
    match &linear.bias {
        Some(bias) if fuses(FusedKind::LinearGelu, &x) => {
            linear_call(true, false, x, linear.weight.val(), Some(bias.val()))
        }
        Some(bias) if fuses(FusedKind::BiasGelu, &x) => {
            let inputs = vec![primitive(product(linear, x)), primitive(bias.val())];
            call(FusedCall::BiasGelu, inputs)
        }
        _ => gelu(self::linear(linear, x)),
    }
}

/// Logits `x Wᵀ + b` against a table of words.
///
/// # Shapes
///
/// - x: `[rows, width]`
/// - table: `[vocab, width]`
/// - bias: `[vocab]`
/// - output: `[rows, vocab]`
pub(crate) fn vocabulary_logits<B: DebertaBackend>(
    x: Tensor<B, 2>,
    table: Tensor<B, 2>,
    bias: Tensor<B, 1>,
) -> Tensor<B, 2> {
    if fuses(FusedKind::Linear, &x) {
        return linear_call(false, true, x, table, Some(bias));
    }
    matmul(x, table.transpose()) + bias.unsqueeze()
}

fn linear_call<B: DebertaBackend, const D: usize>(
    gelu: bool,
    tied: bool,
    x: Tensor<B, D>,
    weight: Tensor<B, 2>,
    bias: Option<Tensor<B, 1>>,
) -> Tensor<B, D> {
    let inputs = [primitive(x), primitive(weight)].into_iter();
    let inputs = inputs.chain(bias.map(primitive)).collect();
    call(FusedCall::Linear { gelu, tied }, inputs)
}

/// Rows `ids` `[batch, seq_len]` of a table of words `[vocab, width]`.
pub(crate) fn lookup<B: DebertaBackend>(
    table: Tensor<B, 2>,
    ids: Tensor<B, 2, Int>,
) -> Tensor<B, 3> {
    let rows = B::lookup(primitive(table), ids.into_primitive());
    Tensor::from_primitive(TensorPrimitive::Float(rows))
}

/// Gradient of [`lookup`] for the table, from that of the rows `[batch, seq_len, width]`, added to
/// `sum`.
pub(crate) fn lookup_backward<B: DebertaBackend>(
    table: Tensor<B, 2>,
    ids: Tensor<B, 2, Int>,
    grad: Tensor<B, 3>,
    sum: Option<Tensor<B, 2>>,
) -> Tensor<B, 2> {
    let (table, grad) = (primitive(table), primitive(grad));
    let gradient = B::lookup_backward(table, ids.into_primitive(), grad, sum.map(primitive));
    Tensor::from_primitive(TensorPrimitive::Float(gradient))
}

/// `LN(dropout(x W + b) + residual)`, the end of both halves of a layer.
///
/// # Shapes
///
/// - x: `[batch, seq_len, d_input]`
/// - residual, output: `[batch, seq_len, hidden]`
pub(crate) fn linear_residual_norm<B: DebertaBackend>(
    linear: &Linear<B>,
    dropout: &Dropout,
    layer_norm: &LayerNorm<B>,
    epsilon: f64,
    x: Tensor<B, 3>,
    residual: Tensor<B, 3>,
) -> Tensor<B, 3> {
    match (&linear.bias, &layer_norm.beta) {
        (Some(bias), Some(beta)) if fuses(FusedKind::ResidualNorm, &x) => {
            let device = x.device();
            let fused = FusedCall::ResidualNorm {
                epsilon,
                dropout: dropout_call::<B>(dropout, &device),
            };
            let inputs = vec![
                primitive(product(linear, x)),
                primitive(bias.val()),
                primitive(residual),
                primitive(layer_norm.gamma.val()),
                primitive(beta.val()),
            ];
            call(fused, inputs)
        }
        _ => {
            let dtype = residual.dtype();
            let sum = widen(dropout.forward(self::linear(linear, x))) + widen(residual);
            reference::norm(layer_norm, epsilon, sum, dtype)
        }
    }
}

/// Layer norm over the last axis.
pub(crate) fn norm<B: DebertaBackend, const D: usize>(
    layer_norm: &LayerNorm<B>,
    epsilon: f64,
    x: Tensor<B, D>,
) -> Tensor<B, D> {
    match &layer_norm.beta {
        Some(beta) if fuses(FusedKind::LayerNorm, &x) => {
            let inputs = vec![
                primitive(x),
                primitive(layer_norm.gamma.val()),
                primitive(beta.val()),
            ];
            call(FusedCall::LayerNorm { epsilon }, inputs)
        }
        _ => {
            let dtype = x.dtype();
            reference::norm(layer_norm, epsilon, x, dtype)
        }
    }
}

/// `-log softmax(logits)[label]` of each row, in nats.
///
/// # Shapes
///
/// - logits: `[rows, vocab]`
/// - labels, output: `[rows]`
pub(crate) fn cross_entropy<B: DebertaBackend>(
    logits: Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
) -> Tensor<B, 1> {
    if fuses(FusedKind::CrossEntropy, &logits) {
        let labels = labels.into_primitive();
        return call(FusedCall::CrossEntropy { labels }, vec![primitive(logits)]);
    }
    reference::cross_entropy(logits, labels)
}

/// Product of matrices `[..., rows, inner]` and `[..., inner, columns]`.
pub(crate) fn matmul<B: DebertaBackend, const D: usize>(
    left: Tensor<B, D>,
    right: Tensor<B, D>,
) -> Tensor<B, D> {
    let product = B::product(primitive(left), primitive(right));
    Tensor::from_primitive(TensorPrimitive::Float(product))
}

/// `x W`.
fn product<B: DebertaBackend, const D: usize>(linear: &Linear<B>, x: Tensor<B, D>) -> Tensor<B, D> {
    if fuses(FusedKind::Linear, &x) {
        return linear_call(false, false, x, linear.weight.val(), None);
    }
    rows_product(linear, &x).reshape(mapped(linear, &x))
}

/// `x W` with all leading axes in one, `[rows, d_output]`.
///
/// So that one large product runs, and in the backward pass one with the gradient of `W`, where Burn's
/// `linear` has one for each sequence and then adds them up.
fn rows_product<B: DebertaBackend, const D: usize>(
    linear: &Linear<B>,
    x: &Tensor<B, D>,
) -> Tensor<B, 2> {
    let [d_input, _] = linear.weight.dims();
    let rows = x.dims().iter().product::<usize>() / d_input;
    matmul(x.clone().reshape([rows, d_input]), linear.weight.val())
}

/// Shape of `x W`.
fn mapped<B: Backend, const D: usize>(linear: &Linear<B>, x: &Tensor<B, D>) -> [usize; D] {
    let mut dims = x.dims();
    let [_, d_output] = linear.weight.dims();
    dims[D - 1] = d_output;
    dims
}
