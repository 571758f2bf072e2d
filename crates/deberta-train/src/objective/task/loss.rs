//! Losses of the task heads, as one weighted sum over logits.

use burn::tensor::{Tensor, TensorData, backend::Backend};
use deberta_model::heads::ProblemType;
use deberta_model::heads::losses::{binary_cross_entropy, soft_label_terms, squared_errors};
use serde::{Deserialize, Serialize};

use super::Targets;

/// How targets count.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// Weight of each class, as of torch's losses; `null` for 1. Default: `null`
    pub class_weights: Option<Vec<f64>>,
    /// Part of each class target that is spread over all classes, in [0, 1). Default: 0
    pub label_smoothing: f64,
}

/// The targets of a batch as a matrix beside the logits.
///
/// ```text
/// classification    loss = −Σ t log softmax(z)
/// several labels    loss = −Σ c (t log σ(z) + (1 − t) log σ(−z))
/// regression        loss =  Σ c (z − t)²
/// ```
///
/// with class weights `c`. For classification, targets contain weights and smoothing:
/// `t = c_y (1 − ε) [column = y] + c ε / columns`, as torch has it. The mean is taken over the
/// weights `c_y` of the targets, or over all numbers.
///
/// # Deviation
///
/// The ends of answers are targets like all others: where some lie outside the sequence, starts and
/// ends weigh by how many there are. The references, and so
/// [`SpanLogits::loss`](deberta_model::heads::question_answering::SpanLogits::loss), average the two means.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TargetMatrix {
    problem: ProblemType,
    values: Vec<f64>,
    columns: usize,
    class_weights: Option<Vec<f64>>,
    /// Class of each row, negative if it has none.
    classes: Vec<i32>,
    /// What the sum of losses is divided by.
    pub(super) weight: f64,
    /// Rows with a target.
    pub(super) count: usize,
}

impl LossConfig {
    /// Lays the targets of `rows` rows of `columns` logits out; `None` if they are unknown.
    pub(super) fn targets(
        &self,
        problem: ProblemType,
        targets: &Targets,
        rows: usize,
        columns: usize,
    ) -> Option<TargetMatrix> {
        match targets {
            Targets::Unknown => None,
            Targets::Classes(classes) => Some(self.classes(classes, columns)),
            Targets::Values(values) => Some(self.values(problem, values, rows, columns)),
        }
    }

    /// Weight of a class.
    fn weight_of(&self, class: usize) -> f64 {
        let weights = self.class_weights.as_ref();
        weights.and_then(|it| it.get(class)).copied().unwrap_or(1.0)
    }

    fn classes(&self, classes: &[i32], columns: usize) -> TargetMatrix {
        let mut values = vec![0.0; classes.len() * columns];
        let (mut weight, mut count) = (0.0, 0);
        for (row, class) in values.chunks_mut(columns).zip(classes) {
            // Answers outside a shortened sequence have no column.
            let Some(class) = usize::try_from(*class).ok().filter(|it| *it < columns) else {
                continue;
            };
            for (column, value) in row.iter_mut().enumerate() {
                *value = self.weight_of(column) * self.label_smoothing / columns as f64;
            }
            row[class] += self.weight_of(class) * (1.0 - self.label_smoothing);
            weight += self.weight_of(class);
            count += 1;
        }
        TargetMatrix {
            problem: ProblemType::SingleLabelClassification,
            values,
            columns,
            class_weights: None,
            classes: classes.to_vec(),
            weight,
            count,
        }
    }

    fn values(
        &self,
        problem: ProblemType,
        values: &[f32],
        rows: usize,
        columns: usize,
    ) -> TargetMatrix {
        let is_distribution = problem == ProblemType::SingleLabelClassification;
        let best = |row: &[f32]| {
            let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            best.map_or(-1, |(column, _)| column as i32)
        };
        TargetMatrix {
            problem,
            values: values.iter().map(|it| f64::from(*it)).collect(),
            columns,
            class_weights: self.class_weights.clone().filter(|_| !is_distribution),
            classes: match is_distribution {
                true => values.chunks(columns).map(best).collect(),
                false => vec![-1; rows],
            },
            weight: if is_distribution {
                rows as f64
            } else {
                (rows * columns) as f64
            },
            count: rows,
        }
    }
}

