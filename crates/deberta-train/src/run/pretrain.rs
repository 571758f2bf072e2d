//! Pre-training.

use std::sync::Arc;

use burn::tensor::backend::Backend;
use deberta_model::DebertaAutodiffBackend;
use deberta_model::DebertaForMaskedLm;

use super::display::Shown;
use super::launch::Launch;
use super::scoring::Scoring;
use super::{ExampleSource, PretrainConfig, RunOptions, RunReport, TrainError};
use crate::metric::Quantity;
use crate::objective::{MlmBatch, MlmObjective, RtdNetworks, RtdObjective};

/// What is trained and evaluated on.
#[derive(Clone)]
pub struct PretrainData {
    /// Examples to train on, again and again in a new order.
    pub train: Arc<dyn ExampleSource<MlmBatch>>,
    /// Examples to evaluate on, never trained on.
    pub held_out: Arc<dyn ExampleSource<MlmBatch>>,
}

/// A trained model, and how the run went.
pub struct Pretrained<B: Backend> {
    /// The model after the last step.
    pub model: DebertaForMaskedLm<B>,
    /// How the run went.
    pub report: RunReport,
}

/// Pre-trains a masked language model, from scratch or from the latest undamaged checkpoint.
///
/// The run folder receives `config.json`, `metrics.jsonl` and `checkpoints/`. On one backend and
/// device, the same configuration and data give the same model, however often the run is
/// interrupted, killed and resumed.
///
/// # Errors
///
/// See [`TrainError`]. A checkpoint that cannot be written is an error only after the last step;
/// before, it is a warning and the run goes on.
pub fn pretrain<B: DebertaAutodiffBackend>(
    config: &PretrainConfig,
    data: &PretrainData,
    options: &RunOptions,
    device: &B::Device,
) -> Result<Pretrained<B::InnerBackend>, TrainError> {
    config.validate()?;
    let model = config.model.init_masked_lm::<B>(config.run.seed, device)?;
    pretrain_from(model, config, data, options, device)
}

/// As [`pretrain`], but a run that has no checkpoint yet starts from `model`, whose configuration is
/// `config.model`.
///
/// # Errors
///
/// As [`pretrain`].
pub fn pretrain_from<B: DebertaAutodiffBackend>(
    model: DebertaForMaskedLm<B>,
    config: &PretrainConfig,
    data: &PretrainData,
    options: &RunOptions,
    device: &B::Device,
) -> Result<Pretrained<B::InnerBackend>, TrainError> {
    config.validate()?;
    let objective = MlmObjective::new(model)
        .with_precision(config.run.precision)
        .with_gradient_checkpointing(config.run.gradient_checkpointing);
    let (objective, report) = launch(config, data, &[], options, device).run(objective)?;
    Ok(Pretrained {
        model: objective.model,
        report,
    })
}

/// Generator and discriminator after a run, and how it went.
pub struct RtdPretrained<B: Backend> {
    /// The networks after the last step.
    pub networks: RtdNetworks<B>,
    /// How the run went. Loss, accuracy and perplexity are the generator's on masked tokens, and
    /// which evaluation was the best is decided by them: the discriminator's loss rises while the
    /// generator gets better.
    pub report: RunReport,
}

/// Pre-trains by replaced-token detection, from scratch or from the latest undamaged checkpoint; as
/// [`pretrain`] in all else.
///
/// - `pieces`: ids that may stand in the place of another token
///
/// # Errors
///
/// As [`pretrain`]; also if there are no pieces, or some that the word table does not have.
pub fn pretrain_rtd<B: DebertaAutodiffBackend>(
    config: &PretrainConfig,
    data: &PretrainData,
    pieces: &[u32],
    options: &RunOptions,
    device: &B::Device,
) -> Result<RtdPretrained<B::InnerBackend>, TrainError> {
    config.validate()?;
    let networks = config
        .rtd
        .init::<B>(&config.model, config.run.seed, device)?;
    pretrain_rtd_from(networks, config, data, pieces, options, device)
}

/// As [`pretrain_rtd`], but a run that has no checkpoint yet starts from `networks`, whose
/// configurations are those of `config`.
///
/// # Errors
///
/// As [`pretrain_rtd`].
pub fn pretrain_rtd_from<B: DebertaAutodiffBackend>(
    networks: RtdNetworks<B>,
    config: &PretrainConfig,
    data: &PretrainData,
    pieces: &[u32],
    options: &RunOptions,
    device: &B::Device,
) -> Result<RtdPretrained<B::InnerBackend>, TrainError> {
    config.validate()?;
    check_pieces(pieces, config.model.vocab_size)?;
    let objective = RtdObjective::new(networks, pieces, &config.rtd)
        .with_precision(config.run.precision)
        .with_gradient_checkpointing(config.run.gradient_checkpointing);
    let detection = &Quantity::DETECTION;
    let (objective, report) = launch(config, data, detection, options, device).run(objective)?;
    Ok(RtdPretrained {
        networks: objective.networks,
        report,
    })
}

fn check_pieces(pieces: &[u32], vocab_size: usize) -> Result<(), TrainError> {
    let largest = pieces.iter().max();
    match largest {
        Some(id) if (*id as usize) < vocab_size => Ok(()),
        _ => Err(TrainError::Setting {
            field: "pieces",
            value: largest.map_or("nothing".into(), ToString::to_string),
            expected: "ids of the word table to draw replacements from",
        }),
    }
}

/// A run of either objective; `more` is shown besides the numbers of a masked language model.
fn launch<'a, B: DebertaAutodiffBackend>(
    config: &'a PretrainConfig,
    data: &'a PretrainData,
    more: &[Quantity],
    options: &'a RunOptions,
    device: &'a B::Device,
) -> Launch<'a, B, MlmBatch, PretrainConfig> {
    let mut quality = vec![Quantity::Loss, Quantity::Accuracy, Quantity::Perplexity];
    quality.extend(more);
    Launch {
        config,
        run: &config.run,
        optimizer: &config.optimizer,
        schedule: &config.schedule,
        train: &data.train,
        held_out: &data.held_out,
        scoring: Scoring::default(),
        shown: Shown {
            quality,
            training: Vec::new(),
            scores: Vec::new(),
        },
        options,
        device,
    }
}
