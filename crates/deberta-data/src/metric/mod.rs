//! The official metrics of the tasks, as functions of predictions and references on the host.
//!
//! | module of functions | equals |
//! |---|---|
//! | [`accuracy`], [`Confusion`], [`MultiLabel`], [`roc_auc`] | scikit-learn |
//! | [`pearson`], [`spearman`] | scipy |
//! | [`mean_squared_error`], [`mean_absolute_error`] | scikit-learn |
//! | [`EntityReport`] | seqeval, as by default and with `mode="strict"` |
//! | [`squad_v1`], [`squad_v2`], [`normalize_answer`] | the evaluation scripts of SQuAD 1.1 (and ReCoRD) and 2.0 |
//! | [`multirc`] | the measures of MultiRC |
//!
//! They are compared with those tools to 1e-9 on random and degenerate inputs.
//!
//! # Undefined values
//!
//! | case | value |
//! |---|---|
//! | no example at all | an error, [`MetricError::Empty`], where the references raise |
//! | precision without predictions, recall without references, F1 without either | 0 |
//! | Matthews correlation when one side has one class only | 0 |
//! | Pearson or Spearman correlation of a constant, or with a NaN among the numbers | NaN |
//! | area under the curve with one class, quadratic kappa of one and the same class | NaN |
//!
//! Scores of SQuAD and ReCoRD are in percent like those of their scripts; all others are fractions.

mod answer;
mod classification;
mod entity;
mod multi_label;
mod multirc;
mod python_text;
mod regression;

use thiserror::Error;

pub use answer::{
    Answered, SquadPart, SquadV1, SquadV2, exact_match, normalize_answer, squad_v1, squad_v2,
    token_f1,
};
pub use classification::{Average, ClassScores, Confusion, accuracy, roc_auc};
pub use entity::{Entity, EntityReport, TagScheme, entities};
pub use multi_label::MultiLabel;
pub use multirc::{AnswerJudgement, MultiRcScores, multirc};
pub use regression::{mean_absolute_error, mean_squared_error, pearson, spearman};

/// Why a metric has no value.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum MetricError {
    /// There is nothing to judge.
    #[error("no examples to compute a metric of")]
    Empty,
    /// Predictions and references do not belong together.
    #[error("{predictions} predictions for {references} references")]
    Length {
        /// Number of predictions.
        predictions: usize,
        /// Number of references.
        references: usize,
    },
    /// A sentence with another number of tags than its reference.
    #[error("sentence {sentence}: {predictions} predicted tags for {references} words")]
    SentenceLength {
        /// Position of the sentence, from 0.
        sentence: usize,
        /// Number of predicted tags.
        predictions: usize,
        /// Number of tags of the reference.
        references: usize,
    },
    /// A label that does not exist.
    #[error("example {example}: label {label}, expected one below {num_labels}")]
    Label {
        /// Position of the example, from 0.
        example: usize,
        /// The label.
        label: usize,
        /// Number of labels.
        num_labels: usize,
    },
    /// A tag that the scheme does not have.
    #[error("tag `{tag}`, expected {expected}")]
    Tag {
        /// The tag.
        tag: String,
        /// What the scheme allows.
        expected: &'static str,
    },
    /// A number that is infinite or not a number where an order is needed.
    #[error("example {example}: score {score}, expected a finite number")]
    NotFinite {
        /// Position of the example, from 0.
        example: usize,
        /// The score.
        score: f64,
    },
    /// Too few numbers for a correlation.
    #[error("{found} example, expected at least 2 for a correlation")]
    TooFew {
        /// Number of examples.
        found: usize,
    },
    /// A question without a reference answer, in a metric that has no unanswerable questions.
    #[error("question {question} has no reference answer")]
    NoReference {
        /// Position of the question, from 0.
        question: usize,
    },
}

/// Fails unless both sides have the same number of examples, and at least one.
fn check_lengths(predictions: usize, references: usize) -> Result<(), MetricError> {
    if predictions != references {
        return Err(MetricError::Length {
            predictions,
            references,
        });
    }
    if references == 0 {
        return Err(MetricError::Empty);
    }
    Ok(())
}

/// `numerator / denominator`, and 0 where scikit-learn warns of a division by zero.
fn ratio(numerator: f64, denominator: f64) -> f64 {
    if denominator == 0.0 {
        return 0.0;
    }
    numerator / denominator
}
