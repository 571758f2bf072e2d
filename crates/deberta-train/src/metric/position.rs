//! The step that other metrics belong to.

use std::sync::Arc;

use burn::train::metric::{Metric, MetricMetadata, MetricName, SerializedEntry};

/// Shows and logs the number of updates made.
///
/// Burn's loggers are told an epoch and nothing finer; through this metric they see the step.
#[derive(Clone)]
pub struct StepMetric {
    name: MetricName,
}

impl StepMetric {
    /// Name of the metric.
    pub const NAME: &'static str = "Step";

    /// Creates the metric.
    pub fn new() -> Self {
        Self {
            name: Arc::new(Self::NAME.to_owned()),
        }
    }
}

impl Default for StepMetric {
    fn default() -> Self {
        Self::new()
    }
}

impl Metric for StepMetric {
    type Input = ();

    fn name(&self) -> MetricName {
        Arc::clone(&self.name)
    }

    fn update(&mut self, _input: &(), metadata: &MetricMetadata) -> SerializedEntry {
        let progress = &metadata.progress;
        let step = metadata.iteration.unwrap_or(progress.items_processed);
        SerializedEntry {
            formatted: format!("{step} of {}", progress.items_total),
            serialized: step.to_string(),
        }
    }

    fn clear(&mut self) {}
}
