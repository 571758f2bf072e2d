//! Masked language modelling, with gradients accumulated over micro-batches.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Bool, Int, Tensor, TensorData, Transaction, backend::Backend};
use burn::train::metric::ItemLazy;
use burn::train::{InferenceStep, TrainOutput, TrainStep};
use deberta_model::attention::AttentionMask;
use deberta_model::heads::masked_lm::{MaskedTokens, token_losses};
use deberta_model::{
    DebertaAutodiffBackend, DebertaBackend, DebertaForMaskedLm, DebertaInput, MaskedLmInput,
};

use super::{MlmBatch, StepOutput, Tally};

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
}

/// The micro-batches of one update.
#[derive(Debug, Clone)]
pub struct MlmStep {
    /// Each goes forward and backward on its own.
    pub micro_batches: Vec<MlmBatch>,
}

impl MlmStep {
    fn masked_tokens(&self) -> usize {
        self.micro_batches.iter().map(masked_tokens).sum()
    }
}

/// Sums over the tokens of a step, still on the device.
#[derive(Debug, Clone)]
pub struct MlmOutput<B: Backend> {
    /// Cross-entropy summed over the masked tokens, `[1]`.
    loss_sum: Tensor<B, 1>,
    /// Correct predictions, `[1]`.
    correct: Tensor<B, 1, Int>,
    /// Mean norm of the gradients, `[1]`.
    grad_norm: Tensor<B, 1>,
    masked: usize,
    tokens: usize,
    seconds: f64,
}

impl<B: Backend> MlmOutput<B> {
    fn empty(device: &B::Device) -> Self {
        Self {
            loss_sum: Tensor::zeros([1], device),
            correct: Tensor::zeros([1], device),
            grad_norm: Tensor::zeros([1], device),
            masked: 0,
            tokens: 0,
            seconds: 0.0,
        }
    }
}

impl<B: Backend> StepOutput<B> for MlmOutput<B> {
    fn merge(self, later: Self) -> Self {
        Self {
            loss_sum: self.loss_sum + later.loss_sum,
            correct: self.correct + later.correct,
            grad_norm: later.grad_norm,
            masked: self.masked + later.masked,
            tokens: self.tokens + later.tokens,
            seconds: self.seconds + later.seconds,
        }
    }

    fn with_pace(self, seconds: f64, grad_norm: Tensor<B, 1>) -> Self {
        Self {
            seconds,
            grad_norm,
            ..self
        }
    }
}

impl<B: Backend> ItemLazy for MlmOutput<B> {
    type ItemSync = Tally;

    /// Reads all sums in one transfer.
    fn sync(self) -> Tally {
        let data = Transaction::default()
            .register(self.loss_sum)
            .register(self.correct)
            .register(self.grad_norm)
            .execute();
        let first = |data: &TensorData| data.iter::<f64>().next();
        let mut values = data.iter().map(|data| first(data).unwrap_or(f64::NAN));
        let mut value = || values.next().unwrap_or(f64::NAN);
        Tally {
            loss_sum: value(),
            correct: value() as usize,
            grad_norm: value(),
            masked: self.masked,
            tokens: self.tokens,
            seconds: self.seconds,
        }
    }
}

impl<B: DebertaBackend> MlmObjective<B> {
    /// Cross-entropy of each masked token of a batch, and the sums to report.
    ///
    /// `None` if nothing is masked.
    fn forward(&self, batch: &MlmBatch) -> Option<(Tensor<B, 1>, Tensor<B, 1, Int>)> {
        if masked_tokens(batch) == 0 {
            return None;
        }
        let device = self.devices().first().cloned().unwrap_or_default();
        let labels = batch.labels.concat();
        let labels = Tensor::from_data(TensorData::from(labels.as_slice()), &device);

        let logits = self.model.forward(input(batch, &device));
        let predictions = logits.clone().detach().argmax(1).squeeze_dim::<1>(1);
        let correct = predictions.equal(labels.clone()).int().sum();
        Some((token_losses(logits, labels), correct))
    }
}

impl<B: DebertaAutodiffBackend> TrainStep for MlmObjective<B> {
    type Input = MlmStep;
    type Output = MlmOutput<B::InnerBackend>;

