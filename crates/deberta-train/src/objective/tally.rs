//! Sums over steps, from which every reported number follows.

use std::collections::BTreeMap;

/// Metrics by name, such as `accuracy`.
pub type Scores = BTreeMap<String, f64>;

/// What is read from the device at the end of a window of steps or of an evaluation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Sums over all targets.
    pub tally: Tally,
    /// Metrics of the task; empty in training.
    pub scores: Scores,
}

/// Sums over some steps or batches, on the host.
///
/// Sums and not means, so that targets count equally however they are spread over batches. A target
/// is what is predicted: a masked token, or a labelled sequence, token or span.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// Losses of all targets, each times its weight; in nats unless it is a squared error.
    pub loss_sum: f64,
    /// Weights of all targets together; each has weight 1 unless its class has another.
    pub weight: f64,
    /// Penalties of adversarial training, summed over rows of logits.
    pub penalty_sum: f64,
    /// Rows of logits, padding not counted.
    pub rows: usize,
    /// Targets.
    pub targets: usize,
    /// Targets whose most likely prediction was right.
    pub correct: usize,
    /// Tokens that went through the network, padding not counted.
    pub tokens: usize,
    /// Time it took; 0 if it was not measured.
    pub seconds: f64,
    /// Mean norm of the gradients before clipping; 0 if there were none.
    pub grad_norm: f64,
}

impl Tally {
    /// The sums of both; the gradient norm is that of `later`.
    pub fn merge(self, later: Self) -> Self {
        Self {
            loss_sum: self.loss_sum + later.loss_sum,
            weight: self.weight + later.weight,
            penalty_sum: self.penalty_sum + later.penalty_sum,
            rows: self.rows + later.rows,
            targets: self.targets + later.targets,
            correct: self.correct + later.correct,
            tokens: self.tokens + later.tokens,
            seconds: self.seconds + later.seconds,
            grad_norm: later.grad_norm,
        }
    }

    /// Mean loss of a target in nats; not a number without any.
    pub fn loss_nats(&self) -> f64 {
        self.loss_sum / self.weight
    }

    /// Mean penalty of adversarial training, before its weight; not a number without rows.
    pub fn penalty(&self) -> f64 {
        self.penalty_sum / self.rows as f64
    }

    /// Share of targets that were predicted correctly, in [0, 1].
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.targets as f64
    }

    /// Exponential of the mean loss: as good as guessing among so many tokens.
    pub fn perplexity(&self) -> f64 {
        self.loss_nats().exp()
    }

    /// Real tokens per second; not a number if no time was measured.
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_weigh_tokens_not_batches() {
        let small = Tally {
            loss_sum: 4.0,
            weight: 1.0,
            targets: 1,
            correct: 1,
            tokens: 10,
            ..Tally::default()
        };
        let large = Tally {
            loss_sum: 3.0,
            weight: 3.0,
            targets: 3,
            correct: 0,
            tokens: 30,
            ..Tally::default()
        };
        let both = Tally {
            seconds: 2.0,
            ..small.merge(large)
        };

        assert_eq!(both.loss_nats(), 7.0 / 4.0);
        assert_eq!(both.accuracy(), 0.25);
        assert_eq!(both.perplexity(), (7.0f64 / 4.0).exp());
        assert_eq!(both.tokens_per_second(), 20.0);
    }
}
