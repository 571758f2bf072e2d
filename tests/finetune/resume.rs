//! Runs that are stopped and go on.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use burn::train::Interrupter;
use deberta::finetune::{FinetuneError, FinetuneJob};

use crate::{Lab, Watcher, reviews, run};

/// A training that draws no random numbers but those of its seed.
fn job(lab: &Lab) -> FinetuneJob {
    let train = lab.write("train.tsv", &format!("text\tlabel\n{}", reviews(40)));
    let dev = lab.write("dev.tsv", &format!("text\tlabel\n{}", reviews(12)));
    let job = lab
        .job("classify", train, dev)
        .with_setting("train.run.steps=9");
    let mut job = job.unwrap().with_setting("train.run.save_every=2").unwrap();
    job.train.run.eval_every = 3;
    job
}

fn metrics(lab: &Lab, out: &str) -> String {
    fs::read_to_string(lab.path(out).join("metrics.json")).unwrap()
}

/// The program with a job, into a folder of the lab.
fn program(lab: &Lab, out: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deberta"));
    command
        .args(["finetune", "--plain", "--config"])
        .arg(lab.path("given.json"))
        .arg("--out")
        .arg(lab.path(out))
        .args(flags)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn succeed(mut command: Command) {
    let output = command.output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
}

/// In processes of their own, since SiFT's noise comes from the random state of the whole process.
#[test]
fn a_run_that_was_killed_ends_with_the_same_metrics_and_weights() {
    let lab = Lab::new();
    let mut job = job(&lab).with_setting("train.run.steps=40").unwrap();
    job.train.sift = Some(Default::default());
    job.train.classifier_dropout = Some(0.2);
    lab.write("given.json", &serde_json::to_string(&job).unwrap());
    succeed(program(&lab, "whole", &[]));

    let mut child = program(&lab, "killed", &[]).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // The line follows the first evaluation, before most of the steps.
    assert!(lines.any(|line| line.unwrap().contains("held out")));
    child.kill().unwrap();
    child.wait().unwrap();
    let finished = lab.path("killed/metrics.json");
    assert!(!finished.exists(), "it was killed too late");

    succeed(program(&lab, "killed", &["--resume"]));
    assert_eq!(metrics(&lab, "killed"), metrics(&lab, "whole"));
    let weights = |out: &str| fs::read(lab.path(out).join("model/model.safetensors")).unwrap();
    assert!(weights("killed") == weights("whole"), "the weights differ");
}

#[test]
fn a_run_that_was_stopped_says_so_and_goes_on() {
    let lab = Lab::new();
    let job = job(&lab);
    lab.run(&job, "whole").unwrap();
    let interrupter = Interrupter::new();
    interrupter.stop(Some("a test"));
    let watcher = &mut Watcher::default();
    let outcome = run(&job, &lab.path("stopped"), false, interrupter, watcher).unwrap();
    assert!(!outcome.completed && outcome.model_dir.is_none() && outcome.sets.is_empty());
    run(
        &job,
        &lab.path("stopped"),
        true,
        Interrupter::new(),
        watcher,
    )
    .unwrap();
    assert_eq!(metrics(&lab, "stopped"), metrics(&lab, "whole"));
    // A complete run only repeats what it found.
    run(
        &job,
        &lab.path("stopped"),
        true,
        Interrupter::new(),
        watcher,
    )
    .unwrap();
    assert_eq!(metrics(&lab, "stopped"), metrics(&lab, "whole"));
}

#[test]
fn a_run_is_resumed_as_it_began_and_never_overwritten() {
    let lab = Lab::new();
    let job = job(&lab);
    lab.run(&job, "run").unwrap();
    let error = lab.run(&job, "run").unwrap_err().to_string();
    assert!(error.contains("already holds a run"), "{error}");
    let resumed = |setting: &str| {
        let job = job.with_setting(setting).unwrap();
        run(
            &job,
            &lab.path("run"),
            true,
            Interrupter::new(),
            &mut Watcher::default(),
        )
    };
    for (setting, part) in [
        ("text.max_length=40", "text"),
        ("data.max_train_examples=9", "data"),
        ("model.random_encoder=true", "model"),
        ("task.own.labels=[\"no\", \"yes\"]", "task"),
        ("seeds=[1, 2]", "seeds"),
    ] {
        let error = resumed(setting).unwrap_err();
        assert!(
            matches!(&error, FinetuneError::Changed { setting, .. } if *setting == part),
            "{error}"
        );
    }
}

#[test]
fn a_run_is_not_overwritten_by_one_with_other_seeds_or_folds() {
    let lab = Lab::new();
    let mut single = job(&lab).with_setting("train.run.steps=2").unwrap();
    single.data.dev.clear();
    let with = |setting: &str| single.with_setting(setting).unwrap();
    let folds = with("folds=2");
    let seeds = with("seeds=[1, 2]");
    let seeds = seeds.with_setting("data.train_part=0.5").unwrap();
    let single = with("data.train_part=0.5");
    for (first, others) in [
        ("single", [&seeds, &folds]),
        ("seeds", [&single, &folds]),
        ("folds", [&single, &seeds]),
    ] {
        let begun = match first {
            "single" => &single,
            "seeds" => &seeds,
            _ => &folds,
        };
        lab.run(begun, first).unwrap();
        let read = |name: &str| fs::read(lab.path(first).join(name)).unwrap();
        let left = ["job.json", "metrics.json"].map(read);
        for other in others {
            let error = lab.run(other, first).unwrap_err().to_string();
            assert!(error.contains("already holds a run"), "{first}: {error}");
        }
        assert!(["job.json", "metrics.json"].map(read) == left, "{first}");
    }
}

#[test]
fn a_random_encoder_shares_nothing_with_the_checkpoint_but_its_shape() {
    let lab = Lab::new();
    let job = job(&lab)
        .with_setting("train.schedule.peak_lr=1e-12")
        .unwrap();
    lab.run(&job, "warm").unwrap();
    let random = job.with_setting("model.random_encoder=true").unwrap();
    let random = random.with_setting("seeds=[7]").unwrap();
    lab.run(&random, "random").unwrap();
    let tensors = |dir: &str| {
        let bytes = fs::read(lab.path(dir).join("model.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let table = tensors.tensor("deberta.embeddings.word_embeddings.weight");
        let table = table.or_else(|_| tensors.tensor("embeddings.word_embeddings.weight"));
        table.unwrap().data()[..4096]
            .chunks(4)
            .map(|it| f32::from_le_bytes(it.try_into().unwrap()))
            .collect::<Vec<f32>>()
    };
    let distance = |a: &[f32], b: &[f32]| {
        let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
        differences.fold(0.0, f32::max)
    };
    let source = tensors("model");
    assert!(distance(&source, &tensors("warm/model")) < 1e-6);
    assert!(distance(&source, &tensors("random/model")) > 1e-2);
}
