//! Questions, multiple choice, and words with tags.

use super::{Entry, GLUE};
use crate::task::reader::Headerless;
use crate::task::score::Metrics;
use crate::task::submission::Submission;
use crate::task::{Format, TaskKind, build, question};

/// Questions as in SQuAD 2.0.
const SQUAD2: Entry = Entry {
    name: "squad2",
    kind: TaskKind::QuestionAnswering,
    labels: &[],
    metrics: Metrics::SquadV2,
    submission: Submission::Answers,
    build: question::question,
    names: &[],
    required: &["question", "context"],
    train: &[("train", &[&["train-v2.0.json"]])],
    dev: &[("dev", &[&["dev-v2.0.json"]])],
    test: &[("test", &[&["test-v2.0.json"]])],
    allows_no_answer: true,
    ..GLUE
};

/// What the tasks in CoNLL columns have in common.
const CONLL: Entry = Entry {
    kind: TaskKind::TokenClassification,
    labels: &[],
    metrics: Metrics::Entities,
    submission: Submission::Tags,
    build: build::tokens,
    names: &[("tokens", &["tokens"]), ("tags", &["tags"])],
    required: &["tokens"],
    train: &[(
        "train",
        &[
            &["train.txt"],
            &["train.conll"],
            &["eng.train"],
            &["train.tsv"],
        ],
    )],
    dev: &[(
        "dev",
        &[
            &["valid.txt"],
            &["dev.txt"],
            &["dev.conll"],
            &["eng.testa"],
            &["dev.tsv"],
        ],
    )],
    test: &[(
        "test",
        &[
            &["test.txt"],
            &["test.conll"],
            &["eng.testb"],
            &["test.tsv"],
        ],
    )],
    ..GLUE
};

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        name: "squad",
        aliases: &["squad1"],
        train: &[("train", &[&["train-v1.1.json"]])],
        dev: &[("dev", &[&["dev-v1.1.json"], &["dev_orig.json"]])],
        test: &[("test", &[&["test-v1.1.json"]])],
        metrics: Metrics::SquadV1,
        allows_no_answer: false,
        ..SQUAD2
    },
    SQUAD2,
    Entry {
        name: "race",
        folders: &["RACE"],
        kind: TaskKind::MultipleChoice,
        labels: &[],
        build: question::race,
        required: &[],
        names: &[("id", &["id", "example_id"])],
        format: Format {
            is_object: true,
            ..GLUE.format
        },
        // As first published, a file per passage, or as the released code wants it.
        train: &[(
            "train",
            &[
                &["train/middle", "train/high"],
                &["train_middle.jsonl", "train_high.jsonl"],
            ],
        )],
        dev: &[(
            "dev",
            &[
                &["dev/middle", "dev/high"],
                &["dev_middle.jsonl", "dev_high.jsonl"],
            ],
        )],
        test: &[
            ("middle", &[&["test/middle"], &["test_middle.jsonl"]]),
            ("high", &[&["test/high"], &["test_high.jsonl"]]),
        ],
        ..GLUE
    },
    Entry {
        name: "swag",
        folders: &["SWAG"],
        kind: TaskKind::MultipleChoice,
        labels: &[],
        build: build::choice,
        names: &[
            ("context", &["sent1"]),
            ("question", &["sent2"]),
            ("label", &["label"]),
        ],
        required: &["context", "question"],
        choice_columns: &["ending0", "ending1", "ending2", "ending3"],
        train: &[("train", &[&["train.csv"]])],
        dev: &[("dev", &[&["val.csv"]])],
        test: &[("test", &[&["test.csv"]])],
        ..GLUE
    },
    Entry {
        name: "codah",
        folders: &["codah", "CODAH"],
        kind: TaskKind::MultipleChoice,
        labels: &[],
        build: build::choice,
        names: &[("context", &["prompt"]), ("label", &["label"])],
        required: &["context"],
        headerless: Some(Headerless {
            counts: &[7],
            fields: &[
                ("category", 0),
                ("context", 1),
                ("ending0", 2),
                ("ending1", 3),
                ("ending2", 4),
                ("ending3", 5),
                ("label", 6),
            ],
        }),
        choice_columns: &["ending0", "ending1", "ending2", "ending3"],
        train: &[("train", &[&["train.tsv"], &["fold_0/train.tsv"]])],
        dev: &[("dev", &[&["dev.tsv"], &["fold_0/dev.tsv"]])],
        test: &[("test", &[&["test.tsv"], &["fold_0/test.tsv"]])],
        ..GLUE
    },
    Entry {
        name: "piqa",
        folders: &["piqa", "PIQA"],
        kind: TaskKind::MultipleChoice,
        labels: &[],
        build: build::choice,
        names: &[("context", &["goal"])],
        required: &["context"],
        choice_columns: &["sol1", "sol2"],
        format: Format {
            labels_apart: true,
            ..GLUE.format
        },
        train: &[("train", &[&["train.jsonl"]])],
        dev: &[("dev", &[&["valid.jsonl"]])],
        test: &[("test", &[&["tests.jsonl"], &["test.jsonl"]])],
        ..GLUE
    },
    Entry {
        name: "conll",
        aliases: &["conll2003", "conll03"],
        labels: &[
            "O", "B-MISC", "I-MISC", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC",
        ],
        ..CONLL
    },
    Entry {
        name: "wnut17",
        aliases: &["wnut"],
        folders: &["wnut17"],
        labels: &[
            "O",
            "B-corporation",
            "I-corporation",
            "B-creative-work",
            "I-creative-work",
            "B-group",
            "I-group",
            "B-location",
            "I-location",
            "B-person",
            "I-person",
            "B-product",
            "I-product",
        ],
        train: &[("train", &[&["wnut17train.conll"]])],
        dev: &[("dev", &[&["emerging.dev.conll"]])],
        test: &[("test", &[&["emerging.test.annotated"]])],
        ..CONLL
    },
    Entry {
        name: "ner",
        ..CONLL
    },
];
