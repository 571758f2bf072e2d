//! Records from bytes, one at a time, in bounded memory.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::input::{BadLine, Item, Record};

/// Longer lines and CSV records are refused, in bytes.
const MAX_LINE: u64 = 16 << 20;

/// What some editors write at the start of a file; it belongs to no text.
pub(super) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Bytes to read at once.
pub(super) const BUFFER: usize = 64 << 10;

/// Counts the bytes that are read, and stops where a CSV record has no end.
pub(super) struct Counted {
    source: Box<dyn Read>,
    bytes: Rc<Cell<u64>>,
    /// Bytes since the last record; lines have a limit of their own.
    of_record: Rc<Cell<u64>>,
}

impl Counted {
    pub(super) fn new(source: Box<dyn Read>, bytes: Rc<Cell<u64>>) -> Self {
        Self {
            source,
            bytes,
            of_record: Rc::default(),
        }
    }

    /// Begins to count anew.
    pub(super) fn begin_record(&self) {
        self.of_record.set(0);
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.of_record.get() > MAX_LINE {
            let message = "a record of more than 16 MiB; is there a quote that nothing closes?";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let read = self.source.read(buffer)?;
        self.bytes.set(self.bytes.get() + read as u64);
        self.of_record.set(self.of_record.get() + read as u64);
        Ok(read)
    }
}

/// Lines of UTF-8 with their numbers, without their ends.
pub(super) struct Lines {
    reader: BufReader<Counted>,
    number: u64,
}

impl Lines {
    pub(super) fn new(source: Counted) -> Self {
        Self::buffered(BufReader::with_capacity(BUFFER, source))
    }

    /// The lines from here on.
    pub(super) fn buffered(reader: BufReader<Counted>) -> Self {
        Self { reader, number: 0 }
    }

    /// The next line; `None` at the end of the file.
    fn line(&mut self) -> io::Result<Option<Result<String, BadLine>>> {
        self.reader.get_ref().begin_record();
        let mut bytes = Vec::new();
        let mut limited = (&mut self.reader).take(MAX_LINE);
        if limited.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let line = self.number;
        let bad = |reason: &str| {
            let reason = reason.to_owned();
            Ok(Some(Err(BadLine { line, reason })))
        };
        if bytes.len() as u64 == MAX_LINE && bytes.last() != Some(&b'\n') {
            self.skip_line()?;
            return bad("the line is longer than 16 MiB");
        }
        for end in [b'\n', b'\r'] {
            if bytes.last() == Some(&end) {
                bytes.pop();
            }
        }
        if line == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(Ok(text))),
            Err(error) => bad(&format!(
                "not UTF-8 from byte {} of the line on",
                error.utf8_error().valid_up_to() + 1
            )),
        }
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            self.reader.get_ref().begin_record();
            let buffer = self.reader.fill_buf()?;
            let end = buffer.iter().position(|&it| it == b'\n');
            let length = end.map_or(buffer.len(), |at| at + 1);
            if length == 0 {
                return Ok(());
            }
            self.reader.consume(length);
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

impl Iterator for Lines {
    type Item = Result<(u64, Result<String, BadLine>)>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.line() {
            Ok(line) => line.map(|line| Ok((self.number, line))),
            Err(error) => Some(Err(error.into())),
        }
    }
}

/// A plain line of `columns` texts with tabs between them.
pub(super) fn plain(line: u64, text: String, columns: usize) -> Result<Record, BadLine> {
    let texts: Vec<String> = match columns {
        1 => vec![text],
        _ => text.split('\t').map(Into::into).collect(),
    };
    if texts.len() != columns {
        let reason = format!(
            "expected {columns} texts with a tab between them, found {}",
            texts.len()
        );
        return Err(BadLine { line, reason });
    }
    Ok(Record {
        file: None,
        line,
        id: None,
        texts,
    })
}

/// Whether there is anything on a line; what cannot be read counts.
pub(super) fn has_text(line: &Result<(u64, Result<String, BadLine>)>) -> bool {
    !matches!(line, Ok((_, Ok(text))) if text.trim().is_empty())
}

/// A line that is a JSON object with these fields, or a string if there is one field.
pub(super) fn json(line: u64, text: &str, columns: &[String]) -> Result<Record, BadLine> {
    let bad = |reason: String| BadLine { line, reason };
    let value = serde_json::from_str(text);
    let value = value.map_err(|error| bad(format!("not valid JSON: {error}")))?;
    record(line, value, columns)
}

/// The texts of an object with these fields, or a string if there is one field.
pub(super) fn record(line: u64, value: Value, columns: &[String]) -> Result<Record, BadLine> {
    let bad = |reason: String| BadLine { line, reason };
    if let (Value::String(text), [_]) = (&value, columns) {
        return plain(line, text.clone(), 1);
    }
    let Value::Object(mut fields) = value else {
        let expected = format!("an object with {}", columns.join(", "));
        return Err(bad(format!("expected {expected}")));
    };
    let texts = columns.iter().map(|name| match fields.remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(bad(format!("`{name}` is not a string"))),
        None => Err(bad(format!("no field `{name}`"))),
    });
    let texts = texts.collect::<Result<_, _>>()?;
    Ok(Record {
        file: None,
        line,
        id: fields.remove("id"),
        texts,
    })
}

/// Records of separated values, whose first line names the columns.
pub(super) fn csv(
    source: Counted,
    delimiter: u8,
    columns: &[String],
) -> Result<impl Iterator<Item = Item> + use<>> {
    let of_record = source.of_record.clone();
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .quoting(delimiter != b'\t')
        .from_reader(source);
    let header = reader.headers()?.clone();
    let find = |name: &str| header.iter().position(|it| it.trim() == name);
    let places: Vec<Option<usize>> = columns.iter().map(|name| find(name)).collect();
    let missing = columns
        .iter()
        .zip(&places)
        .find(|(_, place)| place.is_none());
    ensure!(
        missing.is_none(),
        "no column `{}`, found {}",
        missing.map_or("", |(name, _)| name),
        header.iter().collect::<Vec<_>>().join(", ")
    );
    let places: Vec<usize> = places.into_iter().flatten().collect();
    let id = find("id");
    let records = reader.into_records().map(move |record| {
        of_record.set(0);
        let record = match record {
            Ok(record) => record,
            Err(error) if error.is_io_error() => return Err(error.into()),
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                let reason = error.to_string();
                return Ok(Err(BadLine { line, reason }));
            }
        };
        let text = |place: &usize| record.get(*place).unwrap_or_default().to_owned();
        Ok(Ok(Record {
            file: None,
            line: record.position().map_or(0, csv::Position::line),
            id: id.map(|it| Value::String(text(&it))),
            texts: places.iter().map(text).collect(),
        }))
    });
    Ok(records)
}
