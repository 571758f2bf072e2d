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

    /// Whether the smaller value of a metric is the better one. Default: those that end in `_error`
    fn smaller_is_better(&self, name: &str) -> bool {
        name.ends_with("_error")
    }
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

    /// The metric that decides, its sign changed where the smaller is better.
    pub(crate) fn deciding(&self, scores: &Scores) -> Option<f64> {
        let name = self.best_by.as_ref()?;
        let value = *scores.get(name)?;
        let is_error = self.metrics.as_ref()?.smaller_is_better(name);
        Some(if is_error { -value } else { value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_error_and_the_largest_accuracy_are_best() {
        let names = ["accuracy", "mean_squared_error"];
        let metrics: Arc<dyn TaskMetrics> = Arc::new(MetricsFn::new(&names, |_| Ok(Scores::new())));
        let scores = |value: f64| names.map(|name| (name.to_owned(), value)).into();
        let better = |best_by| {
            let scoring = Scoring::new(&metrics, Some(best_by)).unwrap();
            scoring.deciding(&scores(0.5)) > scoring.deciding(&scores(0.25))
        };
        assert!(better("accuracy"));
        assert!(!better("mean_squared_error"));
    }
}
