//! Answers to questions, as the evaluation scripts of SQuAD 1.1, SQuAD 2.0 and ReCoRD judge them.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{MetricError, python_text};

/// Lower case, without ASCII punctuation and English articles, words joined by single spaces.
///
/// `normalize_answer` of the scripts. Non-ASCII punctuation stays, as there.
pub fn normalize_answer(text: &str) -> String {
    let lower = text.to_lowercase();
    let without: String = lower
        .chars()
        .filter(|c| !python_text::is_punctuation(*c))
        .collect();
    let without = python_text::without_articles(&without);
    let words: Vec<&str> = python_text::split(&without).collect();
    words.join(" ")
}

/// Whether two answers are the same after [`normalize_answer`].
pub fn exact_match(prediction: &str, reference: &str) -> bool {
    normalize_answer(prediction) == normalize_answer(reference)
}

/// F1 between the words of two answers after [`normalize_answer`]; 0 if none is common.
pub fn token_f1(prediction: &str, reference: &str) -> f64 {
    let (prediction, reference) = (normalize_answer(prediction), normalize_answer(reference));
    let predicted: Vec<&str> = python_text::split(&prediction).collect();
    let expected: Vec<&str> = python_text::split(&reference).collect();
    let mut left: HashMap<&str, usize> = HashMap::new();
    for &word in &expected {
        *left.entry(word).or_default() += 1;
    }
    let mut common = 0;
    for word in &predicted {
        if let Some(count) = left.get_mut(word)
            && *count > 0
        {
            *count -= 1;
            common += 1;
        }
    }
    if common == 0 {
        return 0.0;
    }
    let precision = f64::from(common) / predicted.len() as f64;
    let recall = f64::from(common) / expected.len() as f64;
    2.0 * precision * recall / (precision + recall)
}

/// F1 where either side may be "no answer": two empty answers agree.
fn token_f1_or_none(prediction: &str, reference: &str) -> f64 {
    let (a, b) = (normalize_answer(prediction), normalize_answer(reference));
    if a.is_empty() || b.is_empty() {
        return f64::from(u8::from(a == b));
    }
    token_f1(prediction, reference)
}

/// A question with what was predicted and what would be right.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// The predicted answer, empty for "no answer"; `None` if there is no prediction.
    pub prediction: Option<&'a str>,
    /// All answers that count as right; none for an unanswerable question.
    pub references: &'a [String],
    /// Probability that the question has no answer; 0 if the model has no opinion.
    pub no_answer_prob: f64,
}

/// Scores of SQuAD 1.1, and of ReCoRD, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SquadV1 {
    /// Part of the questions whose answer is right to the letter.
    pub exact_match: f64,
    /// Mean F1 between the words of prediction and best reference.
    pub f1: f64,
}

/// Scores as `evaluate-v1.1.py`; questions without a prediction score 0.
///
/// # Errors
///
/// If there is no question, or one has no reference.
pub fn squad_v1(questions: &[Answered<'_>]) -> Result<SquadV1, MetricError> {
    if questions.is_empty() {
        return Err(MetricError::Empty);
    }
    let (mut exact, mut f1) = (0.0, 0.0);
    for (question, answered) in questions.iter().enumerate() {
        if answered.references.is_empty() {
            return Err(MetricError::NoReference { question });
        }
        let Some(prediction) = answered.prediction else {
            continue;
        };
        let references = answered.references.iter();
        exact += f64::from(u8::from(
            references.clone().any(|it| exact_match(prediction, it)),
        ));
        f1 += references.fold(0.0, |best: f64, it| best.max(token_f1(prediction, it)));
    }
    let total = questions.len() as f64;
    Ok(SquadV1 {
        exact_match: 100.0 * exact / total,
        f1: 100.0 * f1 / total,
    })
}

/// Mean scores of some of the questions, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SquadPart {
    /// Part of the questions whose answer is right to the letter.
    pub exact: f64,
    /// Mean F1 between the words of prediction and best reference.
    pub f1: f64,
    /// Number of questions.
    pub total: usize,
}

/// Scores of SQuAD 2.0, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SquadV2 {
    /// All questions, at the threshold that was given.
    pub all: SquadPart,
    /// Those with an answer; `None` if there are none.
    pub has_answer: Option<SquadPart>,
    /// Those without an answer; `None` if there are none.
    pub no_answer: Option<SquadPart>,
    /// Exact match at the best threshold, and that threshold.
    pub best_exact: (f64, f64),
    /// F1 at the best threshold, and that threshold.
    pub best_f1: (f64, f64),
}

