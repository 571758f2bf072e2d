//! GLUE's tasks, as TSV files with or without headers.

use super::{Entry, GLUE, NLI_LABELS, RTE_LABELS};
use crate::task::reader::Headerless;
use crate::task::score::Metrics;
use crate::task::submission::Submission;
use crate::task::{Format, TaskKind, build};

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        name: "cola",
        folders: &["CoLA"],
        metrics: Metrics::Matthews,
        names: &[
            ("id", &["index"]),
            ("text", &["sentence"]),
            ("label", &["label"]),
        ],
        required: &["text"],
        headerless: Some(Headerless {
            counts: &[4],
            fields: &[("label", 1), ("text", 3)],
        }),
        ..GLUE
    },
    Entry {
        name: "sst-2",
        aliases: &["sst2"],
        folders: &["SST-2"],
        names: &[
            ("id", &["index"]),
            ("text", &["sentence"]),
            ("label", &["label"]),
        ],
        required: &["text"],
        train: &[(
            "train",
            &[&["train.tsv"], &["train_part1.tsv", "train_part2.tsv"]],
        )],
        ..GLUE
    },
    Entry {
        name: "mrpc",
        folders: &["MRPC"],
        metrics: Metrics::AccuracyF1,
        names: &[
            ("id", &["index"]),
            ("text", &["#1 String"]),
            ("pair", &["#2 String"]),
            ("label", &["Quality"]),
        ],
        train: &[("train", &[&["train.tsv"], &["msr_paraphrase_train.txt"]])],
        test: &[("test", &[&["test.tsv"], &["msr_paraphrase_test.txt"]])],
        ..GLUE
    },
    Entry {
        name: "sts-b",
        aliases: &["stsb"],
        folders: &["STS-B"],
        kind: TaskKind::Regression,
        labels: &[],
        metrics: Metrics::Correlations,
        build: build::regress,
        names: &[
            ("id", &["index"]),
            ("text", &["sentence1"]),
            ("pair", &["sentence2"]),
            ("label", &["score"]),
        ],
        headerless: Some(Headerless {
            // The last two columns name sources of some pairs.
            counts: &[7, 8, 9],
            fields: &[("label", 4), ("text", 5), ("pair", 6)],
        }),
        format: Format {
            quoting: Some(false),
            delimiter: Some('\t'),
            ..GLUE.format
        },
        train: &[("train", &[&["train.tsv"], &["sts-train.csv"]])],
        dev: &[("dev", &[&["dev.tsv"], &["sts-dev.csv"]])],
        test: &[("test", &[&["test.tsv"], &["sts-test.csv"]])],
        score_range: (0.0, 5.0),
        ..GLUE
    },
    Entry {
        name: "qqp",
        folders: &["QQP"],
        metrics: Metrics::AccuracyF1,
        names: &[
            ("id", &["id"]),
            ("text", &["question1"]),
            ("pair", &["question2"]),
            ("label", &["is_duplicate"]),
        ],
        is_tolerant: true,
        ..GLUE
    },
    Entry {
        name: "mnli",
        folders: &["MNLI"],
        labels: NLI_LABELS,
        names: &[
            ("id", &["index"]),
            ("text", &["sentence1", "premise"]),
            ("pair", &["sentence2", "hypothesis"]),
            ("label", &["gold_label"]),
        ],
        dev: &[
            (
                "matched",
                &[&["dev_matched.tsv"], &["dev_matched.hans.tsv"]],
            ),
            ("mismatched", &[&["dev_mismatched.tsv"]]),
        ],
        test: &[
            ("matched", &[&["test_matched.tsv"]]),
            ("mismatched", &[&["test_mismatched.tsv"]]),
        ],
        ..GLUE
    },
    Entry {
        name: "qnli",
        folders: &["QNLI"],
        labels: RTE_LABELS,
        names: &[
            ("id", &["index"]),
            ("text", &["sentence"]),
            ("pair", &["question"]),
            ("label", &["label"]),
        ],
        ..GLUE
    },
    Entry {
        name: "rte",
        folders: &["RTE"],
        labels: RTE_LABELS,
        submission: Submission::TableOrLines,
        names: &[
            ("id", &["index", "idx"]),
            ("text", &["sentence1", "premise"]),
            ("pair", &["sentence2", "hypothesis"]),
            ("label", &["label"]),
        ],
        train: &[(
            "train",
            &[&["train.tsv"], &["train.jsonl"], &["train32.jsonl"]],
        )],
        dev: &[("dev", &[&["dev.tsv"], &["val.jsonl"], &["dev32.jsonl"]])],
        test: &[("test", &[&["test.tsv"], &["test.jsonl"]])],
        ..GLUE
    },
    Entry {
        name: "wnli",
        folders: &["WNLI"],
        ..GLUE
    },
    Entry {
        name: "ax",
        aliases: &["diagnostic"],
        folders: &["diagnostic", "AX"],
        labels: NLI_LABELS,
        metrics: Metrics::Matthews,
        names: &[
            ("id", &["index"]),
            ("text", &["sentence1", "Premise"]),
            ("pair", &["sentence2", "Hypothesis"]),
            ("label", &["label", "Label"]),
        ],
        train: &[],
        dev: &[("dev", &[&["diagnostic-full.tsv"]])],
        test: &[("test", &[&["diagnostic.tsv"], &["AX.tsv"]])],
        ..GLUE
    },
];
