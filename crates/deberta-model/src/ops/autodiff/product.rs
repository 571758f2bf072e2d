//! Matrix products whose gradients are products of the same backend.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Shape, TensorMetadata};

use crate::ops::DebertaBackend;

/// Backward step of a product.
#[derive(Debug)]
struct ProductStep;

/// One factor as the gradient of the other needs it.
#[derive(Debug, Clone)]
struct Factor<B: DebertaBackend> {
    shape: Shape,
    /// `None` if nobody asks for the other's gradient.
    tensor: Option<FloatTensor<B>>,
}

impl<B: DebertaBackend> Backward<B, 2> for ProductStep {
    type State = [Factor<B>; 2];

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<B>(&ops.node);
        let [left, right] = ops.state;
        let [to_left, to_right] = ops.parents;
        if let (Some(parent), Some(right)) = (to_left, right.tensor) {
            let gradient = B::product(grad.clone(), transpose::<B>(right));
            grads.register::<B>(parent.id, sum_to::<B>(gradient, &left.shape));
        }
        if let (Some(parent), Some(left)) = (to_right, left.tensor) {
            let gradient = B::product(transpose::<B>(left), grad);
            grads.register::<B>(parent.id, sum_to::<B>(gradient, &right.shape));
        }
    }
}

fn transpose<B: DebertaBackend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let rank = x.rank();
    B::float_swap_dims(x, rank - 2, rank - 1)
}

/// Adds up along axes that the factor had only one of.
fn sum_to<B: DebertaBackend>(mut gradient: FloatTensor<B>, shape: &Shape) -> FloatTensor<B> {
    for axis in 0..shape.num_dims() {
        if shape[axis] == 1 && gradient.shape()[axis] != 1 {
            gradient = B::float_sum_dim(gradient, axis);
        }
    }
    gradient
}

/// Computes the product.
pub(super) fn track<B: DebertaBackend, C: CheckpointStrategy>(
    left: FloatTensor<Autodiff<B, C>>,
    right: FloatTensor<Autodiff<B, C>>,
) -> FloatTensor<Autodiff<B, C>> {
    // Until the step is registered: a backward pass on another thread frees what nothing refers to.
    let _alive = [left.rc.clone(), right.rc.clone()];
    let factor = |x: &FloatTensor<Autodiff<B, C>>, other: &FloatTensor<Autodiff<B, C>>| Factor {
        shape: x.primitive.shape(),
        tensor: other.is_tracked().then(|| x.primitive.clone()),
    };
    let factors = [factor(&left, &right), factor(&right, &left)];
    let nodes = [left.node, right.node];
    let output = B::product(left.primitive, right.primitive);
    match ProductStep.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish(factors, output),
        OpsKind::UnTracked(step) => step.finish(output),
    }
}
