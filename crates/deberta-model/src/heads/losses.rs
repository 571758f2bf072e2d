//! Losses of the task heads, in nats or squared units; f32 for logits in half precision.

use burn::tensor::activation::{log_sigmoid, log_softmax};
use burn::tensor::{Int, Tensor, backend::Backend};

use crate::ops::{self, DebertaBackend};

/// Mean cross-entropy over rows whose label is not negative; 0 if there is none.
///
/// # Shapes
///
/// - logits: `[rows, labels]`
/// - labels: `[rows]`, negative for rows to leave out
/// - output: `[1]`
pub fn classification_loss<B: DebertaBackend>(
    logits: Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
) -> Tensor<B, 1> {
    let ignored = labels.clone().lower_elem(0);
    let counted = ignored.clone().bool_not().int().sum().clamp_min(1);
    let losses = ops::cross_entropy(logits, labels.mask_fill(ignored.clone(), 0));
    let dtype = losses.dtype();
    losses.mask_fill(ignored, 0.0).sum() / counted.float().cast(dtype)
}

/// Mean cross-entropy against distributions over the labels, `-Σ y log p`.
///
/// # Shapes
///
/// - logits, targets: `[batch, labels]`
/// - output: `[1]`
pub fn soft_label_loss<B: DebertaBackend>(
    logits: Tensor<B, 2>,
    targets: Tensor<B, 2>,
) -> Tensor<B, 1> {
    soft_label_terms(logits, targets).sum_dim(1).mean()
}

/// Mean squared error.
///
/// # Shapes
///
/// - logits, targets: `[batch, labels]`
/// - output: `[1]`
pub fn regression_loss<B: DebertaBackend>(
    logits: Tensor<B, 2>,
    targets: Tensor<B, 2>,
) -> Tensor<B, 1> {
    squared_errors(logits, targets).mean()
}

/// Mean binary cross-entropy of independent labels.
///
/// # Shapes
///
/// - logits, targets: `[batch, labels]`, targets in [0, 1]
/// - output: `[1]`
pub fn multi_label_loss<B: DebertaBackend>(
    logits: Tensor<B, 2>,
    targets: Tensor<B, 2>,
) -> Tensor<B, 1> {
    binary_cross_entropy(logits, targets).mean()
}

/// What each label adds to the cross-entropy of its row, `-y log p`, in the shape of `logits`
/// `[batch, labels]`. Rows of targets need not sum to one.
pub fn soft_label_terms<B: Backend>(logits: Tensor<B, 2>, targets: Tensor<B, 2>) -> Tensor<B, 2> {
    (log_softmax(ops::widen(logits), 1) * ops::widen(targets)).neg()
}

/// Squared difference of each logit and its target, in the shape of `logits`.
pub fn squared_errors<B: Backend, const D: usize>(
    logits: Tensor<B, D>,
    targets: Tensor<B, D>,
) -> Tensor<B, D> {
    (ops::widen(logits) - ops::widen(targets)).square()
}

/// Binary cross-entropy of each logit with its target in [0, 1], in the shape of `logits`.
pub fn binary_cross_entropy<B: Backend, const D: usize>(
    logits: Tensor<B, D>,
    targets: Tensor<B, D>,
) -> Tensor<B, D> {
    let (logits, targets) = (ops::widen(logits), ops::widen(targets));
    let positive = log_sigmoid(logits.clone()) * targets.clone();
    let negative = log_sigmoid(logits.neg()) * (targets.neg() + 1.0);
    (positive + negative).neg()
}
