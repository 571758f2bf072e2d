//! From raw text to filled masks, as a user of the library would go.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod add_tokens;
mod continued;
mod replaced_tokens;

use std::fs;
use std::path::{Path, PathBuf};

use burn::train::Interrupter;
use deberta::backend::{DefaultAutodiffBackend, DefaultBackend};
use deberta::pipeline::{FillMask, PipelineError};
use deberta::pretrain::{
    self, PretrainError, PretrainJob, PretrainOutcome, Progress, RunOptions, Stage,
};
use deberta::train::run::Display;

/// Remembers what it was told.
#[derive(Debug, Default)]
struct Watcher {
    stages: Vec<Stage>,
    notes: Vec<String>,
}

impl Progress for Watcher {
    fn stage(&mut self, stage: Stage) {
        self.stages.push(stage);
    }

    fn bytes(&mut self, done: u64, total: u64) {
        assert!(total > 0 || done == 0);
    }

    fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }
}

/// A network and a corpus so small that a run takes a second.
fn job() -> PretrainJob {
    [
        "corpus.synthetic.train_stories=60",
        "corpus.synthetic.held_out_stories=8",
        "tokenizer.vocab_size=400",
        "packing.seq_len=48",
        "train.model.hidden_size=32",
        "train.model.embedding_size=32",
        "train.model.num_hidden_layers=2",
        "train.model.attention_head_size=8",
        "train.model.intermediate_size=64",
        "train.model.max_position_embeddings=48",
        "train.run.batch_size=4",
        "train.run.steps=4",
        "train.run.save_every=2",
        "train.run.eval_every=2",
    ]
    .into_iter()
    .fold(PretrainJob::demo(), |job, setting| {
        job.with_setting(setting).unwrap()
    })
}

fn run(
    job: &PretrainJob,
    dir: &Path,
    resume: bool,
) -> Result<(PretrainOutcome, Watcher), PretrainError> {
    let mut watcher = Watcher::default();
    let options = RunOptions {
        resume,
        display: Display::Nothing,
        interrupter: Interrupter::new(),
    };
    let device = Default::default();
    let outcome =
        pretrain::run::<DefaultAutodiffBackend>(job, dir, &options, &device, &mut watcher)?;
    Ok((outcome, watcher))
}

fn open(model_dir: Option<PathBuf>) -> FillMask<DefaultBackend> {
    let dir = model_dir.unwrap();
    FillMask::from_pretrained(dir.to_str().unwrap(), &Default::default()).unwrap()
}

