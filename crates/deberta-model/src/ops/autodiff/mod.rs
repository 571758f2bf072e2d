//! Fused operations under automatic differentiation.

mod linear;
mod lookup;
mod product;

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::DType;
use burn::tensor::ops::{FloatTensor, IntTensor};

use super::{AttentionCall, DebertaBackend, DropoutCall, Fused, FusedCall, FusedKind, MaskCall};

impl<B: DebertaBackend, C: CheckpointStrategy> DebertaBackend for Autodiff<B, C> {
    fn fuses(kind: FusedKind, dtype: DType, device: &Self::Device) -> bool {
        kind != FusedKind::LinearGelu && B::fuses(kind, dtype, device)
    }

    fn product(left: FloatTensor<Self>, right: FloatTensor<Self>) -> FloatTensor<Self> {
        product::track::<B, C>(left, right)
    }

    fn lookup(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        lookup::track::<B, C>(table, ids)
    }

    fn apply(call: FusedCall<Self>, inputs: Vec<FloatTensor<Self>>) -> FloatTensor<Self> {
        let call = inner_call(call);
        if let FusedCall::Linear { tied, .. } = call {
            return match inputs.len() {
                2 => linear::track::<B, C, 2>(tied, inputs),
                _ => linear::track::<B, C, 3>(tied, inputs),
            };
        }
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
        FusedCall::Linear { gelu, tied } => FusedCall::Linear { gelu, tied },
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

#[cfg(all(test, feature = "flex", feature = "ndarray"))]
mod tests {
    use burn::backend::{Flex, NdArray};
    use burn::module::Module;
    use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
    use burn::tensor::backend::{AutodiffBackend, Backend};
    use burn::tensor::{Int, Tensor, TensorData};

    use super::*;
    use crate::ops::{self, DebertaAutodiffBackend};

    const VOCAB: usize = 7;
    const WIDTH: usize = 5;

    fn numbers<B: Backend, const D: usize>(shape: [usize; D], salt: usize) -> Tensor<B, D> {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count)
            .map(|i| ((i * 37 + salt * 101) % 89) as f32 / 44.0 - 1.0)
            .collect();
        Tensor::from_data(TensorData::new(values, shape), &Default::default())
    }

    fn gradient<B: AutodiffBackend, const D: usize>(
        tensor: &Tensor<B, D>,
        grads: &B::Gradients,
    ) -> Option<Vec<f64>> {
        let gradient = tensor.grad(grads)?.into_data();
        Some(gradient.iter::<f64>().collect())
    }

    /// Gradients of a table that is looked up and decodes, and of a map that is applied twice.
    fn gradients<B: DebertaAutodiffBackend>(frozen: bool) -> [Option<Vec<f64>>; 4] {
        let device = Default::default();
        let mut words: Embedding<B> = EmbeddingConfig::new(VOCAB, WIDTH).init(&device);
        words.weight = words
            .weight
            .map(|_| numbers([VOCAB, WIDTH], 1).require_grad());
        let mut map: Linear<B> = LinearConfig::new(WIDTH, WIDTH).init(&device);
        map.weight = map
            .weight
            .map(|_| numbers([WIDTH, WIDTH], 2).require_grad());
        map.bias = map
            .bias
            .map(|it| it.map(|_| numbers([WIDTH], 3).require_grad()));
        if frozen {
            map = map.no_grad();
        }
        let bias = numbers::<B, 1>([VOCAB], 4).require_grad();
        let ids = Tensor::<B, 2, Int>::from_ints([[1, 4, 1], [6, 1, 4]], &device);

        let x = ops::lookup(words.weight.val(), ids);
        let once = ops::linear(&map, x.clone());
        let states = (ops::linear(&map, once.clone()) + once + x).reshape([6, WIDTH]);
        let logits = ops::vocabulary_logits(states, words.weight.val(), bias.clone());
        let grads = (logits * numbers([6, VOCAB], 5)).sum().backward();
        [
            gradient(&words.weight.val(), &grads),
            gradient(&map.weight.val(), &grads),
            map.bias.and_then(|it| gradient(&it.val(), &grads)),
            gradient(&bias, &grads),
        ]
    }

    #[track_caller]
    fn assert_kernels_equal_plain_operations(frozen: bool) {
        let exact = gradients::<Autodiff<NdArray<f64>>>(frozen);
        for fused in [
            gradients::<Autodiff<Flex>>(frozen),
            gradients::<Autodiff<NdArray<f32>>>(frozen),
        ] {
            for (fused, exact) in fused.iter().zip(&exact) {
                assert_eq!(fused.is_some(), exact.is_some());
                let pairs = fused.iter().flatten().zip(exact.iter().flatten());
                for (fused, exact) in pairs {
                    assert!(
                        (fused - exact).abs() < 1e-4 * exact.abs().max(1.0),
                        "{fused} {exact}"
                    );
                }
            }
        }
        assert_eq!(exact.map(|it| it.is_some()), [true, !frozen, !frozen, true]);
    }

    #[test]
    fn gradients_go_into_those_that_are_there() {
        assert_kernels_equal_plain_operations(false);
    }

    #[test]
    fn frozen_maps_have_no_gradients_and_pass_them_on() {
        assert_kernels_equal_plain_operations(true);
    }
}
