//! The objective: generator, replacement and discriminator in one step.

use burn::module::Module;
use burn::tensor::{DType, Int, Tensor, TensorData, backend::Backend};
use burn::train::{InferenceStep, TrainOutput, TrainStep};
use deberta_model::heads::masked_lm::token_losses;
use deberta_model::heads::replaced_token::replaced_token_losses;
use deberta_model::{DebertaAutodiffBackend, DebertaBackend, Tape};

use super::corruption::{corrupt, real_places};
use super::sampling::{barrier, draw};
use super::{RtdConfig, RtdNetworks};
use crate::objective::accumulate::accumulate;
use crate::objective::mlm::{input, masked_tokens};
use crate::objective::sums::DetectionSums;
use crate::objective::{Detection, MlmBatch, Objective, Precision, Step, StepSums, Tally};

/// Trains a generator to restore masked tokens, and a discriminator to notice where it failed.
///
/// ```text
/// x̃ᵢ   ~ softmax(generator(masked x)ᵢ / T) over real pieces       at masked i, else x̃ᵢ = xᵢ
/// L_G  = Σ −log p(xᵢ)  /  masked tokens
/// L_D  = Σ BCE(discriminator(x̃)ᵢ, x̃ᵢ ≠ xᵢ)  /  tokens             all but padding
/// loss = L_G + λ L_D
/// ```
///
/// No gradient passes through the draw. Both means run over the whole step, however it is cut into
/// micro-batches. A drawn token that is the original one counts as original.
///
/// Reference: microsoft/DeBERTa `apps/tasks/rtd_task.py`, commit 4d7fe0b.
///
/// # Deviation
///
/// Microsoft's program by default updates the generator first, and then the discriminator on the same
/// draws with an optimiser of its own, so that `E_D` is already that of the updated generator. Here
/// both are updated at once, by one optimiser under one norm of gradients, as in that program's
/// coupled training. It also draws from all ids; special, unused and padding ids, and single bytes
/// are left out here. And it gives each micro-batch the same weight.
#[derive(Module, Debug)]
pub struct RtdObjective<B: Backend> {
    /// Generator and discriminator.
    pub networks: RtdNetworks<B>,
    /// Added to logits, so that only pieces are drawn, `[vocab]`.
    barrier: Tensor<B, 1>,
    lambda: f64,
    temperature: f64,
    #[module(skip)]
    precision: Precision,
    recompute: bool,
}

