//! Pre-training: puts model, data, optimiser and Burn's Learner together.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use burn::data::dataloader::DataLoader;
use burn::tensor::backend::Backend;
use burn::train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};
use deberta_model::DebertaAutodiffBackend;
use deberta_model::DebertaForMaskedLm;

use super::data::{EvaluationLoader, LoaderStatus, StepLoader};
use super::display::{Display, with_display, with_metrics};
use super::log::MetricsLog;
use super::resume::{check_same_length, check_unchanged, restore};
use super::step_loop::{Components, LoopResult, StepLoop};
use super::{MlmSource, PretrainConfig, RunReport, TrainError};
use crate::checkpoint::storage::write_atomic;
use crate::checkpoint::{CheckpointStore, Restored, TrainState};
use crate::objective::MlmObjective;
use crate::optim::SharedOptimizer;

/// Name of the resolved configuration inside a run folder.
pub(crate) const CONFIG_FILE: &str = "config.json";

/// What is trained and evaluated on.
#[derive(Clone)]
pub struct PretrainData {
    /// Examples to train on, again and again in a new order.
    pub train: Arc<dyn MlmSource>,
    /// Examples to evaluate on, never trained on.
    pub held_out: Arc<dyn MlmSource>,
}

/// Where a run leaves its files, and how it is watched and stopped.
#[derive(Clone)]
pub struct PretrainOptions {
    /// Folder of the run.
    pub run_dir: PathBuf,
    /// Continue the run in that folder instead of starting one.
    pub resume: bool,
    /// What to show meanwhile.
    pub display: Display,
    /// Stops the run; see [`stop_on_ctrl_c`](super::stop_on_ctrl_c).
    pub interrupter: Interrupter,
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
    options: &PretrainOptions,
    device: &B::Device,
) -> Result<Pretrained<B::InnerBackend>, TrainError> {
    config.validate()?;
    check_data(data)?;
    let run_dir = &options.run_dir;
    fs::create_dir_all(run_dir).map_err(TrainError::io(run_dir))?;
    let store = CheckpointStore::open(run_dir, config.run.keep_last)?;
    let restored = find_checkpoint(&store, options, data)?;
    let resolved = write_config(config, run_dir, restored.as_ref())?;

    let resumed_from = restored.as_ref().map(|it| it.checkpoint.state.step);
    let rejected = restored
        .iter()
        .flat_map(|it| &it.rejected)
        .map(ToString::to_string)
        .collect();

    let objective = MlmObjective {
        model: config.model.init_masked_lm(config.run.seed, device)?,
    };
    let optimizer = config.optimizer.init::<B, MlmObjective<B>>();
    let (objective, optimizer, state) = match restored {
        None => {
            let state = TrainState::start(config.run.seed, data.train.len());
            (objective, optimizer, state)
        }
        Some(restored) => restore(restored, objective, optimizer, device)?,
    };
    let loaders = LoaderStatus::default();
    let strategy = Arc::new(StepLoop {
        device: device.clone(),
        run: config.run.clone(),
        max_grad_norm: config.optimizer.max_grad_norm,
        start: state,
        optimizer: SharedOptimizer::new(optimizer),
        store,
        config: resolved,
        loaders: loaders.clone(),
        result: Mutex::new(None),
    });
    let (model, result) = launch(config, data, options, &strategy, objective)?;
    let report = RunReport::new(&result, &strategy, &loaders, resumed_from, rejected);
    Ok(Pretrained {
        model: model.model,
        report,
    })
}

type Objective<B> = MlmObjective<B>;
type Strategy<B> = Arc<StepLoop<B, Objective<B>>>;

/// Hands everything to Burn and waits for the end of the run.
fn launch<B: DebertaAutodiffBackend>(
    config: &PretrainConfig,
    data: &PretrainData,
    options: &PretrainOptions,
    strategy: &Strategy<B>,
    objective: Objective<B>,
) -> Result<(Objective<B::InnerBackend>, LoopResult), TrainError> {
    let step = strategy.start.step;
    let train: Arc<dyn DataLoader<B, _>> = Arc::new(StepLoader {
        source: Arc::clone(&data.train),
        seed: config.run.seed,
        batch_size: config.run.batch_size,
        grad_accumulation: config.run.grad_accumulation,
        start: strategy.start.cursor,
        steps: config.run.steps.saturating_sub(step),
        status: strategy.loaders.clone(),
    });
    let held_out: Arc<dyn DataLoader<B::InnerBackend, _>> = Arc::new(EvaluationLoader {
        source: Arc::clone(&data.held_out),
        batch_size: config.run.batch_size,
        range: 0..data.held_out.len(),
        status: strategy.loaders.clone(),
    });
    let training =
        SupervisedTraining::<Components<B, Objective<B>>>::new(&options.run_dir, train, held_out)
            .with_metric_logger(MetricsLog::open(&options.run_dir, step)?)
            .with_interrupter(options.interrupter.clone())
            .with_training_strategy(TrainingStrategy::Custom(Arc::clone(strategy) as _));
    let training = with_display(with_metrics(training), options);

    let schedule = config.schedule.init(config.run.steps).resume_at(step);
    let optimizer = strategy.optimizer.clone();
    // All lines and log entries are written when this returns.
    let trained = training.launch(Learner::new(objective, optimizer, schedule));
    drop(trained.renderer);
    let ended_early = || TrainError::Data("the run ended without a result".into());
    let result = strategy.take_result().ok_or_else(ended_early)??;
    Ok((trained.model, result))
}

fn check_data(data: &PretrainData) -> Result<(), TrainError> {
    for (split, source) in [("training", &data.train), ("held-out", &data.held_out)] {
        if source.is_empty() {
            return Err(TrainError::NoExamples { split });
        }
    }
    Ok(())
}

/// The checkpoint to resume from, or the assurance that the folder is free.
fn find_checkpoint(
    store: &CheckpointStore,
    options: &PretrainOptions,
    data: &PretrainData,
) -> Result<Option<Restored>, TrainError> {
    if !options.resume {
        return match store.steps()?.is_empty() {
            true => Ok(None),
            false => Err(TrainError::RunExists {
                path: options.run_dir.clone(),
            }),
        };
    }
    let restored = store.latest_valid()?;
    match &restored {
        Some(restored) => check_same_length(restored, data.train.len())?,
        None => log::warn!(
            "{} has no checkpoint, starting anew",
            options.run_dir.display()
        ),
    }
    Ok(restored)
}

/// Writes the configuration before anything else happens, and returns it as JSON.
fn write_config(
    config: &PretrainConfig,
    run_dir: &Path,
    restored: Option<&Restored>,
) -> Result<serde_json::Value, TrainError> {
    let path = run_dir.join(CONFIG_FILE);
    let resolved = serde_json::to_value(config).map_err(TrainError::json(&path))?;
    if let Some(restored) = restored {
        check_unchanged(&resolved, &restored.checkpoint.config, &restored.path)?;
    }
    let mut bytes = serde_json::to_vec_pretty(config).map_err(TrainError::json(&path))?;
    bytes.push(b'\n');
    write_atomic(&path, &bytes).map_err(TrainError::io(&path))?;
    Ok(resolved)
}
