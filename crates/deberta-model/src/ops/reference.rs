//! Reference bodies: plain Burn operations that every backend runs.
//!
//! In half precision they compute in f32 whatever adds up or takes exponentials, and give back the
//! type they were given. In f32 and f64 [`widen`] does nothing.

use std::f64::consts::FRAC_1_SQRT_2;

use burn::nn::LayerNorm;
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Int, Tensor, backend::Backend};

/// Half precision as f32; other types as they are.
pub fn widen<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    if is_half(x.dtype()) {
        x.cast(DType::F32)
    } else {
        x
    }
}

fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// `x Φ(x)` with the exact error function.
///
/// Burn's own `gelu` computes the same value, but its gradient is that of the tanh approximation on
/// most backends, off by up to 1e-3.
pub(crate) fn gelu<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    let dtype = x.dtype();
    let x = widen(x);
    let cdf = x.clone().mul_scalar(FRAC_1_SQRT_2).erf().add_scalar(1.0);
    (x * cdf.mul_scalar(0.5)).cast(dtype)
}

/// Layer norm over the last axis, given back as `dtype`; see [`norm`](super::norm).
///
/// Half precision would overflow in the squares.
pub(crate) fn norm<B: Backend, const D: usize>(
    layer_norm: &LayerNorm<B>,
    epsilon: f64,
    x: Tensor<B, D>,
    dtype: DType,
) -> Tensor<B, D> {
    if !is_half(dtype) {
        return layer_norm.forward(x);
    }
    let x = widen(x);
    let centred = x.clone() - x.mean_dim(D - 1);
    let variance = centred.clone().powi_scalar(2).mean_dim(D - 1);
    let normalised = centred / variance.add_scalar(epsilon).sqrt();
    let scaled = normalised * widen(layer_norm.gamma.val()).unsqueeze();
    let shifted = match &layer_norm.beta {
        Some(beta) => scaled + widen(beta.val()).unsqueeze(),
        None => scaled,
    };
    shifted.cast(dtype)
}

/// See [`cross_entropy`](super::cross_entropy).
pub(crate) fn cross_entropy<B: Backend>(
    logits: Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
) -> Tensor<B, 1> {
    log_softmax(widen(logits), 1)
        .gather(1, labels.unsqueeze_dim(1))
        .squeeze_dim::<1>(1)
        .neg()
}
