//! Runs that start from a checkpoint.

use std::fs;
use std::path::Path;

use deberta::pretrain::{PretrainError, PretrainJob, Stage};

use crate::{job, run};

/// Rows about a dog, and a job that goes on training `model` on them.
fn continuing(dir: &Path, model: &Path, settings: &[&str]) -> Result<PretrainJob, PretrainError> {
    let corpus = dir.join("rows.jsonl");
    let row = |n: usize| format!("{{\"text\": \"Row {n} tells of a small brown dog.\"}}\n");
    fs::write(&corpus, (0..400).map(row).collect::<String>()).unwrap();
    let job = PretrainJob::continuing(vec![corpus], model.to_str().unwrap(), &mut ())?;
    [
        "corpus.held_out_every=5",
        "packing.seq_len=32",
        "train.run.batch_size=2",
        "train.run.steps=4",
        "train.run.save_every=2",
    ]
    .iter()
    .chain(settings)
    .try_fold(job, |job, setting| job.with_setting(setting))
}

/// A checkpoint of the pipelines' tests, with its tokenizer.
fn fixture(name: &str) -> tempfile::TempDir {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pipelines");
    let dir = tempfile::tempdir().unwrap();
    for file in [
        fixtures.join("tokenizer.json"),
        fixtures.join("tokenizer_config.json"),
        fixtures.join(name).join("config.json"),
        fixtures.join(name).join("model.safetensors"),
    ] {
        fs::copy(&file, dir.path().join(file.file_name().unwrap())).unwrap();
    }
    dir
}

fn weights(model_dir: &Path) -> Vec<u8> {
    fs::read(model_dir.join("model.safetensors")).unwrap()
}

#[test]
fn a_model_goes_on_learning_from_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (before, _) = run(&job(), &dir.path().join("general"), false).unwrap();
    let before = before.model_dir.unwrap();

    // At a rate of next to nothing the weights are those of the model, mask decoder and head too.
    let still = [
        "train.schedule.peak_lr=1e-30",
        "train.run.steps=1",
        "train.model.hidden_dropout_prob=0.3",
    ];
    let still = continuing(dir.path(), &before, &still).unwrap();
    let (outcome, watcher) = run(&still, &dir.path().join("still"), false).unwrap();
    assert_eq!(weights(&outcome.model_dir.unwrap()), weights(&before));
    assert!(!watcher.stages.contains(&Stage::TrainTokenizer));
    let recorded = PretrainJob::of_run(&dir.path().join("still"));
    let recorded = recorded.unwrap().unwrap().train.model;
    assert_eq!(recorded.hidden_dropout_prob, 0.3);
    assert_eq!(watcher.notes, Vec::<String>::new());

    // Without dropout: all tests of this program draw from one random state.
    let domain = ["train.schedule.peak_lr=1e-3"];
    let domain = continuing(dir.path(), &before, &domain).unwrap();
    let whole = dir.path().join("whole");
    let (outcome, _) = run(&domain, &whole, false).unwrap();
    let after = weights(&outcome.model_dir.unwrap());
    assert_ne!(after, weights(&before));
    let recorded = PretrainJob::of_run(&whole).unwrap().unwrap();
    assert_eq!(recorded.init.as_deref(), before.to_str());

    // Interrupted after the second step and resumed, it needs the model no more.
    fs::remove_dir_all(&before).unwrap();
    let resumed = |run_dir: &Path| {
        fs::remove_dir_all(run_dir.join("checkpoints/step-0000004")).unwrap();
        fs::remove_dir_all(run_dir.join("model")).unwrap();
        run(&recorded, run_dir, true).unwrap().0
    };
    let outcome = resumed(&whole);
    assert_eq!(outcome.report.resumed_from, Some(2));
    assert_eq!(weights(&outcome.model_dir.unwrap()), after);

    let mut other = recorded.clone();
    other.init = None;
    let error = run(&other, &whole, true).unwrap_err().to_string();
    assert!(error.starts_with("`init` is not as in"), "{error}");
}

#[test]
fn an_encoder_without_a_language_model_head_gets_a_fresh_one() {
    let dir = tempfile::tempdir().unwrap();
    let model = fixture("classify_softmax");
    let job = continuing(dir.path(), model.path(), &["train.schedule.peak_lr=1e-30"]).unwrap();
    let (outcome, watcher) = run(&job, &dir.path().join("run"), false).unwrap();
    let [fresh, aside] = &watcher.notes[..] else {
        panic!("{:?}", watcher.notes);
    };
    assert!(
        fresh.contains("lm_predictions.lm_head.dense.weight") && fresh.contains("random weights"),
        "{fresh}"
    );
    assert!(aside.contains("classifier.weight"), "{aside}");

    let encoder = |dir: &Path| {
        let weights = deberta::model::checkpoint::Weights::open(dir).unwrap();
        let name = "deberta.encoder.layer.0.attention.self.query_proj.weight";
        let float = deberta::model::checkpoint::FloatType::F32;
        weights.read(name, float).unwrap()
    };
    assert_eq!(encoder(&outcome.model_dir.unwrap()), encoder(model.path()));
}

#[test]
fn what_does_not_fit_the_model_to_start_from_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let model = fixture("classify_softmax");
    for (setting, message) in [
        (
            "train.model.num_hidden_layers=1",
            "`train.model.num_hidden_layers` is 1, expected 2",
        ),
        (
            "tokenizer.path=spm.model",
            "`tokenizer.path` is spm.model, expected nothing",
        ),
    ] {
        let error = continuing(dir.path(), model.path(), &[setting])
            .and_then(|job| run(&job, &dir.path().join("run"), false));
        let error = error.err().unwrap().to_string();
        assert!(error.starts_with(message), "{error}");
    }
    let error = continuing(dir.path(), &dir.path().join("no/model/here"), &[]).err();
    assert!(error.is_some());
}
