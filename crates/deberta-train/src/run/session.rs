//! The loop: train, log, evaluate, save.

use std::time::{Duration, Instant};

use burn::data::dataloader::{DataLoaderIterator, Progress};
use burn::optim::GradientsParams;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{ElementConversion, Tensor};
use burn::train::metric::ItemLazy;
use burn::train::{
    EventProcessorTraining, InferenceStep, Interrupter, LearnerEvent,
    SupervisedTrainingEventProcessor, TrainLoader, TrainOutput, TrainStep, TrainingComponents,
    TrainingItem, ValidLoader,
};
use deberta_model::DebertaAutodiffBackend;

use super::TrainError;
use super::order::mix;
use super::step_loop::{Components, LoopResult, StepLoop};
use super::window::Window;
use crate::checkpoint::{Checkpoint, TrainState, with_causes, write_record};
use crate::objective::{EvaluationOutput, Objective, Reading, Step, StepSums, Tally};
use crate::optim::{AdamW, SharedOptimizer, clip_global_norm, global_norm};

/// Where Burn's metrics and displays are told what happens.
type Events<B, M> = SupervisedTrainingEventProcessor<Components<B, M>>;

/// What a step hands to the optimiser: sums, clipped gradients, and their norm before, `[1]`.
type Gradients<B> = (
    StepSums<<B as AutodiffBackend>::InnerBackend>,
    GradientsParams,
    Tensor<<B as AutodiffBackend>::InnerBackend, 1>,
);

/// A running loop.
///
/// The module is no part of it but handed on from step to step: Burn's Learner keeps the old one while
/// it computes the new, so that no parameter can be updated in its own memory.
pub(super) struct Session<'a, B, M>
where
    B: DebertaAutodiffBackend,
    M: Objective<B>,
{
    plan: &'a StepLoop<B, M>,
    optimizer: SharedOptimizer<AdamW<M, B>>,
    /// Learning rate of the last update.
    lr: f64,
    events: Events<B, M>,
    interrupter: Interrupter,
    valid: ValidLoader<Components<B, M>>,
    state: TrainState,
    window: Window<B::InnerBackend>,
    /// When the window was opened, or training went on after an evaluation or a checkpoint.
    clock: Instant,
    evaluation: Option<Reading>,
    saved_step: Option<usize>,
    rounds: usize,
    tokens: usize,
    training: Duration,
    waiting: Duration,
}

