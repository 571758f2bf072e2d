//! Predictions: what they are worth, and how they are written.

use deberta_data::task::{Prediction, Report, Split, Task};

use crate::{Files, RECORD, read};

/// Scores and writes predictions for a file.
fn judge(
    task: &str,
    split: Split,
    file: &str,
    text: &str,
    predictions: &[Prediction],
) -> (Report, String) {
    let examples = read(task, split, file, text).unwrap();
    let task = Task::named(task).unwrap();
    let mut written = Vec::new();
    task.write_predictions(&mut written, predictions, &examples)
        .unwrap();
    (
        task.score(predictions, &examples).unwrap(),
        String::from_utf8(written).unwrap(),
    )
}

fn answer(text: &str) -> Prediction {
    Prediction::Answer {
        text: text.into(),
        no_answer_prob: 0.0,
    }
}

#[test]
fn scores_and_submissions_are_those_of_the_benchmarks() {
    let dev = Split::Dev;
    let mrpc = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t1\t2\ta\tb\n0\t1\t2\ta\tb\n1\t1\t2\ta\tb\n1\t1\t2\ta\tb\n";
    let labels = [1, 1, 1, 0].map(Prediction::Label);
    let (report, written) = judge("mrpc", dev, "dev.tsv", mrpc, &labels);
    // Two of four are right; precision and recall of label 1 are 2/3.
    assert_eq!(report.value("accuracy"), Some(0.5));
    assert!((report.main().value - (0.5 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
    assert_eq!(
        report.to_string(),
        "accuracy 0.5000, f1 0.6667, accuracy_f1 0.5833"
    );
    assert_eq!(written, "index\tprediction\n0\t1\n1\t1\n2\t1\n3\t0\n");

    let stsb = "g\tf\ty\t1\t1.0\ta\tb\ng\tf\ty\t2\t3.0\ta\tb\ng\tf\ty\t3\t2.0\ta\tb\n";
    let scores = [0.5, 2.5, 1.5].map(Prediction::Score);
    let (report, written) = judge("sts-b", dev, "sts-dev.csv", stsb, &scores);
    assert!((report.main().value - 1.0).abs() < 1e-12);
    assert_eq!(written, "index\tprediction\n0\t0.5\n1\t2.5\n2\t1.5\n");

    let wsc = "{\"text\": \"Ann saw her.\", \"target\": {\"span1_text\": \"Ann\", \"span1_index\": 0, \
               \"span2_text\": \"her\", \"span2_index\": 2}, \"idx\": 5, \"label\": false}\n";
    let (report, written) = judge("wsc", dev, "val.jsonl", wsc, &[Prediction::Label(1)]);
    assert_eq!(report.main().value, 0.0);
    assert_eq!(written, "{\"idx\":5,\"label\":\"True\"}\n");

    let (report, written) = judge("record", dev, "val.jsonl", RECORD, &[answer("the Ånn")]);
    assert_eq!(report.main().value, 100.0);
    assert_eq!(written, "{\"idx\":11,\"label\":\"the Ånn\"}\n");

    let multirc = "{\"idx\": 2, \"passage\": {\"text\": \"p\", \"questions\": [{\"question\": \"q\", \"idx\": 7, \
                   \"answers\": [{\"text\": \"a\", \"idx\": 20, \"label\": 1}, {\"text\": \"b\", \"idx\": 21, \"label\": 0}]}]}}\n";
    let labels = [1, 1].map(Prediction::Label);
    let (report, written) = judge("multirc", dev, "val.jsonl", multirc, &labels);
    assert_eq!(report.value("f1a"), Some(2.0 / 3.0));
    assert_eq!(report.value("exact_match"), Some(0.0));
    assert_eq!(
        written,
        "{\"idx\":2,\"passage\":{\"questions\":[{\"answers\":[{\"idx\":20,\"label\":1},{\"idx\":21,\"label\":1}],\"idx\":7}]}}\n"
    );

    let conll = "EU NNP B-NP B-ORG\nis VBZ B-VP O\n";
    let (report, written) = judge(
        "conll",
        dev,
        "valid.txt",
        conll,
        &[Prediction::Tags(vec![6, 0])],
    );
    assert_eq!(
        (report.value("accuracy"), report.main().value),
        (Some(0.5), 1.0)
    );
    assert_eq!(written, "EU I-ORG\nis O\n\n");
}

/// Squared errors 0, 4, 0 of the references 1, 3, 4; by chance (0 + 4 + 9, 0 + 4 + 9, 9 + 1 + 0) / 3.
#[test]
fn ratings_have_a_quadratic_kappa() {
    let kappa = 1.0 - 4.0 / (36.0 / 3.0);
    let text = "text,label\na,1\nb,3\nc,4\n";
    let score = |task: &str, labels: &[&str], predictions: &[Prediction]| {
        let labels = labels.iter().map(|it| (*it).to_owned()).collect();
        let task = Task::named(task).unwrap().with_labels(labels);
        let files = Files::new(&[("dev.csv", text)]);
        let examples = files.read(&task, Split::Dev).unwrap();
        task.score(predictions, &examples).unwrap()
    };
    let labels = [0, 0, 2].map(Prediction::Label);
    let report = score("classify", &["1", "3", "4"], &labels);
    assert!((report.value("quadratic_kappa").unwrap() - kappa).abs() < 1e-12);
    assert_eq!(report.main().name, "accuracy");
    let numbers = [0.2, 1.4, 4.4].map(Prediction::Score);
    let report = score("regress", &[], &numbers);
    assert!((report.value("quadratic_kappa").unwrap() - kappa).abs() < 1e-12);
    assert_eq!(report.main().name, "pearson");

    let named = "text,label\na,1\nb,x\nc,4\n";
    let files = Files::new(&[("dev.csv", named)]);
    let labels = ["1", "x", "4"].map(str::to_owned);
    let task = Task::named("classify").unwrap().with_labels(labels.into());
    let examples = files.read(&task, Split::Dev).unwrap();
    let labels = [0, 1, 2].map(Prediction::Label);
    let report = task.score(&labels, &examples).unwrap();
    assert_eq!(report.value("quadratic_kappa"), None);
}

#[test]
fn files_of_predictions_are_named_as_benchmarks_want_them() {
    let name = |task: &str, set: &str| Task::named(task).unwrap().submission_file(set);
    assert_eq!(name("mnli", "matched"), "MNLI-m.tsv");
    assert_eq!(name("mnli", "mismatched"), "MNLI-mm.tsv");
    assert_eq!(name("ax", "test"), "AX.tsv");
    assert_eq!(name("sst-2", "test"), "SST-2.tsv");
    assert_eq!(name("record", "test"), "ReCoRD.jsonl");
    assert_eq!(name("squad2", "dev"), "squad2.json");
}

#[test]
fn predictions_of_another_kind_are_refused() {
    let text = "index\tsentence1\tsentence2\tlabel\n4\ta\tb\tentailment\n";
    let examples = read("rte", Split::Dev, "dev.tsv", text).unwrap();
    let task = Task::named("rte").unwrap();
    let error = |prediction| {
        task.score(&[prediction], &examples)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(Prediction::Score(1.0)),
        "example `4`: found a score as prediction, expected a label"
    );
    assert_eq!(
        error(Prediction::Label(2)),
        "example 0: label 2, expected one below 2"
    );
    let error = task.score(&[], &examples).unwrap_err().to_string();
    assert_eq!(error, "0 predictions for 1 examples");
    let unlabelled = "index\tsentence1\tsentence2\n4\ta\tb\n";
    let examples = read("rte", Split::Test, "test.tsv", unlabelled).unwrap();
    assert!(task.score(&[Prediction::Label(1)], &examples).is_err());
    let mut out = Vec::new();
    assert!(
        task.write_predictions(&mut out, &[Prediction::Label(2)], &examples)
            .is_err()
    );
}
