//! Whole fine-tuning runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::{AutodiffModule, Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use deberta_train::objective::{ExampleLogits, Precision, Scores, SiftConfig, Targets, TaskBatch};
use deberta_train::run::{
    CrossValidation, ExampleId, ExampleSource, FinetuneConfig, FinetuneData, MetricsFn,
    MetricsLine, SourceError, TrainError, cross_validate, read_metrics,
};

use crate::child::{Orders, Task};
use crate::task::{Inner, Majority, accuracy, build, config, data, train};
use crate::toy::{TestBackend, options};

fn column(lines: &[MetricsLine], split: &str, name: &str) -> Vec<f64> {
    let lines = lines.iter().filter(|line| line.split == split);
    lines
        .filter_map(|line| line.values.get(name).copied())
        .collect()
}

/// Long and steady enough to solve the task.
fn thorough() -> FinetuneConfig {
    let mut config = config(150);
    config.model = config.model.without_dropout();
    config.head.classifier_dropout = 0.0;
    config.run.eval_every = 25;
    config.run.save_every = 1000;
    config
}

#[test]
fn a_task_is_learnt_and_the_best_checkpoint_returned() {
    let run = tempfile::tempdir().unwrap();
    let tuned = train(&thorough(), &data(Arc::new(|_| Ok(()))), run.path(), false).unwrap();

    let lines = read_metrics(run.path()).unwrap();
    let accuracies = column(&lines, "valid", "accuracy");
    assert_eq!(accuracies.len(), 6);
    let best = accuracies.iter().copied().fold(0.0, f64::max);
    assert!(best > 0.75, "{accuracies:?}");
    assert_eq!(tuned.scores["accuracy"], best);
    assert_eq!(tuned.report.state.best.unwrap().score, Some(best));
    let first = accuracies.iter().position(|it| *it == best).unwrap();
    assert_eq!(
        tuned.step,
        if accuracies[5] == best && first == 5 {
            150
        } else {
            25 * (first + 1)
        }
    );
    assert!(
        column(&lines, "train", "penalty")
            .iter()
            .all(|it| *it > 0.0)
    );
    assert!(column(&lines, "valid", "penalty").is_empty());

    let resolved = std::fs::read_to_string(run.path().join("config.json")).unwrap();
    let resolved: FinetuneConfig = serde_json::from_str(&resolved).unwrap();
    assert_eq!(resolved, thorough());
}

#[test]
fn a_run_that_no_longer_improves_ends_early() {
    let run = tempfile::tempdir().unwrap();
    let mut config = config(100);
    config.run.eval_every = 2;
    config.run.patience = Some(3);
    // Nothing can improve.
    config.schedule.peak_lr = 1e-30;
    config.best_by = None;
    let all = data(Arc::new(|_| Ok(())));
    let tuned = train(&config, &all, run.path(), false).unwrap();
    let report = &tuned.report;
    assert!(
        report.completed && report.state.step < 20,
        "{}",
        report.state.step
    );
    assert_eq!(report.state.evaluations_since_best, 3);
    assert_eq!(tuned.step + 6, report.state.step);
    // A run that has ended stays so.
    let again = train(&config, &all, run.path(), true).unwrap();
    assert_eq!(
        (again.report.tokens, again.report.state.step),
        (0, report.state.step)
    );
}

#[test]
fn a_killed_fine_tuning_ends_with_the_same_metric_and_weights() {
    let undisturbed = tempfile::tempdir().unwrap();
    let whole = Orders {
        task: Task::FineTune,
        ..Orders::new(undisturbed.path())
    };
    let expected = whole.run();
    assert!(expected.completed && expected.score.is_some());

    let run = tempfile::tempdir().unwrap();
    let orders = Orders {
        task: Task::FineTune,
        barrier: Some(30),
        ..Orders::new(run.path())
    };
    orders.start().kill();
    let resumed = Orders {
        resume: true,
        barrier: None,
        ..orders
    };
    let outcome = resumed.run();
    assert_eq!(outcome.resumed_from, Some(10));
    assert_eq!((outcome.step, outcome.score), (20, expected.score));
    assert!(resumed.weights() == whole.weights(), "the weights differ");
    let scores =
        |orders: &Orders| column(&read_metrics(&orders.run_dir).unwrap(), "valid", "accuracy");
    assert_eq!(scores(&resumed), scores(&whole));
}

