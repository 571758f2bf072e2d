//! SuperGLUE's tasks, as JSON Lines; RTE is among those of GLUE.

use super::{Entry, GLUE, NLI_LABELS};
use crate::task::score::Metrics;
use crate::task::submission::Submission;
use crate::task::{TaskKind, build, marked, question};

/// What most of SuperGLUE has in common. Its 32-example subsets stand in for a missing train set.
const SUPERGLUE: Entry = Entry {
    labels: &["false", "true"],
    submission: Submission::Lines,
    build: build::classify_trimmed,
    names: &[("id", &["idx"])],
    train: &[("train", &[&["train.jsonl"], &["train32.jsonl"]])],
    dev: &[("dev", &[&["val.jsonl"], &["dev32.jsonl"]])],
    test: &[("test", &[&["test.jsonl"]])],
    ..GLUE
};

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        name: "boolq",
        folders: &["BoolQ"],
        names: &[
            ("id", &["idx"]),
            ("text", &["passage"]),
            ("pair", &["question"]),
        ],
        ..SUPERGLUE
    },
    Entry {
        name: "cb",
        folders: &["CB"],
        labels: NLI_LABELS,
        metrics: Metrics::AccuracyMacroF1,
        names: &[
            ("id", &["idx"]),
            ("text", &["premise"]),
            ("pair", &["hypothesis"]),
        ],
        ..SUPERGLUE
    },
    Entry {
        name: "copa",
        folders: &["COPA"],
        kind: TaskKind::MultipleChoice,
        labels: &[],
        build: build::choice,
        names: &[
            ("id", &["idx"]),
            ("context", &["premise"]),
            ("asks_for", &["question"]),
        ],
        required: &["context"],
        choice_columns: &["choice1", "choice2"],
        // The original development set is SuperGLUE's train and validation set together.
        train: &[(
            "train",
            &[&["train.jsonl"], &["copa-dev.xml"], &["train32.jsonl"]],
        )],
        test: &[("test", &[&["test.jsonl"], &["copa-test.xml"]])],
        ..SUPERGLUE
    },
    Entry {
        name: "multirc",
        folders: &["MultiRC"],
        labels: &["0", "1"],
        metrics: Metrics::MultiRc,
        submission: Submission::MultiRc,
        build: question::multirc,
        required: &[],
        ..SUPERGLUE
    },
    Entry {
        name: "record",
        folders: &["ReCoRD"],
        kind: TaskKind::EntityCloze,
        labels: &[],
        metrics: Metrics::Record,
        build: question::record,
        required: &[],
        ..SUPERGLUE
    },
    Entry {
        name: "wic",
        folders: &["WiC"],
        build: marked::wic,
        required: &[],
        ..SUPERGLUE
    },
    Entry {
        name: "wsc",
        folders: &["WSC"],
        submission: Submission::CapitalLines,
        build: marked::wsc,
        required: &[],
        ..SUPERGLUE
    },
];
