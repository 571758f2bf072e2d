//! Where a run stands.

use serde::{Deserialize, Deserializer, Serialize};

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
    /// Evaluations since the best one.
    #[serde(default)]
    pub evaluations_since_best: usize,
    /// Step of the last evaluation; one that was interrupted is made when the run goes on.
    #[serde(default)]
    pub evaluated_step: Option<usize>,
    /// Loss scale of training in f16.
    #[serde(default)]
    pub loss_scale: Option<LossScale>,
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
            evaluations_since_best: 0,
            evaluated_step: None,
            loss_scale: None,
        }
    }

    /// Notes an evaluation at the present step and tells whether it is the best so far.
    ///
    /// - `score`: the metric that decides, larger is better; without one, or as long as none was a
    ///   number, the loss decides
    pub fn note_evaluation(&mut self, loss_nats: f64, score: Option<f64>) -> bool {
        let now = Best {
            step: self.step,
            loss_nats,
            score: score.filter(|it| !it.is_nan()),
        };
        let improved = self.best.is_none_or(|best| now.beats(&best));
        self.evaluations_since_best = match improved {
            true => 0,
            false => self.evaluations_since_best + 1,
        };
        if improved {
            self.best = Some(now);
        }
        self.evaluated_step = Some(self.step);
        improved
    }

    /// Whether the present step was evaluated.
    pub(crate) fn is_evaluated(&self) -> bool {
        self.evaluated_step == Some(self.step)
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

/// The evaluation with the best metric, or with the lowest loss if no metric decides.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Step at which it was made.
    pub step: usize,
    /// Mean loss over the targets, in nats; not a number if no target has a weight.
    #[serde(deserialize_with = "number")]
    pub loss_nats: f64,
    /// The metric that decides.
    #[serde(default)]
    pub score: Option<f64>,
}

impl Best {
    fn beats(&self, other: &Self) -> bool {
        match (self.score, other.score) {
            (Some(now), Some(then)) => now > then,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => {
                self.loss_nats < other.loss_nats
                    || other.loss_nats.is_nan() && !self.loss_nats.is_nan()
            }
        }
    }
}

/// JSON has no word but `null` for what is not a number.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Scale of the loss in f16: halved when gradients overflow, doubled after a while without.
///
/// Reference: microsoft/DeBERTa `apps/args.py` and `training/trainer.py`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossScale {
    /// The factor.
    pub value: f64,
    /// Steps without an overflow since it was changed.
    pub good_steps: usize,
}

impl Default for LossScale {
    fn default() -> Self {
        Self {
            value: 16384.0,
            good_steps: 0,
        }
    }
}

impl LossScale {
    /// Steps without an overflow after which the scale is doubled.
    const GROWTH_INTERVAL: usize = 250;

    /// Notes a step without an overflow.
    pub(crate) fn note_success(&mut self) {
        self.good_steps += 1;
        if self.good_steps >= Self::GROWTH_INTERVAL {
            self.value *= 2.0;
            self.good_steps = 0;
        }
    }

    /// Notes an overflow; `false` if the scale cannot be any smaller.
    pub(crate) fn note_overflow(&mut self) -> bool {
        self.value /= 2.0;
        self.good_steps = 0;
        self.value >= 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Notes evaluations, each a loss with or without a metric, and tells which was best, and how
    /// many came after it.
    fn best_of(evaluations: &[(f64, Option<f64>)]) -> (usize, usize) {
        let mut state = TrainState::start(1, 10);
        for (step, (loss_nats, score)) in evaluations.iter().enumerate() {
            state.step = step;
            let improved = state.note_evaluation(*loss_nats, *score);
            assert_eq!(improved, state.best.unwrap().step == step);
        }
        (state.best.unwrap().step, state.evaluations_since_best)
    }

    #[test]
    fn the_lowest_loss_is_the_best() {
        assert_eq!(best_of(&[(3.0, None), (3.5, None), (3.0, None)]), (0, 2));
        assert_eq!(best_of(&[(3.0, None), (3.5, None), (2.0, None)]), (2, 0));
    }

    #[test]
    fn the_highest_metric_is_the_best_whatever_the_loss() {
        assert_eq!(
            best_of(&[(3.0, Some(0.5)), (9.0, Some(0.6)), (1.0, Some(0.55))]),
            (1, 1)
        );
        let nan = Some(f64::NAN);
        assert_eq!(
            best_of(&[(3.0, nan), (3.0, nan), (3.0, Some(-1.0)), (3.0, nan)]),
            (2, 1)
        );
    }

    #[test]
    fn an_evaluation_without_a_loss_is_saved_and_beaten() {
        let mut state = TrainState::start(1, 100);
        assert!(state.note_evaluation(f64::NAN, None));
        let json = serde_json::to_string(&state).unwrap();
        let mut state: TrainState = serde_json::from_str(&json).unwrap();
        assert!(state.best.unwrap().loss_nats.is_nan());
        assert!(!state.note_evaluation(f64::NAN, None));
        assert!(state.note_evaluation(7.0, None));
        assert!(!state.note_evaluation(f64::NAN, None));
    }

    #[test]
    fn the_loss_scale_follows_overflows() {
        let mut scale = LossScale::default();
        assert!(scale.note_overflow());
        assert_eq!(scale.value, 8192.0);
        for _ in 0..250 {
            scale.note_success();
        }
        assert_eq!((scale.value, scale.good_steps), (16384.0, 0));
        assert!((0..14).all(|_| scale.note_overflow()));
        assert!(!scale.note_overflow(), "a scale below 1 helps nobody");
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