#[test]
fn steps_whose_targets_all_weigh_nothing_do_no_harm() {
    let run = tempfile::tempdir().unwrap();
    let mut config = config(20);
    config.loss.class_weights = Some(vec![0.0, 1.0]);
    (config.run.batch_size, config.run.grad_accumulation) = (1, 1);
    config.run.log_every = 1;
    config.sift = None;
    let tuned = train(&config, &data(Arc::new(|_| Ok(()))), run.path(), false).unwrap();
    assert!(tuned.report.completed);
    let lines = read_metrics(run.path()).unwrap();
    let losses = column(&lines, "train", "loss").len();
    assert!((1..20).contains(&losses), "{losses} steps have a loss");
}

/// Values to predict, all 0 until the tenth step, whose errors are finite and their gradients not.
struct Exploding {
    examples: Majority,
    batches: AtomicUsize,
}

impl ExampleSource<TaskBatch> for Exploding {
    fn len(&self) -> usize {
        self.examples.len()
    }

    fn batch(&self, examples: &[ExampleId]) -> Result<TaskBatch, SourceError> {
        let step = self.batches.fetch_add(1, Ordering::Relaxed);
        let value = if step == 9 { 1.8e19 } else { 0.0 };
        Ok(TaskBatch {
            targets: Targets::Values(vec![value; examples.len()]),
            ..self.examples.batch(examples)?
        })
    }
}

#[test]
fn parameters_of_gradients_that_overflow_are_never_saved() {
    let run = tempfile::tempdir().unwrap();
    let mut config = config(20);
    config.head.labels.truncate(1);
    (config.sift, config.best_by) = (None, None);
    config.run.eval_every = 1000;
    (config.run.batch_size, config.run.grad_accumulation) = (1, 1);
    let data = FinetuneData {
        train: Arc::new(Exploding {
            examples: Majority::new(0, 50),
            batches: AtomicUsize::new(0),
        }),
        metrics: Arc::new(MetricsFn::new(&[], |_: &[ExampleLogits]| Ok(Scores::new()))),
        ..data(Arc::new(|_| Ok(())))
    };
    let error = train(&config, &data, run.path(), false).err().unwrap();
    assert!(
        matches!(error, TrainError::Overflow { step: 10 }),
        "{error}"
    );
    let saved = std::fs::read_dir(run.path().join("checkpoints")).unwrap();
    assert_eq!(saved.count(), 0);
}

#[test]
fn f16_scales_its_loss_and_tries_again() {
    let run = tempfile::tempdir().unwrap();
    let mut config = config(10);
    config.run.precision = Precision::F16;
    config.sift = None;
    let all = data(Arc::new(|_| Ok(())));
    let tuned = train(&config, &all, run.path(), false).unwrap();
    let scale = tuned.report.state.loss_scale.unwrap();
    assert!(scale.value >= 1.0 && scale.good_steps > 0);
    assert!(tuned.report.evaluation.unwrap().loss_nats().is_finite());

    let full = tempfile::tempdir().unwrap();
    config.run.precision = Precision::Full;
    let tuned = train(&config, &all, full.path(), false).unwrap();
    assert_eq!(tuned.report.state.loss_scale, None);
}

#[test]
fn every_example_is_predicted_by_a_model_that_did_not_see_it() {
    let run = tempfile::tempdir().unwrap();
    let mut config = thorough();
    config.sift = None;
    config.run.steps = 4;
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let examples = Majority {
        hook: Arc::new(move |examples| {
            log.lock()
                .unwrap()
                .push(examples.iter().map(|it| it.index).collect::<Vec<_>>());
            Ok(())
        }),
        ..Majority::new(0, 31)
    };
    let validation = CrossValidation {
        metrics: accuracy(&examples),
        examples: Arc::new(examples),
        folds: 3,
        groups: None,
    };
    let result = cross_validate::<TestBackend, _>(
        &config,
        |seed| build(&config, seed),
        &validation,
        &options(run.path(), false),
        &Default::default(),
    )
    .unwrap();
    let order: Vec<usize> = result.logits.iter().map(|it| it.example).collect();
    assert_eq!(order, (0..31).collect::<Vec<_>>());
    assert_eq!(result.fold_scores.len(), 3);
    let weighted: f64 = result
        .fold_scores
        .iter()
        .zip([11.0, 10.0, 10.0])
        .map(|(scores, count)| scores["accuracy"] * count / 31.0)
        .sum();
    assert!((result.scores["accuracy"] - weighted).abs() < 1e-12);

    let one = CrossValidation {
        folds: 1,
        ..validation
    };
    let error = cross_validate::<TestBackend, _>(
        &config,
        |seed| build(&config, seed),
        &one,
        &options(run.path(), true),
        &Default::default(),
    );
    assert!(matches!(
        error,
        Err(TrainError::Setting { field: "folds", .. })
    ));
}

