//! Fused operations under automatic differentiation.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::DType;
use burn::tensor::ops::FloatTensor;

use super::{AttentionCall, DebertaBackend, DropoutCall, Fused, FusedCall, FusedKind, MaskCall};

impl<B: DebertaBackend, C: CheckpointStrategy> DebertaBackend for Autodiff<B, C> {
    fn fuses(kind: FusedKind, dtype: DType, device: &Self::Device) -> bool {
        kind != FusedKind::Linear && B::fuses(kind, dtype, device)
    }

    fn apply(call: FusedCall<Self>, inputs: Vec<FloatTensor<Self>>) -> FloatTensor<Self> {
        let call = inner_call(call);
        match inputs.len() {
            1 => track::<B, C, 1>(call, inputs),
            2 => track::<B, C, 2>(call, inputs),
            3 => track::<B, C, 3>(call, inputs),
            4 => track::<B, C, 4>(call, inputs),
            5 => track::<B, C, 5>(call, inputs),
            other => unreachable!("no fused operation has {other} inputs"),
        }
    }
}

/// Integer and boolean tensors are the same with and without autodiff.
fn inner_call<B: DebertaBackend, C: CheckpointStrategy>(
    call: FusedCall<Autodiff<B, C>>,
) -> FusedCall<B> {
    match call {
        FusedCall::Attention(it) => FusedCall::Attention(AttentionCall {
            heads: it.heads,
            c2p: it.c2p,
            p2c: it.p2c,
            scale: it.scale,
            slot_of_distance: it.slot_of_distance,
            zero_distance: it.zero_distance,
            query_positions: it.query_positions,
            mask: match it.mask {
                MaskCall::Full => MaskCall::Full,
                MaskCall::Segments(segments) => MaskCall::Segments(segments),
                MaskCall::Padding(mask_pad) => MaskCall::Padding(mask_pad),
                MaskCall::Pairwise(blocked) => MaskCall::Pairwise(blocked),
            },
            dropout: it.dropout.map(inner_dropout),
        }),
        FusedCall::Linear { gelu } => FusedCall::Linear { gelu },
        FusedCall::AddBias => FusedCall::AddBias,
        FusedCall::BiasGelu => FusedCall::BiasGelu,
        FusedCall::ResidualNorm { epsilon, dropout } => FusedCall::ResidualNorm {
            epsilon,
            dropout: dropout.map(inner_dropout),
        },
        FusedCall::LayerNorm { epsilon } => FusedCall::LayerNorm { epsilon },
        FusedCall::CrossEntropy { labels } => FusedCall::CrossEntropy { labels },
    }
}

/// No gradient flows to a seed.
fn inner_dropout<B: DebertaBackend, C: CheckpointStrategy>(
    dropout: DropoutCall<Autodiff<B, C>>,
) -> DropoutCall<B> {
    DropoutCall {
        prob: dropout.prob,
        seed: dropout.seed.primitive,
    }
}

/// Backward step of any fused operation with `N` inputs.
#[derive(Debug)]
struct FusedStep;

/// What the backward step needs.
#[derive(Debug, Clone)]
struct State<B: DebertaBackend> {
    call: FusedCall<B>,
    inputs: Vec<FloatTensor<B>>,
    output: Fused<B>,
}

impl<B: DebertaBackend, const N: usize> Backward<B, N> for FusedStep {
    type State = State<B>;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let State {
            call,
            inputs,
            output,
        } = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let input_grads = B::fused_backward(&call, &inputs, &output, grad);
        for (parent, grad) in ops.parents.into_iter().zip(input_grads) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

fn track<B: DebertaBackend, C: CheckpointStrategy, const N: usize>(
    call: FusedCall<B>,
    inputs: Vec<FloatTensor<Autodiff<B, C>>>,
) -> FloatTensor<Autodiff<B, C>> {
    let nodes = std::array::from_fn(|index| inputs[index].node.clone());
    // Until the step is registered: a backward pass on another thread frees what nothing refers to.
    let _alive: Vec<_> = inputs.iter().map(|input| input.rc.clone()).collect();
    let inputs: Vec<_> = inputs.into_iter().map(|input| input.primitive).collect();
    let output = B::fused(&call, &inputs);
    let step = Backward::<B, N>::prepare::<C>(FusedStep, nodes);
    match step.compute_bound().stateful() {
        OpsKind::Tracked(step) => {
            let primitive = output.output.clone();
            let state = State {
                call,
                inputs,
                output,
            };
            step.finish(state, primitive)
        }
        OpsKind::UnTracked(step) => step.finish(output.output),
    }
}
