//! Predictions of every training example by a model that did not see it, and weights of classes.

use std::fs;
use std::path::Path;
use std::process::Command;

use burn::train::Interrupter;
use serde_json::{Value, json};

use crate::{Lab, Watcher, reviews, run};

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn folds_predict_every_example_and_can_be_resumed() {
    let lab = Lab::new();
    let train = lab.write("train.tsv", &format!("text\tlabel\n{}", reviews(41)));
    let mut job = lab.job("classify", train, "unused".into());
    job.data.dev.clear();
    job.folds = Some(3);
    let job = job.with_setting("train.run.steps=20").unwrap();
    let outcome = lab.run(&job, "run").unwrap();
    assert!(outcome.completed && outcome.model_dir.is_none());
    assert_eq!(outcome.folds.len(), 3);
    let set = &outcome.sets["train"];
    assert_eq!(set.examples, 41);

    let metrics = json(&lab.path("run/metrics.json"));
    let main = outcome.main_metric;
    assert_eq!(
        metrics["sets"]["train"]["mean"][main],
        set.summary.mean[main]
    );
    assert_eq!(metrics["folds"].as_array().unwrap().len(), 3);
    let sizes = [14.0, 14.0, 13.0];
    let parts = outcome.folds.iter().zip(sizes);
    let mean = parts.map(|(scores, size)| scores[main] * size).sum::<f64>() / 41.0;
    assert!((mean - set.summary.mean[main]).abs() < 1e-12);
    for fold in 0..3 {
        let config = lab.path(&format!("run/fold-{fold}/config.json"));
        assert_eq!(json(&config)["run"]["steps"], 20);
    }

    let folder = lab.path("run/predictions");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    files.sort();
    let [lines, table] = files.as_slice() else {
        panic!("{files:?}");
    };
    let lines = fs::read_to_string(lines).unwrap();
    let ids = lines.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        let probabilities = line["probabilities"].as_object().unwrap().values();
        let total: f64 = probabilities.map(|it| it.as_f64().unwrap()).sum();
        assert!((total - 1.0).abs() < 1e-9);
        line["id"].as_str().unwrap().parse().unwrap()
    });
    assert_eq!(ids.collect::<Vec<usize>>(), (0..41).collect::<Vec<_>>());
    assert_eq!(fs::read_to_string(table).unwrap().lines().count(), 42);

    fs::remove_file(lab.path("run/metrics.json")).unwrap();
    let watcher = &mut Watcher::default();
    run(&job, &lab.path("run"), true, Interrupter::new(), watcher).unwrap();
    assert_eq!(json(&lab.path("run/metrics.json")), metrics);
    let other = job.with_setting("folds=4").unwrap();
    let error = run(&other, &lab.path("run"), true, Interrupter::new(), watcher).unwrap_err();
    assert!(
        error.to_string().starts_with("`folds` is not as in"),
        "{error}"
    );
}

#[test]
fn more_folds_than_examples_are_refused() {
    let lab = Lab::new();
    let train = lab.write("train.tsv", &format!("text\tlabel\n{}", reviews(4)));
    let mut job = lab.job("classify", train, "unused".into());
    job.data.dev.clear();
    job.folds = Some(5);
    let error = lab.run(&job, "run").unwrap_err();
    let source = std::error::Error::source(&error).map(ToString::to_string);
    let message = format!("{error} {}", source.unwrap_or_default());
    assert!(
        message.contains("`folds` = 5, expected from 2"),
        "{message}"
    );
}

/// The flags, from the command line to the resolved configuration.
#[test]
fn classes_are_weighed_and_targets_smoothed_as_the_flags_say() {
    let lab = Lab::new();
    let rows = "a good film .\tyes\n".repeat(6) + &"a bad film .\tno\n".repeat(2);
    let file = lab.write("train.tsv", &format!("text\tlabel\n{rows}"));
    let file = file.to_str().unwrap();
    let resolved = |out: &str, flags: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_deberta"))
            .args(["finetune", "--plain", "--task", "classify", "--steps", "2"])
            .args([
                "--max-length",
                "48",
                "--train",
                file,
                "--dev",
                file,
                "--model",
            ])
            .arg(lab.path("model"))
            .arg("--out")
            .arg(lab.path(out))
            .args(flags)
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.success() {
            true => Ok(json(&lab.path(out).join("config.json"))),
            false => Err(message),
        }
    };
    let balanced = resolved(
        "balanced",
        &[
            "--class-weights",
            "balanced",
            "--label-smoothing",
            "0.1",
            "--gradient-checkpointing",
            "--precision",
            "bf16",
        ],
    )
    .unwrap();
    // Labels are in the order of the alphabet: 8 / (2 · 2) and 8 / (2 · 6).
    let loss = json!({"class_weights": [2.0, 2.0 / 3.0], "label_smoothing": 0.1});
    assert_eq!(balanced["loss"], loss);
    assert_eq!(balanced["run"]["gradient_checkpointing"], true);
    assert_eq!(balanced["run"]["precision"], "bf16");
    assert_eq!(
        json(&lab.path("balanced/job.json"))["train"]["balanced_classes"],
        true
    );

    let own = resolved("own", &["--class-weights", "1,0.5"]).unwrap();
    assert_eq!(own["loss"]["class_weights"], json!([1.0, 0.5]));
    let error = resolved("three", &["--class-weights", "1,2,3"]).unwrap_err();
    assert!(error.contains("one weight per label"), "{error}");
    let error = resolved("word", &["--class-weights", "even"]).unwrap_err();
    assert!(error.contains("expected `balanced` or numbers"), "{error}");
    let error = resolved("part", &["--label-smoothing", "1"]).unwrap_err();
    assert!(error.contains("loss.label_smoothing"), "{error}");
}
