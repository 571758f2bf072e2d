//! Tasks of one's own, described by the names of their columns.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::TaskError;
use super::files::{NamedSet, Splits};
use super::row::ColumnNames;
use super::score::Metrics;
use super::submission::Submission;
use super::{Format, Task, TaskKind, build, question};

/// A task in one's own CSV, TSV or JSON Lines files (CoNLL columns for words, SQuAD's JSON for
/// questions).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// For messages and names of files.
    pub name: String,
    /// What is to be predicted; all but [`TaskKind::EntityCloze`].
    pub kind: TaskKind,
    /// What the files call their columns or fields.
    #[serde(default)]
    pub columns: Columns,
    /// Labels in the order of a head's outputs; if empty, they are collected from the training files
    /// with [`Task::with_labels_from`]. Default: empty
    #[serde(default)]
    pub labels: Vec<String>,
    /// Between the labels of a multi-label row, if they are not a JSON list. Default: `|`
    #[serde(default = "default_separator")]
    pub label_separator: String,
    /// Between columns. Default: a comma in `.csv` files, a tab in others
    #[serde(default)]
    pub delimiter: Option<char>,
    /// Whether quotation marks enclose fields. Default: in `.csv` files only
    #[serde(default)]
    pub quoting: Option<bool>,
    /// Names of files within the folder of the task. Default: `train`, `dev` (or `val`,
    /// `validation`), `test`, with any extension that is known
    #[serde(default)]
    pub files: SplitFiles,
}

/// Tasks in files of one's own, with columns of the usual names.
const OWN: [(&str, TaskKind); 7] = [
    ("classify", TaskKind::Classification),
    ("pair", TaskKind::Classification),
    ("regress", TaskKind::Regression),
    ("multi-label", TaskKind::MultiLabel),
    ("choice", TaskKind::MultipleChoice),
    ("tokens", TaskKind::TokenClassification),
    ("qa", TaskKind::QuestionAnswering),
];

pub(super) fn own_names() -> impl Iterator<Item = &'static str> {
    OWN.iter().map(|(name, _)| *name)
}

/// Whether two names of tasks differ at most in case, `-` and `_`.
pub(super) fn is_same_name(known: &str, name: &str) -> bool {
    let simple = |name: &str| name.to_lowercase().replace(['-', '_'], "");
    simple(known) == simple(name)
}

fn default_separator() -> String {
    "|".to_owned()
}

/// What the files of a task call their columns or fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Columns {
    /// Identifies an example in files of predictions. Default: the row number counts
    pub id: Option<String>,
    /// First text. Default: `text`
    pub text: String,
    /// Second text. Default: none
    pub pair: Option<String>,
    /// Label, number or labels; for multiple choice the number of the choice from 0, or its letter.
    /// Default: `label`
    pub label: String,
    /// Context of choices and questions. Default: `context`
    pub context: String,
    /// The question about the context; for multiple choice it is put before each choice. Default:
    /// `question`, for multiple choice none
    pub question: Option<String>,
    /// A column for each choice, or one with a list, which tables spell out as JSON. Default:
    /// `choices`
    pub choices: Vec<String>,
    /// Answers with `text` and `answer_start`, as in SQuAD; tables spell them out as JSON, and a
    /// blank cell is no answer. Default: `answers`
    pub answers: String,
    /// Words, as a JSON list or between white space. Default: `tokens`
    pub tokens: String,
    /// A tag for each word. Default: `tags`
    pub tags: String,
}

impl Default for Columns {
    fn default() -> Self {
        Self {
            id: None,
            text: "text".to_owned(),
            pair: None,
            label: "label".to_owned(),
            context: "context".to_owned(),
            question: None,
            choices: vec!["choices".to_owned()],
            answers: "answers".to_owned(),
            tokens: "tokens".to_owned(),
            tags: "tags".to_owned(),
        }
    }
}

/// Names of files; several files of a split are read one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitFiles {
    /// To learn from.
    pub train: Vec<String>,
    /// To choose checkpoints by.
    pub dev: Vec<String>,
    /// To predict.
    pub test: Vec<String>,
}

impl TaskSpec {
    /// A task with the default names of columns and files.
    pub fn new(name: impl Into<String>, kind: TaskKind) -> Self {
        Self {
            name: name.into(),
            kind,
            columns: Columns::default(),
            labels: Vec::new(),
            label_separator: default_separator(),
            delimiter: None,
            quoting: None,
            files: SplitFiles::default(),
        }
    }

    /// A task of one's own by name, with columns of the usual names: `classify`, `pair` (a second
    /// text in `pair`), `regress`, `multi-label`, `choice`, `tokens`, `qa`; case, `_` and `-` do not
    /// matter.
    pub fn named(name: &str) -> Option<Self> {
        let (known, kind) = OWN.iter().find(|(known, _)| is_same_name(known, name))?;
        let mut spec = Self::new(*known, *kind);
        if *known == "pair" {
            spec.columns.pair = Some("pair".to_owned());
        }
        Some(spec)
    }

