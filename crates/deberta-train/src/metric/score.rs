//! Metrics of a task.

use std::sync::Arc;

use burn::train::metric::{
    Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
    NumericEntry, SerializedEntry,
};

use crate::objective::{Reading, Scores};

/// Reports one metric of a task, such as `accuracy`, of the latest evaluation.
#[derive(Clone)]
pub struct ScoreMetric {
    name: MetricName,
    smaller_is_better: bool,
    value: f64,
}

impl ScoreMetric {
    /// Creates the metric; `name` is its name among the scores, and larger is better.
    pub fn new(name: &str) -> Self {
        Self {
            name: Arc::new(name.to_owned()),
            smaller_is_better: false,
            value: f64::NAN,
        }
    }

    /// Says whether the metric is an error, of which less is better.
    pub fn smaller_is_better(self, smaller_is_better: bool) -> Self {
        Self {
            smaller_is_better,
            ..self
        }
    }
}

impl Metric for ScoreMetric {
    type Input = Scores;

    fn name(&self) -> MetricName {
        Arc::clone(&self.name)
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: None,
            higher_is_better: !self.smaller_is_better,
        }
        .into()
    }

    fn update(&mut self, scores: &Scores, _metadata: &MetricMetadata) -> SerializedEntry {
        let value = scores.get(self.name.as_str());
        self.value = value.copied().unwrap_or(f64::NAN);
        SerializedEntry {
            formatted: format!("{:.4}", self.value),
            serialized: self.value().serialize(),
        }
    }

    fn clear(&mut self) {
        self.value = f64::NAN;
    }
}

impl Numeric for ScoreMetric {
    fn value(&self) -> NumericEntry {
        NumericEntry::Value(self.value)
    }

    /// There is one value per evaluation.
    fn running_value(&self) -> NumericEntry {
        self.value()
    }
}

impl Adaptor<Scores> for Reading {
    fn adapt(&self) -> Scores {
        self.scores.clone()
    }
}
