//! `metrics.jsonl`: one line per logged window and per evaluation.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};
use serde::{Deserialize, Serialize};

use super::TrainError;
use crate::checkpoint::TrainState;
use crate::checkpoint::storage::write_atomic;
use crate::metric::StepMetric;

/// Name of the log inside a run folder.
pub(crate) const METRICS_FILE: &str = "metrics.jsonl";

/// A line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricsLine {
    /// Updates made.
    pub step: usize,
    /// `train` or `valid`.
    pub split: String,
    /// Values by name: `loss`, `accuracy`, `perplexity`, `learning_rate`, …
    #[serde(flatten)]
    pub values: BTreeMap<String, f64>,
}

/// Reads the log of a run; a run without one has no lines.
///
/// A line that was cut off when the process was killed is left out.
///
/// # Errors
///
/// [`TrainError::Io`] if the file exists and cannot be read.
pub fn read_metrics(run_dir: &Path) -> Result<Vec<MetricsLine>, TrainError> {
    let path = run_dir.join(METRICS_FILE);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(TrainError::io(&path))?,
    };
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

/// Appends what Burn's metrics report to `metrics.jsonl`.
pub(crate) struct MetricsLog {
    path: PathBuf,
    file: File,
    names: HashMap<MetricId, String>,
    failed: bool,
}

impl MetricsLog {
    /// Opens the log of a run that stands at `state`; later lines, and that of an evaluation which is
    /// still to be made, are removed: the run knows nothing of them any more.
    pub(crate) fn open(run_dir: &Path, state: &TrainState) -> Result<Self, TrainError> {
        let path = run_dir.join(METRICS_FILE);
        let is_known = |line: &&MetricsLine| match line.step == state.step {
            true => line.split != Split::Valid.to_string() || state.is_evaluated(),
            false => line.step < state.step,
        };
        let mut kept = Vec::new();
        for line in read_metrics(run_dir)?.iter().filter(is_known) {
            serde_json::to_writer(&mut kept, line).map_err(TrainError::json(&path))?;
            kept.push(b'\n');
        }
        write_atomic(&path, &kept).map_err(TrainError::io(&path))?;
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(TrainError::io(&path))?;
        Ok(Self {
            path,
            file,
            names: HashMap::new(),
            failed: false,
        })
    }

    fn line(&self, update: &MetricsUpdate, split: &Split) -> Option<MetricsLine> {
        let name = |id: &MetricId| self.names.get(id).map(String::as_str);
        let step = update
            .entries
            .iter()
            .find(|it| name(&it.metric_id) == Some(StepMetric::NAME));
        let values = update.entries_numeric.iter().filter_map(|update| {
            let key = name(&update.entry.metric_id)?
                .to_lowercase()
                .replace(' ', "_");
            let value = update.numeric_entry.current();
            // JSON has no word for other values.
            value.is_finite().then_some((key, value))
        });
        Some(MetricsLine {
            step: step?.serialized_entry.serialized.parse().ok()?,
            split: split.to_string(),
            values: values.collect(),
        })
    }

    /// Appends a line, or nothing at all.
    fn append(&mut self, line: &MetricsLine) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        let length = self.file.metadata()?.len();
        let written = self.file.write_all(&bytes);
        if written.is_err() {
            self.file.set_len(length)?;
        }
        written
    }
}

impl MetricLogger for MetricsLog {
    /// A full disk costs lines of the log but does not end the run.
    fn log(&mut self, update: MetricsUpdate, _epoch: usize, split: &Split) {
        let Some(line) = self.line(&update, split) else {
            return;
        };
        let result = self.append(&line);
        if let (Err(error), false) = (&result, self.failed) {
            log::warn!("cannot write to {}: {error}", self.path.display());
        }
        self.failed = result.is_err();
    }

