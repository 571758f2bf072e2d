//! Any run: puts objective, data, optimiser and Burn's Learner together.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use burn::data::dataloader::DataLoader;
use burn::train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};
use deberta_model::DebertaAutodiffBackend;
use serde::Serialize;

use super::data::{EvaluationLoader, Loaders, StepLoader};
use super::display::{Display, Shown, with_display, with_metrics};
use super::log::MetricsLog;
use super::resume::{check_same_length, check_unchanged, restore};
use super::scoring::Scoring;
use super::step_loop::{Components, LoopResult, StepLoop};
use super::{ExampleSource, RunConfig, RunReport, TrainError};
use crate::checkpoint::storage::write_atomic;
use crate::checkpoint::{CheckpointStore, Restored, TrainState, with_causes};
use crate::objective::Objective;
use crate::optim::{AdamWConfig, SharedOptimizer};
use crate::schedule::ScheduleConfig;

/// Name of the resolved configuration inside a run folder.
pub(crate) const CONFIG_FILE: &str = "config.json";

/// Where a run leaves its files, and how it is watched and stopped.
#[derive(Clone)]
pub struct RunOptions {
    /// Folder of the run.
    pub run_dir: PathBuf,
    /// Continue the run in that folder instead of starting one.
    pub resume: bool,
    /// What to show meanwhile.
    pub display: Display,
    /// Stops the run; see [`stop_on_ctrl_c`](super::stop_on_ctrl_c).
    pub interrupter: Interrupter,
}

/// All that a run needs besides its objective.
pub(super) struct Launch<'a, B: DebertaAutodiffBackend, T, C> {
    /// The resolved configuration, to be written beside the run.
    pub(super) config: &'a C,
    pub(super) run: &'a RunConfig,
    pub(super) optimizer: &'a AdamWConfig,
    pub(super) schedule: &'a ScheduleConfig,
    pub(super) train: &'a Arc<dyn ExampleSource<T>>,
    pub(super) held_out: &'a Arc<dyn ExampleSource<T>>,
    pub(super) scoring: Scoring,
    pub(super) shown: Shown,
    pub(super) options: &'a RunOptions,
    pub(super) device: &'a B::Device,
}

type Strategy<B, M> = Arc<StepLoop<B, M>>;

impl<B: DebertaAutodiffBackend, T: Clone + Send + 'static, C: Serialize> Launch<'_, B, T, C> {
    /// Trains from the start or from the latest undamaged checkpoint, to the end.
    pub(super) fn run<M: Objective<B, Batch = T>>(
        &self,
        objective: M,
    ) -> Result<(M::InnerModule, RunReport), TrainError> {
        let (model, report, _) = self.run_in_store(objective)?;
        Ok((model, report))
    }

    /// As [`Self::run`], and hands on the checkpoints, so that nobody comes between.
    pub(super) fn run_in_store<M: Objective<B, Batch = T>>(
        &self,
        objective: M,
    ) -> Result<(M::InnerModule, RunReport, Arc<CheckpointStore>), TrainError> {
        self.check_data()?;
        self.check_precision()?;
        let objective = self.freeze(objective)?;
        let run_dir = &self.options.run_dir;
        let store = Arc::new(CheckpointStore::open(run_dir, self.run.keep_last)?);
        let restored = self.find_checkpoint(&store)?;
        let config = write_config(self.config, run_dir, restored.as_ref())?;

        let resumed_from = restored.as_ref().map(|it| it.checkpoint.state.step);
        let rejected = restored
            .iter()
            .flat_map(|it| &it.rejected)
            .map(|error| with_causes(error))
            .collect();

        let optimizer = self.optimizer.init::<B, M>();
        let (objective, optimizer, start) = match restored {
            None => {
                let state = TrainState::start(self.run.seed, self.train.len());
                (objective, optimizer, state)
            }
            Some(restored) => restore(restored, objective, optimizer, self.device)?,
        };
        let loaders = Loaders::default();
        let strategy = Arc::new(StepLoop {
            device: self.device.clone(),
            run: self.run.clone(),
            max_grad_norm: self.optimizer.max_grad_norm,
            schedule: self.schedule.init(self.run.steps).resume_at(start.step),
            start,
            optimizer: SharedOptimizer::new(optimizer),
            store: Arc::clone(&store),
            config,
            loaders: loaders.clone(),
            scoring: self.scoring.clone(),
            result: Mutex::new(None),
        });
        let (model, result) = self.train(&strategy, objective)?;
        let report = RunReport::new(&result, &strategy, &loaders, resumed_from, rejected);
        Ok((model, report, store))
    }

