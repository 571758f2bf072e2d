//! Labelled examples for fine-tuning, from the files in which tasks are published.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use deberta_data::task::{ReadOptions, Split, Task};
//!
//! let task = Task::named("mrpc")?;
//! for set in task.files("glue/MRPC".as_ref(), Split::Train)? {
//!     let data = task.load(&set, Split::Train, &ReadOptions::default())?;
//!     println!("{} examples, labels {:?}", data.examples.len(), task.labels());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Tasks
//!
//! [`Task::named`] knows GLUE (`cola sst-2 mrpc sts-b qqp mnli qnli rte wnli ax`), SuperGLUE (`boolq
//! cb copa multirc record wic wsc`, and `rte` again), `squad`, `squad2`, `race`, `swag`, `codah`,
//! `piqa`, `conll`, `wnut17` and `ner`. [`Task::custom`] makes a task of one's own CSV, TSV or JSON
//! Lines file by naming its columns ([`TaskSpec`]); `classify`, `pair`, `regress`, `multi-label`,
//! `choice`, `tokens` and `qa` are such tasks with columns of the usual names.
//!
//! # What is read, and how
//!
//! - GLUE: tab-separated without quoting, a quotation mark being a character like any other. Columns
//!   are found by the names in the header; CoLA and the original STS-B have none and are known by
//!   their number of columns. Texts stay as they are, trailing spaces included. Lines of QQP with a
//!   wrong number of columns are left out and counted and its empty questions are kept, as by the
//!   released code.
//! - SuperGLUE: JSON Lines; white space at the ends of texts goes, except where offsets count
//!   (`record`, `wic`, `wsc`).
//! - Own files: CSV with quoting, TSV without (see [`TaskSpec::quoting`]), JSON Lines, also in files
//!   called `.json`, which may be a list of objects or, for questions, SQuAD's document, too. Lists and
//!   objects may stand in a cell as JSON.
//! - Everywhere: UTF-8, a byte-order mark is dropped, lines end in `\n` or `\r\n`. Positions count
//!   characters, as the published files and [`Encoding`](crate::tokenizer::Encoding) do.
//!
//! The order of labels and of the two texts is that of microsoft/DeBERTa (`apps/tasks`): MNLI is
//! contradiction, neutral, entailment; QNLI puts the sentence before the question; BoolQ and
//! MultiRC put the passage first. WSC, SQuAD, SWAG and CODAH are not in that repository; see the
//! fields of [`Example`] for what stands where.
//!
//! # Deviation
//!
//! From microsoft/DeBERTa: WiC marks its words in the text (`*word*`) instead of handing their
//! positions to a head of its own, which that repository names but lacks, and WSC marks noun phrase
//! and `#pronoun#`, like T5; [`SequenceExample::spans`] still has the positions. MultiRC joins question and
//! answer by a space before tokenizing, not after. SQuAD answers that stand up to two characters
//! beside their position are put right. Files for GLUE have the header `index⇥prediction` of its
//! samples.
//!
//! # Bad data
//!
//! A line that is not an example is a [`TaskError::BadLine`] with file, line, what was found and
//! what was expected, or is counted ([`BadLines::Skip`]). Lines are read one at a time, with a bound
//! on their length; only documents that are one JSON or XML value are read as a whole.

mod build;
mod csv_reader;
mod documents;
mod error;
mod example;
mod examples;
mod files;
mod lines;
mod marked;
mod pairs;
mod question;
mod ratings;
mod reader;
mod registry;
mod row;
mod score;
mod spec;
mod submission;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use build::Build;
pub use error::{BadLines, Problem, ProblemKind, Skipped, TaskError};
pub use example::{
    AnswerSpan, CandidateIndex, ChoiceExample, ClozeExample, Example, PLACEHOLDER, PassageEntity,
    QuestionExample, SequenceExample, Target, TextSpan, TokensExample,
};
pub use examples::{Dataset, Examples, ReadOptions};
use files::Splits;
pub use files::{FileSet, Split};
use reader::Headerless;
use row::ColumnNames;
use score::Metrics;
pub use score::{MetricValue, Prediction, Report, ScoreError};
pub use spec::{Columns, SplitFiles, TaskSpec};
use submission::Submission;

