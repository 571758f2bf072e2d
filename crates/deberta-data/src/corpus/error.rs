//! What can go wrong while reading text, and the count of what was skipped.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// Why a corpus could not be read. Every message names the file, and the line or row if there is
/// one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CorpusError {
    /// A file or folder could not be opened or read.
    #[error("cannot read {}", path.display())]
    Io {
        /// What was being read.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A folder holds no file in a format that is known.
    #[error(
        "no text found in {}: expected files ending in .txt, .text, .raw, .tokens, .jsonl, \
         .ndjson or .parquet",
        path.display()
    )]
    NoFiles {
        /// The folder.
        path: PathBuf,
    },
    /// A file that is named, but whose text would have to be taken out first.
    #[error(
        "{} is not read as plain text: a `.{extension}` file holds more than its text; expected text, \
         or objects in .jsonl, .ndjson or .parquet files",
        path.display()
    )]
    NotPlain {
        /// The file.
        path: PathBuf,
        /// The end of its name, in lower case.
        extension: String,
    },
    /// Bytes that are not UTF-8.
    #[error("{}:{line}: invalid UTF-8 at byte {byte} of the line", path.display())]
    InvalidUtf8 {
        /// The file.
        path: PathBuf,
        /// Line (row for Parquet), from 1.
        line: u64,
        /// First bad byte within the line (value for Parquet), from 1.
        byte: usize,
    },
    /// A row that is not what the format asks for.
    #[error("{}:{line}: malformed row: {reason}", path.display())]
    MalformedRow {
        /// The file.
        path: PathBuf,
        /// Line (row for Parquet), from 1.
        line: u64,
        /// What was found and what was expected.
        reason: String,
    },
    /// A JSONL row longer than the limit.
    #[error("{}:{line}: row is longer than the limit of {limit} bytes", path.display())]
    RowTooLong {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// [`CorpusOptions::max_row_bytes`](super::CorpusOptions::max_row_bytes).
        limit: usize,
    },
    /// A Parquet file that cannot be decoded.
    #[error("cannot decode {}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A Parquet file without the text column, or with one of another type.
    #[error(
        "{}: column `{column}` {found}, expected a column of strings; the file has: {available}",
        path.display()
    )]
    Column {
        /// The file.
        path: PathBuf,
        /// The column that was asked for.
        column: String,
        /// `is missing`, or its type.
        found: String,
        /// Names of the columns that exist.
        available: String,
    },
    /// An option with a value that makes no sense.
    #[error("corpus option `{field}` is {value}, expected {expected}")]
    Option {
        /// Name of the option.
        field: &'static str,
        /// Its value.
        value: usize,
        /// What would be accepted.
        expected: &'static str,
    },
}

impl CorpusError {
    /// Which kind of bad row this is, if only one row is lost and reading can go on.
    pub fn bad_row(&self) -> Option<BadRow> {
        match self {
            Self::InvalidUtf8 { .. } => Some(BadRow::InvalidUtf8),
            Self::MalformedRow { .. } => Some(BadRow::Malformed),
            Self::RowTooLong { .. } => Some(BadRow::TooLong),
            _ => None,
        }
    }
}

/// Kinds of rows that [`OnBadRow::Skip`](super::OnBadRow::Skip) skips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRow {
    /// Bytes that are not UTF-8.
    InvalidUtf8,
    /// Not JSON, or without the text field, or with one that is not a string.
    Malformed,
    /// A JSONL row over the length limit.
    TooLong,
}

/// How many rows were skipped, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SkippedRows {
    /// Lines with bytes that are not UTF-8.
    pub invalid_utf8: u64,
    /// Rows that are not JSON or lack a text.
    pub malformed: u64,
    /// JSONL rows over the length limit.
    pub too_long: u64,
}

impl SkippedRows {
    /// All kinds together.
    pub fn total(&self) -> u64 {
        self.invalid_utf8 + self.malformed + self.too_long
    }

    pub(super) fn count(&mut self, kind: BadRow) {
        match kind {
            BadRow::InvalidUtf8 => self.invalid_utf8 += 1,
            BadRow::Malformed => self.malformed += 1,
            BadRow::TooLong => self.too_long += 1,
        }
    }
}

impl fmt::Display for SkippedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rows skipped ({} invalid UTF-8, {} malformed, {} too long)",
            self.total(),
            self.invalid_utf8,
            self.malformed,
            self.too_long
        )
    }
}
