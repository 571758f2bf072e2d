//! Files of predictions, in the form in which benchmarks take them.

use std::io::Write;

use serde_json::{Map, Value, json};

use super::example::{Example, TokensExample};
use super::score::{Prediction, ScoreError, check_length};
use super::{Task, TaskKind};

/// The form of a task's predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Submission {
    /// GLUE, and tasks without a form of their own: `index⇥prediction`.
    Table,
    /// SuperGLUE: `{"idx": 0, "label": "true"}`.
    Lines,
    /// SuperGLUE's WSC: the same with `"True"`.
    CapitalLines,
    /// RTE is part of both: the form of the file that was read.
    TableOrLines,
    /// Passages with their questions and answers.
    MultiRc,
    /// An object of texts by question, as the scripts of SQuAD read it.
    Answers,
    /// A word and its tag per line, blank lines between sentences.
    Tags,
}

/// Names of GLUE's files where they are not that of the folder.
const GLUE_FILES: &[(&str, &str)] = &[("ax", "AX"), ("record", "ReCoRD")];

impl Task {
    /// Name of the file in which the benchmark expects the predictions of a set; `set` is
    /// [`FileSet::name`](super::FileSet::name).
    pub fn submission_file(&self, set: &str) -> String {
        let special = GLUE_FILES.iter().find(|(name, _)| *name == self.name);
        let stem = match (special, self.splits.folders.first()) {
            (Some((_, stem)), _) => (*stem).to_owned(),
            (None, Some(folder)) => folder.clone(),
            (None, None) => self.name.clone(),
        };
        let part = match set {
            "matched" => "-m".to_owned(),
            "mismatched" => "-mm".to_owned(),
            "train" | "dev" | "test" => String::new(),
            other => format!("-{other}"),
        };
        let extension = match self.submission {
            Submission::Table | Submission::TableOrLines => "tsv",
            Submission::Lines | Submission::CapitalLines | Submission::MultiRc => "jsonl",
            Submission::Answers => "json",
            Submission::Tags => "conll",
        };
        format!("{stem}{part}.{extension}")
    }

    /// Writes predictions, one per example and in the same order, as the benchmark expects them.
    ///
    /// GLUE: `index` and `prediction` separated by a tab, labels by name. SuperGLUE: a JSON object
    /// per line. SQuAD: one object of answers by question. Words: CoNLL columns. Own tasks: as GLUE,
    /// several labels joined by the separator of the task.
    ///
    /// RTE is written as GLUE's; [`Task::write_json_lines`] writes it as SuperGLUE's.
    ///
    /// # Errors
    ///
    /// If the numbers differ, a prediction is of another kind, or `out` fails.
    pub fn write_predictions(
        &self,
        out: &mut dyn Write,
        predictions: &[Prediction],
        examples: &[Example],
    ) -> Result<(), ScoreError> {
        check_length(predictions, examples)?;
        let pairs = || predictions.iter().zip(examples);
        match self.submission {
            Submission::Lines | Submission::CapitalLines => {
                return self.write_json_lines(out, predictions, examples);
            }
            Submission::MultiRc => self.write_multirc(out, predictions, examples)?,
            Submission::Answers => {
                let answers = pairs().map(|(prediction, example)| {
                    Ok((example.id().to_owned(), self.value(prediction, example)?))
                });
                let answers = answers.collect::<Result<Map<String, Value>, ScoreError>>()?;
                writeln!(out, "{}", Value::Object(answers))?;
            }
            Submission::Tags => {
                for (prediction, example) in pairs() {
                    self.write_sentence(out, prediction, example)?;
                }
            }
            Submission::Table | Submission::TableOrLines => {
                writeln!(out, "index\tprediction")?;
                for (prediction, example) in pairs() {
                    let value = match self.value(prediction, example)? {
                        Value::String(text) => text,
                        other => other.to_string(),
                    };
                    writeln!(out, "{}\t{value}", example.id())?;
                }
            }
        }
        Ok(())
    }

