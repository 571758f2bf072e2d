//! Metrics of one label per example, as scikit-learn defines them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{MetricError, check_lengths, ratio};

/// Part of the predictions that equal their reference.
///
/// # Errors
///
/// If the lengths differ or are zero.
pub fn accuracy(predictions: &[usize], references: &[usize]) -> Result<f64, MetricError> {
    check_lengths(predictions.len(), references.len())?;
    let right = predictions.iter().zip(references);
    let right = right.filter(|(prediction, reference)| prediction == reference);
    Ok(right.count() as f64 / references.len() as f64)
}

/// Precision, recall and F1 of a label, or an average of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassScores {
    /// Part of the predictions of the label that are right; 0 without predictions.
    pub precision: f64,
    /// Part of the references with the label that were found; 0 without references.
    pub recall: f64,
    /// Harmonic mean of the two; 0 if both are 0.
    pub f1: f64,
    /// Number of references with the label.
    pub support: u64,
}

impl ClassScores {
    /// From counts of right predictions, of predictions and of references.
    pub(super) fn from_counts(right: u64, predicted: u64, support: u64) -> Self {
        Self {
            precision: ratio(right as f64, predicted as f64),
            recall: ratio(right as f64, support as f64),
            f1: ratio(2.0 * right as f64, (predicted + support) as f64),
            support,
        }
    }

    /// Mean with weights; 0 if they sum to 0.
    pub(super) fn mean(scores: &[(Self, f64)]) -> Self {
        let total: f64 = scores.iter().map(|(_, weight)| weight).sum();
        let mean = |value: fn(&Self) -> f64| {
            let sum = scores.iter().map(|(score, weight)| value(score) * weight);
            ratio(sum.sum(), total)
        };
        Self {
            precision: mean(|it| it.precision),
            recall: mean(|it| it.recall),
            f1: mean(|it| it.f1),
            support: scores.iter().map(|(score, _)| score.support).sum(),
        }
    }
}

/// How scores of several labels become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Average {
    /// All decisions count the same.
    Micro,
    /// All labels count the same.
    Macro,
    /// Labels count by their number of references.
    Weighted,
}

/// How often each label was predicted for each label of the references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    num_labels: usize,
    total: u64,
    /// Only pairs that occur, so that many labels cost nothing.
    counts: BTreeMap<(usize, usize), u64>,
    predicted: Vec<u64>,
    support: Vec<u64>,
}

impl Confusion {
    /// Counts pairs of labels below `num_labels`.
    ///
    /// # Errors
    ///
    /// If the lengths differ or are zero, or a label is not below `num_labels`.
    pub fn new(
        predictions: &[usize],
        references: &[usize],
        num_labels: usize,
    ) -> Result<Self, MetricError> {
        check_lengths(predictions.len(), references.len())?;
        let mut confusion = Self {
            num_labels,
            total: references.len() as u64,
            counts: BTreeMap::new(),
            predicted: vec![0; num_labels],
            support: vec![0; num_labels],
        };
        for (example, (&prediction, &reference)) in predictions.iter().zip(references).enumerate() {
            for label in [prediction, reference] {
                if label >= num_labels {
                    return Err(MetricError::Label {
                        example,
                        label,
                        num_labels,
                    });
                }
            }
            *confusion.counts.entry((reference, prediction)).or_default() += 1;
            confusion.predicted[prediction] += 1;
            confusion.support[reference] += 1;
        }
        Ok(confusion)
    }

    /// Number of examples with this reference and this prediction; 0 for labels that do not exist.
    pub fn count(&self, reference: usize, prediction: usize) -> u64 {
        let count = self.counts.get(&(reference, prediction));
        count.copied().unwrap_or_default()
    }

    /// Number of labels.
    pub fn num_labels(&self) -> usize {
        self.num_labels
    }

    fn right(&self) -> u64 {
        (0..self.num_labels).map(|it| self.count(it, it)).sum()
    }

    /// Part of the examples on the diagonal.
    pub fn accuracy(&self) -> f64 {
        self.right() as f64 / self.total as f64
    }

    /// Scores of one label; zeros for a label that does not exist.
    pub fn scores(&self, label: usize) -> ClassScores {
        let of = |counts: &[u64]| counts.get(label).copied().unwrap_or_default();
        ClassScores::from_counts(
            self.count(label, label),
            of(&self.predicted),
            of(&self.support),
        )
    }

