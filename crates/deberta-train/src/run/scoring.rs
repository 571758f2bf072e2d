//! How evaluations are judged.

use std::sync::Arc;

use super::{SourceError, TrainError};
use crate::objective::{ExampleLogits, Scores};

/// The metrics of a task, from logits of held-out examples.
pub trait TaskMetrics: Send + Sync + 'static {
    /// Names of all metrics.
    fn names(&self) -> Vec<String>;

    /// All metrics of some examples. [`ExampleLogits::example`] says which they are.
    ///
    /// # Errors
    ///
    /// Whatever keeps them from being scored.
    fn score(&self, logits: &[ExampleLogits]) -> Result<Scores, SourceError>;
}

/// Metrics from a function.
pub struct MetricsFn<F> {
    names: Vec<String>,
    score: F,
}

impl<F> MetricsFn<F>
where
    F: Fn(&[ExampleLogits]) -> Result<Scores, SourceError> + Send + Sync + 'static,
{
    /// - `names`: the metrics that `score` returns
    pub fn new(names: &[&str], score: F) -> Self {
        Self {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            score,
        }
    }
}

impl<F> TaskMetrics for MetricsFn<F>
where
    F: Fn(&[ExampleLogits]) -> Result<Scores, SourceError> + Send + Sync + 'static,
{
    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn score(&self, logits: &[ExampleLogits]) -> Result<Scores, SourceError> {
        (self.score)(logits)
    }
}

/// By which metric checkpoints are compared; without one, by the loss.
#[derive(Clone, Default)]
pub(crate) struct Scoring {
    metrics: Option<Arc<dyn TaskMetrics>>,
    best_by: Option<String>,
}

impl Scoring {
    /// Metrics of a task, of which `best_by` decides.
    ///
    /// # Errors
    ///
    /// [`TrainError::UnknownMetric`]
    pub(crate) fn new(
        metrics: &Arc<dyn TaskMetrics>,
        best_by: Option<&str>,
    ) -> Result<Self, TrainError> {
        let known = metrics.names();
        match best_by {
            Some(name) if !known.iter().any(|it| it == name) => Err(TrainError::UnknownMetric {
                name: name.to_owned(),
                known,
            }),
            _ => Ok(Self {
                metrics: Some(Arc::clone(metrics)),
                best_by: best_by.map(str::to_owned),
            }),
        }
    }

    pub(crate) fn scores(&self, logits: &[ExampleLogits]) -> Result<Scores, TrainError> {
        match &self.metrics {
            None => Ok(Scores::new()),
            Some(metrics) => metrics.score(logits).map_err(TrainError::Metric),
        }
    }

    /// The metric that decides.
    pub(crate) fn deciding(&self, scores: &Scores) -> Option<f64> {
        scores.get(self.best_by.as_ref()?).copied()
    }
}