    /// Writes predictions as `{"idx": …, "label": …}`, a line each: the form of SuperGLUE.
    ///
    /// # Errors
    ///
    /// As [`Task::write_predictions`].
    pub fn write_json_lines(
        &self,
        out: &mut dyn Write,
        predictions: &[Prediction],
        examples: &[Example],
    ) -> Result<(), ScoreError> {
        check_length(predictions, examples)?;
        for (prediction, example) in predictions.iter().zip(examples) {
            let id = example.id();
            let idx = id.parse::<u64>().map_or_else(|_| id.into(), Value::from);
            let label = self.value(prediction, example)?;
            writeln!(out, "{}", json!({"idx": idx, "label": label}))?;
        }
        Ok(())
    }

    /// A prediction by name.
    fn value(&self, prediction: &Prediction, example: &Example) -> Result<Value, ScoreError> {
        let name = |label: &usize| {
            let name = self.labels.get(*label).cloned();
            name.ok_or_else(|| unlike(example, "a label of the task"))
        };
        Ok(match prediction {
            Prediction::Label(choice) if self.kind == TaskKind::MultipleChoice => (*choice).into(),
            Prediction::Label(label) if self.submission == Submission::CapitalLines => {
                let name = name(label)?;
                let mut letters = name.chars();
                let first = letters.next().map(|it| it.to_ascii_uppercase());
                first.into_iter().chain(letters).collect::<String>().into()
            }
            Prediction::Label(label) => name(label)?.into(),
            Prediction::Score(score) => (*score).into(),
            Prediction::Labels(labels) => {
                let names = labels.iter().map(name).collect::<Result<Vec<_>, _>>()?;
                names.join(&self.label_separator).into()
            }
            Prediction::Answer { text, .. } => text.as_str().into(),
            Prediction::Tags(_) => return Err(unlike(example, "one prediction for the whole")),
        })
    }

    fn write_sentence(
        &self,
        out: &mut dyn Write,
        prediction: &Prediction,
        example: &Example,
    ) -> Result<(), ScoreError> {
        let (Prediction::Tags(tags), Example::Tokens(TokensExample { words, .. })) =
            (prediction, example)
        else {
            return Err(unlike(example, "tags for words"));
        };
        if tags.len() != words.len() {
            return Err(unlike(example, "a tag for each word"));
        }
        for (word, tag) in words.iter().zip(tags) {
            let tag = self.labels.get(*tag);
            let tag = tag.ok_or_else(|| unlike(example, "a tag of the task"))?;
            writeln!(out, "{word} {tag}")?;
        }
        writeln!(out)?;
        Ok(())
    }

    /// Passages in the order of their first candidate, and questions within them.
    fn write_multirc(
        &self,
        out: &mut dyn Write,
        predictions: &[Prediction],
        examples: &[Example],
    ) -> Result<(), ScoreError> {
        let mut passages: Numbered<(u64, Vec<Value>)> = Vec::new();
        for (prediction, example) in predictions.iter().zip(examples) {
            let candidate = match example {
                Example::Sequence(example) => example.candidate,
                _ => None,
            };
            let candidate = candidate.ok_or_else(|| unlike(example, "a candidate answer"))?;
            let Prediction::Label(label) = prediction else {
                return Err(unlike(example, "a label"));
            };
            let answer = json!({"idx": candidate.answer, "label": label});
            let questions = entry(&mut passages, candidate.passage);
            entry(questions, candidate.question).push(answer);
        }
        for (passage, questions) in passages {
            let questions = questions.into_iter();
            let questions: Vec<Value> = questions
                .map(|(question, answers)| json!({"idx": question, "answers": answers}))
                .collect();
            let line = json!({"idx": passage, "passage": {"questions": questions}});
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

/// Lists with the numbers to which they belong, in the order in which these first came up.
type Numbered<T> = Vec<(u64, Vec<T>)>;

/// The list of a number that is usually the last one seen.
fn entry<T>(list: &mut Numbered<T>, number: u64) -> &mut Vec<T> {
    let found = list.iter().rposition(|(known, _)| *known == number);
    let at = found.unwrap_or_else(|| {
        list.push((number, Vec::new()));
        list.len() - 1
    });
    &mut list[at].1
}

fn unlike(example: &Example, expected: &'static str) -> ScoreError {
    ScoreError::Kind {
        id: example.id().to_owned(),
        found: "another prediction".to_owned(),
        expected,
    }
}
