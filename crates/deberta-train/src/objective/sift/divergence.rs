//! How far two passes are apart, row by row of their logits.

use burn::tensor::activation::{log_sigmoid, log_softmax};
use burn::tensor::{Tensor, backend::Backend};
use deberta_model::heads::ProblemType;

use super::{Ascent, Divergence};

/// Divergence of each row; see [`Divergence`].
///
/// # Shapes
///
/// - perturbed, clean: `[rows, labels]`
/// - output: `[rows]`
pub(in crate::objective) fn divergence<B: Backend>(
    kind: Divergence,
    problem: ProblemType,
    perturbed: Tensor<B, 2>,
    clean: Tensor<B, 2>,
) -> Tensor<B, 1> {
    let sg = Tensor::detach;
    let rows = match (problem, kind) {
        (ProblemType::Regression, Divergence::Paper) => squared_error(perturbed, sg(clean)),
        (ProblemType::Regression, _) => squared_error(perturbed, clean),
        (_, Divergence::Paper) => cross_entropy(problem, sg(clean), perturbed),
        (_, Divergence::Microsoft) => {
            let forward = cross_entropy(problem, sg(clean.clone()), perturbed.clone());
            forward + cross_entropy(problem, sg(perturbed), clean)
        }
        (_, Divergence::TrueKl) => jeffreys(problem, perturbed, clean),
    };
    rows.squeeze_dim(1)
}

/// What the ascent makes larger, summed over the rows that `real` gives weight 1, `[1]`.
///
/// # Shapes
///
/// - perturbed, clean: `[rows, labels]`; the clean ones are constants
/// - real: `[rows]`, 0 at padding; `None` if all are real
pub(super) fn ascent<B: Backend>(
    kind: Ascent,
    problem: ProblemType,
    perturbed: Tensor<B, 2>,
    clean: Tensor<B, 2>,
    real: Option<Tensor<B, 1>>,
) -> Tensor<B, 1> {
    let count = perturbed.dims()[0];
    let (rows, is_mean) = match (problem, kind) {
        (ProblemType::Regression, _) | (_, Ascent::Mse) => {
            (squared_error(perturbed, clean).squeeze_dim(1), true)
        }
        (_, Ascent::Kl) => (
            divergence(Divergence::Paper, problem, perturbed, clean),
            false,
        ),
        (_, Ascent::SymmetricKl) => (
            divergence(Divergence::Microsoft, problem, perturbed, clean),
            false,
        ),
    };
    let sum = match real {
        Some(real) => (rows * real).sum(),
        None => rows.sum(),
    };
    if is_mean {
        sum.div_scalar(count as f64)
    } else {
        sum
    }
}

/// `CE(p, q)` of the distributions with these logits, `[rows, 1]`.
fn cross_entropy<B: Backend>(
    problem: ProblemType,
    p: Tensor<B, 2>,
    q: Tensor<B, 2>,
) -> Tensor<B, 2> {
    match problem {
        ProblemType::MultiLabelClassification => {
            let yes = sigmoid(p.clone()) * log_sigmoid(q.clone());
            let no = sigmoid(p.neg()) * log_sigmoid(q.neg());
            (yes + no).mean_dim(1).neg()
        }
        _ => (log_softmax(p, 1).exp() * log_softmax(q, 1))
            .sum_dim(1)
            .neg(),
    }
}

/// `KL(p‖q) + KL(q‖p) = Σ (p − q)(log p − log q)`, `[rows, 1]`.
fn jeffreys<B: Backend>(problem: ProblemType, p: Tensor<B, 2>, q: Tensor<B, 2>) -> Tensor<B, 2> {
    match problem {
        // The logarithms of the odds differ by the logits.
        ProblemType::MultiLabelClassification => {
            ((sigmoid(p.clone()) - sigmoid(q.clone())) * (p - q)).mean_dim(1)
        }
        _ => {
            let (log_p, log_q) = (log_softmax(p, 1), log_softmax(q, 1));
            ((log_p.clone().exp() - log_q.clone().exp()) * (log_p - log_q)).sum_dim(1)
        }
    }
}

/// The logistic function; Burn's own computes in f32 whatever the type.
fn sigmoid<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    log_sigmoid(x).exp()
}

