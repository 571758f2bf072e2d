//! From logits to scores.

use serde::{Deserialize, Serialize};

/// What becomes of the logits of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreFunction {
    /// Probabilities of labels of which exactly one holds.
    Softmax,
    /// Probabilities of labels each of which holds or not.
    Sigmoid,
    /// Values as they are.
    Raw,
}

impl ScoreFunction {
    /// The scores of these logits.
    pub(super) fn apply(self, logits: &[f32]) -> Vec<f64> {
        match self {
            Self::Softmax => softmax(logits),
            Self::Sigmoid => logits.iter().map(|&it| sigmoid(it)).collect(),
            Self::Raw => logits.iter().map(|&it| f64::from(it)).collect(),
        }
    }
}

/// `exp(x_i) / sum_j exp(x_j)`.
pub(super) fn softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers = logits.iter().map(|&it| f64::from(it - max).exp());
    let powers: Vec<f64> = powers.collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|it| it / sum).collect()
}

/// `1 / (1 + exp(-x))`.
pub(super) fn sigmoid(logit: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(logit)).exp())
}

/// Where the largest value is; the first of several, 0 if there is none.
pub(super) fn argmax(values: &[f64]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_logits_do_not_overflow() {
        let probabilities = softmax(&[1000.0, 1000.0, -1000.0]);
        assert_eq!(probabilities, [0.5, 0.5, 0.0]);
        assert_eq!((sigmoid(-1000.0), sigmoid(1000.0)), (0.0, 1.0));
    }

    #[test]
    fn one_point_one_nats_are_three_to_one() {
        let probabilities = softmax(&[3.0_f32.ln(), 0.0]);
        assert!((probabilities[0] - 0.75).abs() < 1e-7);
        assert!((sigmoid(3.0_f32.ln()) - 0.75).abs() < 1e-7);
    }
}
