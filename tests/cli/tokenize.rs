//! `deberta tokenize`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{run, text};

fn tokenizer(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("crates/deberta-data/tests/fixtures/tokenizer")
        .join(name)
}

fn lines(output: &str) -> Vec<Value> {
    let lines = output.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn each_line_becomes_a_line_of_json() {
    let model = tokenizer("nmt_nfkc.model");
    let golden = std::fs::read_to_string(tokenizer("nmt_nfkc.golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&golden).unwrap();
    let cases: Vec<&Value> = golden["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| !case["text"].as_str().unwrap().contains(['\n', '\r', '[']))
        .collect();
    assert!(cases.len() > 100);
    let input: String = cases
        .iter()
        .map(|case| format!("{}\n", case["text"].as_str().unwrap()))
        .collect();
    let output = run(&["tokenize", "--model", text(&model), "--bare"], &input);
    assert!(output.success, "{}", output.stderr);
    let answers = lines(&output.stdout);
    assert_eq!(answers.len(), cases.len());
    for (answer, case) in answers.iter().zip(cases) {
        for field in ["ids", "tokens", "offsets"] {
            assert_eq!(answer[field], case[field], "{}: {field}", case["text"]);
        }
    }
}

#[test]
fn pairs_get_markers_and_types() {
    let model = tokenizer("nmt_nfkc.model");
    let arguments = ["tokenize", "--model", text(&model), "--pair"];
    let output = run(&arguments, "kano mito\ttora\n");
    let answer = &lines(&output.stdout)[0];
    let tokens = json!(["[CLS]", "▁kano", "▁mito", "[SEP]", "▁tora", "[SEP]"]);
    assert_eq!(answer["tokens"], tokens);
    assert_eq!(answer["type_ids"], json!([0, 0, 0, 0, 1, 1]));
    let cut = run(
        &[&arguments[..], &["--max-length", "5"]].concat(),
        "kano mito\ttora\n",
    );
    assert_eq!(lines(&cut.stdout)[0]["ids"].as_array().unwrap().len(), 5);

    let wrong = run(&arguments, "kano\tmito\nno tab\n");
    assert!(!wrong.success);
    assert!(
        wrong.stderr.contains("standard input, line 2"),
        "{}",
        wrong.stderr
    );
    let missing = run(&["tokenize", "--model", "nowhere"], "").stderr;
    assert!(missing.contains("`nowhere` is not a folder"), "{missing}");
}
