//! `report.md`: the metrics as tables and pictures.

use std::path::PathBuf;

use deberta_data::task::{Example, Prediction, Target, Task};
use deberta_train::objective::Scores;
use deberta_train::report::{confusion_matrix, learning_curve, score_curve};
use deberta_train::run::read_metrics;

use super::scoring::EncodedSet;
use super::{FinetuneError, FinetuneJob, FinetuneOutcome, SetOutcome, seed_dir};

/// Name of the page inside a run folder.
const REPORT_FILE: &str = "report.md";
/// Names of the pictures beside it.
const CURVE_FILE: &str = "curve.svg";
const SCORES_FILE: &str = "scores.svg";
const CONFUSION_FILE: &str = "confusion.svg";

/// A matrix of more labels is a carpet.
const MAX_MATRIX_LABELS: usize = 32;

/// What the page is about.
pub(super) struct Page<'a> {
    pub(super) job: &'a FinetuneJob,
    pub(super) task: &'a Task,
    pub(super) run_dir: &'a std::path::Path,
    pub(super) outcome: &'a FinetuneOutcome,
    pub(super) best_seed: u64,
    /// What the best model says about `set`.
    pub(super) predictions: &'a [Prediction],
    /// The set that chose it.
    pub(super) set: &'a EncodedSet,
}

/// Writes page and pictures into the run folder, and returns the page's path.
pub(super) fn write(page: &Page<'_>) -> Result<PathBuf, FinetuneError> {
    let lines = read_metrics(&seed_dir(page.job, page.run_dir, page.best_seed))?;
    let mut pictures = vec![("Loss", CURVE_FILE, learning_curve(&lines, &[])?)];
    // A metric that was never a number has no curve.
    if let Ok(picture) = score_curve(&lines, page.outcome.main_metric) {
        pictures.push((page.outcome.main_metric, SCORES_FILE, picture));
    }
    if let Some(counts) = page.confusion() {
        let picture = confusion_matrix(page.task.labels(), &counts)?;
        pictures.push(("Confusion matrix", CONFUSION_FILE, picture));
    }
    let mut text = page.text();
    for (title, name, picture) in pictures {
        super::write_file(&page.run_dir.join(name), picture.as_bytes())?;
        text += &format!("\n![{title}]({name})\n");
    }
    let path = page.run_dir.join(REPORT_FILE);
    super::write_file(&path, text.as_bytes())?;
    Ok(path)
}

impl Page<'_> {
    fn text(&self) -> String {
        let outcome = self.outcome;
        let mut text = format!(
            "# {} from {}{}{}\n\n{} training examples, {} steps, seeds {:?}.\n",
            self.task.name(),
            self.job.model.path,
            if self.job.model.random_encoder {
                ", random weights"
            } else {
                ""
            },
            if self.job.train.sift.is_some() {
                ", with SiFT"
            } else {
                ""
            },
            outcome.train_examples,
            outcome.reports.first().map_or(0, |it| it.state.step),
            self.job.seeds,
        );
        let [train, held_out] = outcome.skipped_lines;
        if train + held_out > 0 {
            text += &format!(
                "{train} lines of the training files and {held_out} of the others were skipped.\n"
            );
        }
        for (name, set) in &outcome.sets {
            text += &format!("\n## {name}: {} examples\n\n{}", set.examples, table(set));
        }
        text += &format!(
            "\nEach seed at the checkpoint with the best {}; `majority` always says what is most \
             frequent in training. The pictures show seed {}.\n",
            outcome.main_metric, self.best_seed
        );
        text
    }

    /// How often each label was predicted for each, by reference and prediction.
    fn confusion(&self) -> Option<Vec<Vec<u64>>> {
        let labels = self.task.labels().len();
        if !(2..=MAX_MATRIX_LABELS).contains(&labels) {
            return None;
        }
        let mut counts = vec![vec![0; labels]; labels];
        for (prediction, example) in self.predictions.iter().zip(self.set.examples.iter()) {
            match (prediction, example) {
                (Prediction::Label(given), Example::Sequence(example)) => {
                    let Some(Target::Label(label)) = example.target else {
                        return None;
                    };
                    counts[label][*given] += 1;
                }
                (Prediction::Tags(given), Example::Tokens(example)) => {
                    for (given, tag) in given.iter().zip(example.tags.iter().flatten()) {
                        counts[*tag][*given] += 1;
                    }
                }
                _ => return None,
            }
        }
        Some(counts)
    }
}

/// Metrics by seed, with mean and deviation if there are several.
fn table(set: &SetOutcome) -> String {
    let names: Vec<&String> = set.summary.mean.keys().collect();
    let header: Vec<&str> = names.iter().map(|it| it.as_str()).collect();
    let mut table = format!("| | step | {} |\n|---|--:|", header.join(" | "));
    table += &"--:|".repeat(names.len());
    table.push('\n');
    let mut row = |name: &str, step: &str, scores: &Scores| {
        let cells = names.iter().map(|name| match scores.get(*name) {
            Some(value) => format!("{value:.4}"),
            None => String::new(),
        });
        let cells: Vec<String> = cells.collect();
        table += &format!("| {name} | {step} | {} |\n", cells.join(" | "));
    };
    row("majority", "", &set.majority);
    for run in &set.summary.runs {
        row(
            &format!("seed {}", run.seed),
            &run.step.to_string(),
            &run.scores,
        );
    }
    if set.summary.runs.len() > 1 {
        row("**mean**", "", &set.summary.mean);
        row("deviation", "", &set.summary.deviation);
    }
    table
}
