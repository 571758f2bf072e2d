//! Columns with quoting, as spreadsheets write them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::error::{Problem, ProblemKind, TaskError};
use super::lines::RowError;
use super::reader::{RowReader, Table};
use super::row::{ColumnNames, Row};

/// Reads a file with a header in its first line. A field may hold line breaks; the parser drops a
/// byte-order mark.
pub(super) struct CsvReader {
    path: PathBuf,
    reader: csv::Reader<Bounded<File>>,
    names: Arc<ColumnNames>,
    header: Vec<String>,
    record: csv::ByteRecord,
    budget: Arc<AtomicUsize>,
    limit: usize,
}

impl CsvReader {
    pub(super) fn open(
        path: &Path,
        table: &Table,
        delimiter: u8,
        limit: usize,
    ) -> Result<Self, RowError> {
        let file = File::open(path).map_err(|source| TaskError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        let budget = Arc::new(AtomicUsize::new(0));
        let bounded = Bounded {
            inner: file,
            budget: budget.clone(),
        };
        let reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(bounded);
        let mut reader = Self {
            path: path.to_path_buf(),
            reader,
            names: table.names.clone(),
            header: Vec::new(),
            record: csv::ByteRecord::new(),
            budget,
            limit,
        };
        if let Some((_, header)) = reader.next_record()? {
            if !table.missing(&header).is_empty() {
                return Err(table.error(path, &header).into());
            }
            reader.header = header;
        }
        Ok(reader)
    }

    /// The cells of the next record and the line on which it begins.
    fn next_record(&mut self) -> Result<Option<(u64, Vec<String>)>, RowError> {
        self.budget.store(self.limit, Ordering::Relaxed);
        let found = self.reader.read_byte_record(&mut self.record);
        let found = found.map_err(|error| self.fatal(error))?;
        if !found {
            return Ok(None);
        }
        let line = self.record.position().map_or(1, csv::Position::line);
        let cells = self.record.iter().map(|cell| {
            std::str::from_utf8(cell)
                .map(str::to_owned)
                .map_err(|error| {
                    let found = format!(
                        "a bad byte at position {} of a field",
                        error.valid_up_to() + 1
                    );
                    let problem = Problem::new(ProblemKind::Encoding, "", found, "UTF-8");
                    RowError::Bad { line, problem }
                })
        });
        Ok(Some((line, cells.collect::<Result<_, _>>()?)))
    }

    fn fatal(&self, error: csv::Error) -> TaskError {
        let line = self.reader.position().line();
        let path = self.path.clone();
        match error.into_kind() {
            csv::ErrorKind::Io(source) if source.kind() == io::ErrorKind::FileTooLarge => {
                // An unclosed quotation mark looks like this.
                let found = "a longer row, perhaps a quotation mark that is not closed";
                let expected = format!("at most {} bytes", self.limit);
                let problem = Problem::new(ProblemKind::TooLong, "", found, expected);
                TaskError::BadLine {
                    path,
                    line,
                    problem,
                }
            }
            csv::ErrorKind::Io(source) => TaskError::Io { path, source },
            other => TaskError::Malformed {
                path,
                line,
                reason: format!("{other:?}"),
            },
        }
    }
}

impl RowReader for CsvReader {
    fn next_row(&mut self) -> Result<Option<Row>, RowError> {
        let Some((line, cells)) = self.next_record()? else {
            return Ok(None);
        };
        if cells.len() != self.header.len() {
            let problem = Problem::columns(cells.len(), self.header.len().to_string());
            return Err(RowError::Bad { line, problem });
        }
        let cells = cells.into_iter().map(Value::String);
        Ok(Some(Row {
            line,
            number: 0,
            fields: self.header.iter().cloned().zip(cells).collect(),
            names: self.names.clone(),
        }))
    }
}

/// Ends a record that takes more bytes than its budget, so that memory stays bounded.
struct Bounded<R> {
    inner: R,
    budget: Arc<AtomicUsize>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.budget.load(Ordering::Relaxed);
        if left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let read = self.inner.read(buffer)?;
        self.budget
            .store(left.saturating_sub(read), Ordering::Relaxed);
        Ok(read)
    }
}
