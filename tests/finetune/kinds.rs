//! Every kind of task, from its files to predictions.

use std::fs;
use std::path::PathBuf;

use deberta::backend::DefaultBackend;
use deberta::data::task::{Prediction, Split};
use deberta::finetune::{Files, FinetuneJob, Form};
use deberta::pipeline::TextClassifier;
use serde_json::Value;

use crate::{Lab, reviews};

/// Trains, and checks that what was saved repeats the metrics; returns the predictions as text and as
/// JSON Lines, and the main metric with that of the majority.
fn round_trip(lab: &Lab, job: &FinetuneJob, dev: PathBuf) -> (String, Vec<Value>, [f64; 2]) {
    let outcome = lab.run(job, "run").unwrap();
    assert!(outcome.completed);
    let set = &outcome.sets["dev"];
    let files = Files {
        paths: vec![dev],
        ..Files::default()
    };
    let predictor = lab.predictor("run").with_batch_size(3);
    let predicted = predictor.predict(&files, Split::Dev, &mut ()).unwrap();
    let [predicted] = predicted.as_slice() else {
        panic!("one set of files gives one set of predictions");
    };
    let scores = predicted.scores().unwrap();
    assert_eq!(scores.len(), set.summary.mean.len());
    for (name, score) in scores {
        let trained = set.summary.mean[&name];
        let same = (score - trained).abs() < 1e-9 || (score.is_nan() && trained.is_nan());
        assert!(same, "{name}: {score} is not {trained}");
    }
    let text = |form| {
        let mut bytes = Vec::new();
        predicted.write(form, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let submission = text(Form::Submission);
    let saved = lab
        .path("run")
        .join("predictions")
        .join(predicted.file_name(Form::Submission));
    assert_eq!(fs::read_to_string(saved).unwrap(), submission);
    let lines = text(Form::JsonLines);
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let main = |scores: &deberta::train::objective::Scores| scores[outcome.main_metric];
    let mains = [main(&set.summary.mean), main(&set.majority)];
    (submission, lines.collect(), mains)
}

#[test]
fn a_table_of_texts_is_classified() {
    let lab = Lab::new();
    let train = lab.write("train.tsv", &format!("text\tlabel\n{}", reviews(40)));
    let dev = lab.write("dev.tsv", &format!("text\tlabel\n{}", reviews(12)));
    let job = lab.job("classify", train, dev.clone());
    let job = job
        .with_setting("task.own.labels=[\"yes\", \"no\"]")
        .unwrap();
    let (submission, lines, [model, majority]) = round_trip(&lab, &job, dev);
    assert!(model > majority && model == 1.0, "{model}");
    assert!(
        submission.starts_with("index\tprediction\n0\tyes\n"),
        "{submission}"
    );
    let total: f64 = ["yes", "no"]
        .iter()
        .map(|it| lines[0]["probabilities"][it].as_f64().unwrap())
        .sum();
    assert!((total - 1.0).abs() < 1e-9);
    assert!(lines[0]["probabilities"]["yes"].as_f64().unwrap() > 0.5);

    // What transformers reads.
    let config = fs::read_to_string(lab.path("run/model/config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(
        config["id2label"],
        serde_json::json!({"0": "yes", "1": "no"})
    );
    assert_eq!(config["label2id"], serde_json::json!({"yes": 0, "no": 1}));
    assert_eq!(config["problem_type"], "single_label_classification");
    assert_eq!(
        config["architectures"][0],
        "DebertaV2ForSequenceClassification"
    );
    let report = fs::read_to_string(lab.path("run/report.md")).unwrap();
    assert!(
        report.contains("| majority |") && report.contains("(confusion.svg)"),
        "{report}"
    );
    let picture = fs::read_to_string(lab.path("run/confusion.svg")).unwrap();
    assert!(picture.contains("yes") && picture.contains("<rect"));

    // Pipelines cut where training did, which the network's 64 positions would not tell.
    let model = lab.path("run/model");
    let classifier = TextClassifier::<DefaultBackend>::open(&model, &Default::default()).unwrap();
    assert_eq!(classifier.max_length(), 48);

    // Labels of the file are not needed, and the text may be alone.
    let unlabelled = lab.write("test.jsonl", "{\"text\": \"a bad film .\"}\n");
    let files = Files {
        paths: vec![unlabelled],
        ..Files::default()
    };
    let test = lab
        .predictor("run")
        .predict(&files, Split::Test, &mut ())
        .unwrap();
    assert_eq!(test[0].predictions().len(), 1);
    assert!(test[0].scores().is_err());
}

#[test]
fn pairs_get_numbers_and_texts_get_sets_of_labels() {
    let lab = Lab::new();
    let rows: String = (0..32)
        .map(|row| match row % 2 {
            0 => "the film was good .,a good film .,1\n",
            _ => "the film was bad .,Anna lives in Rome .,0\n",
        })
        .collect();
    let dev = lab.write("dev.csv", &format!("text,pair,label\n{rows}"));
    let job = lab.job("regress", dev.clone(), dev.clone());
    let job = job.with_setting("task.own.columns.pair=pair").unwrap();
    let (_, lines, [model, majority]) = round_trip(&lab, &job, dev);
    assert!(model > 0.9 && majority.is_nan(), "{model} {majority}");
    assert!(lines[0]["score"].as_f64() > lines[1]["score"].as_f64());

    let lab = Lab::new();
    let rows: String = (0..32)
        .map(|row| match row % 3 {
            0 => "the film was good .\tfilm|praise\n",
            1 => "the book was good .\tpraise\n",
            _ => "the book was bad .\t\n",
        })
        .collect();
    let dev = lab.write("dev.tsv", &format!("text\tlabel\n{rows}"));
    let job = lab.job("multi-label", dev.clone(), dev.clone());
    let job = job.with_setting("train.run.steps=90").unwrap();
    let (submission, lines, [model, _]) = round_trip(&lab, &job, dev);
    assert!(model > 0.9, "{model}");
    assert!(submission.contains("0\tfilm|praise\n"), "{submission}");
    assert_eq!(lines[2]["labels"], serde_json::json!([]));

    let files = Files {
        paths: vec![lab.path("dev.tsv")],
        ..Files::default()
    };
    // Which labels of the first row hold, of `film` and `praise`.
    let holding = |threshold: f64| {
        let predictor = lab.predictor("run").with_threshold(threshold).unwrap();
        let predicted = predictor.predict(&files, Split::Dev, &mut ()).unwrap();
        match &predicted[0].predictions()[0] {
            Prediction::Labels(labels) => labels.clone(),
            other => panic!("{other:?}"),
        }
    };
    let probabilities =
        ["film", "praise"].map(|it| lines[0]["probabilities"][it].as_f64().unwrap());
    let least = probabilities[0].min(probabilities[1]);
    assert_eq!(holding(least - 1e-4), [0, 1]);
    assert_eq!(holding(least + 1e-4).len(), 1);
    assert_eq!((holding(0.0).len(), holding(1.0).len()), (2, 0));
    assert!(lab.predictor("run").with_threshold(1.1).is_err());
}

#[test]
fn the_best_of_several_choices_is_found() {
    let lab = Lab::new();
    let rows: String = (0..32)
        .map(|row| {
            let mut choices = vec!["a bad book", "a poor book", "a bad film"];
            choices[row % 3] = "a good film";
            let line =
                serde_json::json!({"context": "Anna likes", "choices": choices, "label": row % 3});
            format!("{line}\n")
        })
        .collect();
    let dev = lab.write("dev.jsonl", &rows);
    let job = lab.job("choice", dev.clone(), dev.clone());
    let (submission, lines, [model, majority]) = round_trip(&lab, &job, dev);
    assert!(model > 0.9 && majority < 0.5, "{model}");
    assert!(
        submission.starts_with("index\tprediction\n0\t0\n1\t1\n2\t2\n"),
        "{submission}"
    );
    assert_eq!(lines[0]["probabilities"].as_array().unwrap().len(), 3);

    let uneven = lab.write(
        "uneven.jsonl",
        "{\"context\": \"a\", \"choices\": [\"b\", \"c\"], \"label\": 0}\n\
         {\"context\": \"a\", \"choices\": [\"b\", \"c\", \"d\"], \"label\": 0}\n",
    );
    let job = lab.job("choice", uneven.clone(), uneven);
    let error = lab.run(&job, "uneven").unwrap_err().to_string();
    assert_eq!(
        error,
        "example `1`: found 3 choices, expected 2, as the first example has"
    );
}

#[test]
fn words_get_tags_also_in_sentences_longer_than_a_window() {
    let lab = Lab::new();
    let sentence = "Anna B-PER\nlives O\nin O\nRome B-LOC\n. O\n";
    let other = "Ben B-PER\nlikes O\nParis B-LOC\n. O\n";
    // One sentence of fifty words.
    let long = sentence.repeat(10);
    let rows = format!("{sentence}\n{other}\n").repeat(10) + &long + "\n";
    let dev = lab.write("dev.conll", &rows);
    let mut job = lab.job("tokens", dev.clone(), dev.clone());
    job.text.max_length = 24;
    let (submission, lines, [model, majority]) = round_trip(&lab, &job, dev.clone());
    assert!(model > 0.9 && majority == 0.0, "{model}");
    assert_eq!(
        submission.lines().filter(|it| !it.is_empty()).count(),
        10 * 9 + 50
    );
    assert!(submission.starts_with("Anna "), "{submission}");
    assert_eq!(lines.last().unwrap()["tags"].as_array().unwrap().len(), 50);
    let config = fs::read_to_string(lab.path("run/model/config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    // The order in which the tags were learnt.
    assert_eq!(config["id2label"]["0"], "O");
}

#[test]
fn answers_are_parts_of_contexts_longer_than_a_window() {
    let lab = Lab::new();
    let context =
        "the book was very good . the film was quite bad . Anna lives in Rome . ".repeat(3);
    let paragraph = |name: &str| {
        let context = format!("{context}Ben reads one book in {name} .");
        let start = context.find(name).unwrap();
        serde_json::json!({"context": context, "qas": [{
            "id": name, "question": "where is Ben ?",
            "answers": [{"text": name, "answer_start": start}]
        }]})
    };
    let names = ["Paris", "1990", "two", "three"];
    let data = serde_json::json!({"version": "1.1", "data": [{
        "title": "t", "paragraphs": names.map(paragraph)
    }]});
    let dev = lab.write("dev.json", &data.to_string());
    let mut job = lab.job("squad", dev.clone(), dev.clone());
    job.text.max_length = 32;
    job.train.run.steps = 120;
    let (submission, lines, [f1, nothing]) = round_trip(&lab, &job, dev);
    assert_eq!(nothing, 0.0);
    assert!(f1 > 50.0, "{f1}");
    let submission: Value = serde_json::from_str(&submission).unwrap();
    for (line, name) in lines.iter().zip(names) {
        let answer = submission[name].as_str().unwrap();
        assert!(!answer.is_empty(), "SQuAD 1.1 has an answer to everything");
        let best = &line["candidates"][0];
        assert_eq!(best["text"], answer);
        let context = format!("{context}Ben reads one book in {name} .");
        let (start, end) = (
            best["start"].as_u64().unwrap(),
            best["end"].as_u64().unwrap(),
        );
        assert_eq!(&context[start as usize..end as usize], answer);
    }
}

#[test]
fn the_gap_of_a_query_is_filled_with_an_entity() {
    let lab = Lab::new();
    let rows: String = (0..16)
        .map(|row| {
            // Of equally frequent entities, the majority takes the first.
            let (answer, other) = ("Ben", "Anna");
            let text = format!("{answer} lives in Rome . {other} is in Paris .");
            let place = |name: &str| text.find(name).unwrap();
            let entity = |name: &str| serde_json::json!({"start": place(name), "end": place(name) + name.len() - 1});
            let line = serde_json::json!({
                "idx": row,
                "passage": {"text": text, "entities": [entity(answer), entity(other)]},
                "qas": [{"idx": row, "query": "@placeholder lives in Rome .", "answers": [
                    {"start": place(answer), "end": place(answer) + answer.len() - 1, "text": answer}
                ]}]
            });
            format!("{line}\n")
        })
        .collect();
    let dev = lab.write("val.jsonl", &rows);
    let job = lab.job("record", dev.clone(), dev.clone());
    let (submission, lines, [model, majority]) = round_trip(&lab, &job, dev);
    assert_eq!((model, majority), (100.0, 0.0));
    assert!(
        submission.lines().next().unwrap().contains("\"idx\":0"),
        "{submission}"
    );
    let names = ["Anna", "Ben"];
    assert!(
        lines
            .iter()
            .all(|it| names.contains(&it["answer"].as_str().unwrap()))
    );
}
