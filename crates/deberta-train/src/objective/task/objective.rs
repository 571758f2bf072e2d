//! The objective of the task heads, with and without SiFT.

use std::marker::PhantomData;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use burn::train::{InferenceStep, TrainOutput, TrainStep};
use deberta_model::heads::{HeadConfig, ProblemType};
use deberta_model::ops::widen;
use deberta_model::{DebertaAutodiffBackend, DebertaBackend, DebertaInput, Tape};

use super::batch::Layout;
use super::loss::TargetMatrix;
use super::{LossConfig, Rows, TaskBatch, TaskEvaluation, TaskNetwork, TrainableNetwork};
use crate::objective::accumulate::accumulate;
use crate::objective::batch::sequences;
use crate::objective::sift::{Ascend, Branch, divergence, perturb};
use crate::objective::{Objective, Precision, SiftConfig, Step, StepSums, Tally};

/// What a [`TaskObjective`] needs besides the network.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSettings {
    /// Labels of the head; of no use for multiple choice and spans.
    pub labels: usize,
    /// What the logits mean.
    pub problem: ProblemType,
    /// How targets count.
    pub loss: LossConfig,
    /// Adversarial training.
    pub sift: Option<SiftConfig>,
    /// Type to compute in.
    pub precision: Precision,
    /// Whether only the inputs of layers are kept, and layers
    /// [computed again](deberta_model::recompute) in the backward pass.
    pub gradient_checkpointing: bool,
}

impl TaskSettings {
    /// The plain loss of a head.
    pub fn new(head: &HeadConfig, rows: Rows) -> Self {
        Self {
            labels: head.labels.len(),
            problem: match rows {
                Rows::Sequences => head.problem_type(),
                _ => ProblemType::SingleLabelClassification,
            },
            loss: LossConfig::default(),
            sift: None,
            precision: Precision::Full,
            gradient_checkpointing: false,
        }
    }

    /// Logits in a row.
    fn columns(&self, rows: Rows, batch: &TaskBatch) -> usize {
        match rows {
            Rows::Sequences | Rows::Tokens => self.labels,
            Rows::Examples => batch.choices,
            Rows::Spans => batch.seq_len,
        }
    }

    fn targets(&self, rows: Rows, batch: &TaskBatch) -> Option<TargetMatrix> {
        let columns = self.columns(rows, batch);
        self.loss
            .targets(self.problem, &batch.targets, batch.rows(rows), columns)
    }
}

/// Trains a network with a task head.
///
/// ```text
/// loss = Σ over all targets of the step of weight · loss  /  Σ weights
///      + λ Σ over all rows of logits of the penalty  /  rows          with SiFT
/// ```
///
/// Both means run over the whole step, so it does not matter how it is cut into micro-batches.
#[derive(Module, Debug)]
pub struct TaskObjective<B: Backend, M> {
    /// The network.
    pub model: M,
    #[module(skip)]
    settings: TaskSettings,
    backend: PhantomData<B>,
}

impl<B: DebertaBackend, M: TaskNetwork<B>> TaskObjective<B, M> {
    /// Trains `model` as `settings` say.
    pub fn new(model: M, settings: TaskSettings) -> Self {
        Self {
            model,
            settings,
            backend: PhantomData,
        }
    }

    fn device(&self) -> B::Device {
        self.model.devices().first().cloned().unwrap_or_default()
    }

    /// Logits of the clean pass, at least in f32; with SiFT, what its perturbed pass starts from.
    fn clean_pass(
        &self,
        network: &M,
        batch: &TaskBatch,
        tape: Option<&Tape<B>>,
        device: &B::Device,
    ) -> CleanPass<B> {
        let mut input = input::<B>(batch, device);
        input.tape = tape.cloned();
        if M::ROWS == Rows::Spans {
            // Padding has a part in the softmax over tokens: it must not be skipped.
            input.mask = input.mask.as_tensors();
        }
        let encoder = network.encoder();
        let Some(sift) = &self.settings.sift else {
            return CleanPass {
                logits: logits(network, encoder.forward(input), batch),
                perturbable: None,
            };
        };
        let branch = Branch::new(input, sift.perturbed);
        let normalized = branch.normalized(encoder);
        let states = branch.states(encoder, normalized.clone(), tape);
        CleanPass {
            logits: logits(network, states, batch),
            perturbable: Some((branch, normalized)),
        }
    }