impl<'a, B, M> Session<'a, B, M>
where
    B: DebertaAutodiffBackend,
    M: Objective<B>,
{
    pub(super) fn new(
        plan: &'a StepLoop<B, M>,
        components: TrainingComponents<Components<B, M>>,
        valid: ValidLoader<Components<B, M>>,
    ) -> Self {
        let state = plan.start.clone();
        Self {
            plan,
            optimizer: plan.optimizer.clone(),
            lr: 0.0,
            events: components.event_processor,
            interrupter: components.interrupter,
            valid,
            window: Window::new(),
            clock: Instant::now(),
            evaluation: None,
            // What a run is resumed from need not be saved again.
            saved_step: (state.step > 0).then_some(state.step),
            state,
            rounds: 0,
            tokens: 0,
            training: Duration::ZERO,
            waiting: Duration::ZERO,
        }
    }

    /// Where Burn goes on to send its events.
    pub(super) fn into_events(self) -> Events<B, M> {
        self.events
    }

    /// Trains until the last step, an interruption or an error.
    pub(super) fn train(
        &mut self,
        mut model: M,
        loader: &TrainLoader<Components<B, M>>,
    ) -> (M, Result<LoopResult, TrainError>) {
        let mut steps = loader.iter();
        let mut progress = self.catch_up(&model);
        while progress.is_ok() && !self.is_complete() && !self.interrupter.should_stop() {
            progress = match self.next_gradients(&model, &mut *steps) {
                Ok(grads) => {
                    model = self.update(model, grads);
                    self.do_what_is_due(&model)
                }
                Err(error) => Err(error),
            };
        }
        let result = progress.and_then(|()| self.finish(&model));
        (model, result)
    }

    /// Makes the evaluation that was due when the run was interrupted.
    fn catch_up(&mut self, model: &M) -> Result<(), TrainError> {
        let run = &self.plan.run;
        if self.state.step == 0 || self.state.is_evaluated() || !self.is_due(run.eval_every) {
            return Ok(());
        }
        self.evaluate_and_save(model, false)?;
        self.clock = Instant::now();
        Ok(())
    }

    /// Whether something that happens every so many steps, and after the last, happens now.
    fn is_due(&self, every: usize) -> bool {
        let step = self.state.step;
        step.is_multiple_of(every) || step >= self.plan.run.steps
    }

    /// Whether all steps were made, or evaluations have ceased to improve.
    fn is_complete(&self) -> bool {
        let run = &self.plan.run;
        let has_patience = run
            .patience
            .is_none_or(|patience| self.state.evaluations_since_best < patience);
        self.state.step >= run.steps || !has_patience
    }

    /// Clipped gradients of the next step; its sums enter the window.
    fn next_gradients(
        &mut self,
        model: &M,
        steps: &mut dyn DataLoaderIterator<Step<M::Batch>>,
    ) -> Result<GradientsParams, TrainError> {
        let asked = Instant::now();
        let batch = steps.next().ok_or_else(|| self.data_error())?;
        self.waiting += asked.elapsed();
        let (item, grads, norm) = self.gradients(model, batch)?;
        self.window.add(item, norm);
        Ok(grads)
    }

    /// Makes one update.
    fn update(&mut self, model: M, grads: GradientsParams) -> M {
        self.lr = self.plan.schedule.lr_at(self.state.step);
        let model = model.optimize::<B, _>(&mut self.optimizer, self.lr, grads);
        self.state.step += 1;
        let examples = self.plan.run.examples_per_step();
        self.state.cursor = self.state.cursor.advance(examples, self.state.epoch_len);
        model
    }

    /// Sums, clipped gradients and the norm before of one step.
    ///
    /// With a loss scale, a step whose gradients overflow is made again with a smaller one.
    fn gradients(
        &mut self,
        model: &M,
        mut batch: Step<M::Batch>,
    ) -> Result<Gradients<B>, TrainError> {
        if !self.plan.run.precision.needs_loss_scale() {
            return Ok(self.try_gradients(model, batch));
        }
        let mut scale = self.state.loss_scale.unwrap_or_default();
        loop {
            batch.loss_scale = scale.value;
            let gradients = self.try_gradients(model, batch.clone());
            let norm: f64 = gradients.2.clone().into_scalar().elem();
            if norm.is_finite() {
                scale.note_success();
                self.state.loss_scale = Some(scale);
                return Ok(gradients);
            }
            log::debug!("gradients overflow at a loss scale of {}", scale.value);
            if !scale.note_overflow() {
                let step = self.state.step;
                return Err(TrainError::Overflow { step });
            }
        }
    }

    fn try_gradients(&self, model: &M, mut batch: Step<M::Batch>) -> Gradients<B> {
        let plan = self.plan;
        // The random state is a function of seed and step, so a checkpoint need not hold it.
        let seed = mix(self.state.seed, self.state.step as u64);
        B::seed(&plan.device, seed);
        batch.seed = Some(seed);
        let TrainOutput { grads, item } = TrainStep::step(model, batch);
        match plan.max_grad_norm {
            Some(max_norm) => {
                let (grads, norm) = clip_global_norm(model, grads, max_norm);
                (item, grads, norm)
            }
            None => {
                let norm = global_norm(model, &grads);
                (item, grads, norm)
            }
        }
    }

    /// Logs, evaluates and saves, each as often as configured and after the last step.
    ///
    /// Evaluations and checkpoints close the window of the log, too, so that no loss that is not
    /// finite can be saved.
    fn do_what_is_due(&mut self, model: &M) -> Result<(), TrainError> {
        let run = &self.plan.run;
        let [logs, evaluates, saves] =
            [run.log_every, run.eval_every, run.save_every].map(|every| self.is_due(every));
        if !(logs || evaluates || saves) {
            return Ok(());
        }
        self.log()?;
        match evaluates {
            true => self.evaluate_and_save(model, saves)?,
            false if saves => _ = self.save_or_warn(model),
            false => {}
        }
        self.clock = Instant::now();
        Ok(())
    }

    /// Evaluates, and saves if the result is the best so far; what comes last, the end of the run
    /// saves.
    ///
    /// - `saves`: save in any case
    fn evaluate_and_save(&mut self, model: &M, saves: bool) -> Result<(), TrainError> {
        let before = self.state.best;
        let improved = self.evaluate(model)?;
        let saves = (improved || saves) && !self.is_complete();
        if saves && !self.save_or_warn(model) && improved {
            // What was not saved cannot be returned: the best checkpoint is still the one before.
            self.state.best = before;
        }
        Ok(())
    }

    /// Waits for the device, then reports the steps since the last report.
    fn log(&mut self) -> Result<(), TrainError> {
        let step = self.state.step;
        B::sync(&self.plan.device).map_err(|error| TrainError::Device {
            step,
            message: format!("{error:?}"),
        })?;
        let elapsed = self.clock.elapsed();
        let Some(output) = self.window.close(elapsed.as_secs_f64()) else {
            return Ok(());
        };
        self.training += elapsed;
        let tally = output.clone().sync().tally;
        self.tokens += tally.tokens;
        check_finite(step, &tally)?;
        let item = self.item(output, Some(self.lr));
        self.events.process_train(LearnerEvent::ProcessedItem(item));
        Ok(())
    }

    /// Evaluates on all held-out examples and tells whether the result is the best so far.
    ///
    /// An interruption leaves the evaluation without a result. A step that was evaluated before, by
    /// the process that the run is resumed from, is neither counted nor reported again.
    fn evaluate(&mut self, model: &M) -> Result<bool, TrainError> {
        self.evaluation = None;
        let model = model.valid();
        let mut sum: Option<M::Evaluation> = None;
        for batch in self.valid.iter() {
            if self.interrupter.should_stop() {
                return Ok(false);
            }
            let output = model.step(batch);
            sum = Some(match sum {
                None => output,
                Some(sum) => sum.merge(output),
            });
        }
        if let Some(source) = self.plan.loaders.held_out.take_error() {
            let split = "held-out";
            return Err(TrainError::Data { split, source });
        }
        let output = sum.ok_or(TrainError::NoExamples { split: "held-out" })?;
        let scores = self.plan.scoring.scores(&output.logits())?;
        let output = output.with_scores(scores);
        let reading = output.clone().sync();
        check_finite(self.state.step, &reading.tally)?;

        let score = self.plan.scoring.deciding(&reading.scores);
        let loss_nats = reading.tally.loss_nats();
        self.evaluation = Some(reading);
        if self.state.is_evaluated() {
            return Ok(false);
        }
        let item = self.item(output, None);
        self.events.process_valid(LearnerEvent::ProcessedItem(item));
        self.rounds += 1;
        self.events
            .process_train(LearnerEvent::EndEpoch(self.rounds));
        self.events
            .process_valid(LearnerEvent::EndEpoch(self.rounds));
        // A checkpoint of this step does not know of the evaluation.
        self.saved_step = None;
        Ok(self.state.note_evaluation(loss_nats, score))
    }

    /// Saves, and tells whether it worked; a failure is reported and the run goes on, as the next
    /// attempt may succeed.
    fn save_or_warn(&mut self, model: &M) -> bool {
        let result = self.save(model);
        if let Err(error) = &result {
            let step = self.state.step;
            log::warn!(
                "no checkpoint of step {step}, the run goes on: {}",
                with_causes(error)
            );
        }
        result.is_ok()
    }

    fn save(&mut self, model: &M) -> Result<(), TrainError> {
        let checkpoint = Checkpoint {
            state: self.state.clone(),
            config: self.plan.config.clone(),
        };
        self.plan.store.save(
            &checkpoint,
            |file| write_record::<B>(model.clone().into_record(), file),
            |file| self.optimizer.write_record(file),
        )?;
        self.saved_step = Some(self.state.step);
        Ok(())
    }

    /// Reports what was not reported and saves what was not saved.
    fn finish(&mut self, model: &M) -> Result<LoopResult, TrainError> {
        self.log()?;
        if self.is_complete() && self.evaluation.is_none() {
            self.evaluate(model)?;
        }
        // Without its last evaluation a run is not at its end: which step was best may change yet.
        let completed = self.is_complete() && self.evaluation.is_some();
        if self.saved_step != Some(self.state.step) {
            self.save(model)?;
        }
        Ok(LoopResult {
            state: self.state.clone(),
            completed,
            evaluation: self.evaluation.take().filter(|_| completed),
            tokens: self.tokens,
            training: self.training,
            waiting: self.waiting,
        })
    }

    fn item<T>(&self, output: T, lr: Option<f64>) -> TrainingItem<T> {
        let step = self.state.step;
        // Burn shows epochs of items; here the whole run is one epoch, and its items are steps.
        let progress = Progress::new(step, self.plan.run.steps);
        TrainingItem::new(output, progress, Progress::new(1, 1), Some(step), lr)
    }

    fn data_error(&self) -> TrainError {
        let error = self.plan.loaders.train.take_error();
        TrainError::Data {
            split: "training",
            source: error.unwrap_or_else(|| "the thread that reads them has ended".into()),
        }
    }
}

