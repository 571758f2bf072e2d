//! Plain text files: lines become paragraphs, whether the file is hard-wrapped or not.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use super::documents::{Row, RowReader};
use super::error::CorpusError;
use super::lines::LineReader;
use super::{CorpusOptions, TextUnit};

/// Bytes at the start of a file by which its line wrapping is judged.
const WRAP_SAMPLE_BYTES: u64 = 256 * 1024;
/// A line that leaves this much more room than the next word needs was broken on purpose.
const WRAP_SLACK: usize = 6;

/// Reads one file paragraph by paragraph.
pub(super) struct TextReader {
    path: Arc<Path>,
    lines: LineReader<BufReader<File>>,
    unit: TextUnit,
    limit: usize,
    /// Typical line width, if the file is hard-wrapped.
    wrap_width: Option<usize>,
    paragraph: Paragraph,
    is_first: bool,
    /// Ignore the rest of a line whose start was bad.
    skip_rest: bool,
}

#[derive(Default)]
struct Paragraph {
    text: String,
    line: u64,
    /// Length and indentation of the last line that went in.
    last_len: usize,
    last_indent: usize,
    /// Goes on with what the previous row began.
    continues: bool,
}

impl TextReader {
    pub(super) fn open(path: Arc<Path>, options: &CorpusOptions) -> Result<Self, CorpusError> {
        let io_error = |source| CorpusError::Io {
            path: path.to_path_buf(),
            source,
        };
        let mut file = File::open(&path).map_err(io_error)?;
        let wrap_width = match options.hard_wrapped {
            Some(false) => None,
            forced => {
                let mut sample = Vec::new();
                file.by_ref()
                    .take(WRAP_SAMPLE_BYTES)
                    .read_to_end(&mut sample)
                    .map_err(io_error)?;
                file.seek(SeekFrom::Start(0)).map_err(io_error)?;
                let profile = WrapProfile::of(&sample);
                (forced == Some(true) || profile.is_wrapped()).then_some(profile.width)
            }
        };
        Ok(Self {
            lines: LineReader::new(
                BufReader::with_capacity(1 << 16, file),
                options.max_piece_bytes,
            ),
            path,
            unit: options.text_unit,
            limit: options.max_piece_bytes,
            wrap_width,
            paragraph: Paragraph::default(),
            is_first: true,
            skip_rest: false,
        })
    }

    /// Adds a line to the paragraph; returns the paragraph before it if the line starts another.
    fn push(&mut self, line: &str, number: u64, starts_line: bool) -> Option<Paragraph> {
        let indent = line.len() - line.trim_start().len();
        let text = line.trim();
        if text.is_empty() {
            return starts_line.then(|| std::mem::take(&mut self.paragraph));
        }
        let joins = starts_line && self.joins(text, indent);
        let too_long = self.paragraph.text.len() + text.len() >= self.limit;
        let mut done = None;
        if joins && !too_long {
            let wraps_at_hyphen = ends_in_hyphen(&self.paragraph.text);
            if !wraps_at_hyphen {
                self.paragraph.text.push(' ');
            }
        } else {
            let next = Paragraph {
                line: number,
                continues: joins || !starts_line,
                ..Default::default()
            };
            done = Some(std::mem::replace(&mut self.paragraph, next));
        }
        self.paragraph.text.push_str(text);
        self.paragraph.last_len = text.chars().count() + indent;
        self.paragraph.last_indent = indent;
        done
    }

    /// Whether a line goes on with the paragraph before it.
    fn joins(&self, text: &str, indent: usize) -> bool {
        let Some(width) = self.wrap_width else {
            return false;
        };
        if self.paragraph.text.is_empty() {
            return false;
        }
        let first_word = text
            .split_whitespace()
            .next()
            .map_or(0, |word| word.chars().count());
        let fitted = self.paragraph.last_len + 1 + first_word + WRAP_SLACK <= width;
        let newly_indented = indent >= 2 && indent > self.paragraph.last_indent;
        !fitted && !newly_indented
    }

    fn row(&mut self, paragraph: Paragraph) -> Row {
        let starts_document = match self.unit {
            TextUnit::File => self.is_first,
            TextUnit::Paragraph => !paragraph.continues,
        };
        self.is_first = false;
        Row {
            text: paragraph.text,
            line: paragraph.line,
            starts_document,
        }
    }
}

impl RowReader for TextReader {
    fn next_row(&mut self) -> Result<Option<Row>, CorpusError> {
        loop {
            let io_error = |source| CorpusError::Io {
                path: self.path.to_path_buf(),
                source,
            };
            let Some(segment) = self.lines.next_segment().map_err(io_error)? else {
                let last = std::mem::take(&mut self.paragraph);
                return Ok((!last.text.is_empty()).then(|| self.row(last)));
            };
            let (line, starts_line) = (segment.line, segment.starts_line);
            let skip = self.skip_rest && !starts_line;
            self.skip_rest = skip;
            if skip {
                continue;
            }
            let text = match std::str::from_utf8(segment.bytes) {
                Ok(text) => text.to_owned(),
                Err(error) => {
                    self.skip_rest = true;
                    let (path, byte) = (self.path.to_path_buf(), error.valid_up_to() + 1);
                    return Err(CorpusError::InvalidUtf8 { path, line, byte });
                }
            };
            if let Some(done) = self.push(&text, line, starts_line)
                && !done.text.is_empty()
            {
                return Ok(Some(self.row(done)));
            }
        }
    }

    fn bytes_read(&self) -> u64 {
        self.lines.bytes_read()
    }
}

/// `well-` + `known`, but not a dash that stands alone: `well -` + `known`.
fn ends_in_hyphen(text: &str) -> bool {
    let mut back = text.chars().rev();
    back.next() == Some('-') && back.next().is_some_and(|before| !before.is_whitespace())
}

/// What the lengths and endings of a file's lines say about its wrapping.
struct WrapProfile {
    /// Width that nine lines in ten do not exceed, in characters.
    width: usize,
    /// Width that all but two lines in a hundred keep to.
    widest: usize,
    /// Share of lines that fill most of the width.
    full: f64,
    /// Share of lines that end like a sentence.
    sentence_ends: f64,
}

impl WrapProfile {
    fn of(sample: &[u8]) -> Self {
        let text = String::from_utf8_lossy(sample);
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let mut lengths: Vec<usize> = lines.iter().map(|line| line.chars().count()).collect();
        lengths.sort_unstable();
        let quantile = |percent: usize| {
            lengths
                .get((lengths.len() * percent / 100).min(lengths.len().saturating_sub(1)))
                .copied()
        };
        let width = quantile(90).unwrap_or(0);
        let share = |matching: usize| matching as f64 / lines.len().max(1) as f64;
        Self {
            width,
            widest: quantile(98).unwrap_or(0),
            full: share(lengths.iter().filter(|len| **len * 10 >= width * 7).count()),
            sentence_ends: share(
                lines
                    .iter()
                    .filter(|line| ends_like_a_sentence(line))
                    .count(),
            ),
        }
    }

    fn is_wrapped(&self) -> bool {
        (30..=120).contains(&self.width)
            && self.widest <= 140
            && self.full >= 0.5
            && self.sentence_ends < 0.5
    }
}

fn ends_like_a_sentence(line: &str) -> bool {
    line.trim_end_matches(['"', '\'', '”', '’', ')', '_'])
        .ends_with(['.', '!', '?', ':', ';'])
}
