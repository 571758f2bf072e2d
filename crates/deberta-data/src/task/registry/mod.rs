//! The published tasks, one entry each.

mod glue;
mod others;
mod superglue;

use std::sync::Arc;

use super::build::{self, Build};
use super::error::TaskError;
use super::files::{NamedSet, Splits};
use super::reader::Headerless;
use super::row::ColumnNames;
use super::score::Metrics;
use super::spec::{self, TaskSpec};
use super::submission::Submission;
use super::{Format, Task, TaskKind};

/// Names of a set, with the files it may consist of.
type Set = (&'static str, &'static [&'static [&'static str]]);

/// A task as data.
struct Entry {
    name: &'static str,
    aliases: &'static [&'static str],
    folders: &'static [&'static str],
    kind: TaskKind,
    labels: &'static [&'static str],
    metrics: Metrics,
    submission: Submission,
    build: Build,
    names: &'static [(&'static str, &'static [&'static str])],
    required: &'static [&'static str],
    headerless: Option<Headerless>,
    choice_columns: &'static [&'static str],
    format: Format,
    train: &'static [Set],
    dev: &'static [Set],
    test: &'static [Set],
    score_range: (f64, f64),
    allows_no_answer: bool,
    is_tolerant: bool,
}

/// What most of GLUE has in common.
const GLUE: Entry = Entry {
    name: "",
    aliases: &[],
    folders: &[],
    kind: TaskKind::Classification,
    labels: &["0", "1"],
    metrics: Metrics::Accuracy,
    submission: Submission::Table,
    build: build::classify,
    names: &[
        ("id", &["index"]),
        ("text", &["sentence1"]),
        ("pair", &["sentence2"]),
        ("label", &["label"]),
    ],
    required: &["text", "pair"],
    headerless: None,
    choice_columns: &[],
    format: Format {
        quoting: None,
        delimiter: None,
        labels_apart: false,
        is_object: false,
    },
    train: &[("train", &[&["train.tsv"]])],
    dev: &[("dev", &[&["dev.tsv"]])],
    test: &[("test", &[&["test.tsv"]])],
    score_range: (f64::NEG_INFINITY, f64::INFINITY),
    allows_no_answer: false,
    is_tolerant: false,
};

const NLI_LABELS: &[&str] = &["contradiction", "neutral", "entailment"];
const RTE_LABELS: &[&str] = &["not_entailment", "entailment"];
fn entries() -> impl Iterator<Item = &'static Entry> {
    [glue::ENTRIES, superglue::ENTRIES, others::ENTRIES]
        .into_iter()
        .flatten()
}

pub(super) fn names() -> Vec<&'static str> {
    let published = entries().map(|entry| entry.name);
    published.chain(spec::own_names()).collect()
}

pub(super) fn find(name: &str) -> Result<Task, TaskError> {
    let is_wanted = |known: &&str| spec::is_same_name(known, name);
    let mut entries = entries();
    let entry =
        entries.find(|entry| is_wanted(&entry.name) || entry.aliases.iter().any(&is_wanted));
    if let Some(entry) = entry {
        return Ok(entry.to_task());
    }
    if let Some(spec) = TaskSpec::named(name) {
        return Task::custom(spec);
    }
    Err(TaskError::Unknown {
        name: name.to_owned(),
        known: names().join(", "),
    })
}

impl Entry {
    fn to_task(&self) -> Task {
        let owned = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect();
        let sets = |sets: &[Set]| {
            let sets = sets.iter().map(|(name, alternatives)| NamedSet {
                name: (*name).to_owned(),
                alternatives: alternatives.iter().map(|files| owned(files)).collect(),
            });
            sets.collect()
        };
        Task {
            name: self.name.to_owned(),
            kind: self.kind,
            labels: owned(self.labels),
            metrics: self.metrics,
            submission: self.submission,
            build: self.build,
            names: Arc::new(ColumnNames::new(self.names)),
            required: self.required.to_vec(),
            headerless: self.headerless,
            choice_columns: owned(self.choice_columns),
            format: self.format,
            splits: Splits {
                folders: owned(self.folders),
                train: sets(self.train),
                dev: sets(self.dev),
                test: sets(self.test),
            },
            label_separator: "|".to_owned(),
            score_range: self.score_range,
            allows_no_answer: self.allows_no_answer,
            is_tolerant: self.is_tolerant,
        }
    }
}
