//! Answers on standard output, in complete lines whatever happens.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use super::input::Record;

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

    /// Columns of CSV, after `line`.
    fn header(&self) -> Vec<String>;

    /// The lines of CSV.
    fn rows(&self, answer: &Self::Answer) -> Vec<Row>;

    /// Some lines for people.
    fn pretty(&self, record: &Record, answer: &Self::Answer, paint: Paint) -> String;
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
    /// Whether an array or a table has begun.
    begun: bool,
}

impl Output {
    pub(super) fn new(args: &OutputArgs) -> Self {
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
                    serde_json::to_writer(&mut block, &object(record, answer)?)?;
                    block.push(b'\n');
                }
                Format::Json => {
                    block.extend_from_slice(if self.begun { b",\n" } else { b"[\n" });
                    self.begun = true;
                    serde_json::to_writer(&mut block, &object(record, answer)?)?;
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
            let mut header = vec!["line".to_owned()];
            header.extend(shown.header());
            writer.write_record(header)?;
        }
        if let Ok(answer) = answer {
            for row in shown.rows(answer) {
                let line = record.line.to_string();
                writer.write_record(std::iter::once(line).chain(row))?;
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

/// `line`, `id` if there is one, and the fields of the answer, or `error`.
fn object<A: Serialize>(record: &Record, answer: &Result<A, String>) -> Result<Value> {
    let mut object = json!({"line": record.line});
    if let Some(id) = &record.id {
        object["id"] = id.clone();
    }
    let fields = match answer {
        Ok(answer) => serde_json::to_value(answer)?,
        Err(reason) => json!({"error": reason}),
    };
    if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
        object.extend(fields);
    }
    Ok(object)
}

fn print(block: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(block)?;
    out.flush()?;
    Ok(())
}