/// What a head has to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// One label for a text or pair: [`SequenceExample`] with [`Target::Label`].
    Classification,
    /// A number for a text or pair: [`SequenceExample`] with [`Target::Score`].
    Regression,
    /// Any number of labels for a text or pair: [`SequenceExample`] with [`Target::Labels`].
    MultiLabel,
    /// The best of several alternatives: [`ChoiceExample`].
    MultipleChoice,
    /// A part of the context: [`QuestionExample`].
    QuestionAnswering,
    /// A label per word: [`TokensExample`].
    TokenClassification,
    /// An entity of the passage: [`ClozeExample`].
    EntityCloze,
}

/// A task: where its files are, how they are read, which labels it has and how it is scored.
#[derive(Debug, Clone)]
pub struct Task {
    name: String,
    kind: TaskKind,
    labels: Vec<String>,
    metrics: Metrics,
    submission: Submission,
    build: Build,
    names: Arc<ColumnNames>,
    /// Fields that a header has to name, besides choices and label.
    required: Vec<&'static str>,
    headerless: Option<Headerless>,
    choice_columns: Vec<String>,
    format: Format,
    splits: Splits,
    label_separator: String,
    /// Smallest and largest number of a regression task.
    score_range: (f64, f64),
    allows_no_answer: bool,
    /// Lines with a wrong number of columns are left out even by [`BadLines::Fail`], and texts may be
    /// empty.
    is_tolerant: bool,
}

/// What the name of a file does not say about its format.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Format {
    /// A `.csv` file has tabs between its columns, or quotation marks mean nothing.
    quoting: Option<bool>,
    delimiter: Option<char>,
    /// A `.jsonl` file has its labels in a second file.
    labels_apart: bool,
    /// A `.txt` or `.json` file is one JSON object.
    is_object: bool,
}

impl Task {
    /// A task by name; case, `_` and `-` do not matter.
    ///
    /// # Errors
    ///
    /// If there is no task of this name; the message lists all.
    pub fn named(name: &str) -> Result<Self, TaskError> {
        registry::find(name)
    }

    /// The names that [`Task::named`] knows, aliases apart.
    pub fn names() -> Vec<&'static str> {
        registry::names()
    }

    /// A task of one's own.
    ///
    /// # Errors
    ///
    /// If the description makes no sense.
    pub fn custom(spec: TaskSpec) -> Result<Self, TaskError> {
        spec.into_task()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a head has to predict.
    pub fn kind(&self) -> TaskKind {
        self.kind
    }

    /// Names of the labels, in the order of a head's outputs. Empty for kinds without labels, and
    /// for tasks whose labels are not known yet; see [`Task::with_labels_from`].
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The same task with these labels, in the order of a head's outputs.
    pub fn with_labels(mut self, labels: Vec<String>) -> Self {
        self.labels = labels;
        self
    }

    /// The same task with the labels that occur in files, if it has none yet: in numerical order if
    /// all are whole numbers, else alphabetical; the tag `O` comes first.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or has an absurd number of labels.
    pub fn with_labels_from(
        self,
        paths: &[PathBuf],
        options: &ReadOptions,
    ) -> Result<Self, TaskError> {
        let has_labels = matches!(
            self.kind,
            TaskKind::Classification | TaskKind::MultiLabel | TaskKind::TokenClassification
        );
        if !has_labels || !self.labels.is_empty() {
            return Ok(self);
        }
        let labels = examples::collect_labels(&self, paths, options)?;
        Ok(self.with_labels(labels))
    }

    /// Whether a question may have no answer in its context.
    pub fn allows_no_answer(&self) -> bool {
        self.allows_no_answer
    }

    /// The metric by which checkpoints are compared; larger is better for all of them.
    pub fn main_metric(&self) -> &'static str {
        self.metrics.main()
    }
}
