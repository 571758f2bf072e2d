//! Sums over steps, from which every reported number follows.

/// Sums over some steps or batches, on the host.
///
/// Sums and not means, so that tokens count equally however they are spread over batches.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// Cross-entropy summed over the masked tokens, in nats.
    pub loss_sum: f64,
    /// Masked tokens.
    pub masked: usize,
    /// Masked tokens whose most likely prediction was right.
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
            masked: self.masked + later.masked,
            correct: self.correct + later.correct,
            tokens: self.tokens + later.tokens,
            seconds: self.seconds + later.seconds,
            grad_norm: later.grad_norm,
        }
    }

    /// Mean loss of a masked token in nats; not a number without any.
    pub fn loss_nats(&self) -> f64 {
        self.loss_sum / self.masked as f64
    }

    /// Share of masked tokens that were predicted correctly, in [0, 1].
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.masked as f64
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
            masked: 1,
            correct: 1,
            tokens: 10,
            ..Tally::default()
        };
        let large = Tally {
            loss_sum: 3.0,
            masked: 3,
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
