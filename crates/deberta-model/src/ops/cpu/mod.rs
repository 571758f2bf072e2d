//! Kernels for CPU backends, in f32.
//!
//! Burn's CPU backends broadcast element by element on one thread; in training, biases, layer norms
//! and the loss would take several times as long as the matrix products. These kernels work on
//! whole rows, on all threads, with the instruction set that the processor has at run time.

mod attention;
mod host;
mod linear;
mod maps;
mod math;
mod rows;
mod shared;
mod softmax;
mod transpose;
mod update;

use std::sync::Arc;

use burn::tensor::ops::FloatTensor;
use burn::tensor::{Shape, TensorMetadata};

use self::host::HostBackend;
pub(super) use self::maps::{linear_backward, lookup_backward};
use super::{
    AdamWTensors, AdamWUpdate, AttentionCall, DropoutCall, Fused, FusedCall, MaskCall, Segment,
};

/// Runs a fused operation.
pub(super) fn forward<B: HostBackend>(call: &FusedCall<B>, inputs: &[FloatTensor<B>]) -> Fused<B> {
    let x = B::floats(&inputs[0]);
    let x = x.as_ref();
    let shape = inputs[0].shape();
    let plain = |output: Vec<f32>| Fused {
        output: B::tensor(output, shape.clone()),
        statistics: None,
    };
    match call {
        FusedCall::Attention(attention) => attention_forward(attention, inputs),
        FusedCall::Linear { gelu, tied } => maps::linear(*gelu, *tied, inputs),
        FusedCall::BiasGelu => plain(rows::bias_gelu(x, &B::floats(&inputs[1]))),
        FusedCall::ResidualNorm { .. } | FusedCall::LayerNorm { .. } => {
            let owned = NormTensors::read(call, inputs);
            let (output, statistics) = rows::norm(&owned.inputs(call, x));
            fused(output, shape, statistics)
        }
        FusedCall::CrossEntropy { labels } => {
            let labels = B::ints(labels);
            let (losses, statistics) = softmax::cross_entropy(x, &labels);
            let rows = losses.len();
            fused(losses, Shape::new([rows]), statistics)
        }
    }
}

/// An output with statistics for the backward pass.
fn fused<B: HostBackend>(output: Vec<f32>, shape: Shape, statistics: Vec<f32>) -> Fused<B> {
    let count = statistics.len();
    Fused {
        output: B::tensor(output, shape),
        statistics: Some(B::tensor(statistics, Shape::new([count]))),
    }
}

/// The statistics that [`forward`] gave.
fn statistics<B: HostBackend>(output: &Fused<B>) -> host::Floats<'_> {
    output
        .statistics
        .as_ref()
        .map(B::floats)
        .unwrap_or_default()
}

/// Dropout with the seed read.
#[derive(Debug, Clone, Copy)]
struct Dropout {
    prob: f64,
    seed: u64,
}

impl Dropout {
    fn read<B: HostBackend>(call: &DropoutCall<B>) -> Self {
        let draws = B::floats(&call.seed);
        let draws = draws.iter().map(|&draw| draw as u64);
        Self {
            prob: call.prob,
            seed: draws.fold(0, |seed, draw| (seed << 24) | draw),
        }
    }
}

