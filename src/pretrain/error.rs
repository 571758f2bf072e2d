//! What can go wrong on the way from text to a model.

use std::path::{Path, PathBuf};

use deberta_data::corpus::CorpusError;
use deberta_data::masking::MaskingError;
use deberta_data::packing::PackError;
use deberta_data::tokenizer::TokenizerError;
use deberta_model::ConfigError;
use deberta_model::checkpoint::CheckpointError;
use deberta_train::run::TrainError;

/// A pre-training run that could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PretrainError {
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
    /// A resumed run with other text.
    #[error("`{setting}` is not as in {}: a run is resumed on the text it began with", path.display())]
    Changed {
        /// The job that the run began with.
        path: PathBuf,
        /// The part of the job that differs.
        setting: &'static str,
    },
    /// A model size that does not exist.
    #[error("unknown model size `{name}`, expected one of {}", expected.join(", "))]
    UnknownSize {
        /// What was asked for.
        name: String,
        /// What there is.
        expected: Vec<&'static str>,
    },
    /// The corpus has too little text for even one example to train on and one held out.
    #[error(
        "the corpus has {train} examples to train on and {held_out} held out, expected at least one of each"
    )]
    TooLittleText {
        /// Examples to train on.
        train: usize,
        /// Examples held out.
        held_out: usize,
    },
    /// The corpus could not be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The tokenizer could not be opened or trained.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The corpus could not be packed.
    #[error(transparent)]
    Packing(#[from] PackError),
    /// The masking settings make no sense.
    #[error(transparent)]
    Masking(#[from] MaskingError),
    /// The network cannot be built.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The model could not be saved.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl PretrainError {
    /// Adds the path to what the operating system said.
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            path: path.into(),
            source,
        }
    }
}
