//! The loop: train, log, evaluate, save.

use std::time::{Duration, Instant};

use burn::data::dataloader::{DataLoaderIterator, Progress};
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{ElementConversion, Tensor};
use burn::train::metric::ItemLazy;
use burn::train::{
    EventProcessorTraining, InferenceStep, Interrupter, Learner, LearnerEvent,
    SupervisedTrainingEventProcessor, TrainLoader, TrainOutput, TrainingComponents, TrainingItem,
    ValidLoader,
};
use deberta_model::DebertaAutodiffBackend;

use super::TrainError;
use super::order::mix;
use super::step_loop::{Components, LoopResult, StepLoop};
use super::window::Window;
use crate::checkpoint::{Checkpoint, TrainState, encode_record};
use crate::objective::{EvaluationOutput, Objective, Reading, Step, StepSums, Tally};
use crate::optim::{clip_global_norm, global_norm};

/// Where Burn's metrics and displays are told what happens.
type Events<B, M> = SupervisedTrainingEventProcessor<Components<B, M>>;

/// What a step hands to the optimiser: sums, clipped gradients, and their norm before, `[1]`.
type Gradients<B> = (
    StepSums<<B as AutodiffBackend>::InnerBackend>,
    GradientsParams,
    Tensor<<B as AutodiffBackend>::InnerBackend, 1>,
);

