//! The program `deberta`, run as a user runs it.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod add_tokens;
mod answers;
mod attention;
mod browser;
mod checkpoints;
mod endings;
mod forward;
mod tokenize;
mod warnings;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a run of the program gave.
pub(crate) struct Run {
    pub(crate) success: bool,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program with these arguments and `input` on standard input.
pub(crate) fn run(arguments: &[&str], input: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_deberta"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that fails early closes its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Run {
        success: output.status.success(),
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs the program, which must succeed, and returns what it printed.
#[track_caller]
pub(crate) fn succeed(arguments: &[&str]) -> String {
    let run = run(arguments, "");
    assert!(run.success, "{arguments:?}: {}", run.stderr);
    run.stdout
}

/// Runs the program, which must fail without a panic, and returns its message.
#[track_caller]
pub(crate) fn fail(arguments: &[&str]) -> String {
    let run = run(arguments, "");
    assert!(!run.success, "{arguments:?} succeeded: {}", run.stdout);
    assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    run.stderr
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("crates/deberta-model/tests/fixtures")
        .join(name)
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
