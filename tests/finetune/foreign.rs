//! Models that were not trained here.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::{Lab, reviews};

/// Labels by name, the texts cut at 64 tokens by the network's positions: what a file asks may be
/// called otherwise, and is longer.
#[test]
fn labels_of_the_file_name_the_outputs_of_the_model() {
    let lab = Lab::new();
    let train = lab.write("train.tsv", &format!("text\tlabel\n{}", reviews(40)));
    let job = lab.job("classify", train.clone(), train);
    lab.run(&job, "run").unwrap();
    let model = lab.path("run/model");
    for file in ["task.json", "tokenizer_config.json"] {
        fs::remove_file(model.join(file)).unwrap();
    }
    let rows = reviews(12).replace("\tno", "\t0").replace("\tyes", "\t1");
    let long = "the film was very good . ".repeat(20);
    let file = lab.write("numbers.tsv", &format!("text\tlabel\n{rows}{long}\t1\n"));
    let evaluate = |flags: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_deberta"))
            .args(["evaluate", "--json", "--task", "classify", "--model"])
            .arg(&model)
            .arg("--file")
            .arg(&file)
            .args(flags)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.success(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (success, answer, notes) = evaluate(&["--labels", "0,1"]);
    assert!(success, "{notes}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["scores"]["accuracy"], 1.0);
    assert!(notes.contains("1 texts were cut to 64 tokens"), "{notes}");
    let (_, _, notes) = evaluate(&["--labels", "0,1", "--max-length", "32"]);
    assert!(notes.contains("1 texts were cut to 32 tokens"), "{notes}");

    let (success, _, error) = evaluate(&[]);
    assert!(
        !success && error.contains("expected one of: no, yes"),
        "{error}"
    );
    let (success, _, error) = evaluate(&["--labels", "0,1,2"]);
    let expected = "the labels of the model are no, yes, expected 0, 1, 2";
    assert!(!success && error.contains(expected), "{error}");
    let (success, _, error) = evaluate(&["--labels", "0,0"]);
    assert!(
        !success && error.contains("expected each label once"),
        "{error}"
    );
}
