//! Lines of a file as text, with a bound on their length.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::error::{Problem, ProblemKind, TaskError};
use crate::corpus::lines::LineReader;

/// Why there is no next row.
#[derive(Debug)]
pub(super) enum RowError {
    /// The file cannot be read on.
    Fatal(TaskError),
    /// This line is bad; the next may be good.
    Bad {
        /// Line, from 1.
        line: u64,
        problem: Problem,
    },
}

impl From<TaskError> for RowError {
    fn from(error: TaskError) -> Self {
        Self::Fatal(error)
    }
}

/// Lines without their endings; a byte-order mark is dropped.
pub(super) struct Lines {
    path: PathBuf,
    reader: LineReader<BufReader<File>>,
    limit: usize,
    /// Ignore the rest of a line that was too long.
    skip_rest: bool,
}

impl Lines {
    pub(super) fn open(path: &Path, limit: usize) -> Result<Self, TaskError> {
        let file = File::open(path).map_err(|source| TaskError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        let buffered = BufReader::with_capacity(1 << 16, file);
        // One byte more than the limit, so that a line of exactly the limit still arrives whole.
        Ok(Self {
            path: path.to_path_buf(),
            reader: LineReader::new(buffered, limit.saturating_add(1)),
            limit,
            skip_rest: false,
        })
    }

    /// The next line and its number, from 1.
    pub(super) fn next_line(&mut self) -> Result<Option<(u64, String)>, RowError> {
        loop {
            let segment = self.reader.next_segment();
            let segment = segment.map_err(|source| TaskError::Io {
                path: self.path.clone(),
                source,
            })?;
            let Some(segment) = segment else {
                return Ok(None);
            };
            let line = segment.line;
            if self.skip_rest && !segment.starts_line {
                self.skip_rest = !segment.ends_line;
                continue;
            }
            self.skip_rest = !segment.ends_line;
            if self.skip_rest {
                let expected = format!("at most {} bytes", self.limit);
                let problem = Problem::new(ProblemKind::TooLong, "", "a longer line", expected);
                return Err(RowError::Bad { line, problem });
            }
            return match std::str::from_utf8(segment.bytes) {
                Ok(text) => Ok(Some((line, text.to_owned()))),
                Err(error) => {
                    let found = format!("a bad byte at position {}", error.valid_up_to() + 1);
                    let problem = Problem::new(ProblemKind::Encoding, "", found, "UTF-8");
                    Err(RowError::Bad { line, problem })
                }
            };
        }
    }
}
