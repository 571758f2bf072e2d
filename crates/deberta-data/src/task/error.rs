//! What can go wrong while reading a task, and the count of what was skipped.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a task could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TaskError {
    /// There is no task of this name.
    #[error("unknown task `{name}`, expected one of: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// A description of an own task that makes no sense.
    #[error("task `{task}`: `{field}` is {found}, expected {expected}")]
    Spec {
        /// Name of the task.
        task: String,
        /// Field of the description.
        field: &'static str,
        /// Its value.
        found: String,
        /// What would be accepted.
        expected: String,
    },
    /// A folder without the files of a split.
    #[error("no {split} files of `{task}` in {}: looked for {looked_for}", folder.display())]
    NoFiles {
        /// Name of the task.
        task: String,
        /// `train`, `dev` or `test`.
        split: &'static str,
        /// The folder.
        folder: PathBuf,
        /// Names that would have been accepted.
        looked_for: String,
    },
    /// A file could not be opened or read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file whose columns or form cannot be recognised.
    #[error("{}:1: found {found}, expected {expected}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// The header, or what stands in its place.
        found: String,
        /// What would have been recognised.
        expected: String,
    },
    /// A document that is not well-formed.
    #[error("{}:{line}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What the parser said.
        reason: String,
    },
    /// A line that is not an example; see [`BadLines`].
    #[error("{}:{line}: {problem}", path.display())]
    BadLine {
        /// The file.
        path: PathBuf,
        /// Line on which the example begins, from 1.
        line: u64,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A file without a single example.
    #[error("no examples in {}", path.display())]
    NoExamples {
        /// The first of the files that were read.
        path: PathBuf,
    },
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The kind, for counting.
    pub kind: ProblemKind,
    /// Column or field, empty if it is the line as a whole.
    pub field: String,
    /// What stands there, shortened.
    pub found: String,
    /// What should.
    pub expected: String,
}

/// Kinds of bad lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// Another number of columns than the file has.
    Columns,
    /// A field that is missing or of another type.
    Field,
    /// A text without a character.
    Empty,
    /// A label that the task does not have.
    Label,
    /// A position outside the text.
    Span,
    /// Bytes that are not UTF-8, or not JSON.
    Encoding,
    /// A line over the limit.
    TooLong,
}

const MAX_QUOTED_CHARS: usize = 80;

impl Problem {
    pub(super) fn new(
        kind: ProblemKind,
        field: impl Into<String>,
        found: impl fmt::Display,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            field: field.into(),
            found: shortened(&found.to_string()),
            expected: expected.into(),
        }
    }

    pub(super) fn columns(found: usize, expected: impl Into<String>) -> Self {
        let found = format!("{found} columns");
        Self::new(ProblemKind::Columns, "", found, expected)
    }
}

/// The beginning of a long value.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "field `{}`: ", self.field)?;
        }
        write!(f, "found {}, expected {}", self.found, self.expected)
    }
}

/// What to do with a line that is not an example.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BadLines {
    /// Stop with an error that names file and line.
    #[default]
    Fail,
    /// Leave it out and count it; see [`Skipped`].
    Skip,
}

/// Lines that were left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    count: u64,
    messages: Vec<String>,
}

/// As many messages are kept; the rest is only counted.
const MAX_MESSAGES: usize = 5;

impl Skipped {
    /// How many lines were left out.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What was wrong with the first few.
    pub fn messages(&self) -> &[String] {
        &self.messages
    }

    pub(super) fn add(&mut self, error: &TaskError) {
        self.count += 1;
        if self.messages.len() < MAX_MESSAGES {
            self.messages.push(error.to_string());
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines skipped", self.count)?;
        if let Some(first) = self.messages.first() {
            write!(f, ", the first: {first}")?;
        }
        Ok(())
    }
}
