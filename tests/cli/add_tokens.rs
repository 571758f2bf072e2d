//! `deberta add-tokens`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{fail, run, succeed, text};

/// A masked language model with so many rows for the 601 ids of its tokenizer.
fn checkpoint(dir: &Path, rows: &str) -> PathBuf {
    let target = dir.join(format!("rows-{rows}"));
    let spm = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("crates/deberta-data/tests/fixtures/tokenizer/nmt_nfkc.model");
    succeed(&[
        "init",
        text(&target),
        "--size",
        "deberta-v3-xsmall",
        "--layers",
        "1",
        "--head",
        "masked-lm",
        "--vocab",
        rows,
        "--tokenizer",
        text(&spm),
    ]);
    target
}

/// Ids and pieces of a text.
fn tokenize(model: &Path, line: &str) -> (Vec<u64>, Vec<String>) {
    let output = run(&["tokenize", "--bare", "--model", text(model)], line);
    assert!(output.success, "{}", output.stderr);
    let answer: Value = serde_json::from_str(&output.stdout).unwrap();
    let field = |name: &str| answer[name].as_array().unwrap().iter();
    let ids = field("ids").map(|id| id.as_u64().unwrap()).collect();
    let tokens = field("tokens").map(|it| it.as_str().unwrap().to_owned());
    (ids, tokens.collect())
}

#[test]
fn rows_that_are_not_in_use_are_taken_first() {
    let dir = tempfile::tempdir().unwrap();
    let source = checkpoint(dir.path(), "640");
    let target = dir.path().join("out");
    let printed = succeed(&[
        "add-tokens",
        "--model",
        text(&source),
        "--out",
        text(&target),
        "--special",
        "[E1]",
        "[/E1]",
    ]);
    assert_eq!(
        printed,
        "601\t[E1]\n602\t[/E1]\nthe word table keeps its 640 rows\n"
    );
    let weights = |dir: &Path| std::fs::read(dir.join("model.safetensors")).unwrap();
    assert!(weights(&target) == weights(&source));

    let (ids, tokens) = tokenize(&target, "kano [E1]mito[/E1] tora");
    let (plain, _) = tokenize(&source, "kano");
    assert!(ids.starts_with(&plain));
    for (id, token) in [(601, "[E1]"), (602, "[/E1]")] {
        assert_eq!(ids.iter().filter(|it| **it == id).count(), 1, "{ids:?}");
        assert_eq!(tokens[ids.iter().position(|it| *it == id).unwrap()], token);
    }
    assert!(!tokenize(&source, "[E1]").0.contains(&601));
}

#[test]
fn the_word_table_grows_if_there_are_too_few_rows() {
    let dir = tempfile::tempdir().unwrap();
    let source = checkpoint(dir.path(), "602");
    let list = dir.path().join("words.txt");
    std::fs::write(&list, "aspirin\nibuprofen\n").unwrap();
    let target = dir.path().join("out");
    let arguments = |from: &str, to: &str| {
        ["add-tokens", "-m", from, "-o", to, "--file", text(&list)].map(str::to_owned)
    };
    let arguments = arguments(text(&source), text(&target));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let printed = succeed(&[&arguments[..], &["paracetamol"]].concat());
    assert_eq!(
        printed,
        "601\tparacetamol\n602\taspirin\n603\tibuprofen\nthe word table has 604 rows, 2 of them new\n"
    );
    let (ids, _) = tokenize(&target, "kano aspirin ibuprofen");
    assert!(ids.ends_with(&[602, 603]), "{ids:?}");
    let report = succeed(&["inspect", text(&target), "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["weights"]["encoder"]["complete"], true);
    let config = std::fs::read_to_string(target.join("config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["vocab_size"], 604);

    // A second time on top of the first.
    let more = dir.path().join("more");
    let printed = succeed(&["add-tokens", "-m", text(&target), "-o", text(&more), "[E1]"]);
    assert!(printed.starts_with("604\t[E1]\n"), "{printed}");
    assert_eq!(tokenize(&more, "aspirin").0.last(), Some(&602));
}

#[test]
fn tokens_that_cannot_be_added_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let source = checkpoint(dir.path(), "640");
    let target = dir.path().join("out");
    let add = |tokens: &[&str]| {
        let start = ["add-tokens", "-m", text(&source), "-o", text(&target)];
        fail(&[&start[..], tokens].concat())
    };
    let message = add(&["[E1]", "[MASK]"]);
    assert!(
        message.contains("the token `[MASK]` is there already, with the id 600"),
        "{message}"
    );
    let message = add(&["[E1]", "[E1]"]);
    assert!(
        message.contains("the token `[E1]` is there already, with the id 601"),
        "{message}"
    );
    let message = add(&[""]);
    assert!(
        message.contains("cannot add the token ``: its name is empty"),
        "{message}"
    );
    let list = dir.path().join("words.txt");
    std::fs::write(&list, "one\n\ntwo\n").unwrap();
    let message = add(&["--file", text(&list)]);
    assert!(
        message.contains("words.txt, line 2: expected a token"),
        "{message}"
    );
    assert!(!target.exists());

    let start = [
        "add-tokens",
        "-m",
        text(&source),
        "-o",
        text(&source),
        "[E1]",
    ];
    let message = fail(&start);
    assert!(message.contains("is there already; --force"), "{message}");
    let message = fail(&[&start[..], &["--force"]].concat());
    assert!(message.contains("the same folder"), "{message}");
    assert!(tokenize(&source, "kano").0.len() < 3);
}