    /// A step without any masked token has no gradients and changes nothing.
    fn step(&self, step: MlmStep) -> TrainOutput<Self::Output> {
        let device = self.devices().first().cloned().unwrap_or_default();
        let total = step.masked_tokens() as f64;
        let mut accumulator = GradientsAccumulator::<Self>::new();
        let mut sums = MlmOutput::empty(&device);
        for batch in &step.micro_batches {
            let Some((losses, correct)) = self.forward(batch) else {
                continue;
            };
            let loss_sum = losses.sum();
            let output = MlmOutput {
                loss_sum: loss_sum.clone().inner(),
                correct: correct.inner(),
                masked: masked_tokens(batch),
                tokens: batch.lengths.iter().sum(),
                ..MlmOutput::empty(&device)
            };
            sums = sums.merge(output);
            let grads = loss_sum.div_scalar(total).backward();
            accumulator.accumulate(self, GradientsParams::from_grads(grads, self));
        }
        TrainOutput {
            grads: accumulator.grads(),
            item: sums,
        }
    }
}

impl<B: DebertaBackend> InferenceStep for MlmObjective<B> {
    type Input = MlmBatch;
    type Output = MlmOutput<B>;

    fn step(&self, batch: MlmBatch) -> MlmOutput<B> {
        let device = self.devices().first().cloned().unwrap_or_default();
        let empty = MlmOutput::empty(&device);
        match self.forward(&batch) {
            None => empty,
            Some((losses, correct)) => MlmOutput {
                loss_sum: losses.sum(),
                correct,
                masked: masked_tokens(&batch),
                tokens: batch.lengths.iter().sum(),
                ..empty
            },
        }
    }
}

fn masked_tokens(batch: &MlmBatch) -> usize {
    batch.labels.iter().map(Vec::len).sum()
}

/// Copies a batch to the device.
fn input<B: Backend>(batch: &MlmBatch, device: &B::Device) -> MaskedLmInput<B> {
    let shape = [batch.batch, batch.seq_len];
    let input_ids = TensorData::new(batch.input_ids.clone(), shape);
    let padded = batch.lengths.iter().any(|length| *length < batch.seq_len);
    let mask = if padded {
        let columns = 0..batch.seq_len;
        let mask_pad: Vec<bool> = batch
            .lengths
            .iter()
            .flat_map(|length| columns.clone().map(move |column| column >= *length))
            .collect();
        AttentionMask::Padding(Tensor::<B, 2, Bool>::from_data(
            TensorData::new(mask_pad, shape),
            device,
        ))
    } else {
        AttentionMask::Full
    };
    MaskedLmInput {
        tokens: DebertaInput {
            mask,
            ..DebertaInput::new(Tensor::from_data(input_ids, device))
        },
        masked: MaskedTokens::new(&batch.masked_positions, batch.seq_len, device),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::{Autodiff, Flex};
    use burn::module::{ModuleVisitor, Param};
    use burn::optim::Optimizer;
    use deberta_model::DebertaConfig;

    use crate::optim::AdamWConfig;

    type B = Autodiff<Flex>;

    const VOCAB: usize = 23;
    const SEQ_LEN: usize = 9;

    fn objective() -> MlmObjective<B> {
        let config = DebertaConfig::v3(VOCAB, 16, 2, 2).without_dropout();
        MlmObjective {
            model: config.init_masked_lm(3, &Default::default()).unwrap(),
        }
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
        let output = TrainStep::step(objective, MlmStep { micro_batches });
        let mut collector = Collector(output.grads, Vec::new());
        objective.visit(&mut collector);
        (collector.1, output.item.sync())
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
            (whole_tally.masked, whole_tally.tokens),
            (20, 8 * SEQ_LEN - 7)
        );
        assert_eq!(parts_tally.correct, whole_tally.correct);
    }

    #[test]
    fn the_loss_is_the_cross_entropy_of_the_masked_tokens() {
        let objective = objective();
        let batch = batch(0..5);
        let device = Default::default();
        let logits = objective
            .model
            .forward(input::<B>(&batch, &device))
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
        let tally = tally.sync();
        assert!((tally.loss_sum - loss_sum).abs() < 1e-4);
        assert_eq!((tally.correct, tally.masked), (correct, 11));
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
        assert_eq!((tally.masked, tally.loss_sum), (0, 0.0));
    }

    #[test]
    fn one_batch_is_learnt_by_heart() {
        let mut objective = objective();
        let mut optimizer = AdamWConfig::default().init::<B, MlmObjective<B>>();
        let mut tally = Tally::default();
        for _ in 0..150 {
            let step = MlmStep {
                micro_batches: vec![batch(0..4)],
            };
            let output = TrainStep::step(&objective, step);
            tally = output.item.sync();
            objective = optimizer.step(1e-2, objective, output.grads);
        }
        assert!(
            tally.loss_nats() < 0.1,
            "the loss is still {}",
            tally.loss_nats()
        );
        assert_eq!(tally.correct, tally.masked);
    }
}