/// A running loop.
pub(super) struct Session<'a, B, M>
where
    B: DebertaAutodiffBackend,
    M: Objective<B>,
{
    plan: &'a StepLoop<B, M>,
    learner: Learner<Components<B, M>>,
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
        learner: Learner<Components<B, M>>,
        valid: ValidLoader<Components<B, M>>,
    ) -> Self {
        let state = plan.start.clone();
        Self {
            plan,
            learner,
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

    /// The model, and where Burn goes on to send its events.
    pub(super) fn into_parts(self) -> (M, Events<B, M>) {
        (self.learner.model(), self.events)
    }

    /// Trains until the last step, an interruption or an error.
    pub(super) fn train(
        &mut self,
        loader: &TrainLoader<Components<B, M>>,
    ) -> Result<LoopResult, TrainError> {
        let mut steps = loader.iter();
        while !self.is_complete() && !self.interrupter.should_stop() {
            self.step(&mut *steps)?;
            self.do_what_is_due()?;
        }
        self.finish()
    }

    /// Whether all steps were made, or evaluations have ceased to improve.
    fn is_complete(&self) -> bool {
        let run = &self.plan.run;
        let has_patience = run
            .patience
            .is_none_or(|patience| self.state.evaluations_since_best < patience);
        self.state.step >= run.steps || !has_patience
    }

    /// Makes one update.
    fn step(
        &mut self,
        steps: &mut dyn DataLoaderIterator<Step<M::Batch>>,
    ) -> Result<(), TrainError> {
        let asked = Instant::now();
        let batch = steps.next().ok_or_else(|| self.data_error())?;
        self.waiting += asked.elapsed();

        self.learner.lr_step();
        let (item, grads, norm) = self.gradients(batch)?;
        self.learner.optimizer_step(grads);

        self.window.add(item, norm);
        self.state.step += 1;
        let examples = self.plan.run.examples_per_step();
        self.state.cursor = self.state.cursor.advance(examples, self.state.epoch_len);
        Ok(())
    }

    /// Sums, clipped gradients and the norm before of one step.
    ///
    /// With a loss scale, a step whose gradients overflow is made again with a smaller one.
    fn gradients(&mut self, mut batch: Step<M::Batch>) -> Result<Gradients<B>, TrainError> {
        if !self.plan.run.precision.needs_loss_scale() {
            return Ok(self.try_gradients(batch));
        }
        let mut scale = self.state.loss_scale.unwrap_or_default();
        loop {
            batch.loss_scale = scale.value;
            let gradients = self.try_gradients(batch.clone());
            let norm: f64 = gradients.2.clone().into_scalar().elem();
            if norm.is_finite() {
                scale.note_success();
                self.state.loss_scale = Some(scale);
                return Ok(gradients);
            }
            log::debug!("gradients overflow at a loss scale of {}", scale.value);
            if !scale.note_overflow() {
                return Err(TrainError::Diverged {
                    step: self.state.step,
                    loss_nats: f64::NAN,
                });
            }
        }
    }

    fn try_gradients(&self, mut batch: Step<M::Batch>) -> Gradients<B> {
        let plan = self.plan;
        // The random state is a function of seed and step, so a checkpoint need not hold it.
        let seed = mix(self.state.seed, self.state.step as u64);
        B::seed(&plan.device, seed);
        batch.seed = Some(seed);
        let TrainOutput { grads, item } = self.learner.train_step(batch);
        let model = self.learner.model();
        match plan.max_grad_norm {
            Some(max_norm) => {
                let (grads, norm) = clip_global_norm(&model, grads, max_norm);
                (item, grads, norm)
            }
            None => {
                let norm = global_norm(&model, &grads);
                (item, grads, norm)
            }
        }
    }

    /// Logs, evaluates and saves, each as often as configured and after the last step.
    ///
    /// Evaluations and checkpoints close the window of the log, too, so that no loss that is not
    /// finite can be saved.
    fn do_what_is_due(&mut self) -> Result<(), TrainError> {
        let run = &self.plan.run;
        let step = self.state.step;
        let due = |every: usize| step.is_multiple_of(every) || step == run.steps;
        if !(due(run.log_every) || due(run.eval_every) || due(run.save_every)) {
            return Ok(());
        }
        self.log()?;
        let improved = due(run.eval_every) && self.evaluate()?;
        if improved || due(run.save_every) {
            self.save_or_warn();
        }
        self.clock = Instant::now();
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
        let item = self.item(output, Some(self.learner.lr_current()));
        self.events.process_train(LearnerEvent::ProcessedItem(item));
        Ok(())
    }

    /// Evaluates on all held-out examples and tells whether the result is the best so far.
    ///
    /// An interruption leaves the evaluation without a result.
    fn evaluate(&mut self) -> Result<bool, TrainError> {
        self.evaluation = None;
        let model = self.learner.model().valid();
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
        if let Some(error) = self.plan.loaders.take_error() {
            return Err(TrainError::Data(error));
        }
        let output = sum.ok_or(TrainError::NoExamples { split: "held-out" })?;
        let scores = self.plan.scoring.scores(&output.logits())?;
        let output = output.with_scores(scores);
        let reading = output.clone().sync();
        check_finite(self.state.step, &reading.tally)?;

        let item = self.item(output, None);
        self.events.process_valid(LearnerEvent::ProcessedItem(item));
        self.rounds += 1;
        self.events
            .process_train(LearnerEvent::EndEpoch(self.rounds));
        self.events
            .process_valid(LearnerEvent::EndEpoch(self.rounds));
        let score = self.plan.scoring.deciding(&reading.scores);
        let improved = self.state.note_evaluation(reading.tally.loss_nats(), score);
        self.evaluation = Some(reading);
        Ok(improved)
    }

    /// Saves; a failure is reported and the run goes on, as the next attempt may succeed.
    fn save_or_warn(&mut self) {
        if let Err(error) = self.save() {
            let step = self.state.step;
            log::warn!(
                "no checkpoint of step {step}, the run goes on: {}",
                with_causes(&error)
            );
        }
    }

    fn save(&mut self) -> Result<(), TrainError> {
        let plan = self.plan;
        let optimizer = Optimizer::<M, B>::to_record(&plan.optimizer);
        plan.store.save(&Checkpoint {
            state: self.state.clone(),
            config: plan.config.clone(),
            model: encode_record::<B>("model", self.learner.model().into_record())?,
            optimizer: encode_record::<B>("optimizer", optimizer)?,
        })?;
        self.saved_step = Some(self.state.step);
        Ok(())
    }

    /// Reports what was not reported and saves what was not saved.
    fn finish(&mut self) -> Result<LoopResult, TrainError> {
        self.log()?;
        let completed = self.is_complete();
        if completed && self.evaluation.is_none() {
            self.evaluate()?;
        }
        if self.saved_step != Some(self.state.step) {
            self.save()?;
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
        let error = self.plan.loaders.take_error();
        TrainError::Data(error.unwrap_or_else(|| "the thread that reads them has ended".into()))
    }
}

fn check_finite(step: usize, tally: &Tally) -> Result<(), TrainError> {
    let loss_nats = tally.loss_nats();
    // Without targets there is no loss, which is odd but harmless.
    let is_finite = loss_nats.is_finite() && tally.detection.loss_sum.is_finite();
    match is_finite || tally.targets == 0 {
        true => Ok(()),
        false => Err(TrainError::Diverged { step, loss_nats }),
    }
}

/// An error and what caused it, on one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
