//! Gradients of one update, micro-batch by micro-batch.

use std::marker::PhantomData;

use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{DType, Tensor, backend::AutodiffBackend};
use burn::train::TrainOutput;

use deberta_model::{DebertaAutodiffBackend, Tape};

use super::sums::DetectionSums;
use super::{Step, StepSums};

/// Adds up gradients and sums over the micro-batches of a step.
///
/// - `parameters`: what is updated
/// - `network`: what computes, the same or its copy in another type
/// - `recompute`: whether layers are computed again in the backward pass
/// - `forward`: the share of a micro-batch in the loss of the step, `[1]`, and what to report;
///   `None` if the batch has no target
pub(super) fn accumulate<B: DebertaAutodiffBackend, M: AutodiffModule<B>, T>(
    parameters: &M,
    network: &M,
    step: &Step<T>,
    recompute: bool,
    device: &B::Device,
    forward: impl Fn(&T, Option<&Tape<B>>) -> Option<(Tensor<B, 1>, StepSums<B>)>,
) -> TrainOutput<StepSums<B::InnerBackend>> {
    let mut accumulator = GradientsAccumulator::<M>::new();
    let mut sums: Option<StepSums<B::InnerBackend>> = None;
    let tapes = step.seed.map_or_else(Tape::default, Tape::seeded);
    for batch in &step.micro_batches {
        let tape = recompute.then(|| tapes.fresh());
        let Some((loss, batch_sums)) = forward(batch, tape.as_ref()) else {
            continue;
        };
        let batch_sums = batch_sums.inner();
        sums = Some(match sums {
            None => batch_sums,
            Some(sums) => sums.merge(batch_sums),
        });
        let parts = backward(loss.mul_scalar(step.loss_scale), tape.as_ref());
        let grads = add_up(parts, network);
        accumulator.accumulate(parameters, restore(parameters, grads, step.loss_scale));
    }
    TrainOutput {
        grads: accumulator.grads(),
        item: sums.unwrap_or_else(|| StepSums::empty(device, DType::F32)),
    }
}

/// The parts of the gradients of a loss `[1]`: one without a tape, one per layer and more with it.
pub(super) fn backward<B: DebertaAutodiffBackend>(
    loss: Tensor<B, 1>,
    tape: Option<&Tape<B>>,
) -> Vec<B::Gradients> {
    match tape {
        Some(tape) => tape.backward(loss),
        None => vec![loss.backward()],
    }
}

/// Gradients of a network from their parts.
fn add_up<B: AutodiffBackend, M: AutodiffModule<B>>(
    parts: Vec<B::Gradients>,
    network: &M,
) -> GradientsParams {
    let mut sum = GradientsAccumulator::<M>::new();
    for part in parts {
        sum.accumulate(network, GradientsParams::from_grads(part, network));
    }
    sum.grads()
}

impl<B: AutodiffBackend> StepSums<B> {
    fn inner(self) -> StepSums<B::InnerBackend> {
        StepSums {
            loss_sum: self.loss_sum.inner(),
            penalty_sum: self.penalty_sum.inner(),
            correct: self.correct.inner(),
            grad_norm: self.grad_norm.inner(),
            detection: self.detection.map(|it| DetectionSums {
                loss_sum: it.loss_sum.inner(),
                counts: it.counts.inner(),
            }),
            host: self.host,
            scores: self.scores,
        }
    }
}

/// Gives gradients the type of the parameters and takes the loss scale off.
fn restore<B: AutodiffBackend, M: AutodiffModule<B>>(
    parameters: &M,
    grads: GradientsParams,
    loss_scale: f64,
) -> GradientsParams {
    let mut restorer = Restorer::<B> {
        grads,
        loss_scale,
        backend: PhantomData,
    };
    parameters.visit(&mut restorer);
    restorer.grads
}

struct Restorer<B: AutodiffBackend> {
    grads: GradientsParams,
    loss_scale: f64,
    backend: PhantomData<B>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Restorer<B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let Some(mut grad) = self.grads.remove::<B::InnerBackend, D>(param.id) else {
            return;
        };
        let dtype = param.val().dtype();
        if grad.dtype() != dtype {
            grad = grad.cast(dtype);
        }
        if self.loss_scale != 1.0 {
            grad = grad.div_scalar(self.loss_scale);
        }
        self.grads.register(param.id, grad);
    }
}