    pub(super) fn into_task(self) -> Result<Task, TaskError> {
        self.validate()?;
        let (build, metrics) = how(self.kind);
        let (names, required) = self.column_names();
        let is_choice = self.kind == TaskKind::MultipleChoice;
        let choice_columns = if is_choice {
            self.columns.choices.clone()
        } else {
            Vec::new()
        };
        Ok(Task {
            kind: self.kind,
            metrics,
            submission: match self.kind {
                TaskKind::QuestionAnswering => Submission::Answers,
                TaskKind::TokenClassification => Submission::Tags,
                _ => Submission::Table,
            },
            build,
            names: Arc::new(names),
            required,
            headerless: None,
            choice_columns,
            format: Format {
                quoting: self.quoting,
                delimiter: self.delimiter,
                ..Format::default()
            },
            splits: splits(&self.files),
            score_range: (f64::NEG_INFINITY, f64::INFINITY),
            allows_no_answer: true,
            is_tolerant: false,
            name: self.name,
            labels: self.labels,
            label_separator: self.label_separator,
        })
    }

    /// What the files call the fields, and which of these have to be there.
    fn column_names(&self) -> (ColumnNames, Vec<&'static str>) {
        let columns = &self.columns;
        let names = ColumnNames::default()
            .with("text", &columns.text)
            .with("label", &columns.label)
            .with("context", &columns.context)
            .with("answers", &columns.answers)
            .with("tokens", &columns.tokens)
            .with("tags", &columns.tags);
        let mut required = match self.kind {
            TaskKind::MultipleChoice => vec!["context"],
            TaskKind::TokenClassification => vec!["tokens"],
            TaskKind::QuestionAnswering | TaskKind::EntityCloze => vec!["context"],
            _ => vec!["text"],
        };
        let is_question = self.kind == TaskKind::QuestionAnswering;
        let usual = |name: &str| is_question.then(|| name.to_owned());
        let question = columns.question.clone().or_else(|| usual("question"));
        let id = columns.id.clone().or_else(|| usual("id"));
        let optional = [
            ("pair", columns.pair.clone()),
            ("question", question),
            ("id", id),
        ];
        let names = optional.into_iter().fold(names, |names, (field, name)| {
            let Some(name) = name else {
                return names;
            };
            // Identifiers help, but files do without.
            if field != "id" {
                required.push(field);
            }
            names.with(field, &name)
        });
        (names, required)
    }

    fn validate(&self) -> Result<(), TaskError> {
        let error = |field, found: String, expected: &str| {
            Err(TaskError::Spec {
                task: self.name.clone(),
                field,
                found,
                expected: expected.to_owned(),
            })
        };
        if self.kind == TaskKind::EntityCloze {
            return error(
                "kind",
                "entity-cloze".into(),
                "a kind that own files can have",
            );
        }
        let mut labels: Vec<&String> = self.labels.iter().collect();
        labels.sort();
        labels.dedup();
        if labels.len() != self.labels.len() {
            return error(
                "labels",
                "a list with repetitions".into(),
                "each label once",
            );
        }
        if self.columns.choices.is_empty() {
            return error(
                "columns.choices",
                "empty".into(),
                "a column with a list, or several",
            );
        }
        if self.label_separator.is_empty() {
            return error("label_separator", "empty".into(), "at least one character");
        }
        if let Some(delimiter) = self.delimiter
            && !delimiter.is_ascii()
        {
            let expected = "an ASCII character, such as `,` or `;`";
            return error("delimiter", format!("`{delimiter}`"), expected);
        }
        Ok(())
    }
}

/// How rows of a kind become examples, and how these are scored.
fn how(kind: TaskKind) -> (build::Build, Metrics) {
    match kind {
        TaskKind::Classification => (build::classify, Metrics::Classes),
        TaskKind::Regression => (build::regress, Metrics::Numbers),
        TaskKind::MultiLabel => (build::multi_label, Metrics::Sets),
        TaskKind::MultipleChoice => (build::choice, Metrics::Accuracy),
        TaskKind::TokenClassification => (build::tokens, Metrics::Entities),
        TaskKind::QuestionAnswering | TaskKind::EntityCloze => {
            (question::question, Metrics::SquadV2)
        }
    }
}

/// Extensions of files that are read, in the order in which they are looked for.
const EXTENSIONS: &[&str] = &["csv", "tsv", "jsonl", "ndjson", "json", "txt", "conll"];

fn splits(files: &SplitFiles) -> Splits {
    let set = |name: &str, given: &[String], stems: &[&str]| {
        let usual = stems.iter().flat_map(|stem| {
            let names = EXTENSIONS.iter();
            names.map(move |extension| vec![format!("{stem}.{extension}")])
        });
        vec![NamedSet {
            name: name.to_owned(),
            alternatives: match given.is_empty() {
                true => usual.collect(),
                false => vec![given.to_vec()],
            },
        }]
    };
    Splits {
        folders: Vec::new(),
        train: set("train", &files.train, &["train"]),
        dev: set("dev", &files.dev, &["dev", "val", "valid", "validation"]),
        test: set("test", &files.test, &["test"]),
    }
}
