//! Questions with several right answers: the measures of MultiRC.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::MetricError;
use super::classification::ClassScores;

/// One candidate answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerJudgement<'a> {
    /// Identifies the question; candidates of a question need not be neighbours.
    pub question: &'a str,
    /// Whether the model takes the answer for right.
    pub prediction: bool,
    /// Whether it is.
    pub reference: bool,
}

/// Scores of MultiRC, as fractions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MultiRcScores {
    /// F1 of "right" over all candidates of all questions.
    pub f1a: f64,
    /// Part of the questions all of whose candidates are judged right.
    pub exact_match: f64,
    /// Harmonic mean of mean precision and mean recall of the questions, either being 1 where there
    /// is nothing to divide by.
    pub f1m: f64,
}

/// The three measures of MultiRC; SuperGLUE reports the first two.
///
/// # Errors
///
/// If there are no candidates.
pub fn multirc(candidates: &[AnswerJudgement<'_>]) -> Result<MultiRcScores, MetricError> {
    if candidates.is_empty() {
        return Err(MetricError::Empty);
    }
    let mut questions: BTreeMap<&str, Question> = BTreeMap::new();
    for candidate in candidates {
        let question = questions.entry(candidate.question).or_default();
        question.predicted += u64::from(candidate.prediction);
        question.support += u64::from(candidate.reference);
        question.right += u64::from(candidate.prediction && candidate.reference);
        question.has_mistake |= candidate.prediction != candidate.reference;
    }
    let sum = |count: fn(&Question) -> u64| questions.values().map(count).sum();
    let mean = |value: &dyn Fn(&Question) -> f64| {
        questions.values().map(value).sum::<f64>() / questions.len() as f64
    };
    let part = |right: u64, of: u64| match of {
        0 => 1.0,
        _ => right as f64 / of as f64,
    };
    let precision = mean(&|it| part(it.right, it.predicted));
    let recall = mean(&|it| part(it.right, it.support));
    Ok(MultiRcScores {
        f1a: ClassScores::from_counts(
            sum(|it| it.right),
            sum(|it| it.predicted),
            sum(|it| it.support),
        )
        .f1,
        exact_match: mean(&|it| f64::from(u8::from(!it.has_mistake))),
        f1m: super::ratio(2.0 * precision * recall, precision + recall),
    })
}

#[derive(Debug, Clone, Copy, Default)]
struct Question {
    right: u64,
    predicted: u64,
    support: u64,
    has_mistake: bool,
}