/// Scores as `evaluate-v2.0.py`: above `no_answer_threshold` a question counts as answered with "no
/// answer"; the script's own default is 1, which changes nothing.
///
/// Questions without a prediction are left out, as in the script; its best thresholds still count
/// them if they have no answer.
///
/// # Errors
///
/// If no question has a prediction, or a probability is not finite.
pub fn squad_v2(
    questions: &[Answered<'_>],
    no_answer_threshold: f64,
) -> Result<SquadV2, MetricError> {
    let mut judged = Vec::with_capacity(questions.len());
    for (example, question) in questions.iter().enumerate() {
        if !question.no_answer_prob.is_finite() {
            return Err(MetricError::NotFinite {
                example,
                score: question.no_answer_prob,
            });
        }
        if let Some(prediction) = question.prediction {
            judged.push(Judged::new(question, prediction));
        }
    }
    let at_threshold: Vec<Judged> = judged
        .iter()
        .map(|it| it.at_threshold(no_answer_threshold))
        .collect();
    let Some(all) = part(&at_threshold, |_| true) else {
        return Err(MetricError::Empty);
    };
    let no_answer = questions.iter().filter(|it| it.references.is_empty());
    let no_answer = no_answer.count() as f64;
    Ok(SquadV2 {
        all,
        has_answer: part(&at_threshold, |it| it.has_answer),
        no_answer: part(&at_threshold, |it| !it.has_answer),
        best_exact: best_threshold(&judged, no_answer, |it| it.exact),
        best_f1: best_threshold(&judged, no_answer, |it| it.f1),
    })
}

/// What one prediction is worth.
#[derive(Debug, Clone, Copy)]
struct Judged {
    exact: f64,
    f1: f64,
    has_answer: bool,
    predicts_answer: bool,
    no_answer_prob: f64,
}

impl Judged {
    fn new(question: &Answered<'_>, prediction: &str) -> Self {
        // References that normalise to nothing do not count; "no answer" takes their place.
        let references = question.references.iter().map(String::as_str);
        let kept = references.filter(|it| !normalize_answer(it).is_empty());
        let mut kept: Vec<&str> = kept.collect();
        if kept.is_empty() {
            kept.push("");
        }
        let exact = kept.iter().any(|it| exact_match(prediction, it));
        let f1 = kept.iter().map(|it| token_f1_or_none(prediction, it));
        Self {
            exact: f64::from(u8::from(exact)),
            f1: f1.fold(0.0, f64::max),
            has_answer: !question.references.is_empty(),
            predicts_answer: !prediction.is_empty(),
            no_answer_prob: question.no_answer_prob,
        }
    }

    fn at_threshold(mut self, threshold: f64) -> Self {
        if self.no_answer_prob > threshold {
            let score = f64::from(u8::from(!self.has_answer));
            (self.exact, self.f1) = (score, score);
        }
        self
    }
}

fn part(judged: &[Judged], keep: impl Fn(&Judged) -> bool) -> Option<SquadPart> {
    let kept: Vec<&Judged> = judged.iter().filter(|it| keep(it)).collect();
    let total = kept.len();
    let mean = |value: fn(&Judged) -> f64| {
        100.0 * kept.iter().map(|it| value(it)).sum::<f64>() / total as f64
    };
    (total > 0).then(|| SquadPart {
        exact: mean(|it| it.exact),
        f1: mean(|it| it.f1),
        total,
    })
}

/// `find_best_thresh` of the script: starts with "no answer" everywhere and raises the threshold
/// question by question. Questions of equal probability are taken in their order, one by one, as
/// there.
fn best_threshold(judged: &[Judged], no_answer: f64, score: impl Fn(&Judged) -> f64) -> (f64, f64) {
    let mut order: Vec<&Judged> = judged.iter().collect();
    order.sort_by(|a, b| (a.no_answer_prob + 0.0).total_cmp(&(b.no_answer_prob + 0.0)));
    let mut current = no_answer;
    let (mut best, mut threshold) = (current, 0.0);
    for it in order {
        current += match (it.has_answer, it.predicts_answer) {
            (true, _) => score(it),
            (false, true) => -1.0,
            (false, false) => 0.0,
        };
        if current > best {
            (best, threshold) = (current, it.no_answer_prob);
        }
    }
    (100.0 * best / judged.len() as f64, threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_case_and_punctuation_do_not_matter() {
        assert_eq!(normalize_answer("  The U.S.\tArmy, "), "us army");
        assert!(exact_match("an apple", "Apple!"));
        assert_eq!(token_f1("the", "a"), 0.0);
        assert_eq!(token_f1("big red dog", "red dog red"), 2.0 / 3.0);
    }

    #[test]
    fn a_question_without_reference_is_an_error_in_the_first_version_only() {
        let question = Answered {
            prediction: Some(""),
            references: &[],
            no_answer_prob: 0.0,
        };
        assert_eq!(
            squad_v1(&[question]),
            Err(MetricError::NoReference { question: 0 })
        );
        assert_eq!(squad_v2(&[question], 1.0).unwrap().all.f1, 100.0);
        assert_eq!(squad_v2(&[], 1.0), Err(MetricError::Empty));
    }
}
