//! Sums over the targets of a step, on the device.

use burn::tensor::{DType, Int, Tensor, TensorData, Transaction, backend::Backend};
use burn::train::metric::ItemLazy;

use super::{Detection, EvaluationOutput, ExampleLogits, Reading, Scores, Tally};

/// What a step or an evaluation has summed up so far, still on the device.
#[derive(Debug, Clone)]
pub struct StepSums<B: Backend> {
    /// Weighted losses of all targets, `[1]`.
    pub(super) loss_sum: Tensor<B, 1>,
    /// Penalty of adversarial training, summed over rows of logits, `[1]`.
    pub(super) penalty_sum: Tensor<B, 1>,
    /// Correct predictions, `[1]`.
    pub(super) correct: Tensor<B, 1, Int>,
    /// Mean norm of the gradients, `[1]`.
    pub(super) grad_norm: Tensor<B, 1>,
    /// What a discriminator said.
    pub(super) detection: Option<DetectionSums<B>>,
    /// What is known on the host.
    pub(super) host: Tally,
    /// Metrics of an evaluation.
    pub(super) scores: Scores,
}

/// Sums over the tokens that a discriminator has seen, on the device.
#[derive(Debug, Clone)]
pub(super) struct DetectionSums<B: Backend> {
    /// Losses of all tokens, `[1]`.
    pub(super) loss_sum: Tensor<B, 1>,
    /// Replaced tokens, tokens taken for such, and tokens that are both, `[3]`.
    pub(super) counts: Tensor<B, 1, Int>,
}

impl<B: Backend> DetectionSums<B> {
    fn merge(self, later: Self) -> Self {
        Self {
            loss_sum: self.loss_sum + later.loss_sum,
            counts: self.counts + later.counts,
        }
    }
}

impl<B: Backend> StepSums<B> {
    /// Nothing yet, in the type of the losses to come.
    pub(super) fn empty(device: &B::Device, dtype: DType) -> Self {
        let zero = || Tensor::zeros([1], (device, dtype));
        Self {
            loss_sum: zero(),
            penalty_sum: zero(),
            correct: Tensor::zeros([1], device),
            grad_norm: zero(),
            detection: None,
            host: Tally::default(),
            scores: Scores::new(),
        }
    }

    /// Adds a later step or batch.
    pub(crate) fn merge(self, later: Self) -> Self {
        Self {
            loss_sum: self.loss_sum + later.loss_sum,
            penalty_sum: self.penalty_sum + later.penalty_sum,
            correct: self.correct + later.correct,
            grad_norm: later.grad_norm,
            detection: match (self.detection, later.detection) {
                (Some(sums), Some(later)) => Some(sums.merge(later)),
                (sums, later) => sums.or(later),
            },
            host: self.host.merge(later.host),
            scores: later.scores,
        }
    }

    /// Attaches what only the loop can know.
    ///
    /// - `seconds`: training time that these sums cover
    /// - `grad_norm`: mean norm of the gradients before clipping, of shape `[1]`
    pub(crate) fn with_pace(mut self, seconds: f64, grad_norm: Tensor<B, 1>) -> Self {
        self.host.seconds = seconds;
        self.grad_norm = grad_norm;
        self
    }
}

impl<B: Backend> ItemLazy for StepSums<B> {
    type ItemSync = Reading;

    /// Reads all sums in one transfer.
    fn sync(self) -> Reading {
        let mut transaction = Transaction::default()
            .register(self.loss_sum)
            .register(self.penalty_sum)
            .register(self.correct)
            .register(self.grad_norm);
        let detects = self.detection.is_some();
        if let Some(sums) = self.detection {
            transaction = transaction.register(sums.loss_sum).register(sums.counts);
        }
        let data = transaction.execute();
        let all = |data: &TensorData| data.iter::<f64>().collect::<Vec<_>>();
        let mut values = data.iter().flat_map(all);
        let mut value = || values.next().unwrap_or(f64::NAN);
        let mut tally = Tally {
            loss_sum: value(),
            penalty_sum: value(),
            correct: value() as usize,
            grad_norm: value(),
            ..self.host
        };
        if detects {
            tally.detection = Detection {
                loss_sum: value(),
                replaced: value() as usize,
                flagged: value() as usize,
                hits: value() as usize,
                ..tally.detection
            };
        }
        Reading {
            tally,
            scores: self.scores,
        }
    }
}

/// Of a masked language model nothing but sums is wanted.
impl<B: Backend> EvaluationOutput for StepSums<B> {
    fn merge(self, later: Self) -> Self {
        Self::merge(self, later)
    }

    fn with_scores(self, scores: Scores) -> Self {
        Self { scores, ..self }
    }

    fn logits(&self) -> Vec<ExampleLogits> {
        Vec::new()
    }
}