    /// Hands everything to Burn and waits for the end of the run.
    fn train<M: Objective<B, Batch = T>>(
        &self,
        strategy: &Strategy<B, M>,
        objective: M,
    ) -> Result<(M::InnerModule, LoopResult), TrainError> {
        let step = strategy.start.step;
        let train: Arc<dyn DataLoader<B, _>> = Arc::new(StepLoader {
            source: Arc::clone(self.train),
            seed: self.run.seed,
            batch_size: self.run.batch_size,
            grad_accumulation: self.run.grad_accumulation,
            bucket_batches: self.run.bucket_batches,
            start: strategy.start.cursor,
            steps: self.run.steps.saturating_sub(step),
            status: strategy.loaders.train.clone(),
        });
        let held_out: Arc<dyn DataLoader<B::InnerBackend, _>> = Arc::new(EvaluationLoader::new(
            self.held_out,
            self.run.batch_size,
            self.run.bucket_batches > 0,
            &strategy.loaders.held_out,
        ));
        let run_dir = &self.options.run_dir;
        let training = SupervisedTraining::<Components<B, M>>::new(run_dir, train, held_out)
            .with_metric_logger(MetricsLog::open(run_dir, &strategy.start)?)
            .with_interrupter(self.options.interrupter.clone())
            .with_training_strategy(TrainingStrategy::Custom(Arc::clone(strategy) as _));
        let training = with_display(with_metrics(training, &self.shown), self.options);

        let (optimizer, schedule) = (strategy.optimizer.clone(), strategy.schedule.clone());
        // All lines and log entries are written when this returns.
        let trained = training.launch(Learner::new(objective, optimizer, schedule));
        drop(trained.renderer);
        let ended_early = || TrainError::Data {
            split: "training",
            source: "the run ended without a result".into(),
        };
        let result = strategy.take_result().ok_or_else(ended_early)??;
        Ok((trained.model, result))
    }

    fn check_data(&self) -> Result<(), TrainError> {
        for (split, source) in [("training", self.train), ("held-out", self.held_out)] {
            if source.is_empty() {
                return Err(TrainError::NoExamples { split });
            }
        }
        Ok(())
    }

    /// Takes parameters whose factor of the rate is 0 out of the graph; loading keeps them out.
    fn freeze<M: Objective<B, Batch = T>>(&self, objective: M) -> Result<M, TrainError> {
        let factors = &self.optimizer.rate_factors;
        if factors.is_empty() {
            return Ok(objective);
        }
        let frozen = self.optimizer.grouping().freeze::<B, M>(objective);
        let wrong = |value, expected| TrainError::Setting {
            field: "optimizer.rate_factors",
            value,
            expected,
        };
        match frozen.unknown {
            Some(part) => Err(wrong(part, "a part of the path of a parameter")),
            None if frozen.learns => Ok(frozen.module),
            None => Err(wrong(
                format!("{factors:?}"),
                "a factor above 0 for some parameter",
            )),
        }
    }

    fn check_precision(&self) -> Result<(), TrainError> {
        let precision = self.run.precision;
        match precision.is_supported::<B>(self.device) {
            true => Ok(()),
            false => Err(TrainError::Setting {
                field: "run.precision",
                value: format!("{precision:?}").to_lowercase(),
                expected: "a type that the backend computes in on this device",
            }),
        }
    }

    /// The checkpoint to resume from, or the assurance that the folder is free.
    fn find_checkpoint(&self, store: &CheckpointStore) -> Result<Option<Restored>, TrainError> {
        let run_dir = &self.options.run_dir;
        if !self.options.resume {
            return match store.steps()?.is_empty() {
                true => Ok(None),
                false => Err(TrainError::RunExists {
                    path: run_dir.clone(),
                }),
            };
        }
        let restored = store.latest_valid()?;
        match &restored {
            Some(restored) => check_same_length(restored, self.train.len())?,
            None => log::warn!("{} has no checkpoint, starting anew", run_dir.display()),
        }
        Ok(restored)
    }
}

/// Writes the configuration before anything else happens, and returns it as JSON.
fn write_config(
    config: &impl Serialize,
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
