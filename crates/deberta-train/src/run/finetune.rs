//! Fine-tuning on a task.

use std::sync::Arc;

use burn::module::{AutodiffModule, Module};
use deberta_model::config::AbsolutePositions;
use deberta_model::heads::{HeadConfig, ProblemType};
use deberta_model::{DebertaAutodiffBackend, DebertaBackend, DebertaConfig};
use serde::{Deserialize, Serialize};

use super::config::{check_number, check_optimization, fraction, not_negative, positive};
use super::data::{EvaluationLoader, LoaderStatus};
use super::display::Shown;
use super::launch::Launch;
use super::scoring::{Scoring, TaskMetrics};
use super::{ExampleSource, RunConfig, RunOptions, RunReport, TrainError};
use crate::checkpoint::with_causes;
use crate::metric::{Quantity, ScoreMetric};
use crate::objective::{
    EvaluationOutput, ExampleLogits, LossConfig, Perturbed, Rows, Scores, SiftConfig, TaskBatch,
    TaskNetwork, TaskObjective, TaskSettings, TrainableNetwork,
};
use crate::optim::AdamWConfig;
use crate::schedule::ScheduleConfig;

/// Everything that decides the outcome of a fine-tuning run but the weights that it starts from, as
/// JSON in the run folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinetuneConfig {
    /// The network.
    pub model: DebertaConfig,
    /// Its head.
    pub head: HeadConfig,
    /// How targets count.
    #[serde(default)]
    pub loss: LossConfig,
    /// Adversarial training; `null` for none. Default: `null`
    #[serde(default)]
    pub sift: Option<SiftConfig>,
    /// The optimiser.
    #[serde(default)]
    pub optimizer: AdamWConfig,
    /// The learning rate.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// Length, batches, and what happens how often.
    #[serde(default)]
    pub run: RunConfig,
    /// Metric that chooses the best checkpoint; `null` for the loss. Which values are better,
    /// [`TaskMetrics::smaller_is_better`] says. Default: `null`
    #[serde(default)]
    pub best_by: Option<String>,
}

impl FinetuneConfig {
    /// A configuration with the defaults of a run.
    pub fn new(model: DebertaConfig, head: HeadConfig) -> Self {
        Self {
            model,
            head,
            loss: LossConfig::default(),
            sift: None,
            optimizer: AdamWConfig::default(),
            schedule: ScheduleConfig::default(),
            run: RunConfig::default(),
            best_by: None,
        }
    }

    /// What the objective of such a run needs.
    pub fn settings(&self, rows: Rows) -> TaskSettings {
        TaskSettings {
            loss: self.loss.clone(),
            sift: self.sift.clone(),
            precision: self.run.precision,
            gradient_checkpointing: self.run.gradient_checkpointing,
            ..TaskSettings::new(&self.head, rows)
        }
    }

    /// Checks what can be checked without data.
    ///
    /// # Errors
    ///
    /// [`TrainError::Model`] or [`TrainError::Setting`], for the first field that makes no sense.
    pub fn validate(&self, rows: Rows) -> Result<(), TrainError> {
        self.model.validate()?;
        self.head.validate()?;
        self.run.validate()?;
        check_optimization(&self.optimizer, &self.schedule)?;
        check_loss(&self.loss, &self.head, rows)?;
        self.sift
            .as_ref()
            .map_or(Ok(()), |sift| check_sift(sift, &self.model))
    }
}

fn check_loss(loss: &LossConfig, head: &HeadConfig, rows: Rows) -> Result<(), TrainError> {
    let smoothing = ("loss.label_smoothing", loss.label_smoothing);
    check_number(smoothing.0, smoothing.1, "at least 0 and below 1", fraction)?;
    let Some(weights) = &loss.class_weights else {
        return Ok(());
    };
    let has_labels = matches!(rows, Rows::Sequences | Rows::Tokens);
    if !has_labels || weights.len() != head.labels.len() {
        return Err(TrainError::Setting {
            field: "loss.class_weights",
            value: format!("{weights:?}"),
            expected: "one weight per label of a head that has labels",
        });
    }
    for weight in weights {
        check_number("loss.class_weights", *weight, "at least 0", not_negative)?;
    }
    Ok(())
}

