//! Files as rows: separated columns, JSON Lines, columns of words.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::{Problem, ProblemKind, TaskError, shortened};
use super::lines::{Lines, RowError};
use super::row::{ColumnNames, Row};

/// Yields rows; their `number` is set by the caller.
pub(super) trait RowReader: Send {
    fn next_row(&mut self) -> Result<Option<Row>, RowError>;
}

/// How columns are told apart in a file without a header.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Headerless {
    /// Numbers of columns that are accepted.
    pub(super) counts: &'static [usize],
    /// Positions of fields, from 0.
    pub(super) fields: &'static [(&'static str, usize)],
}

/// The columns that a task expects of a file.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) names: Arc<ColumnNames>,
    /// Columns that have to be there, each with the names it may have.
    pub(super) required: Vec<Vec<String>>,
    pub(super) headerless: Option<Headerless>,
}

impl Table {
    /// The names of columns that a header lacks.
    pub(super) fn missing<S: AsRef<str>>(&self, header: &[S]) -> Vec<String> {
        let has = |name: &String| header.iter().any(|cell| cell.as_ref() == name);
        let missing = self.required.iter().filter(|names| !names.iter().any(has));
        missing.map(|names| names.join("` or `")).collect()
    }

    /// Says what a header lacks.
    pub(super) fn error<S: AsRef<str>>(&self, path: &Path, header: &[S]) -> TaskError {
        let cells: Vec<&str> = header.iter().map(AsRef::as_ref).collect();
        let missing = self.missing(header).join("` and `");
        let mut expected = format!("a header with the column `{missing}`");
        if let Some(headerless) = self.headerless {
            let counts: Vec<String> = headerless.counts.iter().map(usize::to_string).collect();
            expected += &format!(", or {} columns without a header", counts.join(" or "));
        }
        TaskError::Header {
            path: path.to_path_buf(),
            found: format!("the columns `{}`", shortened(&cells.join("`, `"))),
            expected,
        }
    }
}

/// Tab-separated columns without quoting: a quotation mark is a character like any other.
pub(super) struct TsvReader {
    path: std::path::PathBuf,
    lines: Lines,
    names: Arc<ColumnNames>,
    delimiter: char,
    /// Where the fields stand, from 0, under the names that rows know them by.
    columns: Vec<(String, usize)>,
    counts: Vec<usize>,
    /// Reads the first line as data.
    pending: Option<(u64, String)>,
}

impl TsvReader {
    /// Recognises a header by the columns of `table`; a file without one must have the number of
    /// columns of its `headerless`.
    pub(super) fn open(
        path: &Path,
        table: &Table,
        delimiter: char,
        limit: usize,
    ) -> Result<Self, RowError> {
        let lines = Lines::open(path, limit)?;
        let mut reader = Self {
            path: path.to_path_buf(),
            lines,
            names: table.names.clone(),
            delimiter,
            columns: Vec::new(),
            counts: Vec::new(),
            pending: None,
        };
        if let Some((line, first)) = reader.lines.next_line()? {
            reader.read_header(line, first, table)?;
        }
        Ok(reader)
    }

    fn read_header(&mut self, line: u64, first: String, table: &Table) -> Result<(), TaskError> {
        let cells: Vec<&str> = first.split(self.delimiter).collect();
        if table.missing(&cells).is_empty() {
            let cells = cells.iter().enumerate();
            self.columns = cells.map(|(at, name)| ((*name).to_owned(), at)).collect();
            self.counts = vec![self.columns.len()];
            return Ok(());
        }
        let layout = table.headerless;
        let layout = layout.filter(|it| it.counts.contains(&cells.len()));
        let Some(layout) = layout else {
            return Err(table.error(&self.path, &cells));
        };
        let fields = layout.fields.iter();
        self.columns = fields
            .map(|(field, at)| {
                (
                    (*self.names.of(field).first().unwrap_or(field)).to_owned(),
                    *at,
                )
            })
            .collect();
        self.counts = layout.counts.to_vec();
        self.pending = Some((line, first));
        Ok(())
    }
}

impl RowReader for TsvReader {
    fn next_row(&mut self) -> Result<Option<Row>, RowError> {
        // Editors leave empty lines at the end; where there is one column, they are its cells.
        let is_row = |text: &str| !text.is_empty() || self.counts.contains(&1);
        let (line, text) = loop {
            let next = match self.pending.take() {
                Some(first) => Some(first),
                None => self.lines.next_line()?,
            };
            match next {
                Some((line, text)) if is_row(&text) => break (line, text),
                Some(_) => {}
                None => return Ok(None),
            }
        };
        let cells: Vec<&str> = text.split(self.delimiter).collect();
        if !self.counts.contains(&cells.len()) {
            let counts: Vec<String> = self.counts.iter().map(usize::to_string).collect();
            let problem = Problem::columns(cells.len(), counts.join(" or "));
            return Err(RowError::Bad { line, problem });
        }
        let columns = self.columns.iter();
        let fields = columns.filter_map(|(name, at)| {
            Some((name.clone(), Value::String((*cells.get(*at)?).to_owned())))
        });
        Ok(Some(Row {
            line,
            number: 0,
            fields: fields.collect(),
            names: self.names.clone(),
        }))
    }
}

