//! JSON Lines: one object per line, the text in one of its fields.

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::CorpusOptions;
use super::documents::{Row, RowReader};
use super::error::CorpusError;
use super::lines::LineReader;

/// Reads one file row by row.
pub(super) struct JsonlReader {
    path: Arc<Path>,
    lines: LineReader<BufReader<File>>,
    field: String,
    limit: usize,
    /// Ignore the rest of a line that was too long.
    skip_rest: bool,
}

impl JsonlReader {
    pub(super) fn open(path: Arc<Path>, options: &CorpusOptions) -> Result<Self, CorpusError> {
        let file = File::open(&path).map_err(|source| CorpusError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        // One byte more than the limit, so that a row of exactly the limit still arrives whole.
        let lines = LineReader::new(
            BufReader::with_capacity(1 << 16, file),
            options.max_row_bytes + 1,
        );
        Ok(Self {
            path,
            lines,
            field: options.text_field.clone(),
            limit: options.max_row_bytes,
            skip_rest: false,
        })
    }
}

impl RowReader for JsonlReader {
    fn next_row(&mut self) -> Result<Option<Row>, CorpusError> {
        loop {
            let path = || self.path.to_path_buf();
            let segment = self.lines.next_segment();
            let segment = segment.map_err(|source| CorpusError::Io {
                path: path(),
                source,
            })?;
            let Some(segment) = segment else {
                return Ok(None);
            };
            let line = segment.line;
            if self.skip_rest && !segment.starts_line {
                continue;
            }
            self.skip_rest = !segment.ends_line;
            if self.skip_rest {
                return Err(CorpusError::RowTooLong {
                    path: path(),
                    line,
                    limit: self.limit,
                });
            }
            let row =
                std::str::from_utf8(segment.bytes).map_err(|error| CorpusError::InvalidUtf8 {
                    path: path(),
                    line,
                    byte: error.valid_up_to() + 1,
                })?;
            if row.trim().is_empty() {
                continue;
            }
            let text = text_of(row, &self.field).map_err(|reason| CorpusError::MalformedRow {
                path: path(),
                line,
                reason,
            })?;
            return Ok(Some(Row {
                text,
                line,
                starts_document: true,
            }));
        }
    }

    fn bytes_read(&self) -> u64 {
        self.lines.bytes_read()
    }
}

/// The text field of a JSON object, or why there is none.
fn text_of(row: &str, field: &str) -> Result<String, String> {
    let mut parser = serde_json::Deserializer::from_str(row);
    let text = TextField(field).deserialize(&mut parser);
    let text = text
        .and_then(|text| parser.end().map(|()| text))
        .map_err(|error| {
            // The row is one line, so only the column says something.
            error.to_string().replace("at line 1 column", "at column")
        })?;
    text.ok_or_else(|| format!("the field `{field}` is missing"))
}

/// Reads one field of an object and ignores the others without building them.
struct TextField<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for TextField<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TextField<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with a string in the field `{}`", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut text = None;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if key == self.0 {
                text = Some(map.next_value::<String>()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::text_of;

    #[test]
    fn the_text_is_found_among_other_fields() {
        let row = r#"{"id": 7, "meta": {"text": "no"}, "text": "caf\u00e9 \"x\"", "z": [1]}"#;
        assert_eq!(text_of(row, "text").as_deref(), Ok("café \"x\""));
    }

    #[test]
    fn the_reason_says_what_is_wrong() {
        let reason = |row| text_of(row, "text").unwrap_err();
        assert_eq!(reason(r#"{"body": "x"}"#), "the field `text` is missing");
        assert_eq!(
            reason(r#"{"text": 3}"#),
            "invalid type: integer `3`, expected a string at column 10"
        );
        assert_eq!(
            reason("[1]"),
            "invalid type: sequence, expected an object with a string in the field `text` \
             at column 0"
        );
        assert_eq!(
            reason(r#"{"text": "x"} y"#),
            "trailing characters at column 15"
        );
        assert!(reason(r#"{"text": "x"#).starts_with("EOF while parsing a string"));
    }
}