    /// Scores of all labels that occur in predictions or references, as one.
    ///
    /// Labels that occur in neither do not count, as in scikit-learn when it is not told the
    /// labels.
    pub fn average(&self, average: Average) -> ClassScores {
        let labels = 0..self.num_labels;
        let present = labels.filter(|&it| self.predicted[it] + self.support[it] > 0);
        let weighted = |weight: fn(&ClassScores) -> f64| {
            let scores = present.map(|it| self.scores(it));
            let scores: Vec<_> = scores.map(|it| (it, weight(&it))).collect();
            ClassScores::mean(&scores)
        };
        match average {
            Average::Micro => ClassScores::from_counts(self.right(), self.total, self.total),
            Average::Macro => weighted(|_| 1.0),
            Average::Weighted => weighted(|it| it.support as f64),
        }
    }

    /// Matthews correlation of any number of labels; 0 if one side has one label only.
    pub fn matthews(&self) -> f64 {
        let squared = |counts: &[u64]| -> f64 {
            let squares = counts.iter().map(|&count| u128::from(count).pow(2));
            (u128::from(self.total).pow(2) - squares.sum::<u128>()) as f64
        };
        let chance = self.predicted.iter().zip(&self.support);
        let chance: u128 = chance.map(|(&a, &b)| u128::from(a) * u128::from(b)).sum();
        let observed = u128::from(self.right()) * u128::from(self.total);
        // Differences of integers: exact, unlike those of their floating-point values.
        let covariance = observed as i128 - chance as i128;
        let variances = squared(&self.predicted) * squared(&self.support);
        ratio(covariance as f64, variances.sqrt())
    }

    /// Cohen's kappa with quadratic weights over all labels in their order: for ratings. NaN if all
    /// predictions and references are one and the same label.
    ///
    /// Equals scikit-learn with `labels=range(num_labels)`.
    pub fn quadratic_kappa(&self) -> f64 {
        let observed: f64 = self
            .counts
            .iter()
            .map(|(&(reference, prediction), &count)| {
                (reference as f64 - prediction as f64).powi(2) * count as f64
            })
            .sum();
        // Σᵢⱼ (i − j)² rᵢ cⱼ / n, multiplied out so that it takes one pass.
        let moment = |counts: &[u64], power: i32| -> f64 {
            let terms = counts.iter().enumerate();
            terms
                .map(|(label, &count)| (label as f64).powi(power) * count as f64)
                .sum()
        };
        let n = self.total as f64;
        let (rows, columns) = (&self.support, &self.predicted);
        let expected =
            moment(rows, 2) + moment(columns, 2) - 2.0 * moment(rows, 1) * moment(columns, 1) / n;
        1.0 - observed / expected
    }
}

/// Area under the receiver operating characteristic: the probability that a positive example has
/// the higher score, ties counting half. NaN if all references are of one class.
///
/// # Errors
///
/// If the lengths differ or are zero, or a score is not finite.
pub fn roc_auc(scores: &[f64], references: &[bool]) -> Result<f64, MetricError> {
    check_lengths(scores.len(), references.len())?;
    if let Some(example) = scores.iter().position(|score| !score.is_finite()) {
        return Err(MetricError::NotFinite {
            example,
            score: scores[example],
        });
    }
    let ranks = super::regression::average_ranks(scores);
    let positive = references.iter().filter(|it| **it).count() as f64;
    let negative = references.len() as f64 - positive;
    let ranks = ranks.iter().zip(references).filter(|(_, it)| **it);
    let rank_sum: f64 = ranks.map(|(rank, _)| rank).sum();
    let smallest = positive * (positive + 1.0) / 2.0;
    Ok((rank_sum - smallest) / (positive * negative))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confusion_counts_references_by_predictions() {
        let confusion = Confusion::new(&[1, 1, 0], &[1, 0, 0], 2).unwrap();
        assert_eq!(confusion.count(0, 1), 1);
        assert_eq!(confusion.count(1, 0), 0);
        let scores = confusion.scores(1);
        assert_eq!(
            (scores.precision, scores.recall, scores.support),
            (0.5, 1.0, 1)
        );
        assert_eq!(confusion.scores(9).f1, 0.0);
    }

    #[test]
    fn labels_out_of_range_and_odd_lengths_are_errors() {
        let message = Confusion::new(&[0, 3], &[0, 0], 2).unwrap_err().to_string();
        assert_eq!(message, "example 1: label 3, expected one below 2");
        assert_eq!(accuracy(&[], &[]), Err(MetricError::Empty));
        assert!(accuracy(&[1], &[]).is_err());
        assert!(roc_auc(&[f64::NAN], &[true]).is_err());
    }

    #[test]
    fn ties_count_half_in_the_area_under_the_curve() {
        assert_eq!(roc_auc(&[0.5, 0.5], &[true, false]), Ok(0.5));
        assert_eq!(roc_auc(&[0.1, 0.9], &[true, false]), Ok(0.0));
        assert!(roc_auc(&[0.1], &[true]).unwrap().is_nan());
    }
}
