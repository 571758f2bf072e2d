//! What a run leaves behind, and which runs are refused.

use std::sync::Arc;

use deberta_train::checkpoint::CheckpointStore;
use deberta_train::report::{Baseline, write_report};
use deberta_train::run::{
    MetricsLine, PretrainConfig, PretrainData, PretrainObjective, RunReport, TrainError, pretrain,
    pretrain_rtd, read_metrics,
};

use crate::toy::{PIECES, Repeating, TestBackend, config, data, options};

fn train(
    config: &PretrainConfig,
    data: &PretrainData,
    run_dir: &std::path::Path,
    resume: bool,
) -> Result<RunReport, TrainError> {
    let options = options(run_dir, resume);
    let trained = pretrain::<TestBackend>(config, data, &options, &Default::default())?;
    Ok(trained.report)
}

#[test]
fn a_run_learns_and_says_so() {
    let run = tempfile::tempdir().unwrap();
    let mut config = config(120);
    config.schedule.peak_lr = 3e-3;
    config.model = config.model.without_dropout();
    let report = train(&config, &data(), run.path(), false).unwrap();

    assert!(report.completed);
    let evaluation = report.evaluation.unwrap();
    assert_eq!(evaluation.targets, 28);
    let lines = read_metrics(run.path()).unwrap();
    let steps = |split| column(&lines, split, |line| line.step as f64);
    assert_eq!(
        steps("train"),
        (1..=24).map(|it| 5.0 * it as f64).collect::<Vec<_>>()
    );
    assert_eq!(
        steps("valid"),
        (1..=12).map(|it| 10.0 * it as f64).collect::<Vec<_>>()
    );
    for name in [
        "loss",
        "perplexity",
        "learning_rate",
        "gradient_norm",
        "tokens_per_second",
    ] {
        let values = column(&lines, "train", |line| line.values[name]);
        assert!(values.iter().all(|value| *value > 0.0), "{name}");
    }

    let losses = column(&lines, "valid", |line| line.values["loss"]);
    let (first, last) = (losses[0], losses[11]);
    assert!(last < 0.7 * first, "from {first} to {last}");
    assert_eq!(last, evaluation.loss_nats());
    let best = losses.into_iter().fold(f64::MAX, f64::min);
    assert_eq!(report.state.best.unwrap().loss_nats, best);
}

#[test]
fn a_discriminator_learns_what_its_generator_does_wrong() {
    let run = tempfile::tempdir().unwrap();
    let mut config = config(400);
    (config.run.eval_every, config.run.save_every) = (100, 400);
    // So that the generator still makes mistakes at the end.
    config.optimizer.rate_factors = [("generator".to_owned(), 0.3)].into();
    config.objective = PretrainObjective::Rtd;
    config.schedule.peak_lr = 3e-3;
    config.model = config.model.without_dropout();
    let options = options(run.path(), false);
    let (data, device) = (data(), Default::default());
    let trained = pretrain_rtd::<TestBackend>(&config, &data, &PIECES, &options, &device);
    let report = trained.unwrap().report;

    let lines = read_metrics(run.path()).unwrap();
    let losses = column(&lines, "valid", |line| line.values["loss"]);
    assert!(losses[3] < losses[0], "the generator: {losses:?}");
    for name in ["detection_loss", "detection_accuracy", "replaced"] {
        assert_eq!(column(&lines, "train", |line| line.values[name]).len(), 80);
    }
    let detection = report.evaluation.unwrap().detection;
    assert_eq!(detection.tokens, 111);
    assert!(detection.replaced > 5, "{detection:?}");
    assert!(
        detection.loss_nats() < detection.majority_loss_nats(),
        "{detection:?}"
    );
    // A run of one objective is not continued with another.
    config.objective = PretrainObjective::Mlm;
    config.optimizer.rate_factors.clear();
    let error = train(&config, &data, run.path(), true).unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with("`objective` is \"mlm\", but the run in"),
        "{message}"
    );
}

