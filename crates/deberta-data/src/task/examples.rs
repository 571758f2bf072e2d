//! Examples of a task as a stream over its files.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use super::build::{Context, label_set};
use super::csv_reader::CsvReader;
use super::documents::{CopaReader, JsonLayout, ListReader, ObjectReader, SquadReader};
use super::error::{BadLines, Problem, ProblemKind, Skipped, TaskError};
use super::example::Example;
use super::files::{FileSet, Split};
use super::lines::{Lines, RowError};
use super::reader::{ConllReader, JsonlReader, RowReader, Table, TsvReader, WithLabels};
use super::row::Row;
use super::{Task, TaskKind};

/// How files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOptions {
    /// What to do with a line that is not an example. Default: fail
    pub bad_lines: BadLines,
    /// Longer lines (rows, sentences of CoNLL columns) are bad, in bytes. Default: 16 MiB
    pub max_line_bytes: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            bad_lines: BadLines::Fail,
            max_line_bytes: 16 << 20,
        }
    }
}

/// All examples of a set of files.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Name of the set.
    pub name: String,
    /// In the order of the files.
    pub examples: Vec<Example>,
    /// Lines that were left out.
    pub skipped: Skipped,
}

impl Task {
    /// Streams the examples of some files. Labels may be missing if `split` is [`Split::Test`].
    ///
    /// The stream ends after the first error.
    pub fn examples<'a>(
        &'a self,
        paths: &[PathBuf],
        split: Split,
        options: &ReadOptions,
    ) -> Examples<'a> {
        Examples {
            rows: Rows::new(self, paths, split != Split::Test, *options),
            pending: VecDeque::new(),
        }
    }

    /// Reads the examples of a set of files into memory.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, a line is bad and not to be skipped, or there is no example.
    pub fn load(
        &self,
        set: &FileSet,
        split: Split,
        options: &ReadOptions,
    ) -> Result<Dataset, TaskError> {
        let mut stream = self.examples(&set.paths, split, options);
        let examples = stream.by_ref().collect::<Result<Vec<Example>, _>>()?;
        if examples.is_empty() {
            let path = set.paths.first().cloned().unwrap_or_default();
            return Err(TaskError::NoExamples { path });
        }
        Ok(Dataset {
            name: set.name.clone(),
            examples,
            skipped: stream.skipped().clone(),
        })
    }

    /// Opens a file in the format that its name and the task say.
    fn open(
        &self,
        path: &Path,
        needs_label: bool,
        limit: usize,
    ) -> Result<Box<dyn RowReader>, RowError> {
        let extension = path.extension().and_then(|it| it.to_str());
        let extension = extension.unwrap_or_default().to_lowercase();
        let names = self.names.clone();
        let has_words = self.kind == TaskKind::TokenClassification;
        Ok(match extension.as_str() {
            "jsonl" | "ndjson" => {
                let rows = Box::new(JsonlReader::open(path, names, limit)?);
                match self.format.labels_apart {
                    true => with_labels(path, rows, needs_label, limit)?,
                    false => rows,
                }
            }
            "xml" => Box::new(CopaReader::open(path, names)?),
            "json" | "txt" if self.format.is_object => Box::new(ObjectReader::open(path, names)?),
            "json" => {
                let asks_questions = self.kind == TaskKind::QuestionAnswering;
                match JsonLayout::of(path, asks_questions, limit)? {
                    JsonLayout::Squad => Box::new(SquadReader::open(path, names)?),
                    JsonLayout::List => Box::new(ListReader::open(path, names)?),
                    JsonLayout::Lines => Box::new(JsonlReader::open(path, names, limit)?),
                }
            }
            extension if has_words && extension != "csv" => {
                Box::new(ConllReader::open(path, limit)?)
            }
            extension => {
                let is_csv = extension == "csv";
                let usual = if is_csv { ',' } else { '\t' };
                let delimiter = self.format.delimiter.unwrap_or(usual);
                let table = self.table(needs_label);
                match (
                    self.format.quoting.unwrap_or(is_csv),
                    u8::try_from(delimiter),
                ) {
                    (true, Ok(byte)) => Box::new(CsvReader::open(path, &table, byte, limit)?),
                    _ => Box::new(TsvReader::open(path, &table, delimiter, limit)?),
                }
            }
        })
    }

    fn table(&self, needs_label: bool) -> Table {
        let label = match self.kind {
            TaskKind::QuestionAnswering => "answers",
            TaskKind::TokenClassification => "tags",
            _ => "label",
        };
        let label = needs_label.then_some(label);
        let fields = self.required.iter().copied().chain(label);
        let fields = fields.map(|field| match self.names.of(field) {
            names if names.is_empty() => vec![field.to_owned()],
            names => names.into_iter().map(str::to_owned).collect(),
        });
        let choices = self.choice_columns.iter().map(|name| vec![name.clone()]);
        Table {
            names: self.names.clone(),
            required: fields.chain(choices).collect(),
            headerless: self.headerless,
        }
    }
}

/// PIQA has the labels of `valid.jsonl` in `valid-labels.lst`.
fn with_labels(
    path: &Path,
    rows: Box<dyn RowReader>,
    needs_label: bool,
    limit: usize,
) -> Result<Box<dyn RowReader>, TaskError> {
    let stem = path.file_stem().and_then(|it| it.to_str());
    let beside = path.with_file_name(format!("{}-labels.lst", stem.unwrap_or_default()));
    if !needs_label && !beside.is_file() {
        return Ok(rows);
    }
    Ok(Box::new(WithLabels {
        rows,
        labels: Lines::open(&beside, limit)?,
        path: path.to_path_buf(),
    }))
}

