//! Numbers that follow from a [`Tally`].

use std::sync::Arc;

use burn::train::metric::{
    Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
    NumericEntry, SerializedEntry,
};

use crate::objective::{Reading, Tally};

/// Which number a [`TallyMetric`] reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Mean loss of a target, in nats.
    Loss,
    /// Mean penalty of adversarial training.
    Penalty,
    /// Share of targets predicted correctly.
    Accuracy,
    /// Exponential of the mean loss.
    Perplexity,
    /// Real tokens per second of training.
    TokensPerSecond,
    /// Norm of the gradients before clipping.
    GradientNorm,
    /// Mean loss of a discriminator for a token, in nats.
    DetectionLoss,
    /// Share of tokens of which a discriminator is right.
    DetectionAccuracy,
    /// Share of replaced tokens among those taken for such.
    DetectionPrecision,
    /// Share of the replaced tokens that were noticed.
    DetectionRecall,
    /// Share of replaced tokens among all.
    Replaced,
}

impl Quantity {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Loss,
        Self::Penalty,
        Self::Accuracy,
        Self::Perplexity,
        Self::TokensPerSecond,
        Self::GradientNorm,
        Self::DetectionLoss,
        Self::DetectionAccuracy,
        Self::DetectionPrecision,
        Self::DetectionRecall,
        Self::Replaced,
    ];

    /// What a discriminator adds to the numbers of its generator.
    pub const DETECTION: [Self; 5] = [
        Self::DetectionLoss,
        Self::DetectionAccuracy,
        Self::DetectionPrecision,
        Self::DetectionRecall,
        Self::Replaced,
    ];

    /// Name on the dashboard, and in lower case with underscores in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "Loss",
            Self::Penalty => "Penalty",
            Self::Accuracy => "Accuracy",
            Self::Perplexity => "Perplexity",
            Self::TokensPerSecond => "Tokens Per Second",
            Self::GradientNorm => "Gradient Norm",
            Self::DetectionLoss => "Detection Loss",
            Self::DetectionAccuracy => "Detection Accuracy",
            Self::DetectionPrecision => "Detection Precision",
            Self::DetectionRecall => "Detection Recall",
            Self::Replaced => "Replaced",
        }
    }

    /// Name in the log.
    pub fn key(self) -> String {
        self.name().to_lowercase().replace(' ', "_")
    }

    fn of(self, tally: &Tally) -> f64 {
        match self {
            Self::Loss => tally.loss_nats(),
            Self::Penalty => tally.penalty(),
            Self::Accuracy => tally.accuracy(),
            Self::Perplexity => tally.perplexity(),
            Self::TokensPerSecond => tally.tokens_per_second(),
            Self::GradientNorm => tally.grad_norm,
            Self::DetectionLoss => tally.detection.loss_nats(),
            Self::DetectionAccuracy => tally.detection.accuracy(),
            Self::DetectionPrecision => tally.detection.precision(),
            Self::DetectionRecall => tally.detection.recall(),
            Self::Replaced => 1.0 - tally.detection.majority_accuracy(),
        }
    }

    fn higher_is_better(self) -> bool {
        matches!(
            self,
            Self::Accuracy
                | Self::TokensPerSecond
                | Self::DetectionAccuracy
                | Self::DetectionPrecision
                | Self::DetectionRecall
        )
    }
}

/// Reports one [`Quantity`], of the latest window and of all since the last evaluation.
#[derive(Clone)]
pub struct TallyMetric {
    quantity: Quantity,
    name: MetricName,
    current: Tally,
    running: Tally,
}

impl TallyMetric {
    /// Creates the metric.
    pub fn new(quantity: Quantity) -> Self {
        Self {
            quantity,
            name: Arc::new(quantity.name().to_owned()),
            current: Tally::default(),
            running: Tally::default(),
        }
    }

    fn entry(&self, tally: &Tally) -> NumericEntry {
        NumericEntry::Aggregated {
            aggregated_value: self.quantity.of(tally),
            count: tally.targets,
        }
    }
}

impl Metric for TallyMetric {
    type Input = Tally;

    fn name(&self) -> MetricName {
        Arc::clone(&self.name)
    }

    fn attributes(&self) -> MetricAttributes {
        let higher_is_better = self.quantity.higher_is_better();
        NumericAttributes {
            unit: None,
            higher_is_better,
        }
        .into()
    }

    fn update(&mut self, tally: &Tally, _metadata: &MetricMetadata) -> SerializedEntry {
        self.current = *tally;
        self.running = self.running.merge(*tally);
        let (current, running) = (
            self.quantity.of(&self.current),
            self.quantity.of(&self.running),
        );
        SerializedEntry {
            formatted: format!("{current:.4}, since the last evaluation {running:.4}"),
            serialized: self.value().serialize(),
        }
    }

    fn clear(&mut self) {
        self.current = Tally::default();
        self.running = Tally::default();
    }
}

impl Numeric for TallyMetric {
    fn value(&self) -> NumericEntry {
        self.entry(&self.current)
    }

    fn running_value(&self) -> NumericEntry {
        self.entry(&self.running)
    }
}

impl Adaptor<Tally> for Reading {
    fn adapt(&self) -> Tally {
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::data::dataloader::Progress;

    fn metadata() -> MetricMetadata {
        let progress = Progress::new(1, 1);
        MetricMetadata {
            progress: progress.clone(),
            global_progress: progress,
            iteration: Some(1),
            lr: None,
        }
    }

    #[test]
    fn the_running_perplexity_is_that_of_all_tokens() {
        let mut metric = TallyMetric::new(Quantity::Perplexity);
        let first = Tally {
            loss_sum: 2.0,
            weight: 1.0,
            targets: 1,
            ..Tally::default()
        };
        let second = Tally {
            loss_sum: 3.0,
            weight: 3.0,
            targets: 3,
            ..Tally::default()
        };
        metric.update(&first, &metadata());
        metric.update(&second, &metadata());

        assert_eq!(metric.value().current(), 1f64.exp());
        assert_eq!(metric.running_value().current(), (5.0f64 / 4.0).exp());
        metric.clear();
        metric.update(&first, &metadata());
        assert_eq!(metric.running_value().current(), 2f64.exp());
    }
}