/// Gradients for every input of a fused operation.
pub(super) fn backward<B: HostBackend>(
    call: &FusedCall<B>,
    inputs: &[FloatTensor<B>],
    output: &Fused<B>,
    grad: FloatTensor<B>,
) -> Vec<FloatTensor<B>> {
    let x = B::floats(&inputs[0]);
    let x = x.as_ref();
    let d_output = B::floats(&grad);
    let d_output = d_output.as_ref();
    let gradients = match call {
        FusedCall::Attention(attention) => {
            return attention_backward(attention, inputs, output, d_output);
        }
        FusedCall::Linear { .. } => unreachable!("its gradients are asked for one by one"),
        FusedCall::BiasGelu => {
            let (d_x, d_bias) = rows::bias_gelu_backward(x, &B::floats(&inputs[1]), d_output);
            vec![d_x, d_bias]
        }
        FusedCall::ResidualNorm { .. } | FusedCall::LayerNorm { .. } => {
            let owned = NormTensors::read(call, inputs);
            let gradients =
                rows::norm_backward(&owned.inputs(call, x), &statistics(output), d_output);
            match call {
                FusedCall::LayerNorm { .. } => {
                    vec![gradients.x, gradients.weight, gradients.bias]
                }
                _ => vec![
                    gradients.x,
                    gradients.added_bias,
                    gradients.residual,
                    gradients.weight,
                    gradients.bias,
                ],
            }
        }
        FusedCall::CrossEntropy { labels } => {
            let labels = B::ints(labels);
            let statistics = statistics(output);
            vec![softmax::cross_entropy_backward(
                x,
                &labels,
                &statistics,
                d_output,
            )]
        }
    };
    gradients
        .into_iter()
        .zip(inputs)
        .map(|(gradient, input)| B::tensor(gradient, input.shape()))
        .collect()
}

/// One update of a parameter by AdamW.
pub(super) fn adamw<B: HostBackend>(
    update: &AdamWUpdate,
    tensors: AdamWTensors<B>,
) -> AdamWTensors<B> {
    let shape = tensors.parameter.shape();
    let gradient = B::floats(&tensors.gradient);
    let (mut first, mut second) = match tensors.moments {
        Some((first, second)) => (B::take(first), B::take(second)),
        None => (vec![0.0; gradient.len()], vec![0.0; gradient.len()]),
    };
    let mut parameter = B::take(tensors.parameter);
    update::adamw(update, &mut parameter, &gradient, &mut first, &mut second);
    let tensor = |values| B::tensor(values, shape.clone());
    AdamWTensors {
        parameter: tensor(parameter),
        moments: Some((tensor(first), tensor(second))),
        gradient: tensors.gradient.clone(),
    }
}

/// `Σ x²` over all numbers of a tensor, `[1]`.
pub(super) fn sum_of_squares<B: HostBackend>(x: &FloatTensor<B>) -> FloatTensor<B> {
    B::tensor(vec![update::sum_of_squares(&B::floats(x))], Shape::new([1]))
}

/// `x` times the only number of `factor`, in the memory of `x`.
pub(super) fn scale<B: HostBackend>(x: FloatTensor<B>, factor: &FloatTensor<B>) -> FloatTensor<B> {
    let factor = B::floats(factor)[0];
    if factor == 1.0 {
        return x;
    }
    let shape = x.shape();
    let mut values = B::take(x);
    update::scale(&mut values, factor);
    B::tensor(values, shape)
}

/// Inputs of the two layer norms besides `x`, read from the backend.
struct NormTensors<'a> {
    added: Option<(host::Floats<'a>, host::Floats<'a>)>,
    weight: host::Floats<'a>,
    bias: host::Floats<'a>,
}

impl<'a> NormTensors<'a> {
    fn read<B: HostBackend>(call: &FusedCall<B>, inputs: &'a [FloatTensor<B>]) -> Self {
        let residual = matches!(call, FusedCall::ResidualNorm { .. });
        let parameters = if residual { &inputs[3..] } else { &inputs[1..] };
        Self {
            added: residual.then(|| (B::floats(&inputs[1]), B::floats(&inputs[2]))),
            weight: B::floats(&parameters[0]),
            bias: B::floats(&parameters[1]),
        }
    }

    fn inputs<'b, B: HostBackend>(&'b self, call: &FusedCall<B>, x: &'b [f32]) -> rows::Norm<'b> {
        let (epsilon, dropout) = match call {
            FusedCall::ResidualNorm { epsilon, dropout } => {
                (*epsilon, dropout.as_ref().map(Dropout::read))
            }
            FusedCall::LayerNorm { epsilon } => (*epsilon, None),
            other => unreachable!("{other:?} is no layer norm"),
        };
        rows::Norm {
            x,
            added: self
                .added
                .as_ref()
                .map(|(bias, residual)| (bias.as_ref(), residual.as_ref())),
            weight: &self.weight,
            bias: &self.bias,
            epsilon: epsilon as f32,
            dropout,
        }
    }
}

