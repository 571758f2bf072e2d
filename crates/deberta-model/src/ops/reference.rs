//! Reference bodies: plain Burn operations that every backend runs.

use std::f64::consts::FRAC_1_SQRT_2;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, backend::Backend};

/// `x Φ(x)` with the exact error function.
///
/// Burn's own `gelu` computes the same value, but its gradient is that of the tanh approximation on
/// most backends, off by up to 1e-3.
pub(crate) fn gelu<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    let cdf = x.clone().mul_scalar(FRAC_1_SQRT_2).erf().add_scalar(1.0);
    x * cdf.mul_scalar(0.5)
}

/// See [`cross_entropy`](super::cross_entropy).
pub(crate) fn cross_entropy<B: Backend>(
    logits: Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
) -> Tensor<B, 1> {
    log_softmax(logits, 1)
        .gather(1, labels.unsqueeze_dim(1))
        .squeeze_dim::<1>(1)
        .neg()
}
