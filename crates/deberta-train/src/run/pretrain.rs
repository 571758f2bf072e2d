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
use crate::objective::{MlmBatch, MlmObjective};

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
    let launch = Launch::<B, _, _> {
        config,
        run: &config.run,
        optimizer: &config.optimizer,
        schedule: &config.schedule,
        train: &data.train,
        held_out: &data.held_out,
        scoring: Scoring::default(),
        shown: Shown {
            quality: vec![Quantity::Loss, Quantity::Accuracy, Quantity::Perplexity],
            training: Vec::new(),
            scores: Vec::new(),
        },
        options,
        device,
    };
    let objective = MlmObjective::new(model)
        .with_precision(config.run.precision)
        .with_gradient_checkpointing(config.run.gradient_checkpointing);
    let (objective, report) = launch.run(objective)?;
    Ok(Pretrained {
        model: objective.model,
        report,
    })
}