/// Parameters by path.
fn parameters<M: Module<Inner>>(module: &M) -> BTreeMap<String, Vec<u8>> {
    struct Collector(Vec<String>, BTreeMap<String, Vec<u8>>);
    impl ModuleVisitor<Inner> for Collector {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.to_owned());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Inner, D>>) {
            let bytes = param.to_data().bytes.to_vec();
            self.1.insert(self.0.join("."), bytes);
        }
    }
    let mut collector = Collector(Vec::new(), BTreeMap::new());
    module.visit(&mut collector);
    collector.1
}

#[test]
fn a_rate_factor_of_0_freezes_in_every_way_of_computing() {
    let all = data(Arc::new(|_| Ok(())));
    for (part, gradient_checkpointing, precision) in [
        ("embeddings", false, Precision::Full),
        ("embeddings", true, Precision::Full),
        ("embeddings", false, Precision::F16),
        ("deberta", false, Precision::Full),
    ] {
        let run = tempfile::tempdir().unwrap();
        let mut config = config(10);
        config.run.gradient_checkpointing = gradient_checkpointing;
        config.run.precision = precision;
        config.optimizer.rate_factors = [(part.to_owned(), 0.0)].into();
        let before = parameters(&build(&config, config.run.seed).unwrap().valid());
        let tuned = train(&config, &all, run.path(), false).unwrap();
        let after = parameters(&tuned.model);
        assert_eq!(before.len(), after.len());
        for (path, values) in &before {
            let frozen = path.split('.').any(|name| name == part);
            assert_eq!(*values == after[path], frozen, "{path}");
        }

        // No moments are kept of them, also when the run goes on.
        config.run.steps = 20;
        let resumed = train(&config, &all, run.path(), true).unwrap();
        assert_eq!(resumed.report.resumed_from, Some(10));
        let optimizer = run.path().join("checkpoints/step-0000020/optimizer.mpk");
        let model = run.path().join("checkpoints/step-0000020/model.mpk");
        let size = |path: &Path| std::fs::metadata(path).unwrap().len();
        assert!(size(&optimizer) < 2 * size(&model), "{part}");
    }
}

#[test]
fn a_rate_factor_that_fits_nothing_is_an_error() {
    let run = tempfile::tempdir().unwrap();
    let mut config = config(2);
    let all = data(Arc::new(|_| Ok(())));
    let mut refused = |factors: &[&str]| {
        config.optimizer.rate_factors = factors.iter().map(|it| (it.to_string(), 0.0)).collect();
        let error = train(&config, &all, run.path(), false).err().unwrap();
        error.to_string()
    };
    assert_eq!(
        refused(&["clasifier"]),
        "`optimizer.rate_factors` = clasifier, expected a part of the path of a parameter"
    );
    assert!(refused(&["model"]).ends_with("expected a factor above 0 for some parameter"));
}

#[test]
fn senseless_settings_of_a_task_are_named() {
    let run = tempfile::tempdir().unwrap();
    let all = data(Arc::new(|_| Ok(())));
    let refused = |change: &dyn Fn(&mut FinetuneConfig)| {
        let mut config = config(2);
        change(&mut config);
        train(&config, &all, run.path(), false)
            .err()
            .unwrap()
            .to_string()
    };
    assert_eq!(
        refused(&|it| it.best_by = Some("f1".into())),
        "there is no metric `f1` to choose by, only accuracy"
    );
    assert_eq!(
        refused(&|it| it.loss.class_weights = Some(vec![1.0])),
        "`loss.class_weights` = [1.0], expected one weight per label of a head that has labels"
    );
    assert_eq!(
        refused(&|it| it.loss.label_smoothing = 1.0),
        "`loss.label_smoothing` = 1, expected at least 0 and below 1"
    );
    let negative = SiftConfig {
        weight: -1.0,
        ..SiftConfig::default()
    };
    assert_eq!(
        refused(&move |it| it.sift = Some(negative.clone())),
        "`sift.weight` = -1, expected at least 0"
    );
}
