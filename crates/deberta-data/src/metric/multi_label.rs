//! Metrics of any number of labels per example, as scikit-learn defines them.

use super::classification::{Average, ClassScores};
use super::{MetricError, check_lengths};

/// Counts over sets of labels.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiLabel {
    right: Vec<u64>,
    predicted: Vec<u64>,
    support: Vec<u64>,
    exact: u64,
    total: u64,
    sum_of_f1: f64,
}

impl MultiLabel {
    /// Counts sets of labels below `num_labels`; repeated labels count once.
    ///
    /// # Errors
    ///
    /// If the lengths differ or are zero, or a label is not below `num_labels`.
    pub fn new(
        predictions: &[Vec<usize>],
        references: &[Vec<usize>],
        num_labels: usize,
    ) -> Result<Self, MetricError> {
        check_lengths(predictions.len(), references.len())?;
        let mut counts = Self {
            right: vec![0; num_labels],
            predicted: vec![0; num_labels],
            support: vec![0; num_labels],
            exact: 0,
            total: references.len() as u64,
            sum_of_f1: 0.0,
        };
        for (example, (prediction, reference)) in predictions.iter().zip(references).enumerate() {
            let prediction = unique(prediction, example, num_labels)?;
            let reference = unique(reference, example, num_labels)?;
            counts.add(&prediction, &reference);
        }
        Ok(counts)
    }

    fn add(&mut self, prediction: &[usize], reference: &[usize]) {
        for &label in prediction {
            self.predicted[label] += 1;
        }
        for &label in reference {
            self.support[label] += 1;
        }
        let right = prediction.iter().filter(|label| reference.contains(label));
        let mut num_right = 0;
        for &label in right {
            self.right[label] += 1;
            num_right += 1;
        }
        self.exact += u64::from(prediction == reference);
        let (predicted, support) = (prediction.len() as u64, reference.len() as u64);
        self.sum_of_f1 += ClassScores::from_counts(num_right, predicted, support).f1;
    }

    /// Part of the examples whose whole set is right.
    pub fn subset_accuracy(&self) -> f64 {
        self.exact as f64 / self.total as f64
    }

    /// Mean over the examples of the F1 between their two sets; 0 for two empty sets.
    pub fn samples_f1(&self) -> f64 {
        self.sum_of_f1 / self.total as f64
    }

    /// Scores of one label; zeros for a label that does not exist.
    pub fn scores(&self, label: usize) -> ClassScores {
        let of = |counts: &[u64]| counts.get(label).copied().unwrap_or_default();
        ClassScores::from_counts(of(&self.right), of(&self.predicted), of(&self.support))
    }

    /// Scores of all labels as one; labels that never occur count with zeros.
    pub fn average(&self, average: Average) -> ClassScores {
        let sum = |counts: &[u64]| counts.iter().sum();
        let weighted = |weight: fn(&ClassScores) -> f64| {
            let scores = (0..self.support.len()).map(|label| self.scores(label));
            let scores: Vec<_> = scores.map(|it| (it, weight(&it))).collect();
            ClassScores::mean(&scores)
        };
        match average {
            Average::Micro => {
                ClassScores::from_counts(sum(&self.right), sum(&self.predicted), sum(&self.support))
            }
            Average::Macro => weighted(|_| 1.0),
            Average::Weighted => weighted(|it| it.support as f64),
        }
    }
}

/// The labels in order, without repetitions.
fn unique(labels: &[usize], example: usize, num_labels: usize) -> Result<Vec<usize>, MetricError> {
    if let Some(&label) = labels.iter().find(|&&label| label >= num_labels) {
        return Err(MetricError::Label {
            example,
            label,
            num_labels,
        });
    }
    let mut labels = labels.to_vec();
    labels.sort_unstable();
    labels.dedup();
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repetition_of_labels_do_not_matter() {
        let counts = MultiLabel::new(&[vec![2, 0, 2]], &[vec![0, 2]], 3).unwrap();
        assert_eq!(counts.subset_accuracy(), 1.0);
        assert_eq!(counts.average(Average::Micro).f1, 1.0);
        assert!(MultiLabel::new(&[vec![3]], &[vec![]], 3).is_err());
    }
}