    /// Burn asks for this to stop early or to choose checkpoints, which the loop does itself.
    fn read_numeric(
        &mut self,
        name: &str,
        epoch: usize,
        _split: &Split,
    ) -> Result<Vec<NumericEntry>, String> {
        Err(format!(
            "{} has no `{name}` of epoch {epoch}: it counts steps",
            self.path.display()
        ))
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.names.insert(definition.metric_id, definition.name);
    }

    /// Evaluations have lines of their own.
    fn log_epoch_summary(&mut self, _summary: EpochSummary) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::train::metric::store::NumericMetricUpdate;
    use burn::train::metric::{MetricEntry, SerializedEntry};
    use std::sync::Arc;

    fn entry(name: &str, serialized: &str) -> MetricEntry {
        let id = MetricId::new(Arc::new(name.to_owned()));
        MetricEntry::new(
            id,
            SerializedEntry::new(String::new(), serialized.to_owned()),
        )
    }

    fn update(step: usize, loss: f64) -> MetricsUpdate {
        let loss = NumericMetricUpdate::new(
            entry("Loss", ""),
            NumericEntry::Value(loss),
            NumericEntry::Value(0.0),
        );
        MetricsUpdate::new(vec![entry(StepMetric::NAME, &step.to_string())], vec![loss])
    }

    fn open(dir: &Path, step: usize) -> MetricsLog {
        let mut state = TrainState::start(1, 100);
        state.step = step;
        open_at(dir, &state)
    }

    fn open_at(dir: &Path, state: &TrainState) -> MetricsLog {
        let mut log = MetricsLog::open(dir, state).unwrap();
        for name in [StepMetric::NAME, "Loss"] {
            log.names
                .insert(MetricId::new(Arc::new(name.to_owned())), name.to_owned());
        }
        log
    }

    fn losses(dir: &Path) -> Vec<(usize, Option<f64>)> {
        let lines = read_metrics(dir).unwrap();
        lines
            .iter()
            .map(|line| (line.step, line.values.get("loss").copied()))
            .collect()
    }

    #[test]
    fn a_resumed_run_forgets_what_came_after_its_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), 0);
        for step in [10, 20, 30] {
            log.log(update(step, 0.1 * step as f64), 1, &Split::Train);
        }
        drop(log);
        // The process was killed in the middle of a line.
        let path = dir.path().join(METRICS_FILE);
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{\"step\": 4");
        fs::write(&path, text).unwrap();

        let mut log = open(dir.path(), 20);
        log.log(update(25, 2.5), 1, &Split::Valid);

        let expected = [
            (10, Some(0.1 * 10.0)),
            (20, Some(0.1 * 20.0)),
            (25, Some(2.5)),
        ];
        assert_eq!(losses(dir.path()), expected);
        assert_eq!(read_metrics(dir.path()).unwrap()[2].split, "valid");
    }

    #[test]
    fn an_evaluation_that_will_be_made_again_has_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), 0);
        for split in [Split::Train, Split::Valid] {
            log.log(update(10, 1.0), 1, &split);
        }
        let mut state = TrainState::start(1, 100);
        state.step = 10;
        state.evaluated_step = Some(10);
        open_at(dir.path(), &state);
        assert_eq!(losses(dir.path()).len(), 2);

        state.evaluated_step = Some(5);
        open_at(dir.path(), &state);
        assert_eq!(read_metrics(dir.path()).unwrap()[0].split, "train");
        assert_eq!(losses(dir.path()).len(), 1);
    }

    #[test]
    fn what_json_cannot_say_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), 0).log(update(1, f64::NAN), 1, &Split::Train);
        assert_eq!(losses(dir.path()), [(1, None)]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_does_not_end_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), 0);
        log.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        log.log(update(1, 1.0), 1, &Split::Train);
        assert!(log.failed);

        log.file = OpenOptions::new().append(true).open(&log.path).unwrap();
        log.log(update(2, 2.0), 1, &Split::Train);
        assert_eq!(losses(dir.path()), [(2, Some(2.0))]);
    }
}
