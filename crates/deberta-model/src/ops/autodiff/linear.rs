//! Linear maps whose gradients go into those that are there already.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::FloatTensor;

use crate::ops::{DebertaBackend, FusedCall, LinearGradients};

/// Backward step of [`FusedCall::Linear`], with (`N = 3`) or without a bias.
#[derive(Debug)]
struct LinearStep;

/// What the backward step needs, which is not the output.
#[derive(Debug, Clone)]
struct State<B: DebertaBackend> {
    tied: bool,
    x: Option<FloatTensor<B>>,
    weight: Option<FloatTensor<B>>,
}

impl<B: DebertaBackend, const N: usize> Backward<B, N> for LinearStep {
    type State = State<B>;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let State { tied, x, weight } = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let parent = |index: usize| ops.parents.get(index).and_then(Option::as_ref);
        // Of this tensor only the node counts.
        let mut place = Autodiff::<B>::from_inner(grad.clone());
        let mut sum = |index| {
            place.node = parent(index)?.clone();
            grads.remove::<B>(&place)
        };
        let sums = [sum(0), sum(1), sum(2)];
        let call = LinearGradients {
            tied,
            x: x.as_ref(),
            weight: weight.as_ref(),
            bias: parent(2).is_some(),
            grad: &grad,
            sums,
        };
        let gradients = B::linear_backward(call);
        for (index, gradient) in gradients.into_iter().enumerate() {
            if let (Some(parent), Some(gradient)) = (parent(index), gradient) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

/// Computes the map; the inputs are those of the call.
pub(super) fn track<B: DebertaBackend, C: CheckpointStrategy, const N: usize>(
    tied: bool,
    inputs: Vec<FloatTensor<Autodiff<B, C>>>,
) -> FloatTensor<Autodiff<B, C>> {
    let nodes = std::array::from_fn(|index| inputs[index].node.clone());
    // Until the step is registered: a backward pass on another thread frees what nothing refers to.
    let _alive: Vec<_> = inputs.iter().map(|input| input.rc.clone()).collect();
    let tracked: Vec<_> = inputs.iter().map(|input| input.is_tracked()).collect();
    let inputs: Vec<_> = inputs.into_iter().map(|input| input.primitive).collect();
    let call = FusedCall::Linear { gelu: false, tied };
    let output = B::fused(&call, &inputs).output;
    match Backward::<B, N>::prepare::<C>(LinearStep, nodes)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(step) => {
            let state = State {
                tied,
                x: tracked[1].then(|| inputs[0].clone()),
                weight: tracked[0].then(|| inputs[1].clone()),
            };
            step.finish(state, output)
        }
        OpsKind::UnTracked(step) => step.finish(output),
    }
}
