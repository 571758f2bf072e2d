//! How a run went.

use std::path::PathBuf;
use std::time::Duration;

use burn::module::AutodiffModule;
use deberta_model::DebertaAutodiffBackend;

use super::data::Loaders;
use super::step_loop::{LoopResult, StepLoop};
use crate::checkpoint::TrainState;
use crate::objective::{Scores, Tally};

/// How a run went, as far as this process took part in it.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// Where the run stands now.
    pub state: TrainState,
    /// Whether all steps were made; otherwise the run was stopped and can be resumed.
    pub completed: bool,
    /// Evaluation after the last step of a completed run.
    pub evaluation: Option<Tally>,
    /// Metrics of that evaluation, if the run has any.
    pub scores: Scores,
    /// Folder of the checkpoint made last.
    pub checkpoint: PathBuf,
    /// Step that the run was resumed from.
    pub resumed_from: Option<usize>,
    /// Newer checkpoints that were damaged, and how.
    pub rejected_checkpoints: Vec<String>,
    /// Tokens trained on, padding not counted.
    pub tokens: usize,
    /// Time of training, without evaluations and checkpoints.
    pub training_time: Duration,
    /// Part of it that the training thread waited for data.
    pub data_wait: Duration,
    /// Time spent preparing data, mostly on a thread beside.
    pub data_work: Duration,
}

impl RunReport {
    pub(crate) fn new<B: DebertaAutodiffBackend, M: AutodiffModule<B>>(
        result: &LoopResult,
        strategy: &StepLoop<B, M>,
        loaders: &Loaders,
        resumed_from: Option<usize>,
        rejected_checkpoints: Vec<String>,
    ) -> Self {
        Self {
            state: result.state.clone(),
            completed: result.completed,
            evaluation: result.evaluation.as_ref().map(|it| it.tally),
            scores: result
                .evaluation
                .as_ref()
                .map(|it| it.scores.clone())
                .unwrap_or_default(),
            checkpoint: strategy.store.path(result.state.step),
            resumed_from,
            rejected_checkpoints,
            tokens: result.tokens,
            training_time: result.training,
            data_wait: result.waiting,
            data_work: loaders.busy(),
        }
    }

    /// Tokens trained on per second of training.
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.training_time.as_secs_f64()
    }
}