fn check_sift(sift: &SiftConfig, model: &DebertaConfig) -> Result<(), TrainError> {
    // What is added to normalised words, or projects them, would meet other numbers in the saved
    // network, which does not normalise them.
    let words_alone = model.type_vocab_size == 0
        && model.absolute_positions != AbsolutePositions::Input
        && model.embedding_size == model.hidden_size;
    if sift.perturbed == Perturbed::Words && !words_alone {
        return Err(TrainError::Setting {
            field: "sift.perturbed",
            value: "words".to_owned(),
            expected: "`sum` for a network with token types, positions in its input or a projection \
                       of its embeddings",
        });
    }
    type Check = (&'static str, f64, &'static str, fn(f64) -> bool);
    let radius = sift.ball.map_or(1.0, |ball| ball.radius);
    let checks: [Check; 4] = [
        ("sift.weight", sift.weight, "at least 0", not_negative),
        (
            "sift.learning_rate",
            sift.learning_rate,
            "at least 0",
            not_negative,
        ),
        (
            "sift.initial_perturbation",
            sift.initial_perturbation,
            "at least 0",
            not_negative,
        ),
        ("sift.ball.radius", radius, "a positive number", positive),
    ];
    for (field, value, expected, is_allowed) in checks {
        check_number(field, value, expected, is_allowed)?;
    }
    Ok(())
}

/// What is trained and evaluated on, and how predictions are scored.
#[derive(Clone)]
pub struct FinetuneData {
    /// Examples to train on.
    pub train: Arc<dyn ExampleSource<TaskBatch>>,
    /// Examples to evaluate on.
    pub held_out: Arc<dyn ExampleSource<TaskBatch>>,
    /// Metrics of the held-out examples.
    pub metrics: Arc<dyn TaskMetrics>,
}

/// A fine-tuned model, and how the run went.
pub struct Finetuned<M> {
    /// The model of the best evaluation whose checkpoint could be read.
    pub model: M,
    /// Step of that evaluation.
    pub step: usize,
    /// Its metrics on the held-out examples.
    pub scores: Scores,
    /// How the run went.
    pub report: RunReport,
}

/// Fine-tunes a network, from its weights or from the latest undamaged checkpoint.
///
/// The run folder receives `config.json`, `metrics.jsonl` and `checkpoints/`, among them the best.
/// On one backend and device, the same configuration, weights and data give the same model, however
/// often the run is interrupted, killed and resumed. If the best checkpoint was lost in the meantime,
/// there is a warning and the model of the last step.
///
/// # Errors
///
/// See [`TrainError`].
pub fn fine_tune<B, M>(
    config: &FinetuneConfig,
    model: M,
    data: &FinetuneData,
    options: &RunOptions,
    device: &B::Device,
) -> Result<Finetuned<M::InnerModule>, TrainError>
where
    B: DebertaAutodiffBackend,
    M: TrainableNetwork<B>,
{
    config.validate(M::ROWS)?;
    let settings = config.settings(M::ROWS);
    let launch = Launch::<B, _, _> {
        config,
        run: &config.run,
        optimizer: &config.optimizer,
        schedule: &config.schedule,
        train: &data.train,
        held_out: &data.held_out,
        scoring: Scoring::new(&data.metrics, config.best_by.as_deref())?,
        shown: shown(&settings, data.metrics.as_ref()),
        options,
        device,
    };
    let (last, report, store) = launch.run_in_store(TaskObjective::new(model, settings))?;
    let best = report
        .state
        .best
        .filter(|best| best.step != report.state.step);
    let Some(best) = best else {
        return Ok(of_the_last_step(last, report));
    };
    let record = match store.load_model::<B, _>(best.step, device) {
        Ok(record) => record,
        Err(error) => {
            let (step, now) = (best.step, report.state.step);
            log::warn!(
                "the best checkpoint, of step {step}, is lost, so the model of step {now} is taken: {}",
                with_causes(&error)
            );
            return Ok(of_the_last_step(last, report));
        }
    };
    let objective = TaskObjective::<B, M>::from_inner(last)
        .load_record(record)
        .valid();
    let logits = predict(&objective, &data.held_out, &config.run)?;
    Ok(Finetuned {
        model: objective.model,
        step: best.step,
        scores: data.metrics.score(&logits).map_err(TrainError::Metric)?,
        report,
    })
}

