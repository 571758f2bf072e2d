//! Where texts come from: arguments, files or standard input; plain lines, JSON Lines or CSV.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::Value;

use super::elements::Elements;
use super::reader::{self, BUFFER, BYTE_ORDER_MARK, Counted, Lines};
use crate::names;

/// Where texts come from.
#[derive(clap::Args)]
pub(crate) struct InputArgs {
    /// Texts; without them and without --file, standard input is read
    #[arg(value_name = "TEXT")]
    pub(super) texts: Vec<String>,
    /// File to read, as often as there are files; `-` is standard input
    #[arg(long, short, value_name = "FILE", conflicts_with = "texts")]
    file: Vec<PathBuf>,
    /// How files and standard input are written; by default what the name of the file says, else plain
    #[arg(long, value_name = "FORMAT")]
    input_format: Option<InputFormat>,
    /// Names of the columns, or JSON fields, to read, separated by commas; defaults are in the
    /// description
    #[arg(long, value_delimiter = ',', value_parser = names::name, value_name = "NAMES")]
    columns: Vec<String>,
    /// Lines to answer at once
    #[arg(long, default_value_t = 512, value_name = "LINES", value_parser = clap::value_parser!(u32).range(1..))]
    chunk: u32,
    /// Stop at the first line that cannot be answered
    #[arg(long)]
    pub(super) strict: bool,
}

/// How a file of texts is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum InputFormat {
    /// One text per line; tabs between texts that belong together
    Plain,
    /// One JSON object per line, or a string
    Jsonl,
    /// A JSON array of such objects or strings; else as jsonl
    Json,
    /// Comma-separated values with a header
    Csv,
    /// Tab-separated values with a header; a quotation mark is a character like any other
    Tsv,
}

impl InputArgs {
    /// Whether answers say which file they belong to.
    pub(super) fn names_files(&self) -> bool {
        self.file.len() > 1
    }
}

impl InputFormat {
    fn of_path(path: &Path) -> Self {
        let extension = path.extension().and_then(|it| it.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("jsonl" | "ndjson") => Self::Jsonl,
            Some("json") => Self::Json,
            Some("csv") => Self::Csv,
            Some("tsv") => Self::Tsv,
            _ => Self::Plain,
        }
    }
}

/// One text, or several that belong together.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// The file, if there are several.
    pub(super) file: Option<Arc<str>>,
    /// Number of the line in its file, of the element of a JSON array, or of the argument; from 1.
    pub(super) line: u64,
    /// The field `id`, to hand on.
    pub(super) id: Option<Value>,
    /// The columns that the command asked for.
    pub(super) texts: Vec<String>,
}

impl Record {
    /// A line without texts.
    fn empty(line: u64) -> Self {
        Self {
            file: None,
            line,
            id: None,
            texts: Vec::new(),
        }
    }

    /// The first text.
    pub(super) fn text(&self) -> &str {
        self.texts.first().map_or("", String::as_str)
    }
}

/// The first text of each record.
pub(super) fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(Record::text).collect()
}

/// A line that cannot be read.
#[derive(Debug)]
pub(super) struct BadLine {
    pub(super) line: u64,
    pub(super) reason: String,
}

/// A record or a bad line; an error is the end of the file.
pub(super) type Item = Result<Result<Record, BadLine>>;

/// A record that was read, or could not be.
pub(super) struct Line {
    /// How messages call its file.
    pub(super) source: String,
    pub(super) record: Record,
    /// Why there is nothing in the record.
    pub(super) bad: Option<String>,
}

/// Where records come from at the moment.
struct Source {
    /// How messages call it.
    name: String,
    /// How answers call it.
    file: Option<Arc<str>>,
    items: Box<dyn Iterator<Item = Item>>,
}

/// All the texts of a command, in order.
pub(super) struct Input {
    columns: Vec<String>,
    waiting: VecDeque<(PathBuf, InputFormat)>,
    current: Option<Source>,
    /// Whether answers say which file they belong to.
    names_files: bool,
    /// Bytes read so far.
    pub(super) bytes: Rc<Cell<u64>>,
    /// Bytes that there are; `None` if that cannot be known.
    pub(super) total_bytes: Option<u64>,
    /// Records to answer at once.
    pub(super) chunk: usize,
}