fn squared_error<B: Backend>(a: Tensor<B, 2>, b: Tensor<B, 2>) -> Tensor<B, 2> {
    (a - b).square().mean_dim(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::{Autodiff, NdArray};

    type B = Autodiff<NdArray<f64>>;

    const PERTURBED: [[f64; 3]; 2] = [[0.3, -1.0, 2.0], [0.0, 0.5, 0.4]];
    const CLEAN: [[f64; 3]; 2] = [[0.1, -0.7, 1.5], [1.0, -0.5, 0.4]];

    /// Value and gradients with respect to perturbed and clean logits of the mean over rows.
    fn differentiate(kind: Divergence, problem: ProblemType) -> (f64, Vec<f64>, Vec<f64>) {
        let device = Default::default();
        let leaf = |rows| Tensor::<B, 2>::from_data(rows, &device).require_grad();
        let (perturbed, clean) = (leaf(PERTURBED), leaf(CLEAN));
        let loss = divergence(kind, problem, perturbed.clone(), clean.clone()).mean();
        let grads = loss.backward();
        let gradient = |leaf: &Tensor<B, 2>| match leaf.grad(&grads) {
            Some(grad) => grad.into_data().to_vec().unwrap(),
            None => vec![0.0; 6],
        };
        (loss.into_scalar(), gradient(&perturbed), gradient(&clean))
    }

    fn softmax(logits: [f64; 3]) -> [f64; 3] {
        let sum: f64 = logits.iter().map(|it| it.exp()).sum();
        logits.map(|it| it.exp() / sum)
    }

    fn close(actual: &[f64], expected: impl IntoIterator<Item = f64>) -> bool {
        let expected: Vec<f64> = expected.into_iter().collect();
        assert_eq!(actual.len(), expected.len());
        actual
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-12)
    }

    /// `p_perturbed − p_clean` of all rows, divided by the rows.
    fn difference() -> Vec<f64> {
        let pairs = PERTURBED.into_iter().zip(CLEAN);
        let rows = pairs.map(|(a, b)| (softmax(a), softmax(b)));
        rows.flat_map(|(a, b)| [0, 1, 2].map(|i| (a[i] - b[i]) / 2.0))
            .collect()
    }

    #[test]
    fn microsofts_gradient_is_the_difference_of_the_distributions() {
        let kind = Divergence::Microsoft;
        let (_, perturbed, clean) = differentiate(kind, ProblemType::SingleLabelClassification);
        assert!(difference().iter().any(|it| it.abs() > 0.05));
        assert!(close(&perturbed, difference()));
        assert!(close(&clean, difference().into_iter().map(|it| -it)));
    }

    #[test]
    fn the_papers_gradient_leaves_the_clean_pass_alone() {
        let (_, perturbed, clean) =
            differentiate(Divergence::Paper, ProblemType::SingleLabelClassification);
        assert!(close(&perturbed, difference()));
        assert!(close(&clean, [0.0; 6]));
    }

    #[test]
    fn the_true_divergence_is_zero_for_equal_distributions_only() {
        let (value, perturbed, _) =
            differentiate(Divergence::TrueKl, ProblemType::SingleLabelClassification);
        let kl = |p: [f64; 3], q: [f64; 3]| -> f64 {
            p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum()
        };
        let rows = PERTURBED.into_iter().zip(CLEAN);
        let expected: f64 = rows
            .map(|(a, b)| (softmax(a), softmax(b)))
            .map(|(a, b)| kl(a, b) + kl(b, a))
            .sum();
        assert!((value - expected / 2.0).abs() < 1e-12);
        assert!(!close(&perturbed, difference()), "it is not Microsoft's");

        let device = Default::default();
        let same = Tensor::<B, 2>::from_data(CLEAN, &device);
        let problem = ProblemType::SingleLabelClassification;
        let zero = divergence(Divergence::TrueKl, problem, same.clone(), same);
        assert!(zero.sum().into_scalar().abs() < 1e-15);
    }

    #[test]
    fn independent_labels_are_compared_one_by_one() {
        let problem = ProblemType::MultiLabelClassification;
        let (_, perturbed, clean) = differentiate(Divergence::Microsoft, problem);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let pairs = PERTURBED.concat().into_iter().zip(CLEAN.concat());
        let expected: Vec<f64> = pairs
            .map(|(a, b)| (sigmoid(a) - sigmoid(b)) / 6.0)
            .collect();
        assert!(close(&perturbed, expected.clone()));
        assert!(close(&clean, expected.into_iter().map(|it| -it)));
    }

    #[test]
    fn regression_compares_values() {
        let problem = ProblemType::Regression;
        let (value, perturbed, clean) = differentiate(Divergence::Microsoft, problem);
        let pairs = PERTURBED.concat().into_iter().zip(CLEAN.concat());
        let errors: Vec<f64> = pairs.map(|(a, b)| a - b).collect();
        let expected: f64 = errors.iter().map(|it| it * it / 6.0).sum();
        assert!((value - expected).abs() < 1e-12);
        assert!(close(&perturbed, errors.iter().map(|it| it / 3.0)));
        assert!(close(&clean, errors.iter().map(|it| -it / 3.0)));
        let (_, _, stopped) = differentiate(Divergence::Paper, problem);
        assert!(close(&stopped, [0.0; 6]));
    }
}
