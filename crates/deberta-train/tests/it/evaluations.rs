//! Evaluations that are interrupted, and best checkpoints that are lost.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::train::Interrupter;
use deberta_train::objective::{ExampleLogits, Scores};
use deberta_train::run::{
    FinetuneConfig, FinetuneData, MetricsFn, RunOptions, TrainError, fine_tune, read_metrics,
};

use crate::task::{Inner, Majority, Trained, build, config, data};
use crate::toy::{Hook, TestBackend, options, weights};

/// Evaluations of a run, which come after steps 5, 10, 15 and 20.
const EVALUATIONS: usize = 4;
/// Batches of one evaluation.
const BATCHES: usize = 15;

/// A run of 20 steps whose evaluations have the accuracies that they are given.
struct Judged {
    config: FinetuneConfig,
    scores: [f64; EVALUATIONS],
    /// Evaluations that were made.
    made: Arc<AtomicUsize>,
}

impl Judged {
    fn new(scores: [f64; EVALUATIONS]) -> Self {
        let mut config = config(5 * EVALUATIONS);
        // Tests beside this one draw from the same random numbers.
        config.model = config.model.without_dropout();
        config.head.classifier_dropout = 0.0;
        config.sift = None;
        Self {
            config,
            scores,
            made: Arc::default(),
        }
    }

    /// - `before`: called with the number of each held-out batch before it is made
    fn data(&self, before: impl Fn(usize) + Send + Sync + 'static) -> FinetuneData {
        let batches = AtomicUsize::new(0);
        let hook: Hook = Arc::new(move |_| {
            before(batches.fetch_add(1, Ordering::Relaxed));
            Ok(())
        });
        let (scores, made) = (self.scores, Arc::clone(&self.made));
        let score = move |_: &[ExampleLogits]| {
            let number = made.fetch_add(1, Ordering::Relaxed);
            let score = scores.get(number).copied().unwrap_or(0.0);
            Ok(Scores::from([("accuracy".to_owned(), score)]))
        };
        FinetuneData {
            held_out: Arc::new(Majority {
                hook,
                ..Majority::new(10_000, 60)
            }),
            metrics: Arc::new(MetricsFn::new(&["accuracy"], score)),
            ..data(Arc::new(|_| Ok(())))
        }
    }

    fn run(&self, data: &FinetuneData, options: &RunOptions) -> Result<Trained, TrainError> {
        let model = build(&self.config, self.config.run.seed)?;
        fine_tune::<TestBackend, _>(&self.config, model, data, options, &Default::default())
    }

    /// Interrupts evaluation `number` at its second batch, then resumes twice.
    fn interrupted(&self, number: usize, run_dir: &Path) -> Trained {
        let interrupter = Interrupter::new();
        let stop = interrupter.clone();
        let data = self.data(move |batch| {
            if batch == number * BATCHES + 1 {
                stop.stop(None);
            }
        });
        let options_ = RunOptions {
            interrupter,
            ..options(run_dir, false)
        };
        let stopped = self.run(&data, &options_).unwrap();
        assert!(!stopped.report.completed);
        assert_eq!(stopped.report.state.step, 5 * (number + 1));

        self.made.store(number, Ordering::Relaxed);
        let data = self.data(|_| {});
        let resumed = self.run(&data, &options(run_dir, true)).unwrap();
        assert!(resumed.report.completed);
        // One that is complete stays as it is.
        let again = self.run(&data, &options(run_dir, true)).unwrap();
        assert_eq!(again.report.state, resumed.report.state);
        assert_eq!(again.step, resumed.step);
        resumed
    }
}

fn valid_steps(run_dir: &Path) -> Vec<usize> {
    let lines = read_metrics(run_dir).unwrap();
    let valid = lines.iter().filter(|line| line.split == "valid");
    valid.map(|line| line.step).collect()
}

#[test]
fn an_interrupted_evaluation_is_made_when_the_run_goes_on() {
    for scores in [[0.1, 0.9, 0.5, 0.6], [0.1, 0.5, 0.6, 0.9]] {
        let undisturbed = tempfile::tempdir().unwrap();
        let run = Judged::new(scores);
        let expected = run
            .run(&run.data(|_| {}), &options(undisturbed.path(), false))
            .unwrap();
        for number in [1, 3] {
            let folder = tempfile::tempdir().unwrap();
            let actual = Judged::new(scores).interrupted(number, folder.path());
            assert_eq!(actual.report.state, expected.report.state);
            assert_eq!(actual.step, expected.step);
            let [actual, expected] = [&actual, &expected].map(|it| weights::<Inner>(&it.model));
            assert!(actual == expected, "the weights differ");
            assert_eq!(valid_steps(folder.path()), [5, 10, 15, 20]);
        }
    }
}

#[test]
fn a_best_checkpoint_that_was_not_written_is_not_the_best() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Judged::new([0.1, 0.5, 0.9, 0.2]);
    run.config.run.keep_last = 1;
    // A file stands where the checkpoint of step 15 is to be written.
    let obstacle = folder.path().join("checkpoints/.tmp-step-0000015");
    let data = run.data(move |batch| match batch {
        30 => std::fs::write(&obstacle, b"in the way").unwrap(),
        45 => std::fs::remove_file(&obstacle).unwrap(),
        _ => {}
    });
    let tuned = run.run(&data, &options(folder.path(), false)).unwrap();
    assert!(tuned.report.completed);
    assert_eq!((tuned.step, tuned.report.state.step), (10, 20));
    assert_eq!(tuned.report.state.best.unwrap().score, Some(0.5));
}

#[test]
fn without_its_best_checkpoint_a_run_gives_the_last_model() {
    let folder = tempfile::tempdir().unwrap();
    let run = Judged::new([0.1, 0.9, 0.5, 0.6]);
    let data = run.data(|_| {});
    let tuned = run.run(&data, &options(folder.path(), false)).unwrap();
    assert_eq!(tuned.step, 10);
    std::fs::remove_dir_all(folder.path().join("checkpoints/step-0000010")).unwrap();

    run.made.store(3, Ordering::Relaxed);
    let tuned = run.run(&data, &options(folder.path(), true)).unwrap();
    assert_eq!((tuned.step, tuned.scores["accuracy"]), (20, 0.6));
    assert!(tuned.report.completed);
}