fn of_the_last_step<B: DebertaBackend, M: TaskNetwork<B>>(
    last: TaskObjective<B, M>,
    report: RunReport,
) -> Finetuned<M> {
    Finetuned {
        model: last.model,
        step: report.state.step,
        scores: report.scores.clone(),
        report,
    }
}

/// The loss, the penalty if there is one, and the accuracy unless the task has its own.
fn shown(settings: &TaskSettings, metrics: &dyn TaskMetrics) -> Shown {
    let names = metrics.names();
    let mut quality = vec![Quantity::Loss];
    let has_classes = settings.problem == ProblemType::SingleLabelClassification;
    if has_classes
        && !names
            .iter()
            .any(|name| name.eq_ignore_ascii_case("accuracy"))
    {
        quality.push(Quantity::Accuracy);
    }
    Shown {
        quality,
        training: settings.sift.iter().map(|_| Quantity::Penalty).collect(),
        scores: names.iter().map(|name| metric(name, metrics)).collect(),
    }
}

fn metric(name: &str, metrics: &dyn TaskMetrics) -> ScoreMetric {
    ScoreMetric::new(name).smaller_is_better(metrics.smaller_is_better(name))
}

/// What a network says about every example, in their order.
///
/// # Errors
///
/// [`TrainError::Data`] if examples cannot be read.
pub fn predict<B: DebertaBackend, M: TaskNetwork<B>>(
    objective: &TaskObjective<B, M>,
    source: &Arc<dyn ExampleSource<TaskBatch>>,
    run: &RunConfig,
) -> Result<Vec<ExampleLogits>, TrainError> {
    let status = LoaderStatus::default();
    let by_length = run.bucket_batches > 0;
    let loader = EvaluationLoader::new(source, run.batch_size, by_length, &status);
    let mut logits = Vec::new();
    for batch in loader.batches() {
        let output = burn::train::InferenceStep::step(objective, batch);
        logits.extend(output.logits());
    }
    if let Some(error) = status.take_error() {
        let (split, source) = ("given", error);
        return Err(TrainError::Data { split, source });
    }
    logits.sort_by_key(|it: &ExampleLogits| it.example);
    Ok(logits)
}

/// Steps that make so many epochs.
pub fn steps_of_epochs(epochs: f64, examples: usize, run: &RunConfig) -> usize {
    let steps = epochs * examples as f64 / run.examples_per_step() as f64;
    (steps.ceil() as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::MetricsFn;
    use burn::train::metric::{Metric, MetricAttributes};
    use deberta_model::DebertaConfig;
    use deberta_model::heads::HeadConfig;

    #[test]
    fn burn_is_told_that_less_of_an_error_is_better() {
        let metrics = MetricsFn::new(&["mean_squared_error", "pearson"], |_| Ok(Scores::new()));
        let head = HeadConfig::new(&DebertaConfig::v3(9, 8, 2, 2), vec!["value".into()]);
        let shown = shown(&TaskSettings::new(&head, Rows::Sequences), &metrics);
        let told = shown.scores.iter().map(|metric| match metric.attributes() {
            MetricAttributes::Numeric(it) => (metric.name().to_string(), it.higher_is_better),
            MetricAttributes::None => unreachable!("scores are numbers"),
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                ("mean_squared_error".to_owned(), false),
                ("pearson".to_owned(), true)
            ]
        );
    }
}
