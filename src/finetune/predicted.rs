//! What a model says about a set of examples, and how that is written.

use std::io::Write;

use deberta_data::decoding::char_slice;
use deberta_data::task::{Example, Prediction, ScoreError, TaskKind};
use deberta_train::objective::{ExampleLogits, Scores};
use serde_json::{Map, Value, json};

use super::scoring::EncodedSet;

/// How predictions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As the benchmark of the task takes them; own tasks as a table of `index` and `prediction`.
    Submission,
    /// A JSON object per example, with probabilities.
    JsonLines,
}

/// What a model says about a set of examples.
pub struct Predicted {
    set: EncodedSet,
    logits: Vec<ExampleLogits>,
    predictions: Vec<Prediction>,
    skipped_lines: u64,
}

impl Predicted {
    pub(super) fn new(set: EncodedSet, logits: Vec<ExampleLogits>, skipped_lines: u64) -> Self {
        Self {
            predictions: set.predictions(&logits),
            set,
            logits,
            skipped_lines,
        }
    }

    /// The split, or which of several sets it is.
    pub fn name(&self) -> &str {
        &self.set.name
    }

    /// The examples.
    pub fn examples(&self) -> &[Example] {
        &self.set.examples
    }

    /// A prediction per example, in their order.
    pub fn predictions(&self) -> &[Prediction] {
        &self.predictions
    }

    /// Lines of the files that were left out.
    pub fn skipped_lines(&self) -> u64 {
        self.skipped_lines
    }

    /// The metrics of the task.
    ///
    /// # Errors
    ///
    /// If an example has no label.
    pub fn scores(&self) -> Result<Scores, ScoreError> {
        self.set.scores(&self.predictions)
    }

    /// Name of the file in which the benchmark expects these predictions.
    pub fn file_name(&self, form: Form) -> String {
        let name = self.set.task.submission_file(&self.set.name);
        match form {
            Form::Submission => name,
            Form::JsonLines => {
                let stem = name.rsplit_once('.').map_or(&*name, |(stem, _)| stem);
                format!("{stem}.predictions.jsonl")
            }
        }
    }

    /// Writes the predictions.
    ///
    /// # Errors
    ///
    /// If `out` fails.
    pub fn write(&self, form: Form, out: &mut dyn Write) -> Result<(), ScoreError> {
        match form {
            Form::Submission => {
                self.set
                    .task
                    .write_predictions(out, &self.predictions, &self.set.examples)
            }
            Form::JsonLines => self.write_json_lines(out),
        }
    }

    fn write_json_lines(&self, out: &mut dyn Write) -> Result<(), ScoreError> {
        let answers = match self.set.task.kind() {
            TaskKind::QuestionAnswering => self.answers(),
            _ => Vec::new(),
        };
        let has_one_row = !matches!(
            self.set.task.kind(),
            TaskKind::QuestionAnswering
                | TaskKind::TokenClassification
                | TaskKind::EntityCloze
                | TaskKind::Regression
        );
        for (index, prediction) in self.predictions.iter().enumerate() {
            let mut line = Map::new();
            line.insert("id".into(), self.set.examples[index].id().into());
            self.describe(index, prediction, &mut line);
            // Tasks of whole sequences have one item per example, in the same order.
            if has_one_row {
                let values = &self.logits[index].values;
                line.insert("probabilities".into(), self.probabilities(values));
            }
            if let Some(answer) = answers.get(index) {
                line.insert("candidates".into(), answer.clone());
            }
            writeln!(out, "{}", Value::Object(line))?;
        }
        Ok(())
    }

    /// The prediction by name.
    fn describe(&self, index: usize, prediction: &Prediction, line: &mut Map<String, Value>) {
        let labels = self.set.task.labels();
        let name = |label: &usize| match labels.get(*label) {
            Some(name) => Value::from(name.as_str()),
            None => Value::from(*label),
        };
        let (field, value) = match prediction {
            Prediction::Label(label) => ("label", name(label)),
            Prediction::Score(score) => ("score", json!(score)),
            Prediction::Labels(labels) => ("labels", labels.iter().map(name).collect()),
            Prediction::Tags(tags) => {
                if let Example::Tokens(example) = &self.set.examples[index] {
                    line.insert("words".into(), json!(example.words));
                }
                ("tags", tags.iter().map(name).collect())
            }
            Prediction::Answer {
                text,
                no_answer_prob,
            } => {
                line.insert("no_answer_probability".into(), json!(no_answer_prob));
                ("answer", text.as_str().into())
            }
        };
        line.insert(field.into(), value);
    }

    /// A probability for each label or choice.
    fn probabilities(&self, logits: &[f32]) -> Value {
        let task = &self.set.task;
        let logits = logits.iter().map(|it| f64::from(*it));
        let probabilities: Vec<f64> = match task.kind() {
            TaskKind::MultiLabel => logits.map(|it| 1.0 / (1.0 + (-it).exp())).collect(),
            _ => {
                let largest = logits.clone().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = logits.map(|it| (it - largest).exp()).collect();
                let total: f64 = weights.iter().sum();
                weights.iter().map(|it| it / total).collect()
            }
        };
        match task.labels() {
            [] => json!(probabilities),
            labels => {
                let pairs = labels.iter().cloned().zip(probabilities);
                Value::Object(pairs.map(|(label, it)| (label, json!(it))).collect())
            }
        }
    }

    /// The best answers to each question.
    fn answers(&self) -> Vec<Value> {
        let lists = self.set.decoder().answer_lists(&self.logits).into_iter();
        lists
            .map(|(index, decoded)| {
                let context = match &self.set.examples[index] {
                    Example::Question(example) => example.context.as_str(),
                    _ => "",
                };
                let candidates = decoded.candidates.iter().map(|it| {
                    json!({
                        "text": char_slice(context, it.start, it.end),
                        "start": it.start,
                        "end": it.end,
                        "score": it.score,
                        "probability": it.probability,
                    })
                });
                candidates.collect()
            })
            .collect()
    }
}
