//! What becomes of bad lines, and what is left behind when a command ends early.

use std::io::{BufRead, BufReader, Read, Write};
#[cfg(unix)]
use std::process::{Child, ChildStdin, ChildStdout};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::answers::{checkpoint, lines};
use crate::{run, text};

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
fn empty_lines_between_json_are_left_out() {
    let dir = checkpoint("classify_softmax");
    let input = "{\"text\": \"a\"}\n\n \n\"b\"\n\n";
    let options = [
        "classify",
        "-m",
        text(dir.path()),
        "--input-format",
        "jsonl",
    ];
    let answered = run(&options, input);
    assert_eq!(answered.code, Some(0), "{}", answered.stderr);
    let answers = lines(&answered.stdout);
    let numbers: Vec<&Value> = answers.iter().map(|it| &it["line"]).collect();
    assert_eq!(numbers, [1, 4]);
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
fn what_was_answered_before_the_end_is_kept() {
    let dir = checkpoint("classify_softmax");
    let base = ["classify", "-m", text(dir.path()), "--format", "json"];
    let strict = [&base[..], &["--strict", "--input-format", "jsonl"]].concat();
    let stopped = run(&strict, "\"a\"\n\"b\"\nnonsense\n\"c\"\n");
    assert_eq!(stopped.code, Some(1));
    assert!(stopped.stderr.contains("line 3"), "{}", stopped.stderr);
    let array: Value = serde_json::from_str(&stopped.stdout).unwrap();
    let answered: Vec<&Value> = array
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["line"])
        .collect();
    assert_eq!(answered, [1, 2]);

    // The header of the second file is wrong, which comes to light after the first one.
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("a.txt"), folder.path().join("b.csv"));
    std::fs::write(&good, "a\nb\n").unwrap();
    std::fs::write(&bad, "other\nc\n").unwrap();
    let stopped = run(
        &[&base[..], &["-f", text(&good), "-f", text(&bad)]].concat(),
        "",
    );
    assert_eq!(stopped.code, Some(1));
    let array: Value = serde_json::from_str(&stopped.stdout).unwrap();
    assert_eq!(array.as_array().unwrap().len(), 2);

    // A file that is not there is known before any work.
    let missing = folder.path().join("c.txt");
    let stopped = run(
        &[&base[..], &["-f", text(&good), "-f", text(&missing)]].concat(),
        "",
    );
    assert_eq!((stopped.code, stopped.stdout.as_str()), (Some(1), ""));
    assert!(stopped.stderr.contains("c.txt"), "{}", stopped.stderr);
}

#[test]
fn a_text_without_a_mask_is_a_bad_line() {
    let dir = checkpoint("masked");
    let answered = run(&["fill-mask", "-m", text(dir.path())], "Ada [MASK]\nAda\n");
    assert_eq!(answered.code, Some(3));
    let expected = "warning: standard input, line 2: there is no [MASK] to fill";
    assert!(answered.stderr.contains(expected), "{}", answered.stderr);
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

#[test]
fn what_was_trained_is_kept_if_nobody_reads_the_summary() {
    let model = checkpoint("classify_softmax");
    let dir = tempfile::tempdir().unwrap();
    let examples = dir.path().join("reviews.tsv");
    let labels = ["negative", "neutral", "positive"];
    let reviews: String = (0..12)
        .map(|at| format!("review {at}\t{}\n", labels[at % 3]))
        .collect();
    std::fs::write(&examples, format!("text\tlabel\n{reviews}")).unwrap();
    let out = dir.path().join("run");
    let mut child = Command::new(env!("CARGO_BIN_EXE_deberta"))
        .args(["finetune", "--task", "classify", "--train-part", "0.5"])
        .args(["--train", text(&examples), "--model", text(model.path())])
        .args(["--steps", "1", "--plain", "--out", text(&out)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    let messages = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{messages}");
    assert!(!messages.contains("panicked"), "{messages}");
    assert!(out.join("model/model.safetensors").is_file(), "{messages}");
}

/// The program after its first answer, with its pipes and what it has written.
#[cfg(unix)]
struct Answering {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    written: String,
}

#[cfg(unix)]
impl Answering {
    fn start(command: &mut Command, model: &str, format: &str) -> Self {
        let mut child = command
            .args(["classify", "-m", model, "--chunk", "1", "--format", format])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        writeln!(input, "first").unwrap();
        let mut written = String::new();
        output.read_line(&mut written).unwrap();
        Self {
            child,
            input: Some(input),
            output,
            written,
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Exit status and everything that was written.
    fn finish(mut self) -> (Option<i32>, String) {
        self.output.read_to_string(&mut self.written).unwrap();
        (self.child.wait().unwrap().code(), self.written)
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_complete_output_behind() {
    let dir = checkpoint("classify_softmax");
    let mut program = Command::new(env!("CARGO_BIN_EXE_deberta"));
    // The line that was read is the opening bracket; the first answer has no end of its line yet.
    let answering = Answering::start(&mut program, text(dir.path()), "json");
    answering.signal("-INT");
    let (code, written) = answering.finish();
    assert_eq!(code, Some(130));
    let array: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(array[0]["line"], 1);
}

#[cfg(unix)]
#[test]
fn nohup_outlives_its_terminal() {
    let dir = checkpoint("classify_softmax");
    let mut program = Command::new("nohup");
    program.arg(env!("CARGO_BIN_EXE_deberta"));
    let mut answering = Answering::start(&mut program, text(dir.path()), "jsonl");
    answering.signal("-HUP");
    let mut input = answering.input.take().unwrap();
    writeln!(input, "second").unwrap();
    drop(input);
    let (code, written) = answering.finish();
    assert_eq!(code, Some(0));
    assert_eq!(lines(&written).len(), 2);
}

/// Runs the program with a standard output that nobody reads.
fn unread(arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_deberta"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), message)
}

#[test]
fn nobody_has_to_read_to_the_end() {
    let dir = checkpoint("classify_softmax");
    let model = text(dir.path());
    for arguments in [
        &["inspect", model, "--tensors"][..],
        &["inspect", model, "--json"],
        &["completions", "bash"],
        &["tokenize", "--model", model],
        &["classify", "--model", model],
    ] {
        let ended = unread(arguments, "Ada\n");
        assert_eq!(ended, (Some(0), String::new()), "{arguments:?}");
    }
}
