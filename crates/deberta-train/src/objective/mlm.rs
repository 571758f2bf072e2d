//! Masked language modelling, with gradients accumulated over micro-batches.

use burn::module::Module;
use burn::tensor::{DType, Tensor, TensorData, backend::Backend};
use burn::train::{InferenceStep, TrainOutput, TrainStep};
use deberta_model::heads::masked_lm::{MaskedTokens, token_losses};
use deberta_model::{
    DebertaAutodiffBackend, DebertaBackend, DebertaForMaskedLm, DebertaInput, MaskedLmInput, Tape,
};

use super::accumulate::accumulate;
use super::batch::sequences;
use super::{MlmBatch, Objective, Precision, Step, StepSums, Tally};

/// Trains a [masked language model](DebertaForMaskedLm) to restore masked tokens.
///
/// ```text
/// loss = Σ over all masked tokens of the step of −log p(token)  /  number of those tokens
/// ```
///
/// The mean runs over the whole step, so a step of four micro-batches equals a step of one batch
/// with the same sequences, even if the micro-batches hold different numbers of masked tokens.
///
/// # Deviation
///
/// Microsoft's trainer gives each micro-batch the same weight.
#[derive(Module, Debug)]
pub struct MlmObjective<B: Backend> {
    /// The network.
    pub model: DebertaForMaskedLm<B>,
    #[module(skip)]
    precision: Precision,
    recompute: bool,
}

/// The micro-batches of one update of a masked language model.
pub type MlmStep = Step<MlmBatch>;

impl<B: DebertaBackend> MlmObjective<B> {
    /// Trains with every number in the type of the parameters.
    pub fn new(model: DebertaForMaskedLm<B>) -> Self {
        Self {
            model,
            precision: Precision::Full,
            recompute: false,
        }
    }

    /// Computes in `precision`; the parameters keep their type.
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Keeps only the inputs of layers and [computes them again](deberta_model::recompute) in the
    /// backward pass.
    pub fn with_gradient_checkpointing(self, recompute: bool) -> Self {
        Self { recompute, ..self }
    }

    fn device(&self) -> B::Device {
        self.devices().first().cloned().unwrap_or_default()
    }
}

/// Cross-entropy summed over the masked tokens of a batch, and what to report.
///
/// `None` if nothing is masked.
fn forward<B: DebertaBackend>(
    model: &DebertaForMaskedLm<B>,
    batch: &MlmBatch,
    tape: Option<&Tape<B>>,
    device: &B::Device,
) -> Option<(Tensor<B, 1>, StepSums<B>)> {
    let masked = masked_tokens(batch);
    if masked == 0 {
        return None;
    }
    let labels = batch.labels.concat();
    let labels = Tensor::from_data(TensorData::from(labels.as_slice()), device);

    let logits = model.forward(input(batch, tape, device));
    let predictions = logits.clone().detach().argmax(1).squeeze_dim::<1>(1);
    let loss_sum = token_losses(logits, labels.clone()).sum();
    let sums = StepSums {
        loss_sum: loss_sum.clone().detach(),
        correct: predictions.equal(labels).int().sum(),
        host: Tally {
            weight: masked as f64,
            targets: masked,
            tokens: batch.lengths.iter().sum(),
            ..Tally::default()
        },
        ..StepSums::empty(device, loss_sum.dtype())
    };
    Some((loss_sum, sums))
}

impl<B: DebertaAutodiffBackend> TrainStep for MlmObjective<B> {
    type Input = MlmStep;
    type Output = StepSums<B::InnerBackend>;

    /// A step without any masked token has no gradients and changes nothing.
    fn step(&self, step: MlmStep) -> TrainOutput<Self::Output> {
        let device = self.device();
        let total: usize = step.micro_batches.iter().map(masked_tokens).sum();
        let model = self.precision.compute_copy(&self.model, &device);
        let share = |batch: &MlmBatch, tape: Option<&Tape<B>>| {
            let (loss_sum, sums) = forward(&model, batch, tape, &device)?;
            Some((loss_sum.div_scalar(total as f64), sums))
        };
        accumulate(&self.model, &model, &step, self.recompute, &device, share)
    }
}

