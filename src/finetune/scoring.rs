//! Predictions and a task's own metrics for a set of examples.

use std::sync::Arc;

use deberta_data::decoding::AnswerConfig;
use deberta_data::task::{Example, Prediction, Report, ScoreError, Task};
use deberta_train::objective::{ExampleLogits, Scores};
use deberta_train::run::{SourceError, TaskMetrics};

use super::decode::Decoder;
use super::encode::Encoded;

/// Examples with their encoding.
#[derive(Debug, Clone)]
pub(super) struct EncodedSet {
    pub(super) name: String,
    pub(super) task: Arc<Task>,
    pub(super) answers: AnswerConfig,
    pub(super) examples: Arc<Vec<Example>>,
    pub(super) encoded: Arc<Encoded>,
    pub(super) threshold: f64,
}

/// Probability above which a label holds unless something else is said.
pub(super) const THRESHOLD: f64 = 0.5;

impl EncodedSet {
    pub(super) fn decoder(&self) -> Decoder<'_> {
        Decoder {
            task: &self.task,
            answers: &self.answers,
            examples: &self.examples,
            encoded: &self.encoded,
            threshold: self.threshold,
        }
    }

    /// What the logits of all items say about all examples.
    pub(super) fn predictions(&self, logits: &[ExampleLogits]) -> Vec<Prediction> {
        self.decoder().all_predictions(logits)
    }

    /// Metrics of predictions for all examples.
    pub(super) fn scores(&self, predictions: &[Prediction]) -> Result<Scores, ScoreError> {
        Ok(by_name(&self.task.score(predictions, &self.examples)?))
    }
}

fn by_name(report: &Report) -> Scores {
    let metrics = report.metrics().iter();
    metrics.map(|it| (it.name.to_owned(), it.value)).collect()
}

/// The metrics of held-out examples as the training loop wants them.
pub(super) struct HeldOutMetrics {
    pub(super) set: EncodedSet,
    pub(super) names: Vec<String>,
}

impl TaskMetrics for HeldOutMetrics {
    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn score(&self, logits: &[ExampleLogits]) -> Result<Scores, SourceError> {
        let set = &self.set;
        if logits.len() == set.encoded.items.len() {
            return Ok(set.scores(&set.predictions(logits))?);
        }
        // A fold of a cross-validation.
        let predicted = set.decoder().predictions(logits);
        let examples = predicted.iter().map(|(index, _)| &set.examples[*index]);
        let examples: Vec<Example> = examples.cloned().collect();
        let predictions = predicted.into_iter().map(|(_, it)| it);
        let predictions: Vec<Prediction> = predictions.collect();
        Ok(by_name(&set.task.score(&predictions, &examples)?))
    }
}
