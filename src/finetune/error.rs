//! What can go wrong on the way from labelled examples to predictions.

use std::path::{Path, PathBuf};

use deberta_data::task::{ScoreError, TaskError};
use deberta_data::tokenizer::TokenizerError;
use deberta_model::ConfigError;
use deberta_model::checkpoint::CheckpointError;
use deberta_train::run::TrainError;

use crate::VocabularyMismatch;
use crate::hub::HubError;

/// A fine-tuning run, an evaluation or a prediction that could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinetuneError {
    /// A file or folder could not be accessed.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The job is not valid JSON, or a setting does not exist.
    #[error("{}: {message}", path.display())]
    Job {
        /// The file, or the setting on the command line.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A setting that makes no sense.
    #[error("`{setting}` is {found}, expected {expected}")]
    Setting {
        /// Path of the setting in the job.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What would be accepted.
        expected: String,
    },
    /// A resumed run with other examples or another model.
    #[error("`{setting}` is not as in {}: a run is resumed as it began", path.display())]
    Changed {
        /// The job that the run began with.
        path: PathBuf,
        /// The part of the job that differs.
        setting: &'static str,
    },
    /// A recipe that does not exist.
    #[error("unknown recipe `{name}`, expected one of {known}")]
    UnknownRecipe {
        /// What was asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// The tokenizer has ids that the network has no row for.
    #[error(transparent)]
    VocabularyMismatch(#[from] VocabularyMismatch),
    /// A checkpoint whose labels are not those of the task.
    #[error("{}: the labels of the model are {found}, expected {expected}", dir.display())]
    Labels {
        /// The checkpoint folder.
        dir: PathBuf,
        /// Labels of the checkpoint.
        found: String,
        /// Labels of the task.
        expected: String,
    },
    /// An example that the head cannot take.
    #[error("example `{id}`: found {found}, expected {expected}")]
    Example {
        /// The example.
        id: String,
        /// What is wrong with it.
        found: String,
        /// What would be accepted.
        expected: String,
    },
    /// A text of an example could not be tokenised.
    #[error("example `{id}`")]
    Encode {
        /// The example.
        id: String,
        /// What is wrong.
        source: TokenizerError,
    },
    /// Files of the task could not be read.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// Predictions could not be scored or written.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// The model could not be found or downloaded.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The tokenizer could not be opened or saved.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The network cannot be built.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The model could not be loaded or saved.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl FinetuneError {
    /// Adds the path to what the operating system said.
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            path: path.into(),
            source,
        }
    }

    /// Adds the path to what is wrong with a JSON file.
    pub(super) fn json(path: &Path) -> impl FnOnce(serde_json::Error) -> Self {
        move |error| Self::Job {
            path: path.into(),
            message: error.to_string(),
        }
    }
}
