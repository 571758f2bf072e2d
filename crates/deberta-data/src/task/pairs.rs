//! Predictions with their references, taken apart for the metrics.

use super::example::{Example, Target};
use super::score::{Prediction, ScoreError};
use crate::metric::{
    AnswerJudgement, Answered, Average, EntityReport, MultiLabel, TagScheme, multirc, squad_v1,
    squad_v2,
};

/// Metrics by name.
pub(super) type Values = Vec<(&'static str, f64)>;

/// A predicted text with the probability that there is none.
type GivenAnswer<'a> = (&'a str, f64);

/// Predictions with their examples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pairs<'a> {
    pub(super) predictions: &'a [Prediction],
    pub(super) references: &'a [Example],
}

impl<'a> Pairs<'a> {
    /// Takes both sides apart, or says what is wrong with the first that cannot be.
    fn map<P, R>(
        self,
        expected: &'static str,
        prediction: impl Fn(&'a Prediction) -> Option<P>,
        reference: impl Fn(&'a Example) -> Option<R>,
    ) -> Result<(Vec<P>, Vec<R>), ScoreError> {
        let pairs = self.predictions.iter().zip(self.references);
        let pairs = pairs.map(|(given, example)| {
            let error = |found: String| ScoreError::Kind {
                id: example.id().to_owned(),
                found,
                expected,
            };
            let unlike = || error(format!("{} as prediction", given.kind()));
            let given = prediction(given).ok_or_else(unlike)?;
            let unlabelled = || error("an example of another kind, or without a label".to_owned());
            Ok((given, reference(example).ok_or_else(unlabelled)?))
        });
        let pairs: Vec<(P, R)> = pairs.collect::<Result<_, ScoreError>>()?;
        Ok(pairs.into_iter().unzip())
    }

    pub(super) fn labels(self) -> Result<(Vec<usize>, Vec<usize>), ScoreError> {
        self.map("a label", label_of, |example| match example {
            Example::Sequence(example) => match example.target {
                Some(Target::Label(label)) => Some(label),
                _ => None,
            },
            Example::Choice(example) => example.label,
            _ => None,
        })
    }

    pub(super) fn numbers(self) -> Result<(Vec<f64>, Vec<f64>), ScoreError> {
        let prediction = |given: &Prediction| match given {
            Prediction::Score(score) => Some(*score),
            _ => None,
        };
        self.map("a score", prediction, |example| match example {
            Example::Sequence(example) => match example.target {
                Some(Target::Score(score)) => Some(score),
                _ => None,
            },
            _ => None,
        })
    }

    pub(super) fn sets(self, num_labels: usize) -> Result<Values, ScoreError> {
        let prediction = |given: &Prediction| match given {
            Prediction::Labels(labels) => Some(labels.clone()),
            _ => None,
        };
        let reference = |example: &Example| match example {
            Example::Sequence(example) => match &example.target {
                Some(Target::Labels(labels)) => Some(labels.clone()),
                _ => None,
            },
            _ => None,
        };
        let (predictions, references) = self.map("a set of labels", prediction, reference)?;
        let counts = MultiLabel::new(&predictions, &references, num_labels)?;
        Ok(vec![
            ("macro_f1", counts.average(Average::Macro).f1),
            ("samples_f1", counts.samples_f1()),
            ("subset_accuracy", counts.subset_accuracy()),
            ("micro_f1", counts.average(Average::Micro).f1),
        ])
    }

    pub(super) fn entities(self, labels: &[String]) -> Result<Values, ScoreError> {
        // A tag that does not exist counts as a wrong one rather than none.
        let names = |tags: &[usize]| -> Option<Vec<String>> {
            tags.iter().map(|tag| labels.get(*tag).cloned()).collect()
        };
        let prediction = |given: &Prediction| match given {
            Prediction::Tags(tags) => names(tags),
            _ => None,
        };
        let reference = |example: &Example| match example {
            Example::Tokens(example) => names(example.tags.as_ref()?),
            _ => None,
        };
        let (predictions, references) = self.map("tags of the task", prediction, reference)?;
        let report = EntityReport::new(&predictions, &references, TagScheme::Lenient)?;
        let scores = report.average(Average::Micro);
        Ok(vec![
            ("accuracy", report.accuracy()),
            ("precision", scores.precision),
            ("recall", scores.recall),
            ("f1", scores.f1),
        ])
    }

    pub(super) fn multirc(self) -> Result<Values, ScoreError> {
        let (predictions, references) = self.labels()?;
        let questions = self.references.iter().map(|example| match example {
            Example::Sequence(example) => example
                .candidate
                .map(|it| format!("{}-{}", it.passage, it.question)),
            _ => None,
        });
        // A candidate without number is a question of its own.
        let questions = questions.zip(self.references);
        let questions: Vec<String> = questions
            .map(|(question, example)| question.unwrap_or_else(|| example.id().to_owned()))
            .collect();
        let labels = predictions.into_iter().zip(references);
        let candidates = labels
            .zip(&questions)
            .map(|((prediction, reference), question)| AnswerJudgement {
                question,
                prediction: prediction == 1,
                reference: reference == 1,
            });
        let scores = multirc(&candidates.collect::<Vec<_>>())?;
        Ok(vec![
            ("f1m", scores.f1m),
            ("f1a", scores.f1a),
            ("exact_match", scores.exact_match),
        ])
    }

    /// Predicted answers with all references.
    fn answers(self) -> Result<(Vec<GivenAnswer<'a>>, Vec<Vec<String>>), ScoreError> {
        let prediction = |given: &'a Prediction| match given {
            Prediction::Answer {
                text,
                no_answer_prob,
            } => Some((text.as_str(), *no_answer_prob)),
            _ => None,
        };
        let reference = |example: &Example| match example {
            Example::Question(example) => {
                let answers = example.answers.iter().map(|it| it.text.clone());
                Some(answers.collect())
            }
            Example::Cloze(example) => Some(example.answers.clone()),
            _ => None,
        };
        self.map("an answer", prediction, reference)
    }

    pub(super) fn squad_v1(self) -> Result<Values, ScoreError> {
        let (predictions, references) = self.answers()?;
        let scores = squad_v1(&answered(&predictions, &references))?;
        Ok(vec![("exact_match", scores.exact_match), ("f1", scores.f1)])
    }

    pub(super) fn squad_v2(self) -> Result<Values, ScoreError> {
        let (predictions, references) = self.answers()?;
        // The threshold of the script: predictions count as they are.
        let scores = squad_v2(&answered(&predictions, &references), 1.0)?;
        let mut values = Vec::new();
        if let Some(part) = scores.has_answer {
            values.extend([("has_answer_exact", part.exact), ("has_answer_f1", part.f1)]);
        }
        if let Some(part) = scores.no_answer {
            values.extend([("no_answer_exact", part.exact), ("no_answer_f1", part.f1)]);
        }
        values.extend([
            ("best_exact", scores.best_exact.0),
            ("best_exact_threshold", scores.best_exact.1),
            ("best_f1", scores.best_f1.0),
            ("best_f1_threshold", scores.best_f1.1),
            ("exact", scores.all.exact),
            ("f1", scores.all.f1),
        ]);
        Ok(values)
    }
}

fn label_of(given: &Prediction) -> Option<usize> {
    match given {
        Prediction::Label(label) => Some(*label),
        _ => None,
    }
}

fn answered<'a>(
    predictions: &[GivenAnswer<'a>],
    references: &'a [Vec<String>],
) -> Vec<Answered<'a>> {
    let answered = predictions.iter().zip(references);
    let answered = answered.map(|(&(text, no_answer_prob), references)| Answered {
        prediction: Some(text),
        references,
        no_answer_prob,
    });
    answered.collect()
}