    /// Sums to report of a batch with these logits.
    fn sums(
        &self,
        batch: &TaskBatch,
        targets: Option<&TargetMatrix>,
        logits: Tensor<B, 2>,
    ) -> (Option<Tensor<B, 1>>, StepSums<B>) {
        let mut sums = StepSums::empty(&logits.device(), logits.dtype());
        sums.host = Tally {
            tokens: batch.lengths.iter().sum(),
            rows: batch.real_row_count(M::ROWS),
            ..Tally::default()
        };
        let Some(targets) = targets else {
            return (None, sums);
        };
        sums.host.weight = targets.weight;
        sums.host.targets = targets.count;
        sums.correct = targets.correct(logits.clone().detach());
        let loss_sum = targets.loss_sum(logits);
        sums.loss_sum = loss_sum.clone().detach();
        (Some(loss_sum), sums)
    }
}

/// The clean pass of a batch.
struct CleanPass<B: DebertaBackend> {
    logits: Tensor<B, 2>,
    /// The way from normalised embeddings to states, and those embeddings.
    perturbable: Option<(Branch<B>, Tensor<B, 3>)>,
}

/// What the means of a step are taken over.
#[derive(Debug, Clone, Copy)]
struct Totals {
    weight: f64,
    rows: f64,
}

/// Networks of a step: what learns, and its frozen copy for the ascent.
struct Networks<M> {
    learning: M,
    frozen: Option<M>,
}

impl<B: DebertaAutodiffBackend, M: TaskNetwork<B>> TaskObjective<B, M> {
    fn totals(&self, step: &Step<TaskBatch>) -> Totals {
        let batches = step.micro_batches.iter();
        let weights = batches
            .clone()
            .filter_map(|batch| self.settings.targets(M::ROWS, batch));
        let rows: usize = batches.map(|batch| batch.real_row_count(M::ROWS)).sum();
        Totals {
            weight: weights.map(|targets| targets.weight).sum(),
            rows: rows as f64,
        }
    }

    fn networks(&self, device: &B::Device) -> Networks<M> {
        let learning = self.settings.precision.compute_copy(&self.model, device);
        let frozen = self.settings.sift.as_ref();
        Networks {
            frozen: frozen.map(|_| learning.clone().no_grad()),
            learning,
        }
    }

    /// Share of a micro-batch in the loss of the step, and what to report.
    ///
    /// - `start`: first perturbation; `None` for random noise
    fn share(
        &self,
        networks: &Networks<M>,
        batch: &TaskBatch,
        totals: Totals,
        start: Option<Tensor<B::InnerBackend, 3>>,
        tape: Option<&Tape<B>>,
    ) -> Option<(Tensor<B, 1>, StepSums<B>)> {
        let targets = self.settings.targets(M::ROWS, batch);
        let pass = self.clean_pass(&networks.learning, batch, tape, &self.device());
        let (loss_sum, mut sums) = self.sums(batch, targets.as_ref(), pass.logits.clone());
        let task = loss_sum
            .filter(|_| totals.weight > 0.0)
            .map(|sum| sum.div_scalar(totals.weight));
        let penalty = self
            .penalty(networks, batch, &pass, start, tape)
            .map(|(sum, weight)| {
                sums.penalty_sum = sum.clone().detach();
                sum.mul_scalar(weight / totals.rows)
            });
        let loss = match (task, penalty) {
            (Some(task), Some(penalty)) => task + penalty,
            (task, penalty) => task.or(penalty)?,
        };
        Some((loss, sums))
    }

