//! Files that are one document: SQuAD and RACE in JSON, lists of objects, COPA in XML.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::TaskError;
use super::lines::{Lines, RowError};
use super::reader::RowReader;
use super::row::{ColumnNames, Row};

/// Larger documents are refused, since they have to be in memory as a whole.
const MAX_DOCUMENT_BYTES: u64 = 1 << 30;

fn read_document(path: &Path) -> Result<String, TaskError> {
    let io = |source| TaskError::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut text = String::new();
    let file = File::open(path).map_err(io)?;
    let mut bounded = file.take(MAX_DOCUMENT_BYTES + 1);
    bounded.read_to_string(&mut text).map_err(io)?;
    if text.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(TaskError::Malformed {
            path: path.to_path_buf(),
            line: 1,
            reason: format!("the document is larger than {MAX_DOCUMENT_BYTES} bytes"),
        });
    }
    match text.strip_prefix('\u{feff}') {
        Some(rest) => Ok(rest.to_owned()),
        None => Ok(text),
    }
}

fn json_error(path: &Path, error: &serde_json::Error) -> TaskError {
    TaskError::Malformed {
        path: path.to_path_buf(),
        line: error.line().max(1) as u64,
        reason: error.to_string(),
    }
}

/// Questions of a file in the form of SQuAD 1.1 or 2.0, a row each.
pub(super) struct SquadReader {
    text: String,
    /// Questions with their paragraphs, last first.
    questions: Vec<(Map<String, Value>, Arc<str>)>,
    names: Arc<ColumnNames>,
    /// Where the last question was found, and on which line that is.
    cursor: (usize, u64),
}

#[derive(Deserialize)]
struct SquadDocument {
    data: Vec<SquadArticle>,
}

#[derive(Deserialize)]
struct SquadArticle {
    paragraphs: Vec<SquadParagraph>,
}

#[derive(Deserialize)]
struct SquadParagraph {
    context: String,
    qas: Vec<Map<String, Value>>,
}

impl SquadReader {
    pub(super) fn open(path: &Path, names: Arc<ColumnNames>) -> Result<Self, TaskError> {
        let text = read_document(path)?;
        let document: SquadDocument =
            serde_json::from_str(&text).map_err(|error| json_error(path, &error))?;
        let paragraphs = document.data.into_iter().flat_map(|it| it.paragraphs);
        let mut questions = Vec::new();
        for paragraph in paragraphs {
            let context: Arc<str> = paragraph.context.into();
            let own = paragraph.qas.into_iter();
            questions.extend(own.map(|question| (question, context.clone())));
        }
        questions.reverse();
        Ok(Self {
            text,
            questions,
            names,
            cursor: (0, 1),
        })
    }

    /// The line of a question, by its quoted identifier after the place of the last one.
    fn line_of(&mut self, question: &Map<String, Value>) -> u64 {
        let (from, line) = self.cursor;
        let id = question.get("id").map(Value::to_string).unwrap_or_default();
        let rest = &self.text[from..];
        let found = (!id.is_empty()).then(|| rest.find(&id)).flatten();
        if let Some(at) = found {
            let skipped = &rest[..at];
            let lines = skipped.bytes().filter(|byte| *byte == b'\n').count();
            self.cursor = (from + at, line + lines as u64);
        }
        self.cursor.1
    }
}

impl RowReader for SquadReader {
    fn next_row(&mut self) -> Result<Option<Row>, RowError> {
        let Some((mut fields, context)) = self.questions.pop() else {
            return Ok(None);
        };
        let line = self.line_of(&fields);
        fields.insert("context".into(), Value::from(&*context));
        Ok(Some(Row {
            line,
            number: 0,
            fields,
            names: self.names.clone(),
        }))
    }
}

/// What a `.json` file holds where it may be several things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonLayout {
    /// One object in the form of SQuAD.
    Squad,
    /// An object per line.
    Lines,
    /// A list of objects.
    List,
}

impl JsonLayout {
    /// Tells them apart by the first line.
    pub(super) fn of(path: &Path, asks_questions: bool, limit: usize) -> Result<Self, TaskError> {
        let mut lines = Lines::open(path, limit)?;
        let first = loop {
            match lines.next_line() {
                Ok(Some((_, text))) if text.trim().is_empty() => {}
                Ok(Some((_, text))) => break text,
                Ok(None) => return Ok(Self::Lines),
                Err(RowError::Fatal(error)) => return Err(error),
                // Too long for a row.
                Err(RowError::Bad { .. }) => break String::new(),
            }
        };
        if first.trim_start().starts_with('[') {
            return Ok(Self::List);
        }
        let row = serde_json::from_str::<Map<String, Value>>(&first);
        let is_row = row.is_ok_and(|row| !row.contains_key("data"));
        Ok(match asks_questions && !is_row {
            true => Self::Squad,
            false => Self::Lines,
        })
    }
}

/// A file that holds a list of JSON objects, a row each.
pub(super) struct ListReader {
    path: PathBuf,
    text: String,
    names: Arc<ColumnNames>,
    /// Where the next row or the end of the list is looked for, and on which line that is.
    cursor: (usize, u64),
    is_first: bool,
}