fn attention_forward<B: HostBackend>(
    call: &AttentionCall<B>,
    inputs: &[FloatTensor<B>],
) -> Fused<B> {
    with_attention_inputs(call, inputs, |attention| {
        let (output, statistics) = attention::forward(attention);
        fused(output, inputs[0].shape(), statistics)
    })
}

fn attention_backward<B: HostBackend>(
    call: &AttentionCall<B>,
    inputs: &[FloatTensor<B>],
    output: &Fused<B>,
    d_output: &[f32],
) -> Vec<FloatTensor<B>> {
    with_attention_inputs(call, inputs, |attention| {
        let out = B::floats(&output.output);
        let gradients = attention::backward(attention, &out, &statistics(output), d_output);
        let positions = [gradients.pos_key, gradients.pos_query];
        [gradients.query, gradients.key, gradients.value]
            .into_iter()
            .chain(positions.into_iter().flatten())
            .zip(inputs)
            .map(|(gradient, input)| B::tensor(gradient, input.shape()))
            .collect()
    })
}

/// Reads all tensors of an attention call and hands them on as slices.
fn with_attention_inputs<B: HostBackend, T>(
    call: &AttentionCall<B>,
    inputs: &[FloatTensor<B>],
    run: impl FnOnce(&attention::Inputs<'_>) -> T,
) -> T {
    let (q_shape, k_shape) = (inputs[0].shape(), inputs[1].shape());
    let floats: Vec<_> = inputs.iter().map(B::floats).collect();
    let pos_key = call.c2p.then(|| floats[3].as_ref());
    let pos_query = call.p2c.then(|| floats[3 + usize::from(call.c2p)].as_ref());
    let query_positions = call.query_positions.as_ref().map(B::ints);
    let blocked = match &call.mask {
        MaskCall::Full | MaskCall::Segments(_) => Vec::new(),
        MaskCall::Padding(mask) | MaskCall::Pairwise(mask) => B::bools(mask),
    };
    let segments: Arc<[Segment]> = match &call.mask {
        MaskCall::Segments(segments) => Arc::clone(segments.host()),
        _ => (0..q_shape[0])
            .map(|batch| Segment {
                queries: batch * q_shape[1]..(batch + 1) * q_shape[1],
                keys: batch * k_shape[1]..(batch + 1) * k_shape[1],
            })
            .collect(),
    };
    run(&attention::Inputs {
        shape: attention::Shape {
            q_rows: q_shape[0] * q_shape[1],
            k_rows: k_shape[0] * k_shape[1],
            heads: call.heads,
            head_dim: q_shape[2] / call.heads,
            live: inputs.get(3).map_or(0, |table| table.shape()[0]),
        },
        segments: &segments,
        query: &floats[0],
        key: &floats[1],
        value: &floats[2],
        pos_key,
        pos_query,
        slot_of_distance: call.slot_of_distance.host(),
        zero_distance: call.zero_distance,
        query_positions: query_positions.as_deref(),
        mask: match &call.mask {
            MaskCall::Full | MaskCall::Segments(_) => attention::Mask::Full,
            MaskCall::Padding(_) => attention::Mask::Padding(&blocked),
            MaskCall::Pairwise(_) => attention::Mask::Pairwise(&blocked),
        },
        // Queries at chosen positions are real tokens; consecutive ones include the padding.
        blind_padded_queries: call.query_positions.is_none(),
        scale: call.scale as f32,
        dropout: call
            .dropout
            .as_ref()
            .map(Dropout::read)
            .map(|dropout| attention::Dropout {
                prob: dropout.prob as f32,
                seed: dropout.seed,
            }),
    })
}