impl<B: DebertaBackend> RtdObjective<B> {
    /// Trains with every number in the type of the parameters.
    ///
    /// - `pieces`: ids that may stand in the place of another, such as
    ///   [`replaceable_ids`](deberta_data::tokenizer::VocabInfo::replaceable_ids)
    pub fn new(networks: RtdNetworks<B>, pieces: &[u32], config: &RtdConfig) -> Self {
        let words = &networks.generator.deberta.embeddings.word_embeddings;
        let ([vocab, _], device) = (words.weight.dims(), words.weight.device());
        Self {
            networks,
            barrier: barrier(pieces, vocab, &device),
            lambda: config.lambda,
            temperature: config.temperature,
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
        self.barrier.device()
    }

    /// Losses and sums of a batch; `None` if nothing is masked.
    fn forward(
        &self,
        batch: &MlmBatch,
        tape: Option<&Tape<B>>,
        device: &B::Device,
    ) -> Option<(Losses<B>, StepSums<B>)> {
        let masked = masked_tokens(batch);
        if masked == 0 {
            return None;
        }
        let labels = batch.labels.concat();
        let labels = Tensor::from_data(TensorData::from(labels.as_slice()), device);
        let logits = self.networks.generator.forward(input(batch, tape, device));
        let predictions = logits.clone().detach().argmax(1).squeeze_dim::<1>(1);
        let barrier = self.barrier.clone();
        let drawn = draw(logits.clone().detach(), barrier, self.temperature);
        let generator = token_losses(logits, labels.clone()).sum();

        let correct = predictions.equal(labels.clone()).int().sum();
        let (discriminator, counts) = self.detect(batch, drawn, labels, tape, device);
        let tokens = real_tokens(batch);
        let sums = StepSums {
            loss_sum: generator.clone().detach(),
            correct,
            detection: Some(DetectionSums {
                loss_sum: discriminator.clone().detach(),
                counts,
            }),
            host: Tally {
                weight: masked as f64,
                targets: masked,
                tokens,
                detection: Detection {
                    tokens,
                    ..Detection::default()
                },
                ..Tally::default()
            },
            ..StepSums::empty(device, generator.dtype())
        };
        let losses = Losses {
            generator,
            discriminator,
        };
        Some((losses, sums))
    }

    /// Summed loss of the discriminator, `[1]`, and replaced tokens, tokens taken for such, and both,
    /// `[3]`.
    fn detect(
        &self,
        batch: &MlmBatch,
        drawn: Tensor<B, 1, Int>,
        labels: Tensor<B, 1, Int>,
        tape: Option<&Tape<B>>,
        device: &B::Device,
    ) -> (Tensor<B, 1>, Tensor<B, 1, Int>) {
        let real = real_places(batch, device);
        let corrupted = corrupt(batch, drawn, labels, real.as_ref());
        let logits = self.networks.detect(corrupted.ids, &batch.lengths, tape);
        let logits = logits.reshape([batch.batch * batch.seq_len]);
        let logits = match real {
            Some(real) => logits.select(0, real),
            None => logits,
        };
        let replaced = corrupted.replaced;
        let flagged = logits.clone().detach().greater_elem(0.0);
        let hits = replaced.clone().bool_and(flagged.clone());
        let counts = [replaced.clone(), flagged, hits].map(|it| it.int().sum());
        let losses = replaced_token_losses(logits, replaced);
        (losses.sum(), Tensor::cat(counts.to_vec(), 0))
    }
}

/// Losses of a batch, summed over tokens, `[1]` each.
struct Losses<B: Backend> {
    generator: Tensor<B, 1>,
    discriminator: Tensor<B, 1>,
}

impl<B: DebertaAutodiffBackend> TrainStep for RtdObjective<B> {
    type Input = Step<MlmBatch>;
    type Output = StepSums<B::InnerBackend>;

    /// Batches without any masked token change nothing.
    fn step(&self, step: Self::Input) -> TrainOutput<Self::Output> {
        let device = self.device();
        let with_targets = || step.micro_batches.iter().filter(|it| masked_tokens(it) > 0);
        let masked: usize = with_targets().map(masked_tokens).sum();
        let tokens: usize = with_targets().map(real_tokens).sum();
        let network = self.precision.compute_copy(self, &device);
        let share = |batch: &MlmBatch, tape: Option<&Tape<B>>| {
            let (losses, sums) = network.forward(batch, tape, &device)?;
            let generator = losses.generator.div_scalar(masked as f64);
            let discriminator = losses.discriminator.div_scalar(tokens as f64);
            Some((generator + discriminator.mul_scalar(self.lambda), sums))
        };
        accumulate(self, &network, &step, self.recompute, &device, share)
    }
}

impl<B: DebertaBackend> InferenceStep for RtdObjective<B> {
    type Input = MlmBatch;
    type Output = StepSums<B>;

    /// The draws of a batch are made with the same random numbers in every evaluation.
    fn step(&self, batch: MlmBatch) -> StepSums<B> {
        let device = self.device();
        B::seed(&device, fingerprint(&batch));
        let network = self.precision.compute_copy(self, &device);
        match network.forward(&batch, None, &device) {
            None => StepSums::empty(&device, DType::F32),
            Some((_, sums)) => sums,
        }
    }
}

impl<B: DebertaAutodiffBackend> Objective<B> for RtdObjective<B> {
    type Batch = MlmBatch;
    type Evaluation = StepSums<B::InnerBackend>;
}

fn real_tokens(batch: &MlmBatch) -> usize {
    batch.lengths.iter().sum()
}

/// FNV-1a over the tokens.
fn fingerprint(batch: &MlmBatch) -> u64 {
    let ids = batch.input_ids.iter();
    ids.fold(0xcbf2_9ce4_8422_2325, |hash, id| {
        (hash ^ *id as u64).wrapping_mul(0x0100_0000_01b3)
    })
}
