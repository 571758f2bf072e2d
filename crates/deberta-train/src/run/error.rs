//! What ends a run before its time.

use std::path::{Path, PathBuf};

use super::SourceError;
use crate::checkpoint::CheckpointError;

/// A run that could not start, go on or end properly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A number in the configuration makes no sense.
    #[error("`{field}` = {value}, expected {expected}")]
    Setting {
        /// Path of the field in the configuration.
        field: &'static str,
        /// Its value as text.
        value: String,
        /// The values that are allowed.
        expected: &'static str,
    },
    /// The configuration of the network makes no sense.
    #[error("the configuration of the model is not usable")]
    Model(#[from] deberta_model::ConfigError),
    /// A file or folder of the run could not be read or written.
    #[error("cannot access {}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A JSON file of the run does not parse.
    #[error("cannot understand {}", path.display())]
    Json {
        /// File that was read.
        path: PathBuf,
        /// Where and why parsing failed.
        source: serde_json::Error,
    },
    /// A checkpoint could not be written at the end, or none can be used to resume.
    #[error("cannot save or restore the run")]
    Checkpoint(#[source] CheckpointError),
    /// A new run was to start in a folder that holds another.
    #[error("{} already holds a run; resume it or choose another folder", path.display())]
    RunExists {
        /// The run folder.
        path: PathBuf,
    },
    /// Another process trains in the folder, or another run of this one does.
    #[error("another run trains in {}; wait for its end or choose another folder", path.display())]
    RunInUse {
        /// The run folder.
        path: PathBuf,
    },
    /// The run to resume was started with a setting that cannot change.
    #[error("`{field}` is {now}, but the run in {} was started with {then}", path.display())]
    Changed {
        /// Path of the field in the configuration.
        field: String,
        /// Value now.
        now: String,
        /// Value in the checkpoint.
        then: String,
        /// Folder of the checkpoint.
        path: PathBuf,
    },
    /// There is nothing to train or evaluate on.
    #[error("the {split} examples are empty")]
    NoExamples {
        /// `training` or `held-out`.
        split: &'static str,
    },
    /// Examples could not be read.
    #[error("cannot read the {split} examples")]
    Data {
        /// `training` or `held-out`, or `given` of those to predict.
        split: &'static str,
        /// What the source said.
        source: SourceError,
    },
    /// A network could not be built for one of several runs.
    #[error("cannot build the network")]
    Build(#[source] SourceError),
    /// Predictions could not be scored.
    #[error("cannot score the predictions")]
    Metric(#[source] SourceError),
    /// The metric that chooses the best checkpoint is not among those of the task.
    #[error("there is no metric `{name}` to choose by, only {}", known.join(", "))]
    UnknownMetric {
        /// Its name.
        name: String,
        /// Metrics of the task.
        known: Vec<String>,
    },
    /// The loss is no longer a finite number; no checkpoint was written of it.
    #[error("the loss is {loss_nats} at step {step}; try a lower learning rate")]
    Diverged {
        /// Step at which it was noticed.
        step: usize,
        /// The loss.
        loss_nats: f64,
    },
    /// Gradients are no longer finite numbers, in f16 at any scale of the loss; no checkpoint was
    /// written of the parameters that they led to.
    #[error("the gradients overflow at step {step}; try a lower learning rate")]
    Overflow {
        /// Step at which it was noticed.
        step: usize,
    },
    /// A run among several was stopped before its end, and the result needs all of them.
    #[error("stopped; resume to go on")]
    Stopped,
    /// The device failed.
    #[error("the device failed at step {step}: {message}")]
    Device {
        /// Step at which it was noticed.
        step: usize,
        /// What the backend said.
        message: String,
    },
    /// The learning curve could not be drawn.
    #[error("cannot draw the learning curve: {message}")]
    Picture {
        /// Why.
        message: String,
    },
    /// The handler of Ctrl-C could not be installed.
    #[error("cannot listen to Ctrl-C")]
    Signal(#[source] std::io::Error),
}

impl From<CheckpointError> for TrainError {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::InUse { path } => Self::RunInUse { path },
            error => Self::Checkpoint(error),
        }
    }
}

impl TrainError {
    /// Adapter for `map_err` on input and output.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    /// Adapter for `map_err` on JSON.
    pub(crate) fn json(path: &Path) -> impl FnOnce(serde_json::Error) -> Self + '_ {
        move |source| Self::Json {
            path: path.to_owned(),
            source,
        }
    }
}