impl ListReader {
    pub(super) fn open(path: &Path, names: Arc<ColumnNames>) -> Result<Self, TaskError> {
        Ok(Self {
            text: read_document(path)?,
            path: path.into(),
            names,
            cursor: (0, 1),
            is_first: true,
        })
    }

    fn rest(&self) -> &str {
        &self.text[self.cursor.0..]
    }

    fn advance(&mut self, bytes: usize) {
        let passed = self.rest().bytes().take(bytes);
        self.cursor.1 += passed.filter(|byte| *byte == b'\n').count() as u64;
        self.cursor.0 += bytes;
    }

    /// Passes over white space, and over one of these characters, which is returned.
    fn skip(&mut self, expected: &[char]) -> Result<char, TaskError> {
        let start = self.rest().trim_start();
        self.advance(self.rest().len() - start.len());
        match self.rest().chars().next() {
            Some(found) if expected.contains(&found) => {
                self.advance(found.len_utf8());
                Ok(found)
            }
            found => {
                let found = found.map_or("the end of the file".into(), |it| format!("`{it}`"));
                let expected: Vec<String> = expected.iter().map(|it| format!("`{it}`")).collect();
                let expected = expected.join(" or ");
                Err(self.malformed(format!("found {found}, expected {expected}")))
            }
        }
    }

    fn malformed(&self, reason: String) -> TaskError {
        TaskError::Malformed {
            path: self.path.clone(),
            line: self.cursor.1,
            reason,
        }
    }
}

impl RowReader for ListReader {
    fn next_row(&mut self) -> Result<Option<Row>, RowError> {
        if self.is_first {
            self.is_first = false;
            self.skip(&['['])?;
            if self.rest().trim_start().starts_with(']') {
                return Ok(None);
            }
        } else if self.skip(&[',', ']'])? == ']' {
            return Ok(None);
        }
        let start = self.rest().trim_start();
        self.advance(self.rest().len() - start.len());
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter();
        let row: Option<Result<Map<String, Value>, _>> = values.next();
        let length = values.byte_offset();
        let fields = match row {
            Some(Ok(fields)) => fields,
            Some(Err(error)) => return Err(self.malformed(error.to_string()).into()),
            None => return Err(self.malformed("the list has no end".into()).into()),
        };
        let line = self.cursor.1;
        self.advance(length);
        Ok(Some(Row {
            line,
            number: 0,
            fields,
            names: self.names.clone(),
        }))
    }
}

/// A file that holds one JSON object, such as a passage of RACE.
pub(super) struct ObjectReader {
    row: Option<Row>,
}

impl ObjectReader {
    pub(super) fn open(path: &Path, names: Arc<ColumnNames>) -> Result<Self, TaskError> {
        let text = read_document(path)?;
        let fields = serde_json::from_str(&text).map_err(|error| json_error(path, &error))?;
        let row = Row {
            line: 1,
            number: 0,
            fields,
            names,
        };
        Ok(Self { row: Some(row) })
    }
}

impl RowReader for ObjectReader {
    fn next_row(&mut self) -> Result<Option<Row>, RowError> {
        Ok(self.row.take())
    }
}

/// COPA as first published: an `item` per question.
pub(super) struct CopaReader {
    /// Last first.
    rows: Vec<Row>,
}

impl CopaReader {
    pub(super) fn open(path: &Path, names: Arc<ColumnNames>) -> Result<Self, TaskError> {
        let text = read_document(path)?;
        // The document names a DTD that it does not bring along; it is not needed.
        let options = roxmltree::ParsingOptions {
            allow_dtd: true,
            ..Default::default()
        };
        let document = roxmltree::Document::parse_with_options(&text, options);
        let document = document.map_err(|error| TaskError::Malformed {
            path: path.to_path_buf(),
            line: u64::from(error.pos().row).max(1),
            reason: error.to_string(),
        })?;
        // A table of line ends finds the line of each item without counting from the start.
        let breaks: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        let items = document.descendants().filter(|it| it.has_tag_name("item"));
        let rows = items.map(|item| Row {
            line: breaks.partition_point(|at| *at < item.range().start) as u64 + 1,
            number: 0,
            fields: copa_fields(item),
            names: names.clone(),
        });
        Ok(Self {
            rows: rows.rev().collect(),
        })
    }
}

/// An item with the names that SuperGLUE gives to its parts.
fn copa_fields(item: roxmltree::Node<'_, '_>) -> Map<String, Value> {
    let child = |name: &str| {
        let child = item.children().find(|it| it.has_tag_name(name));
        child.and_then(|it| it.text()).map(Value::from)
    };
    let label = item.attribute("most-plausible-alternative");
    let label = label.map(|it| match it {
        "1" => Value::from("0"),
        "2" => Value::from("1"),
        other => Value::from(format!("most-plausible-alternative {other}")),
    });
    let fields = [
        ("premise", child("p")),
        ("choice1", child("a1")),
        ("choice2", child("a2")),
        ("question", item.attribute("asks-for").map(Value::from)),
        ("idx", item.attribute("id").map(Value::from)),
        ("label", label),
    ];
    let present = fields.into_iter();
    present
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

impl RowReader for CopaReader {
    fn next_row(&mut self) -> Result<Option<Row>, RowError> {
        Ok(self.rows.pop())
    }
}