impl<B: DebertaBackend> InferenceStep for MlmObjective<B> {
    type Input = MlmBatch;
    type Output = StepSums<B>;

    fn step(&self, batch: MlmBatch) -> StepSums<B> {
        let device = self.device();
        let model = self.precision.compute_copy(&self.model, &device);
        match forward(&model, &batch, None, &device) {
            None => StepSums::empty(&device, DType::F32),
            Some((_, sums)) => sums,
        }
    }
}

impl<B: DebertaAutodiffBackend> Objective<B> for MlmObjective<B> {
    type Batch = MlmBatch;
    type Evaluation = StepSums<B::InnerBackend>;
}

/// Tokens to predict in a batch.
pub(super) fn masked_tokens(batch: &MlmBatch) -> usize {
    batch.labels.iter().map(Vec::len).sum()
}

/// Copies a batch to the device.
pub(super) fn input<B: Backend>(
    batch: &MlmBatch,
    tape: Option<&Tape<B>>,
    device: &B::Device,
) -> MaskedLmInput<B> {
    MaskedLmInput {
        tokens: DebertaInput {
            tape: tape.cloned(),
            ..sequences(&batch.input_ids, &batch.lengths, batch.seq_len, device)
        },
        masked: MaskedTokens::new(&batch.masked_positions, batch.seq_len, device),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::{Autodiff, Flex};
    use burn::module::{ModuleVisitor, Param};
    use burn::optim::{GradientsParams, Optimizer};
    use burn::train::metric::ItemLazy;
    use deberta_model::DebertaConfig;

    use crate::optim::AdamWConfig;

    type B = Autodiff<Flex>;

    const VOCAB: usize = 23;
    const SEQ_LEN: usize = 9;

    fn objective() -> MlmObjective<B> {
        let config = DebertaConfig::v3(VOCAB, 16, 2, 2).without_dropout();
        MlmObjective::new(config.init_masked_lm(3, &Default::default()).unwrap())
    }

    /// A batch of the given rows of an endless text, with 1 to 4 masked tokens per row.
    fn batch(rows: std::ops::Range<usize>) -> MlmBatch {
        let (mut input_ids, mut lengths) = (Vec::new(), Vec::new());
        let (mut masked_positions, mut labels) = (Vec::new(), Vec::new());
        for row in rows.clone() {
            let length = SEQ_LEN - row % 3;
            let id = |position: usize| (3 + (row * 7 + position * 5) % (VOCAB - 3)) as i32;
            let ids = (0..SEQ_LEN).map(|it| if it < length { id(it) } else { 0 });
            let positions: Vec<u32> = (0..1 + row as u32 % 4).map(|it| it + 1).collect();
            labels.push(positions.iter().map(|it| id(*it as usize) as u32).collect());
            input_ids.extend(ids.enumerate().map(|(position, id)| {
                if positions.contains(&(position as u32)) {
                    2
                } else {
                    id
                }
            }));
            lengths.push(length);
            masked_positions.push(positions);
        }
        let batch = rows.len();
        MlmBatch {
            batch,
            seq_len: SEQ_LEN,
            input_ids,
            lengths,
            masked_positions,
            labels,
        }
    }

    /// All gradients of the model, in the order of its tree.
    fn gradients(objective: &MlmObjective<B>, micro_batches: Vec<MlmBatch>) -> (Vec<f64>, Tally) {
        struct Collector(GradientsParams, Vec<f64>);
        impl ModuleVisitor<B> for Collector {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
                if let Some(grad) = self.0.remove::<Flex, D>(param.id) {
                    self.1.extend(grad.into_data().iter::<f64>());
                }
            }
        }
        let output = TrainStep::step(objective, Step::new(micro_batches));
        let mut collector = Collector(output.grads, Vec::new());
        objective.visit(&mut collector);
        (collector.1, output.item.sync().tally)
    }

    #[test]
    fn micro_batches_add_up_to_the_whole_batch() {
        let objective = objective();
        let (whole, whole_tally) = gradients(&objective, vec![batch(0..8)]);
        let quarters = [0..2, 2..4, 4..6, 6..8].map(batch).to_vec();
        let masked: Vec<usize> = quarters.iter().map(masked_tokens).collect();
        assert_eq!(masked, [3, 7, 3, 7], "the weights must differ");
        let (parts, parts_tally) = gradients(&objective, quarters);

        let largest = whole
            .iter()
            .fold(0.0f64, |largest, grad| largest.max(grad.abs()));
        assert!(largest > 1e-2);
        assert_eq!(whole.len(), parts.len());
        for (whole, part) in whole.iter().zip(&parts) {
            assert!(
                (whole - part).abs() < 1e-6 * largest.max(1.0),
                "{whole} is not {part}"
            );
        }
        assert!((whole_tally.loss_nats() - parts_tally.loss_nats()).abs() < 1e-6);
        assert_eq!(
            (whole_tally.targets, whole_tally.tokens),
            (20, 8 * SEQ_LEN - 7)
        );
        assert_eq!(parts_tally.correct, whole_tally.correct);
    }

    /// Also where micro-batches and layers are both added up.
    #[test]
    fn gradient_checkpointing_changes_no_gradient() {
        let plain = objective();
        let micro_batches = || vec![batch(0..3), batch(3..8)];
        let (expected, tally) = gradients(&plain, micro_batches());
        let checkpointing = plain.with_gradient_checkpointing(true);
        let (actual, recomputed_tally) = gradients(&checkpointing, micro_batches());
        assert!(expected.iter().any(|it| it.abs() > 1e-2));
        assert!(actual == expected, "to the bit");
        assert_eq!(recomputed_tally.loss_sum, tally.loss_sum);
    }

    #[test]
    fn the_loss_is_the_cross_entropy_of_the_masked_tokens() {
        let objective = objective();
        let batch = batch(0..5);
        let device = Default::default();
        let logits = objective
            .model
            .forward(input::<B>(&batch, None, &device))
            .into_data();
        let logits: Vec<f64> = logits.iter::<f64>().collect();

        let (mut loss_sum, mut correct) = (0.0, 0);
        for (row, label) in logits.chunks(VOCAB).zip(batch.labels.concat()) {
            let partition: f64 = row.iter().map(|logit| logit.exp()).sum();
            loss_sum += partition.ln() - row[label as usize];
            let best = row.iter().fold(f64::MIN, |best, logit| best.max(*logit));
            correct += usize::from(row[label as usize] == best);
        }
        let tally = InferenceStep::step(&burn::module::AutodiffModule::valid(&objective), batch);
        let tally = tally.sync().tally;
        assert!((tally.loss_sum - loss_sum).abs() < 1e-4);
        assert_eq!((tally.correct, tally.targets), (correct, 11));
        assert!(
            (tally.loss_nats() - (VOCAB as f64).ln()).abs() < 0.3,
            "untrained is uniform"
        );
    }

    #[test]
    fn a_step_without_masked_tokens_has_no_gradients() {
        let mut unmasked = batch(0..2);
        unmasked.masked_positions = vec![Vec::new(); 2];
        unmasked.labels = vec![Vec::new(); 2];
        let (gradients, tally) = gradients(&objective(), vec![unmasked]);

        assert!(gradients.is_empty());
        assert_eq!((tally.targets, tally.loss_sum), (0, 0.0));
    }

    #[test]
    fn one_batch_is_learnt_by_heart() {
        let mut objective = objective();
        let mut optimizer = AdamWConfig::default().init::<B, MlmObjective<B>>();
        let mut tally = Tally::default();
        for _ in 0..150 {
            let output = TrainStep::step(&objective, Step::new(vec![batch(0..4)]));
            tally = output.item.sync().tally;
            objective = optimizer.step(1e-2, objective, output.grads);
        }
        assert!(
            tally.loss_nats() < 0.1,
            "the loss is still {}",
            tally.loss_nats()
        );
        assert_eq!(tally.correct, tally.targets);
    }
}
