//! `metrics.json`: what came out of all seeds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use deberta_train::objective::Scores;
use deberta_train::run::{RunReport, SeedSummary};
use serde::Serialize;

use super::FinetuneError;

/// Name of the file inside a run folder.
pub(super) const METRICS_FILE: &str = "metrics.json";

/// What a run leaves behind.
#[derive(Debug)]
pub struct FinetuneOutcome {
    /// Whether all seeds ran to their end; otherwise the run was stopped and can be resumed.
    pub completed: bool,
    /// How the training of each seed went, as far as this process took part.
    pub reports: Vec<RunReport>,
    /// Metrics of each set of held-out examples; empty if no seed came to its end.
    pub sets: BTreeMap<String, SetOutcome>,
    /// Metrics of each fold, if there are folds; those of all of them together are in `sets`.
    pub folds: Vec<Scores>,
    /// The metric that compares models; larger is better.
    pub main_metric: &'static str,
    /// Examples to train on.
    pub train_examples: usize,
    /// Lines that were left out, of training and of held-out files.
    pub skipped_lines: [u64; 2],
    /// The best model of all seeds with its tokenizer.
    pub model_dir: Option<PathBuf>,
    /// The report.
    pub report_file: Option<PathBuf>,
    /// Time of reading and tokenising.
    pub preparation: Duration,
}

/// Metrics of a set of held-out examples.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SetOutcome {
    /// Number of examples.
    pub examples: usize,
    /// Metrics of always saying what is most frequent in training.
    pub majority: Scores,
    /// Metrics of the best checkpoint of each seed.
    #[serde(flatten)]
    pub summary: SeedSummary,
}

/// What does not depend on how long anything took or how often it was interrupted.
#[derive(Serialize)]
struct MetricsFile<'a> {
    task: &'a str,
    main_metric: &'a str,
    train_examples: usize,
    skipped_lines: [u64; 2],
    sets: &'a BTreeMap<String, SetOutcome>,
    #[serde(skip_serializing_if = "<[Scores]>::is_empty")]
    folds: &'a [Scores],
}

impl FinetuneOutcome {
    /// Writes `metrics.json`.
    pub(super) fn write(&self, task: &str, run_dir: &Path) -> Result<(), FinetuneError> {
        let path = run_dir.join(METRICS_FILE);
        let file = MetricsFile {
            task,
            main_metric: self.main_metric,
            train_examples: self.train_examples,
            skipped_lines: self.skipped_lines,
            sets: &self.sets,
            folds: &self.folds,
        };
        let mut bytes = serde_json::to_vec_pretty(&file).map_err(FinetuneError::json(&path))?;
        bytes.push(b'\n');
        super::write_file(&path, &bytes)
    }
}
