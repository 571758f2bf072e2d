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
    /// What the discriminator of replaced-token detection made of the tokens; nothing otherwise.
    pub detection: Detection,
}

/// Sums over the tokens of which a discriminator said whether they were replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Detection {
    /// Losses of all tokens, in nats.
    pub loss_sum: f64,
    /// Tokens, padding not counted.
    pub tokens: usize,
    /// Tokens that were replaced.
    pub replaced: usize,
    /// Tokens that the discriminator took for replaced ones.
    pub flagged: usize,
    /// Tokens of which both is true.
    pub hits: usize,
}

impl Detection {
    fn merge(self, later: Self) -> Self {
        Self {
            loss_sum: self.loss_sum + later.loss_sum,
            tokens: self.tokens + later.tokens,
            replaced: self.replaced + later.replaced,
            flagged: self.flagged + later.flagged,
            hits: self.hits + later.hits,
        }
    }

    /// Mean loss of a token in nats; not a number without any.
    pub fn loss_nats(&self) -> f64 {
        self.loss_sum / self.tokens as f64
    }

    /// Share of tokens of which the discriminator is right, in [0, 1].
    pub fn accuracy(&self) -> f64 {
        let wrong = self.flagged + self.replaced - 2 * self.hits;
        1.0 - wrong as f64 / self.tokens as f64
    }

    /// Accuracy of saying that no token was replaced, which a discriminator has to beat.
    pub fn majority_accuracy(&self) -> f64 {
        1.0 - self.replaced as f64 / self.tokens as f64
    }

    /// Loss in nats of giving every token the share of replaced ones as its probability.
    pub fn majority_loss_nats(&self) -> f64 {
        let share = self.replaced as f64 / self.tokens as f64;
        let part = |share: f64| {
            if share > 0.0 {
                -share * share.ln()
            } else {
                0.0
            }
        };
        part(share) + part(1.0 - share)
    }

    /// Share of replaced tokens among those taken for such; not a number without any.
    pub fn precision(&self) -> f64 {
        self.hits as f64 / self.flagged as f64
    }

    /// Share of the replaced tokens that were noticed; not a number without any.
    pub fn recall(&self) -> f64 {
        self.hits as f64 / self.replaced as f64
    }
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
            detection: self.detection.merge(later.detection),
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

/// Entropy of something that is so in this share of cases, in nats.
pub(crate) fn entropy_nats(share: f64) -> f64 {
    let part = |share: f64| match share > 0.0 {
        true => -share * share.ln(),
        false => 0.0,
    };
    part(share) + part(1.0 - share)
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

    #[test]
    fn a_discriminator_is_compared_with_always_saying_original() {
        let detection = Detection {
            loss_sum: 6.0,
            tokens: 30,
            replaced: 4,
            flagged: 3,
            hits: 2,
        };
        let silent = Detection {
            tokens: 20,
            replaced: 1,
            ..Detection::default()
        };
        let both = detection.merge(silent);

        assert_eq!((both.tokens, both.loss_nats()), (50, 6.0 / 50.0));
        // Three replaced tokens are overlooked, one original is suspected.
        assert!((both.accuracy() - 46.0 / 50.0).abs() < 1e-12);
        assert!((both.majority_accuracy() - 45.0 / 50.0).abs() < 1e-12);
        let entropy = -(0.1 * 0.1f64.ln() + 0.9 * 0.9f64.ln());
        assert!((both.majority_loss_nats() - entropy).abs() < 1e-12);
        assert_eq!((both.precision(), both.recall()), (2.0 / 3.0, 2.0 / 5.0));
        assert!(silent.precision().is_nan() && silent.recall() == 0.0);
    }
}