/// JSON Lines: an object per line; blank lines are left out.
pub(super) struct JsonlReader {
    lines: Lines,
    names: Arc<ColumnNames>,
}

impl JsonlReader {
    pub(super) fn open(
        path: &Path,
        names: Arc<ColumnNames>,
        limit: usize,
    ) -> Result<Self, TaskError> {
        let lines = Lines::open(path, limit)?;
        Ok(Self { lines, names })
    }
}

impl RowReader for JsonlReader {
    fn next_row(&mut self) -> Result<Option<Row>, RowError> {
        while let Some((line, text)) = self.lines.next_line()? {
            if text.trim().is_empty() {
                continue;
            }
            let fields = serde_json::from_str::<Map<String, Value>>(&text);
            let fields = fields.map_err(|error| {
                // The row is one line, so only the column says something.
                let reason = error.to_string().replace("at line 1 column", "at column");
                let problem = Problem::new(ProblemKind::Encoding, "", reason, "a JSON object");
                RowError::Bad { line, problem }
            })?;
            return Ok(Some(Row {
                line,
                number: 0,
                fields,
                names: self.names.clone(),
            }));
        }
        Ok(None)
    }
}

/// Rows of another reader, with a field from the same line of a second file.
pub(super) struct WithLabels {
    pub(super) rows: Box<dyn RowReader>,
    pub(super) labels: Lines,
    pub(super) path: std::path::PathBuf,
}

impl RowReader for WithLabels {
    fn next_row(&mut self) -> Result<Option<Row>, RowError> {
        let row = self.rows.next_row();
        // A bad row has a label too.
        let label = match &row {
            Err(RowError::Fatal(_)) => Ok(None),
            _ => self.labels.next_line(),
        };
        let row = row?;
        let (line, found, expected) = match (row, label?) {
            (Some(mut row), Some((_, label))) => {
                row.fields.insert("label".into(), Value::String(label));
                return Ok(Some(row));
            }
            (None, None) => return Ok(None),
            (Some(row), None) => (row.line, "the end of the file", "a label for each example"),
            (None, Some((line, _))) => (line, "a label", "no more labels than examples"),
        };
        Err(RowError::Fatal(TaskError::BadLine {
            path: self.path.clone(),
            line,
            problem: Problem::new(ProblemKind::Columns, "", found, expected),
        }))
    }
}

/// Sentences in CoNLL columns: a word per line, its tag in the last column, blank lines between.
pub(super) struct ConllReader {
    lines: Lines,
    names: Arc<ColumnNames>,
    /// Number of columns of the first line with a word.
    columns: Option<usize>,
    limit: usize,
}

impl ConllReader {
    pub(super) fn open(path: &Path, limit: usize) -> Result<Self, TaskError> {
        Ok(Self {
            lines: Lines::open(path, limit)?,
            names: Arc::default(),
            columns: None,
            limit,
        })
    }

    /// Word and tag of a line; the tag is `None` if there is one column only.
    fn word<'a>(&mut self, text: &'a str) -> Result<(&'a str, Option<&'a str>), Problem> {
        let cells: Vec<&str> = match text.contains('\t') {
            true => text.split('\t').collect(),
            false => text.split(' ').filter(|cell| !cell.is_empty()).collect(),
        };
        let expected = *self.columns.get_or_insert(cells.len());
        if cells.len() != expected {
            return Err(Problem::columns(cells.len(), expected.to_string()));
        }
        let word = super::row::not_empty("word", cells.first().copied().unwrap_or_default())?;
        let tag = (expected > 1).then(|| cells[expected - 1].trim());
        Ok((word, tag))
    }
}

impl RowReader for ConllReader {
    /// A bad line makes its whole sentence bad: the rest of it is read and left out.
    fn next_row(&mut self) -> Result<Option<Row>, RowError> {
        let (mut words, mut tags) = (Vec::new(), Vec::new());
        let mut bad = None;
        let (mut start, mut bytes) = (0, 0);
        loop {
            let (line, text) = match self.lines.next_line() {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(RowError::Bad { line, problem }) => {
                    bad.get_or_insert((line, problem));
                    continue;
                }
                Err(fatal) => return Err(fatal),
            };
            if text.trim().is_empty() || text.starts_with("-DOCSTART-") {
                if words.is_empty() && bad.is_none() {
                    continue;
                }
                break;
            }
            bytes += text.len();
            if bytes > self.limit {
                let expected = format!("at most {} bytes", self.limit);
                let problem = Problem::new(ProblemKind::TooLong, "", "a longer sentence", expected);
                bad.get_or_insert((line, problem));
            }
            if bad.is_some() {
                continue;
            }
            if words.is_empty() {
                start = line;
            }
            match self.word(&text) {
                Ok((word, tag)) => {
                    words.push(Value::from(word));
                    tags.extend(tag.map(Value::from));
                }
                Err(problem) => bad = Some((line, problem)),
            }
        }
        if let Some((line, problem)) = bad {
            return Err(RowError::Bad { line, problem });
        }
        if words.is_empty() {
            return Ok(None);
        }
        let mut fields = Map::new();
        if !tags.is_empty() {
            fields.insert("tags".into(), Value::Array(tags));
        }
        fields.insert("tokens".into(), Value::Array(words));
        Ok(Some(Row {
            line: start,
            number: 0,
            fields,
            names: self.names.clone(),
        }))
    }
}
