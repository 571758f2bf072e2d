//! Answers on standard output, in complete lines whatever happens.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use super::input::Record;
use crate::stdout::stdout;

/// How answers are written.
#[derive(clap::Args)]
pub(crate) struct OutputArgs {
    /// How answers are written; by default pretty on a terminal, else jsonl
    #[arg(long)]
    pub(super) format: Option<Format>,
}

/// How answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One JSON array
    Json,
    /// One JSON object per line of input, bad ones included
    Jsonl,
    /// Comma-separated values with a header, one or several lines per line of input
    Csv,
    /// For people
    Pretty,
}

/// An answer as one of the lines of a table.
pub(super) type Row = Vec<String>;

/// What the answers of a command look like.
pub(super) trait Shown {
    /// The answer to one record; an object in JSON.
    type Answer: Serialize;

    /// Columns of CSV, after `file` if there are several, `line` and `id`.
    fn header(&self) -> Vec<String>;

    /// The lines of CSV.
    fn rows(&self, answer: &Self::Answer) -> Vec<Row>;

    /// Some lines for people.
    fn pretty(&self, record: &Record, answer: &Self::Answer, paint: Paint) -> String;
}

/// Columns of a part of a text.
pub(super) fn span_header() -> Vec<String> {
    ["text", "score", "start", "end"].map(Into::into).into()
}

/// A part of a text, as [`span_header`] has it.
pub(super) fn span(text: &str, score: f64, start: usize, end: usize) -> Row {
    let numbers = [score.to_string(), start.to_string(), end.to_string()];
    [vec![text.to_owned()], numbers.into()].concat()
}

/// Colours, on a terminal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint(bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        match self.0 {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    /// For what matters most.
    pub(super) fn strong(self, text: &str) -> String {
        self.with("1;36", text)
    }

    /// For what matters less.
    pub(super) fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    /// For what is wrong.
    pub(super) fn alarm(self, text: &str) -> String {
        self.with("1;31", text)
    }

    /// A probability, with the colour of how large it is.
    pub(super) fn score(self, score: f64) -> String {
        let text = format!("{score:.4}");
        match score {
            it if it >= 0.5 => self.with("32", &text),
            _ => self.with("33", &text),
        }
    }
}

/// Writes answers block by block: each call leaves complete lines behind.
pub(super) struct Output {
    format: Format,
    paint: Paint,
    /// Whether answers say which file they belong to.
    names_files: bool,
    /// Whether an array or a table has begun.
    pub(super) begun: bool,
}

impl Output {
    pub(super) fn new(args: &OutputArgs, names_files: bool) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let usual = if is_terminal {
            Format::Pretty
        } else {
            Format::Jsonl
        };
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
        Self {
            format: args.format.unwrap_or(usual),
            paint: Paint(is_terminal && !no_colour),
            names_files,
            begun: false,
        }
    }

    /// Writes one answer for each record, or why there is none.
    pub(super) fn write<S: Shown>(
        &mut self,
        shown: &S,
        answers: &[(Record, Result<S::Answer, String>)],
    ) -> Result<()> {
        let mut block = Vec::new();
        for (record, answer) in answers {
            match self.format {
                Format::Jsonl => {
                    serde_json::to_writer(&mut block, &Object::new(record, answer))?;
                    block.push(b'\n');
                }
                Format::Json => {
                    block.extend_from_slice(if self.begun { b",\n" } else { b"[\n" });
                    self.begun = true;
                    serde_json::to_writer(&mut block, &Object::new(record, answer))?;
                }
                Format::Csv => self.table(shown, record, answer, &mut block)?,
                Format::Pretty => {
                    if let Ok(answer) = answer {
                        block.extend(shown.pretty(record, answer, self.paint).into_bytes());
                    }
                }
            }
        }
        print(&block)
    }

    fn table<S: Shown>(
        &mut self,
        shown: &S,
        record: &Record,
        answer: &Result<S::Answer, String>,
        block: &mut Vec<u8>,
    ) -> Result<()> {
        let mut writer = csv::Writer::from_writer(block);
        if !self.begun {
            self.begun = true;
            let file = self.names_files.then(|| "file".to_owned());
            let places = ["line", "id"].map(str::to_owned);
            writer.write_record(file.into_iter().chain(places).chain(shown.header()))?;
        }
        if let Ok(answer) = answer {
            for row in shown.rows(answer) {
                let file = record.file.as_deref().map(str::to_owned);
                let places = [record.line.to_string(), written(record.id.as_ref())];
                writer.write_record(file.into_iter().chain(places).chain(row))?;
            }
        }
        writer.flush()?;
        Ok(())
    }

    /// Ends what has begun; also called when the program is stopped.
    pub(super) fn finish(&mut self) -> Result<()> {
        match (self.format, std::mem::take(&mut self.begun)) {
            (Format::Json, true) => print(b"\n]\n"),
            (Format::Json, false) => print(b"[]\n"),
            _ => Ok(()),
        }
    }
}

/// `file` if there are several, `line`, `id` if there is one, and the fields of the answer, or `error`.
#[derive(Serialize)]
struct Object<'a, A> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Value>,
    #[serde(flatten)]
    outcome: Outcome<'a, A>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome<'a, A> {
    Answer(&'a A),
    Error { error: &'a str },
}

impl<'a, A> Object<'a, A> {
    fn new(record: &'a Record, answer: &'a Result<A, String>) -> Self {
        Self {
            file: record.file.as_deref(),
            line: record.line,
            id: record.id.as_ref(),
            outcome: match answer {
                Ok(answer) => Outcome::Answer(answer),
                Err(error) => Outcome::Error { error },
            },
        }
    }
}

/// An id as a table has it.
fn written(id: Option<&Value>) -> String {
    match id {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn print(block: &[u8]) -> Result<()> {
    let mut out = stdout();
    out.write_all(block)?;
    out.flush()?;
    Ok(())
}
