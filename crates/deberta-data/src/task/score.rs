//! Predictions against references, with each task's official metrics.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Task;
use super::example::Example;
use super::pairs::{Pairs, Values};
use super::ratings;
use crate::metric::{
    Average, Confusion, MetricError, mean_absolute_error, mean_squared_error, pearson, spearman,
};

/// What a head says about an example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// Index of a label, or of a choice.
    Label(usize),
    /// A number.
    Score(f64),
    /// Indices of labels.
    Labels(Vec<usize>),
    /// Index of a label for each word.
    Tags(Vec<usize>),
    /// A text: an answer, empty for "no answer", or an entity.
    Answer {
        /// The text.
        text: String,
        /// Probability that there is no answer; 0 if the head has no opinion.
        no_answer_prob: f64,
    },
}

impl Prediction {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Label(_) => "a label",
            Self::Score(_) => "a score",
            Self::Labels(_) => "a set of labels",
            Self::Tags(_) => "tags",
            Self::Answer { .. } => "an answer",
        }
    }
}

/// Why predictions could not be scored or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// Another number of predictions than of examples.
    #[error("{predictions} predictions for {examples} examples")]
    Length {
        /// Number of predictions.
        predictions: usize,
        /// Number of examples.
        examples: usize,
    },
    /// A prediction or reference of the wrong kind for the task, or a reference without a label.
    #[error("example `{id}`: found {found}, expected {expected}")]
    Kind {
        /// The example.
        id: String,
        /// What is there.
        found: String,
        /// What the task takes.
        expected: &'static str,
    },
    /// The metric itself.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// A file of predictions could not be written.
    #[error("cannot write the predictions")]
    Io(#[from] std::io::Error),
}

/// A number with its name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricValue {
    /// Such as `accuracy`.
    pub name: &'static str,
    /// A fraction; in percent for the tasks of SQuAD and ReCoRD, as their scripts say it. NaN where
    /// [`metric`](crate::metric) says so.
    pub value: f64,
}

/// The metrics of a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    main: &'static str,
    metrics: Vec<MetricValue>,
}

impl Report {
    /// All metrics, in the order in which they are usually told.
    pub fn metrics(&self) -> &[MetricValue] {
        &self.metrics
    }

    /// The value of a metric.
    pub fn value(&self, name: &str) -> Option<f64> {
        let found = self.metrics.iter().find(|metric| metric.name == name);
        found.map(|metric| metric.value)
    }

    /// The metric by which checkpoints are compared; larger is better. A NaN should count as worse
    /// than any number.
    pub fn main(&self) -> MetricValue {
        MetricValue {
            name: self.main,
            value: self.value(self.main).unwrap_or(f64::NAN),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, metric) in self.metrics.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{} {:.4}", metric.name, metric.value)?;
        }
        Ok(())
    }
}

/// Which metrics a task has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metrics {
    /// Of labels or choices.
    Accuracy,
    /// CoLA and the diagnostics: Matthews correlation.
    Matthews,
    /// MRPC and QQP: F1 of the second label.
    AccuracyF1,
    /// CB.
    AccuracyMacroF1,
    /// Own classification tasks.
    Classes,
    /// STS-B.
    Correlations,
    /// Own regression tasks.
    Numbers,
    /// Own multi-label tasks.
    Sets,
    Entities,
    MultiRc,
    Record,
    SquadV1,
    SquadV2,
}

impl Metrics {
    /// Where a benchmark averages two metrics of a task, so does the main one.
    pub(super) fn main(self) -> &'static str {
        match self {
            Self::Accuracy | Self::Classes => "accuracy",
            Self::Matthews => "matthews",
            Self::AccuracyF1 => "accuracy_f1",
            Self::AccuracyMacroF1 => "accuracy_macro_f1",
            Self::Correlations => "pearson_spearman",
            Self::Numbers => "pearson",
            Self::Sets => "micro_f1",
            Self::Entities | Self::SquadV1 | Self::SquadV2 => "f1",
            Self::MultiRc => "f1a_exact_match",
            Self::Record => "exact_match_f1",
        }
    }
}