/// Refuses losses and gradients that are no numbers; an evaluation has a gradient norm of 0.
fn check_finite(step: usize, tally: &Tally) -> Result<(), TrainError> {
    let loss_nats = tally.loss_nats();
    // Without targets, or if all of them have weight 0, there is no loss: odd but harmless.
    let is_finite = loss_nats.is_finite() && tally.detection.loss_sum.is_finite();
    if !is_finite && tally.weight > 0.0 {
        return Err(TrainError::Diverged { step, loss_nats });
    }
    // The loss of a step is finite yet if its gradients are not, and the parameters no longer are.
    match tally.grad_norm.is_finite() {
        true => Ok(()),
        false => Err(TrainError::Overflow { step }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_and_gradients_have_to_be_finite() {
        let tally = Tally {
            loss_sum: 3.0,
            weight: 2.0,
            targets: 2,
            grad_norm: 1.0,
            ..Tally::default()
        };
        check_finite(7, &tally).unwrap();
        let weightless = Tally {
            loss_sum: 0.0,
            weight: 0.0,
            ..tally
        };
        check_finite(7, &weightless).unwrap();

        let diverged = Tally {
            loss_sum: f64::NAN,
            ..tally
        };
        let error = check_finite(7, &diverged).unwrap_err();
        assert!(matches!(error, TrainError::Diverged { step: 7, .. }));
        let overflown = Tally {
            grad_norm: f64::INFINITY,
            ..tally
        };
        let error = check_finite(7, &overflown).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the gradients overflow at step 7; try a lower learning rate"
        );
    }
}
