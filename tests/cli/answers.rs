//! The commands that take texts: where these come from, how answers are written, what happens to bad lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::{run, succeed, text};

/// A checkpoint of `tests/fixtures/pipelines` with its tokenizer.
pub(crate) fn checkpoint(name: &str) -> tempfile::TempDir {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pipelines");
    let dir = tempfile::tempdir().unwrap();
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(fixtures.join(file), dir.path().join(file)).unwrap();
    }
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixtures.join(name).join(file), dir.path().join(file)).unwrap();
    }
    dir
}

fn lines(output: &str) -> Vec<Value> {
    let lines = output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// Each command with its checkpoint, what it needs besides a text, and the key of its answer.
const COMMANDS: [(&str, &str, &[&str], &str); 7] = [
    ("classify", "classify_softmax", &[], "labels"),
    (
        "zero-shot",
        "zero_shot_two_labels",
        &["--labels", "a,b"],
        "labels",
    ),
    (
        "rerank",
        "classify_one_label",
        &["--query", "Who?"],
        "score",
    ),
    ("ner", "ner", &["--ignore", "none"], "entities"),
    ("qa", "qa", &["--question", "Who?"], "answers"),
    ("embed", "embed", &[], "embedding"),
    (
        "classify",
        "classify_softmax",
        &["--long-texts", "max"],
        "labels",
    ),
];

#[test]
fn every_command_answers_arguments_in_every_format() {
    for (command, model, options, key) in COMMANDS {
        let dir = checkpoint(model);
        let arguments = |format: &'static str| {
            let start = [command, "--model", text(dir.path()), "--format", format];
            let texts = ["Ada Lovelace", "in \"Berlin\", 🙂"];
            let all = start.iter().chain(options).chain(&texts).copied();
            succeed(&all.collect::<Vec<_>>())
        };
        let answers = lines(&arguments("jsonl"));
        assert_eq!(answers.len(), 2, "{command}");
        for (number, answer) in answers.iter().enumerate() {
            assert_eq!(answer["line"], number + 1);
            assert!(!answer[key].is_null(), "{command}: {answer}");
        }
        let array: Value = serde_json::from_str(&arguments("json")).unwrap();
        assert_eq!(array, json!(answers), "{command}");

        let table = arguments("csv");
        let mut reader = csv::Reader::from_reader(table.as_bytes());
        assert_eq!(&reader.headers().unwrap()[0], "line");
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert!(rows.iter().any(|row| &row[0] == "2"), "{command}: {table}");

        let shown = arguments("pretty");
        assert!(shown.lines().count() >= 2, "{command}: {shown}");
        // Standard output is no terminal here.
        assert!(!shown.contains('\u{1b}'), "{command}: {shown}");
    }
}

/// The labels of each answer.
fn labels(output: &str) -> Vec<Value> {
    let answers = lines(output).into_iter();
    answers.map(|it| it["labels"].clone()).collect()
}

#[test]
fn texts_come_from_lines_json_and_tables_alike() {
    let dir = checkpoint("classify_softmax");
    let folder = tempfile::tempdir().unwrap();
    let model = text(dir.path());
    let expected = labels(&succeed(&[
        "classify",
        "-m",
        model,
        "Ada Lovelace",
        "in Berlin",
    ]));
    let mut options = vec!["classify", "-m", model, "--chunk", "1"];
    let files = [
        ("a.txt", "Ada Lovelace\r\nin Berlin"),
        ("a.jsonl", "{\"text\": \"Ada Lovelace\"}\n\"in Berlin\"\n"),
        ("a.csv", "id,text\n7,Ada Lovelace\n8,\"in Berlin\"\n"),
        ("a.tsv", "text\tother\nAda Lovelace\tx\nin Berlin\ty\n"),
    ]
    .map(|(name, content)| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    });
    for file in &files {
        let found = succeed(&["classify", "-m", model, "--file", text(file)]);
        assert_eq!(labels(&found), expected, "{}", file.display());
        options.extend(["-f", text(file)]);
    }
    // All of them, one after the other.
    let all = [&expected[..]; 4].concat();
    assert_eq!(labels(&succeed(&options)), all);
}

#[test]
fn columns_have_any_name_and_ids_are_handed_on() {
    let dir = checkpoint("classify_softmax");
    let model = text(dir.path());
    let options = ["classify", "-m", model, "--columns", "review"];
    let read = |format: &str, input: &str| {
        let format = ["--input-format", format];
        let run = run(&[&options[..], &format].concat(), input);
        assert!(run.success, "{}", run.stderr);
        lines(&run.stdout)
    };
    let objects = read(
        "jsonl",
        "{\"review\": \"Ada\", \"id\": 7}\n{\"review\": \"x\"}\n",
    );
    assert_eq!(
        (&objects[0]["id"], &objects[0]["line"]),
        (&json!(7), &json!(1))
    );
    assert!(objects[1]["id"].is_null());
    // Lines of a table count its header.
    let table = read("csv", "id,review\n7,Ada\n8,x\n");
    assert_eq!(
        (&table[0]["id"], &table[0]["line"]),
        (&json!("7"), &json!(2))
    );
    assert_eq!(table[0]["labels"], objects[0]["labels"]);

    let wrong = run(&["classify", "-m", model, "--columns", "a,b", "x"], "");
    let expected = "--columns names 2 columns, expected 1: in place of text";
    assert!(wrong.stderr.contains(expected), "{}", wrong.stderr);
}