    /// SiFT's penalty summed over the real rows of logits, and its weight.
    fn penalty(
        &self,
        networks: &Networks<M>,
        batch: &TaskBatch,
        pass: &CleanPass<B>,
        start: Option<Tensor<B::InnerBackend, 3>>,
        tape: Option<&Tape<B>>,
    ) -> Option<(Tensor<B, 1>, f64)> {
        let sift = self.settings.sift.as_ref()?;
        let (branch, normalized) = pass.perturbable.as_ref()?;
        let frozen = networks.frozen.as_ref()?;
        let forward = |network: &M, normalized, tape: Option<&Tape<B>>| {
            let states = branch.states(network.encoder(), normalized, tape);
            logits(network, states, batch)
        };
        let real = batch.real_rows(M::ROWS).map(|real| {
            let options = (&pass.logits.device(), pass.logits.dtype());
            Tensor::<B, 1>::from_data(TensorData::from(real.as_slice()), options)
        });
        let ascend = Ascend {
            sift,
            problem: self.settings.problem,
            normalized,
            clean: &pass.logits,
            real: real.clone(),
            tape,
        };
        let moved = perturb(&ascend, start, |normalized, tape| {
            forward(frozen, normalized, tape)
        });
        let perturbed = forward(&networks.learning, moved, tape);
        let clean = pass.logits.clone();
        let rows = divergence(sift.divergence, self.settings.problem, perturbed, clean);
        let sum = match real {
            Some(real) => (rows * real).sum(),
            None => rows.sum(),
        };
        Some((sum, sift.weight))
    }
}

impl<B: DebertaAutodiffBackend, M: TrainableNetwork<B>> TrainStep for TaskObjective<B, M> {
    type Input = Step<TaskBatch>;
    type Output = StepSums<B::InnerBackend>;

    /// A step without any target and without SiFT has no gradients and changes nothing.
    fn step(&self, step: Step<TaskBatch>) -> TrainOutput<Self::Output> {
        let device = self.device();
        let (totals, networks) = (self.totals(&step), self.networks(&device));
        let recompute = self.settings.gradient_checkpointing;
        let share = |batch: &TaskBatch, tape: Option<&Tape<B>>| {
            self.share(&networks, batch, totals, None, tape)
        };
        let network = &networks.learning;
        accumulate(&self.model, network, &step, recompute, &device, share)
    }
}

impl<B: DebertaBackend, M: TaskNetwork<B>> InferenceStep for TaskObjective<B, M> {
    type Input = TaskBatch;
    type Output = TaskEvaluation<B>;

    fn step(&self, batch: TaskBatch) -> TaskEvaluation<B> {
        let device = self.device();
        let network = self.settings.precision.compute_copy(&self.model, &device);
        let logits = self.clean_pass(&network, &batch, None, &device).logits;
        let targets = self.settings.targets(M::ROWS, &batch);
        let (_, sums) = self.sums(&batch, targets.as_ref(), logits.clone());
        TaskEvaluation::new(sums, Layout::new(&batch, M::ROWS), logits)
    }
}

impl<B: DebertaAutodiffBackend, M: TrainableNetwork<B>> Objective<B> for TaskObjective<B, M> {
    type Batch = TaskBatch;
    type Evaluation = TaskEvaluation<B::InnerBackend>;
}

/// Rows of logits, in f32 for half precision.
fn logits<B: DebertaBackend, M: TaskNetwork<B>>(
    network: &M,
    states: Tensor<B, 3>,
    batch: &TaskBatch,
) -> Tensor<B, 2> {
    widen(network.logits(states, batch))
}

/// Copies a batch to the device.
fn input<B: Backend>(batch: &TaskBatch, device: &B::Device) -> DebertaInput<B> {
    let shape = [batch.lengths.len(), batch.seq_len];
    let token_type_ids = batch.type_ids.as_ref().map(|types| {
        let types = TensorData::new(types.clone(), shape);
        Tensor::from_data(types, device)
    });
    DebertaInput {
        token_type_ids,
        ..sequences(&batch.input_ids, &batch.lengths, batch.seq_len, device)
    }
}

#[cfg(test)]
mod tests;