#[test]
fn raw_text_becomes_a_model_that_fills_masks() {
    let dir = tempfile::tempdir().unwrap();
    let (outcome, watcher) = run(&job(), dir.path(), false).unwrap();
    assert_eq!(
        watcher.stages,
        [
            Stage::TrainTokenizer,
            Stage::PackTraining,
            Stage::PackHeldOut,
            Stage::Baselines
        ]
    );
    assert!(outcome.report.completed);
    assert_eq!(outcome.baselines.len(), 3);
    let evaluation = outcome.report.evaluation.unwrap();
    assert!(evaluation.loss_nats().is_finite() && evaluation.targets > 0);
    let files = outcome.files.unwrap();
    assert!(
        fs::read_to_string(files.picture)
            .unwrap()
            .starts_with("<svg")
    );
    assert!(fs::read_to_string(files.text).unwrap().contains("unigram"));

    let fill = open(outcome.model_dir);
    let texts = ["[MASK] went to the [MASK] .", "the [MASK] ."];
    let answers = fill.predict(&texts, 3).unwrap();
    assert_eq!(answers.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    for mask in answers.iter().flatten() {
        let probabilities: Vec<f64> = mask.candidates.iter().map(|it| it.probability).collect();
        assert!(
            probabilities.is_sorted_by(|a, b| a >= b),
            "{probabilities:?}"
        );
        assert!(probabilities.iter().all(|it| *it > 0.0 && *it < 1.0));
    }
    // The company of other texts, and so padding, changes nothing.
    let alone = fill.predict(&texts[1..], 3).unwrap();
    for (a, b) in alone[0][0].candidates.iter().zip(&answers[1][0].candidates) {
        assert_eq!(a.id, b.id);
        assert!((a.probability - b.probability).abs() < 1e-6);
    }
}

#[test]
fn texts_that_cannot_be_filled_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (outcome, _) = run(&job(), dir.path(), false).unwrap();
    let fill = open(outcome.model_dir);
    let error = fill.predict(&["a [MASK]", "no mask"], 1).unwrap_err();
    assert_eq!(error.to_string(), "text 1 has no [MASK]: \"no mask\"");
    let long = "the [MASK] ".repeat(60);
    let error = fill.predict(&[&long], 1).unwrap_err();
    assert!(
        matches!(
            error,
            PipelineError::TooLong {
                index: 0,
                limit: 48,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_run_is_resumed_on_its_own_text_only() {
    let dir = tempfile::tempdir().unwrap();
    let job = job();
    run(&job, dir.path(), false).unwrap();
    let longer = job.with_setting("train.run.steps=6").unwrap();
    let (outcome, watcher) = run(&longer, dir.path(), true).unwrap();
    assert_eq!(outcome.report.resumed_from, Some(4));
    assert_eq!(outcome.report.state.step, 6);
    assert!(
        !watcher.stages.contains(&Stage::TrainTokenizer),
        "trained again"
    );
    assert_eq!(watcher.notes, Vec::<String>::new());

    for (setting, name) in [
        ("corpus.synthetic.seed=9", "corpus"),
        ("packing.seq_len=32", "packing"),
        ("tokenizer.vocab_size=300", "tokenizer"),
    ] {
        let other = longer.with_setting(setting).unwrap();
        let error = run(&other, dir.path(), true).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("`{name}` is not as in")),
            "{error}"
        );
    }
}

#[test]
fn a_run_is_not_started_over_another() {
    let dir = tempfile::tempdir().unwrap();
    let job = job();
    run(&job, dir.path(), false).unwrap();
    let path = dir.path().join("job.json");
    let before = std::fs::read(&path).unwrap();
    let other = job.with_setting("corpus.synthetic.seed=9").unwrap();
    let error = run(&other, dir.path(), false).unwrap_err();
    assert!(error.to_string().contains("already holds a run"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let longer = job.with_setting("train.run.steps=6").unwrap();
    let (outcome, watcher) = run(&longer, dir.path(), true).unwrap();
    assert_eq!(outcome.report.resumed_from, Some(4));
    assert_eq!(watcher.notes, Vec::<String>::new());
}

#[test]
fn an_attempt_that_failed_leaves_no_tokenizer_behind() {
    let dir = tempfile::tempdir().unwrap();
    let job = job();
    let too_long = job.with_setting("packing.seq_len=4000000").unwrap();
    assert!(run(&too_long, dir.path(), false).is_err());
    assert!(dir.path().join("tokenizer").is_dir());
    let other = job.with_setting("tokenizer.vocab_size=300").unwrap();
    let (_, watcher) = run(&other, dir.path(), false).unwrap();
    assert!(watcher.stages.contains(&Stage::TrainTokenizer));
}

#[test]
fn a_corpus_of_files_is_read_and_its_faults_are_located() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = dir.path().join("rows.jsonl");
    let row = |n: usize| format!("{{\"text\": \"Row {n} tells of a small brown dog.\"}}\n");
    let mut rows: String = (0..400).map(row).collect();
    rows.push_str("{\"text\": 7}\n");
    fs::write(&corpus, rows).unwrap();

    let mut job = job();
    job.corpus.paths = vec![corpus];
    job.corpus.held_out_every = 5;
    job.tokenizer.vocab_size = 80;
    let error = run(&job, &dir.path().join("run"), false)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("rows.jsonl") && error.contains("401"),
        "{error}"
    );

    job.corpus.skip_bad_rows = true;
    let (outcome, watcher) = run(&job, &dir.path().join("run"), false).unwrap();
    assert!(outcome.report.completed);
    assert!(
        watcher.notes[0].starts_with("1 rows skipped"),
        "{:?}",
        watcher.notes
    );

    let short = dir.path().join("short.txt");
    fs::write(&short, "Row 1 tells of a small brown dog.\n".repeat(9)).unwrap();
    job.corpus.paths = vec![short];
    let error = run(&job, &dir.path().join("short"), false)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("too little text for an example of 48 tokens")
            && error.contains("corpus.held_out_every"),
        "{error}"
    );

    job.corpus.paths = vec![dir.path().join("nowhere")];
    let error = run(&job, &dir.path().join("other"), false)
        .unwrap_err()
        .to_string();
    assert!(error.contains("nowhere"), "{error}");
}

#[test]
fn every_ablation_is_a_setting() {
    let dir = tempfile::tempdir().unwrap();
    for (name, settings) in [
        (
            "shaw",
            vec![r#"train.model.position_terms={"c2p":true,"p2c":false}"#],
        ),
        (
            "p2c",
            vec![r#"train.model.position_terms={"c2p":false,"p2c":true}"#],
        ),
        ("no-decoder", vec!["train.model.absolute_positions=none"]),
        (
            "plain",
            vec![
                r#"train.model.position_terms={"c2p":false,"p2c":false}"#,
                "train.model.relative_positions=null",
                "train.model.norm_rel_embeddings=false",
                "train.model.absolute_positions=input",
            ],
        ),
        (
            "v1",
            vec![
                "train.model.family=v1",
                "train.model.share_att_key=false",
                "train.model.norm_rel_embeddings=false",
                "train.model.relative_positions.buckets=null",
            ],
        ),
    ] {
        let job = settings
            .into_iter()
            .fold(job(), |job, setting| job.with_setting(setting).unwrap());
        let (outcome, _) = run(&job, &dir.path().join(name), false).unwrap();
        let fill = open(outcome.model_dir);
        assert_eq!(
            fill.predict(&["a [MASK]"], 2).unwrap()[0][0]
                .candidates
                .len(),
            2,
            "{name}"
        );
    }
}