#[test]
fn replacements_are_drawn_from_pieces_that_exist() {
    let run = tempfile::tempdir().unwrap();
    for (pieces, message) in [
        (vec![], "`pieces` = nothing, expected ids of the word table"),
        (vec![3, 19], "`pieces` = 19, expected ids of the word table"),
    ] {
        let (data, options) = (data(), options(run.path(), false));
        let trained =
            pretrain_rtd::<TestBackend>(&config(2), &data, &pieces, &options, &Default::default());
        let error = trained.err().unwrap().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

/// A value of all lines of a split.
fn column(lines: &[MetricsLine], split: &str, value: impl Fn(&MetricsLine) -> f64) -> Vec<f64> {
    lines
        .iter()
        .filter(|line| line.split == split)
        .map(value)
        .collect()
}

#[test]
fn a_run_leaves_its_configuration_and_a_report() {
    let run = tempfile::tempdir().unwrap();
    let config = config(10);
    let report = train(&config, &data(), run.path(), false).unwrap();

    let unigram = Baseline {
        name: "unigram".to_owned(),
        loss_nats: 2.77,
        accuracy: 0.0625,
    };
    let files = write_report(run.path(), "Repetition", &report, &[unigram]).unwrap();
    let picture = std::fs::read_to_string(&files.picture).unwrap();
    let text = std::fs::read_to_string(&files.text).unwrap();
    assert!(picture.contains("held out") && text.contains("| unigram | 2.7700 |"));

    let resolved = std::fs::read_to_string(run.path().join("config.json")).unwrap();
    let resolved: PretrainConfig = serde_json::from_str(&resolved).unwrap();
    assert_eq!(resolved, config);
}

#[test]
fn a_run_folder_is_not_overwritten() {
    let run = tempfile::tempdir().unwrap();
    train(&config(2), &data(), run.path(), false).unwrap();
    let error = train(&config(2), &data(), run.path(), false).unwrap_err();
    assert!(matches!(error, TrainError::RunExists { .. }));
    // Resuming a finished run evaluates it again and trains nothing.
    let report = train(&config(2), &data(), run.path(), true).unwrap();
    assert_eq!((report.tokens, report.resumed_from), (0, Some(2)));
    assert!(report.evaluation.is_some());
}

#[test]
fn a_folder_in_which_another_run_trains_is_refused() {
    let run = tempfile::tempdir().unwrap();
    let other = CheckpointStore::open(run.path(), 2).unwrap();
    for resume in [false, true] {
        let error = train(&config(2), &data(), run.path(), resume).unwrap_err();
        assert!(matches!(&error, TrainError::RunInUse { path } if path == run.path()));
    }
    drop(other);
    assert!(
        train(&config(2), &data(), run.path(), false)
            .unwrap()
            .completed
    );
}

#[test]
fn another_network_cannot_resume() {
    let run = tempfile::tempdir().unwrap();
    train(&config(2), &data(), run.path(), false).unwrap();
    let mut changed = config(4);
    changed.model.num_hidden_layers = 3;
    let error = train(&changed, &data(), run.path(), true).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("`model.num_hidden_layers` is 3, but the run in")
    );
}

#[test]
fn other_data_cannot_resume() {
    let run = tempfile::tempdir().unwrap();
    train(&config(2), &data(), run.path(), false).unwrap();
    let changed = PretrainData {
        train: Arc::new(Repeating::new(49)),
        ..data()
    };
    let message = train(&config(4), &changed, run.path(), true)
        .unwrap_err()
        .to_string();
    assert!(message.starts_with("`number of training examples` is 49, but the run in"));
    assert!(message.ends_with("was started with 50"));
}

#[test]
fn unreadable_examples_end_the_run_with_their_reason() {
    let broken = |examples| {
        let mut broken = Repeating::new(examples);
        broken.hook = Arc::new(
            |examples| match examples[0].epoch == 1 || examples[0].index > 50 {
                false => Ok(()),
                true => Err("shard 3 is gone".into()),
            },
        );
        Arc::new(broken)
    };
    let check = |data: &PretrainData, message: &str| {
        let run = tempfile::tempdir().unwrap();
        let error = train(&config(20), data, run.path(), false).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(
            (error.to_string().as_str(), cause.as_str()),
            (message, "shard 3 is gone")
        );
    };
    let train = PretrainData {
        train: broken(50),
        ..data()
    };
    check(&train, "cannot read the training examples");
    let held_out = PretrainData {
        held_out: broken(60),
        ..data()
    };
    check(&held_out, "cannot read the held-out examples");
}

#[test]
fn a_run_without_examples_is_refused() {
    let run = tempfile::tempdir().unwrap();
    let data = PretrainData {
        held_out: Arc::new(Repeating::new(0)),
        ..data()
    };
    let error = train(&config(2), &data, run.path(), false).unwrap_err();
    assert_eq!(error.to_string(), "the held-out examples are empty");
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run_and_is_never_saved() {
    let run = tempfile::tempdir().unwrap();
    let mut config = config(20);
    config.schedule.peak_lr = 1e30;
    config.optimizer.max_grad_norm = None;
    let error = train(&config, &data(), run.path(), false).unwrap_err();
    assert!(
        matches!(error, TrainError::Diverged { step: 5, .. }),
        "{error}"
    );
    assert_eq!(
        std::fs::read_dir(run.path().join("checkpoints"))
            .unwrap()
            .count(),
        0
    );
}