/// Rows of several files, with what was skipped on the way.
struct Rows<'a> {
    task: &'a Task,
    paths: VecDeque<PathBuf>,
    current: Option<(PathBuf, Box<dyn RowReader>)>,
    needs_label: bool,
    options: ReadOptions,
    skipped: Skipped,
    number: u64,
}

impl<'a> Rows<'a> {
    fn new(task: &'a Task, paths: &[PathBuf], needs_label: bool, options: ReadOptions) -> Self {
        Self {
            task,
            paths: paths.iter().cloned().collect(),
            current: None,
            needs_label,
            options,
            skipped: Skipped::default(),
            number: 0,
        }
    }

    /// The next good row.
    fn next_row(&mut self) -> Result<Option<Row>, TaskError> {
        loop {
            let Some((path, reader)) = &mut self.current else {
                let Some(path) = self.paths.pop_front() else {
                    return Ok(None);
                };
                let limit = self.options.max_line_bytes;
                let opened = self.task.open(&path, self.needs_label, limit);
                let reader = opened.map_err(|error| match error {
                    RowError::Fatal(error) => error,
                    RowError::Bad { line, problem } => bad_line(&path, line, problem),
                })?;
                self.current = Some((path, reader));
                continue;
            };
            match reader.next_row() {
                Ok(Some(mut row)) => {
                    row.number = self.number;
                    self.number += 1;
                    return Ok(Some(row));
                }
                Ok(None) => self.current = None,
                Err(RowError::Fatal(error)) => return Err(error),
                Err(RowError::Bad { line, problem }) => {
                    let error = bad_line(path, line, problem);
                    self.number += 1;
                    self.skip(error)?;
                }
            }
        }
    }

    /// Counts a bad line, or hands its error back.
    fn skip(&mut self, error: TaskError) -> Result<(), TaskError> {
        let is_broken = matches!(
            &error,
            TaskError::BadLine { problem, .. } if problem.kind == ProblemKind::Columns
        );
        let skips = self.options.bad_lines == BadLines::Skip;
        if skips || (is_broken && self.task.is_tolerant) {
            self.skipped.add(&error);
            return Ok(());
        }
        Err(error)
    }

    fn path(&self) -> &Path {
        match &self.current {
            Some((path, _)) => path,
            None => Path::new(""),
        }
    }

    /// Reads nothing more.
    fn end(&mut self) {
        self.paths.clear();
        self.current = None;
    }
}

fn bad_line(path: &Path, line: u64, problem: Problem) -> TaskError {
    TaskError::BadLine {
        path: path.to_path_buf(),
        line,
        problem,
    }
}

/// The stream that [`Task::examples`] returns.
pub struct Examples<'a> {
    rows: Rows<'a>,
    pending: VecDeque<Example>,
}

impl Examples<'_> {
    /// Lines that were left out so far.
    pub fn skipped(&self) -> &Skipped {
        &self.rows.skipped
    }

    fn next_example(&mut self) -> Result<Option<Example>, TaskError> {
        while self.pending.is_empty() {
            let Some(row) = self.rows.next_row()? else {
                return Ok(None);
            };
            let task = self.rows.task;
            let context = Context {
                task,
                needs_label: self.rows.needs_label,
            };
            match (task.build)(&context, &row) {
                Ok(examples) => self.pending.extend(examples),
                Err(problem) => {
                    let error = bad_line(self.rows.path(), row.line, problem);
                    self.rows.skip(error)?;
                }
            }
        }
        Ok(self.pending.pop_front())
    }
}

impl std::fmt::Debug for Examples<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Examples")
            .field("task", &self.rows.task.name)
            .field("skipped", &self.rows.skipped)
            .finish_non_exhaustive()
    }
}

impl Iterator for Examples<'_> {
    type Item = Result<Example, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_example();
        if next.is_err() {
            self.rows.end();
        }
        next.transpose()
    }
}

/// More labels than this are a sign of a wrong column.
const MAX_LABELS: usize = 10_000;

/// The labels that occur in some files, in order.
pub(super) fn collect_labels(
    task: &Task,
    paths: &[PathBuf],
    options: &ReadOptions,
) -> Result<Vec<String>, TaskError> {
    let mut rows = Rows::new(task, paths, true, *options);
    let mut found = BTreeSet::new();
    while let Some(row) = rows.next_row()? {
        let labels = match task.kind {
            TaskKind::TokenClassification => row.words("tags"),
            TaskKind::MultiLabel => label_set(&row, &task.label_separator),
            _ => row.label("label").map(|label| label.map(|it| vec![it])),
        };
        match labels {
            Ok(labels) => found.extend(labels.into_iter().flatten()),
            Err(problem) => {
                let error = bad_line(rows.path(), row.line, problem);
                rows.skip(error)?;
            }
        }
        if found.len() > MAX_LABELS {
            return Err(TaskError::Spec {
                task: task.name.clone(),
                field: "labels",
                found: format!("a column with more than {MAX_LABELS} values"),
                expected: "a column of labels".to_owned(),
            });
        }
    }
    let mut labels: Vec<String> = found.into_iter().collect();
    let number = |label: &String| label.parse::<i64>().ok();
    if labels.iter().all(|label| number(label).is_some()) {
        labels.sort_by_key(number);
    }
    // Stable: all but `O` keep their order.
    labels.sort_by_key(|label| label != "O");
    Ok(labels)
}