#[test]
fn a_bad_line_is_named_and_the_others_are_answered() {
    let dir = checkpoint("classify_softmax");
    let model = text(dir.path());
    let input =
        "{\"text\": \"a\"}\n{\"text\": 3}\nnonsense\n{\"other\": \"a\"}\n{\"text\": \"b\"}\n";
    let options = ["classify", "-m", model, "--input-format", "jsonl"];
    let answered = run(&options, input);
    assert_eq!(answered.code, Some(3), "{}", answered.stderr);
    let answers = lines(&answered.stdout);
    assert_eq!(answers.len(), 5);
    for (number, answer) in answers.iter().enumerate() {
        let is_good = number == 0 || number == 4;
        assert_eq!(answer["labels"].is_array(), is_good, "{answer}");
        assert_eq!(answer["error"].is_string(), !is_good, "{answer}");
    }
    for message in [
        "warning: standard input, line 2: `text` is not a string",
        "warning: standard input, line 3: not valid JSON",
        "warning: standard input, line 4: no field `text`",
        "3 left out",
    ] {
        assert!(answered.stderr.contains(message), "{}", answered.stderr);
    }

    let strict = run(&[&options[..], &["--strict"]].concat(), input);
    assert_eq!(strict.code, Some(1));
    assert!(
        strict
            .stderr
            .contains("error: standard input, line 2: `text` is not a string"),
        "{}",
        strict.stderr
    );
}

#[test]
fn a_line_that_the_pipeline_refuses_does_not_take_its_chunk_with_it() {
    let dir = checkpoint("qa");
    let long = "why ".repeat(60);
    let context = "the quick brown fox ".repeat(9);
    let input = format!("Who?\t{context}\n{long}\t{context}\nno tab\nWho?\t{context}\n");
    let answered = run(&["qa", "-m", text(dir.path())], &input);
    assert_eq!(answered.code, Some(3), "{}", answered.stderr);
    let answers = lines(&answered.stdout);
    assert_eq!(answers[0]["answers"], answers[3]["answers"]);
    assert!(answers[0]["answers"].is_array());
    let expected = "line 3: expected 2 texts with a tab between them, found 1";
    assert!(answered.stderr.contains(expected), "{}", answered.stderr);
    assert!(
        answered.stderr.contains("line 2: cannot cut"),
        "{}",
        answered.stderr
    );
}

#[test]
fn bytes_that_are_no_text_are_a_bad_line() {
    let dir = checkpoint("classify_softmax");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    std::fs::write(&path, b"good\n\xff\xfe\ngood\n").unwrap();
    let answered = run(&["classify", "-m", text(dir.path()), "-f", text(&path)], "");
    assert_eq!((answered.code, lines(&answered.stdout).len()), (Some(3), 3));
    assert!(
        answered.stderr.contains("line 2: not UTF-8 from byte 1"),
        "{}",
        answered.stderr
    );
}

#[test]
fn a_table_without_the_column_is_refused() {
    let dir = checkpoint("classify_softmax");
    let input = "id,review\n1,good\n";
    let options = ["classify", "-m", text(dir.path()), "--input-format", "csv"];
    let answered = run(&options, input);
    assert_eq!(answered.code, Some(1));
    assert!(
        answered
            .stderr
            .contains("no column `text`, found id, review"),
        "{}",
        answered.stderr
    );
}

#[test]
fn the_best_documents_are_printed_sorted() {
    let dir = checkpoint("classify_one_label");
    let documents = "in Berlin\nAda Lovelace\n\n你好世界\n";
    let base = ["rerank", "-m", text(dir.path()), "-q", "Who?"];
    let all = lines(&run(&base, documents).stdout);
    let score = |it: &Value| it["score"].as_f64().unwrap();
    let mut best: Vec<f64> = all.iter().map(score).collect();
    best.sort_by(|a, b| b.total_cmp(a));
    let top = lines(
        &run(
            &[&base[..], &["--top", "2", "--chunk", "1"]].concat(),
            documents,
        )
        .stdout,
    );
    assert_eq!(top.len(), 2);
    for (answer, expected) in top.iter().zip(&best) {
        assert!((score(answer) - expected).abs() < 1e-6);
        assert_eq!(
            score(answer),
            score(&all[answer["line"].as_u64().unwrap() as usize - 1])
        );
    }
}

#[test]
fn a_closed_pipe_ends_the_program_quietly() {
    let dir = checkpoint("classify_softmax");
    let mut child = Command::new(env!("CARGO_BIN_EXE_deberta"))
        .args(["classify", "-m", text(dir.path()), "--chunk", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    writeln!(input, "first").unwrap();
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(lines(&line)[0]["line"], 1);
    drop(output);
    // Whoever wrote this has not seen yet that nobody reads any more.
    let _ = writeln!(input, "second");
    drop(input);
    assert!(child.wait().unwrap().success());
    let mut message = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut message)
        .unwrap();
    assert_eq!(message, "");
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_complete_output_behind() {
    let dir = checkpoint("classify_softmax");
    let mut child = Command::new(env!("CARGO_BIN_EXE_deberta"))
        .args([
            "classify",
            "-m",
            text(dir.path()),
            "--chunk",
            "1",
            "--format",
            "json",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    writeln!(input, "first").unwrap();
    let mut written = String::new();
    // The opening bracket, then the first answer without the end of its line.
    output.read_line(&mut written).unwrap();
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    output.read_to_string(&mut written).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let array: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(array[0]["line"], 1);
    drop(input);
}

#[test]
fn help_has_examples_and_exit_codes() {
    for (command, ..) in COMMANDS {
        let help = succeed(&[command, "--help"]);
        assert!(help.contains("Examples:\n  deberta "), "{help}");
        assert!(help.contains("Exit codes:"), "{help}");
    }
}