impl Task {
    /// Scores predictions, one per example and in the same order, with the task's official metrics.
    ///
    /// | task | metrics, the main one last |
    /// |---|---|
    /// | CoLA, AX | accuracy, Matthews correlation |
    /// | MRPC, QQP | accuracy, F1 of label `1`, their mean |
    /// | STS-B | Pearson, Spearman, their mean |
    /// | CB | accuracy, macro F1, their mean |
    /// | MultiRC | F1m, F1a, exact match, mean of the last two |
    /// | ReCoRD | exact match, F1, their mean |
    /// | SQuAD 1.1 | exact match, F1 |
    /// | SQuAD 2.0 | with and without answer, best thresholds, exact match, F1 |
    /// | words with tags | accuracy, precision, recall, F1 of entities as by seqeval's default |
    /// | own classification | macro F1, Matthews correlation, quadratic kappa, accuracy |
    /// | own regression | Spearman, mean squared and absolute error, quadratic kappa, Pearson |
    /// | own multi-label | macro F1, F1 by example, accuracy of whole sets, micro F1 |
    /// | all others | accuracy |
    ///
    /// Quadratic weighted kappa is there if the targets are ratings: at least three labels that are
    /// whole numbers, or numbers of the references that are whole and span at least two and at most a
    /// thousand; predicted numbers are rounded and kept among those of the references.
    ///
    /// # Errors
    ///
    /// If the numbers differ or are zero, or an example has no label or a prediction is of another
    /// kind.
    pub fn score(
        &self,
        predictions: &[Prediction],
        references: &[Example],
    ) -> Result<Report, ScoreError> {
        check_length(predictions, references)?;
        let pairs = Pairs {
            predictions,
            references,
        };
        let mut metrics = match self.metrics {
            Metrics::Entities => pairs.entities(&self.labels)?,
            Metrics::Correlations | Metrics::Numbers => self.score_numbers(pairs)?,
            Metrics::Sets => pairs.sets(self.labels.len())?,
            Metrics::MultiRc => pairs.multirc()?,
            Metrics::Record | Metrics::SquadV1 => pairs.squad_v1()?,
            Metrics::SquadV2 => pairs.squad_v2()?,
            _ => self.score_labels(pairs)?,
        };
        let mean = |a: usize, b: usize| (metrics[a].1 + metrics[b].1) / 2.0;
        let combined = match self.metrics {
            Metrics::AccuracyF1
            | Metrics::AccuracyMacroF1
            | Metrics::Correlations
            | Metrics::Record => Some(mean(0, 1)),
            Metrics::MultiRc => Some(mean(1, 2)),
            _ => None,
        };
        let main = self.metrics.main();
        metrics.extend(combined.map(|value| (main, value)));
        let metrics = metrics.into_iter();
        Ok(Report {
            main,
            metrics: metrics
                .map(|(name, value)| MetricValue { name, value })
                .collect(),
        })
    }

    fn score_labels(&self, pairs: Pairs<'_>) -> Result<Values, ScoreError> {
        let (predictions, references) = pairs.labels()?;
        let largest = predictions.iter().chain(&references).max();
        // Choices have no names, and their number may differ from example to example.
        let num_labels = match self.labels.len() {
            0 => largest.map_or(0, |largest| largest + 1),
            num_labels => num_labels,
        };
        let confusion = Confusion::new(&predictions, &references, num_labels)?;
        let accuracy = ("accuracy", confusion.accuracy());
        let macro_f1 = ("macro_f1", confusion.average(Average::Macro).f1);
        let matthews = ("matthews", confusion.matthews());
        Ok(match self.metrics {
            Metrics::Matthews => vec![accuracy, matthews],
            Metrics::AccuracyF1 => vec![accuracy, ("f1", confusion.scores(1).f1)],
            Metrics::AccuracyMacroF1 => vec![accuracy, macro_f1],
            Metrics::Classes => {
                let mut metrics = vec![macro_f1, matthews];
                if let Some(scale) = ratings::scale_of_labels(&self.labels) {
                    let values = |labels: &[usize]| labels.iter().map(|it| scale[*it]).collect();
                    let (p, r): (Vec<f64>, Vec<f64>) = (values(&predictions), values(&references));
                    metrics.extend(kappa(&p, &r, &scale)?);
                }
                metrics.push(accuracy);
                metrics
            }
            _ => vec![accuracy],
        })
    }

    fn score_numbers(&self, pairs: Pairs<'_>) -> Result<Values, ScoreError> {
        let (p, r) = pairs.numbers()?;
        let (pearson, spearman) = (pearson(&p, &r)?, spearman(&p, &r)?);
        Ok(match self.metrics {
            Metrics::Correlations => vec![("pearson", pearson), ("spearman", spearman)],
            _ => {
                let mut metrics = vec![
                    ("spearman", spearman),
                    ("mean_squared_error", mean_squared_error(&p, &r)?),
                    ("mean_absolute_error", mean_absolute_error(&p, &r)?),
                ];
                metrics.extend(kappa(&p, &r, &r)?);
                metrics.push(("pearson", pearson));
                metrics
            }
        })
    }
}

/// Kappa by its name, if the targets are ratings.
fn kappa(p: &[f64], r: &[f64], scale: &[f64]) -> Result<Option<(&'static str, f64)>, MetricError> {
    let kappa = ratings::quadratic_kappa(p, r, scale)?;
    Ok(kappa.map(|kappa| ("quadratic_kappa", kappa)))
}

pub(super) fn check_length(
    predictions: &[Prediction],
    examples: &[Example],
) -> Result<(), ScoreError> {
    if predictions.len() == examples.len() {
        return Ok(());
    }
    Err(ScoreError::Length {
        predictions: predictions.len(),
        examples: examples.len(),
    })
}
