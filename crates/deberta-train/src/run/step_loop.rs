//! The strategy that makes Burn's training resumable.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use burn::module::AutodiffModule;
use burn::train::{
    Learner, LearningComponentsMarker, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, ValidLoader,
};
use deberta_model::DebertaAutodiffBackend;

use super::data::Loaders;
use super::scoring::Scoring;
use super::session::Session;
use super::{RunConfig, TrainError};
use crate::checkpoint::{CheckpointStore, TrainState};
use crate::objective::{Objective, Reading};
use crate::optim::{AdamW, SharedOptimizer};
use crate::schedule::Schedule;

/// What Burn's Learner is made of here.
pub(crate) type Components<B, M> =
    LearningComponentsMarker<B, Schedule, M, SharedOptimizer<AdamW<M, B>>>;

/// A training strategy for Burn's `SupervisedTraining` that counts steps and can be resumed.
///
/// Burn's own strategies begin and end with epochs, and their checkpoints with them. This one
/// takes the model from Burn's Learner and trains it with the optimiser and the schedule that the Learner
/// was made with, dispatches the same events to the same metrics and renderers, and besides keeps a
/// [`TrainState`], from which it continues in the middle of an epoch. What Burn calls an epoch is here
/// the stretch between two evaluations.
pub(crate) struct StepLoop<B: DebertaAutodiffBackend, M: AutodiffModule<B>> {
    pub(crate) device: B::Device,
    pub(crate) run: RunConfig,
    pub(crate) max_grad_norm: Option<f64>,
    pub(crate) start: TrainState,
    pub(crate) schedule: Schedule,
    pub(crate) optimizer: SharedOptimizer<AdamW<M, B>>,
    pub(crate) store: Arc<CheckpointStore>,
    /// Resolved configuration, for the checkpoints.
    pub(crate) config: serde_json::Value,
    pub(crate) loaders: Loaders,
    /// How evaluations are judged.
    pub(crate) scoring: Scoring,
    /// Where the result is left, as Burn's strategies return none.
    pub(crate) result: Mutex<Option<Result<LoopResult, TrainError>>>,
}

/// How far the loop came.
#[derive(Debug, Clone)]
pub(crate) struct LoopResult {
    pub(crate) state: TrainState,
    pub(crate) completed: bool,
    /// Evaluation at the last step; `None` if the run was stopped before.
    pub(crate) evaluation: Option<Reading>,
    /// Tokens trained on by this process.
    pub(crate) tokens: usize,
    /// Training time of this process, without evaluations and checkpoints.
    pub(crate) training: Duration,
    /// Part of it that was spent waiting for data.
    pub(crate) waiting: Duration,
}

impl<B, M> StepLoop<B, M>
where
    B: DebertaAutodiffBackend,
    M: AutodiffModule<B>,
{
    pub(crate) fn take_result(&self) -> Option<Result<LoopResult, TrainError>> {
        self.result
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl<B, M> SupervisedLearningStrategy<Components<B, M>> for StepLoop<B, M>
where
    B: DebertaAutodiffBackend,
    M: Objective<B>,
{
    fn fit(
        &self,
        components: TrainingComponents<Components<B, M>>,
        learner: Learner<Components<B, M>>,
        train: TrainLoader<Components<B, M>>,
        valid: ValidLoader<Components<B, M>>,
        _starting_epoch: usize,
    ) -> (M, SupervisedTrainingEventProcessor<Components<B, M>>) {
        let model = learner.model();
        // It would keep the first parameters.
        drop(learner);
        let mut session = Session::new(self, components, valid);
        let (model, result) = session.train(model, &train);
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        (model, session.into_events())
    }
}
