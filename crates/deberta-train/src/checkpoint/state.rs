//! Where a run stands.

use serde::{Deserialize, Serialize};

/// Everything that changes during a run, besides parameters and moments.
///
/// The random state is not listed: the backend is seeded anew at each step from `seed` and
/// `step`. Neither is the learning rate, a function of the step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainState {
    /// Updates made so far.
    pub step: usize,
    /// Seed of the run.
    pub seed: u64,
    /// Examples in an epoch; with another number the cursor would mean something else.
    pub epoch_len: usize,
    /// Next example to train on.
    pub cursor: Cursor,
    /// Best evaluation so far.
    pub best: Option<Best>,
}

impl TrainState {
    /// The state before the first update.
    pub fn start(seed: u64, epoch_len: usize) -> Self {
        Self {
            step: 0,
            seed,
            epoch_len,
            cursor: Cursor::default(),
            best: None,
        }
    }

    /// Notes an evaluation at the present step and tells whether it is the best so far.
    pub fn note_evaluation(&mut self, loss_nats: f64) -> bool {
        let improved = self.best.is_none_or(|best| loss_nats < best.loss_nats);
        if improved {
            self.best = Some(Best {
                step: self.step,
                loss_nats,
            });
        }
        improved
    }
}

/// A place in the stream of examples, which repeats the data once per epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Complete passes over the data.
    pub epoch: u64,
    /// Examples of the present pass that were used, below the length of an epoch.
    pub position: usize,
}

impl Cursor {
    /// The place `examples` further on, when an epoch has `epoch_len` examples.
    pub fn advance(self, examples: usize, epoch_len: usize) -> Self {
        let position = self.position + examples;
        Self {
            epoch: self.epoch + (position / epoch_len) as u64,
            position: position % epoch_len,
        }
    }
}

/// The evaluation with the lowest loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Step at which it was made.
    pub step: usize,
    /// Mean loss over the masked tokens, in nats.
    pub loss_nats: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_lowest_loss_is_the_best() {
        let mut state = TrainState::start(1, 10);
        state.step = 10;
        assert!(state.note_evaluation(3.0));
        state.step = 20;
        assert!(!state.note_evaluation(3.5));
        assert_eq!(
            state.best,
            Some(Best {
                step: 10,
                loss_nats: 3.0
            })
        );
        state.step = 30;
        assert!(state.note_evaluation(2.0));
        assert_eq!(
            state.best,
            Some(Best {
                step: 30,
                loss_nats: 2.0
            })
        );
    }

    proptest! {
        #[test]
        fn many_small_advances_equal_one_large(
            sizes in prop::collection::vec(0usize..40, 0..20),
            epoch_len in 1usize..30,
        ) {
            let stepwise = sizes.iter().fold(Cursor::default(), |it, n| it.advance(*n, epoch_len));
            let at_once = Cursor::default().advance(sizes.iter().sum(), epoch_len);
            prop_assert_eq!(stepwise, at_once);
            prop_assert!(stepwise.position < epoch_len);
        }
    }
}
