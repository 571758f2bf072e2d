//! Files that are not what they should be.

use burn::train::Interrupter;

use crate::{Lab, Watcher, reviews, run};

#[test]
fn faults_are_told_with_file_line_and_expectation() {
    let lab = Lab::new();
    let good = lab.write("good.tsv", &format!("text\tlabel\n{}", reviews(8)));
    let fails = |name: &str, text: &str| {
        let bad = lab.write(name, text);
        let job = lab.job("classify", good.clone(), bad);
        let error = lab.run(&job, "run").unwrap_err().to_string();
        assert!(!lab.path("run/checkpoints").exists(), "trained");
        error
    };
    let error = fails("columns.tsv", "text\tlabel\na film .\tyes\na film .\n");
    assert!(
        error.contains("columns.tsv:3: found 1 columns, expected 2"),
        "{error}"
    );
    let error = fails("label.tsv", "text\tlabel\na film .\tperhaps\n");
    assert!(
        error.contains("label.tsv:2") && error.contains("perhaps") && error.contains("yes"),
        "{error}"
    );
    let error = fails("empty.tsv", "text\tlabel\n\tyes\n");
    assert!(error.contains("empty.tsv:2"), "{error}");

    let job = lab.job("classify", good.clone(), lab.path("nowhere.tsv"));
    let error = lab.run(&job, "run").unwrap_err().to_string();
    assert!(error.contains("nowhere.tsv"), "{error}");
    let published = lab.write("sst-2.tsv", "sentence\tlabel\na film .\t1\n");
    let mut job = lab.job("sst-2", published.clone(), published);
    job.data.dev.clear();
    let error = lab.run(&job, "run").unwrap_err().to_string();
    assert_eq!(
        error,
        "`data.folder` is not set, expected the folder of the task, as no dev files are named"
    );
    let mut job = lab.job("classify", good.clone(), good);
    job.model.path = lab.path("no-model").to_str().unwrap().into();
    assert!(lab.run(&job, "run").is_err());
}

#[test]
fn an_answer_outside_its_context_is_found() {
    let lab = Lab::new();
    let data = r#"{"data": [{"paragraphs": [{"context": "a film .", "qas": [
        {"id": "q", "question": "who ?", "answers": [{"text": "film", "answer_start": 70}]}]}]}]}"#;
    let file = lab.write("dev.json", data);
    let error = lab
        .run(&lab.job("squad", file.clone(), file), "run")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("dev.json") && error.contains("`film` at 70"),
        "{error}"
    );
}

#[test]
fn bad_lines_are_counted_if_they_are_to_be_skipped() {
    let lab = Lab::new();
    let train = format!("text\tlabel\na film .\n{}\tyes\n", reviews(16));
    let train = lab.write("train.tsv", &train);
    let dev = format!("text\tlabel\n{}a film .\tperhaps\n", reviews(8));
    let dev = lab.write("dev.tsv", &dev);
    let mut job = lab
        .job("classify", train, dev)
        .with_setting("train.run.steps=2")
        .unwrap();
    job.task = deberta::finetune::TaskSettings::named("classify");
    let job = job
        .with_setting("task.own.labels=[\"no\", \"yes\"]")
        .unwrap();
    let mut job = job.with_setting("data.skip_bad_lines=true").unwrap();
    job.seeds = vec![3, 5];
    let mut watcher = Watcher::default();
    let outcome = run(
        &job,
        &lab.path("run"),
        false,
        Interrupter::new(),
        &mut watcher,
    )
    .unwrap();
    assert_eq!(outcome.skipped_lines, [2, 1]);
    assert_eq!(outcome.train_examples, 16);
    assert!(
        watcher.notes[0].starts_with("train: 2 lines skipped"),
        "{:?}",
        watcher.notes
    );
    let metrics = std::fs::read_to_string(lab.path("run/metrics.json")).unwrap();
    let metrics: serde_json::Value = serde_json::from_str(&metrics).unwrap();
    assert_eq!(metrics["skipped_lines"], serde_json::json!([2, 1]));
    // Both seeds, their mean and the model of the better one.
    assert_eq!(metrics["sets"]["dev"]["runs"][1]["seed"], 5);
    assert!(metrics["sets"]["dev"]["deviation"]["accuracy"].is_number());
    assert!(lab.path("run/seed-5/model/task.json").exists());
    assert!(lab.path("run/model/model.safetensors").exists());
}