impl TargetMatrix {
    /// Sum of the weighted losses, `[1]`.
    pub(super) fn loss_sum<B: Backend>(&self, logits: Tensor<B, 2>) -> Tensor<B, 1> {
        let options = (&logits.device(), logits.dtype());
        let shape = [self.values.len() / self.columns, self.columns];
        let targets = TensorData::new(self.values.clone(), shape);
        let targets = Tensor::<B, 2>::from_data(targets, options);
        let losses = match self.problem {
            ProblemType::SingleLabelClassification => soft_label_terms(logits, targets),
            ProblemType::MultiLabelClassification => binary_cross_entropy(logits, targets),
            ProblemType::Regression => squared_errors(logits, targets),
        };
        match &self.class_weights {
            None => losses.sum(),
            Some(weights) => {
                let weights = TensorData::new(weights.clone(), [1, self.columns]);
                (losses * Tensor::from_data(weights, options)).sum()
            }
        }
    }

    /// Number of rows whose largest logit is at their class, `[1]`.
    pub(super) fn correct<B: Backend>(
        &self,
        logits: Tensor<B, 2>,
    ) -> Tensor<B, 1, burn::tensor::Int> {
        let classes = Tensor::from_data(self.classes.as_slice(), &logits.device());
        logits
            .argmax(1)
            .squeeze_dim::<1>(1)
            .equal(classes)
            .int()
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::NdArray;

    type B = NdArray<f64>;

    const LOGITS: [[f64; 3]; 4] = [
        [0.5, -1.0, 0.25],
        [2.0, 0.0, -0.5],
        [-0.3, 0.7, 0.1],
        [1.0, 1.5, -2.0],
    ];

    /// Mean loss of four rows.
    fn mean(config: &LossConfig, problem: ProblemType, targets: Targets) -> f64 {
        let matrix = config.targets(problem, &targets, 4, 3).unwrap();
        let logits = Tensor::<B, 2>::from_data(LOGITS, &Default::default());
        matrix.loss_sum(logits).into_scalar() / matrix.weight
    }

    #[track_caller]
    fn check(config: LossConfig, problem: ProblemType, targets: Targets, expected: f64) {
        let actual = mean(&config, problem, targets);
        assert!(
            (actual - expected).abs() < 1e-12,
            "{actual} is not {expected}"
        );
    }

    fn weighted() -> LossConfig {
        LossConfig {
            class_weights: Some(vec![1.0, 3.0, 0.5]),
            label_smoothing: 0.0,
        }
    }

    const CLASSES: ProblemType = ProblemType::SingleLabelClassification;

    fn classes() -> Targets {
        Targets::Classes(vec![2, 0, -100, 1])
    }

    fn values() -> Targets {
        Targets::Values(vec![
            1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.5, 0.5, 0.0, 1.0, 0.0, 1.0,
        ])
    }

    // Expected values: torch 2.15, `cross_entropy`, `binary_cross_entropy_with_logits` and
    // `mse_loss` in float64 with the arguments of the same names.
    #[test]
    fn cross_entropy_is_that_of_torch() {
        check(
            LossConfig::default(),
            CLASSES,
            classes(),
            0.5445151455512764,
        );
        check(weighted(), CLASSES, classes(), 0.4770861444705484);
        let smoothed = LossConfig {
            label_smoothing: 0.1,
            ..LossConfig::default()
        };
        check(smoothed, CLASSES, classes(), 0.6500707011068321);
        let both = LossConfig {
            label_smoothing: 0.1,
            ..weighted()
        };
        check(both, CLASSES, classes(), 0.5801253408749175);
    }

    #[test]
    fn other_losses_are_those_of_torch() {
        let soft = Targets::Values(vec![
            0.25, 0.25, 0.5, 1.0, 0.0, 0.0, 0.5, 0.25, 0.25, 0.0, 0.5, 0.5,
        ]);
        check(LossConfig::default(), CLASSES, soft, 1.2335364346696174);
        let labels = ProblemType::MultiLabelClassification;
        check(LossConfig::default(), labels, values(), 0.9792475997776418);
        check(weighted(), labels, values(), 1.361443087469726);
        check(
            LossConfig::default(),
            ProblemType::Regression,
            values(),
            1.7085416666666664,
        );
    }

    #[test]
    fn rows_without_a_class_count_for_nothing() {
        let config = weighted();
        let matrix = config.targets(CLASSES, &classes(), 4, 3).unwrap();
        assert_eq!((matrix.count, matrix.weight), (3, 4.5));
        let logits = Tensor::<B, 2>::from_data(LOGITS, &Default::default());
        // The largest logits are in columns 0, 0, 1, 1.
        assert_eq!(matrix.correct(logits).into_scalar(), 2);
        let nowhere = config.targets(CLASSES, &Targets::Classes(vec![-1, 3, 99, -7]), 4, 3);
        assert_eq!(nowhere.unwrap().count, 0);
        assert!(config.targets(CLASSES, &Targets::Unknown, 4, 3).is_none());
    }
}
