//! Texts in, answers out: the pipelines against those of the transformers library, and their laws.
//!
//! The checkpoints and answers in `tests/fixtures/pipelines` were made by `scripts/pipelines.py`.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod errors;
mod golden;
mod laws;

use std::path::{Path, PathBuf};

use deberta::backend::DefaultBackend as B;
use serde::Deserialize;
use serde_json::Value;

/// What a pipeline of the transformers library gave for one input.
#[derive(Debug, Deserialize)]
struct Case {
    input: Input,
    /// Labels or texts, perhaps offsets, then the score.
    answers: Vec<Vec<Value>>,
}

/// The fields that commands read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Input {
    text: String,
    text_pair: String,
    query: String,
    document: String,
    question: String,
    context: String,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pipelines")
}

/// A checkpoint with the tokenizer that all of them share.
fn checkpoint(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(fixtures().join(file), dir.path().join(file)).unwrap();
    }
    for file in ["config.json", "model.safetensors"] {
        let source = fixtures().join(name).join(file);
        std::fs::copy(source, dir.path().join(file)).unwrap();
    }
    dir
}

/// The same, with something in `config.json` replaced.
fn checkpoint_with(name: &str, replace: &str, by: &str) -> tempfile::TempDir {
    let dir = checkpoint(name);
    let path = dir.path().join("config.json");
    let config = std::fs::read_to_string(&path).unwrap();
    assert!(config.contains(replace), "{config}");
    std::fs::write(path, config.replace(replace, by)).unwrap();
    dir
}

fn cases(name: &str) -> Vec<Case> {
    let path = fixtures().join(format!("{name}.json"));
    let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(cases.len() >= 3, "{name}: only {} cases", cases.len());
    cases
}