impl Input {
    /// `columns` are the names to read unless the user gives as many others.
    pub(super) fn open(args: &InputArgs, columns: &[&str]) -> Result<Self> {
        let mut columns: Vec<String> = columns.iter().map(|&it| it.into()).collect();
        if !args.columns.is_empty() {
            anyhow::ensure!(
                args.columns.len() == columns.len(),
                "--columns names {} columns, expected {}: in place of {}",
                args.columns.len(),
                columns.len(),
                columns.join(",")
            );
            columns.clone_from(&args.columns);
        }
        let mut files = args.file.clone();
        let mut current = None;
        if !args.texts.is_empty() {
            let texts: Vec<String> = args.texts.clone();
            let names = columns.len();
            let records = (1..)
                .zip(texts)
                .map(move |(line, text)| Ok(reader::plain(line, text, names)));
            current = Some(Source {
                name: "argument".into(),
                file: None,
                items: Box::new(records),
            });
        } else if files.is_empty() {
            files.push("-".into());
        }
        // A name that is wrong is better known before hours of work than after.
        for path in files.iter().filter(|it| it.as_os_str() != "-") {
            std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        }
        let sizes = files.iter().map(|path| {
            let metadata = std::fs::metadata(path)
                .ok()
                .filter(std::fs::Metadata::is_file);
            metadata.map(|it| it.len())
        });
        let interactive =
            files.iter().any(|it| it.as_os_str() == "-") && std::io::stdin().is_terminal();
        Ok(Self {
            total_bytes: sizes.sum(),
            columns,
            waiting: files
                .into_iter()
                .map(|path| {
                    let format = args.input_format.unwrap_or(InputFormat::of_path(&path));
                    (path, format)
                })
                .collect(),
            current,
            names_files: args.names_files(),
            bytes: Rc::default(),
            // Whoever types wants the answer at once.
            chunk: if interactive { 1 } else { args.chunk as usize },
        })
    }

    /// The next record or bad line; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Line>> {
        loop {
            if let Some(Source { name, file, items }) = &mut self.current {
                if let Some(item) = items.next() {
                    let item = item.with_context(|| format!("cannot read {name}"))?;
                    let (mut record, bad) = match item {
                        Ok(record) => (record, None),
                        Err(bad) => (Record::empty(bad.line), Some(bad.reason)),
                    };
                    record.file.clone_from(file);
                    return Ok(Some(Line {
                        source: name.clone(),
                        record,
                        bad,
                    }));
                }
                self.current = None;
            }
            let Some((path, format)) = self.waiting.pop_front() else {
                return Ok(None);
            };
            self.current = Some(self.start(&path, format)?);
        }
    }

    fn start(&self, path: &Path, format: InputFormat) -> Result<Source> {
        let (name, source): (String, Box<dyn Read>) = if path.as_os_str() == "-" {
            ("standard input".into(), Box::new(std::io::stdin()))
        } else {
            let name = path.display().to_string();
            let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
            (name, Box::new(file))
        };
        let source = Counted::new(source, self.bytes.clone());
        let columns = self.columns.clone();
        let items: Box<dyn Iterator<Item = Item>> = match format {
            InputFormat::Plain => Box::new(Lines::new(source).map(move |line| {
                let (number, line) = line?;
                Ok(line.and_then(|line| reader::plain(number, line, columns.len())))
            })),
            InputFormat::Jsonl => json_lines(Lines::new(source), columns),
            InputFormat::Json => {
                let mut source = BufReader::with_capacity(BUFFER, source);
                match is_array(&mut source).with_context(|| format!("cannot read {name}"))? {
                    true => Box::new(Elements::new(source).map(move |element| {
                        let (number, value) = element?;
                        Ok(reader::record(number, value, &columns))
                    })),
                    false => json_lines(Lines::buffered(source), columns),
                }
            }
            InputFormat::Csv => Box::new(reader::csv(source, b',', &columns)?),
            InputFormat::Tsv => Box::new(reader::csv(source, b'\t', &columns)?),
        };
        let file = path.display().to_string();
        Ok(Source {
            name,
            file: self.names_files.then(|| file.into()),
            items,
        })
    }
}

fn json_lines(lines: Lines, columns: Vec<String>) -> Box<dyn Iterator<Item = Item>> {
    Box::new(lines.filter(reader::has_text).map(move |line| {
        let (number, line) = line?;
        Ok(line.and_then(|line| reader::json(number, &line, &columns)))
    }))
}

/// Whether JSON begins with an array; consumes nothing.
fn is_array(source: &mut BufReader<Counted>) -> Result<bool> {
    let begin = source.fill_buf()?;
    let begin = begin.strip_prefix(BYTE_ORDER_MARK).unwrap_or(begin);
    let first = begin.iter().find(|it| !it.is_ascii_whitespace());
    Ok(first == Some(&b'['))
}
