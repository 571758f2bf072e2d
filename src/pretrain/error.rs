//! What can go wrong on the way from text to a model.

use std::path::{Path, PathBuf};

use deberta_data::corpus::CorpusError;
use deberta_data::masking::MaskingError;
use deberta_data::packing::PackError;
use deberta_data::tokenizer::TokenizerError;
use deberta_model::ConfigError;
use deberta_model::checkpoint::CheckpointError;
use deberta_train::run::TrainError;

use crate::hub::HubError;

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
    /// A setting that does not go with the rest of the job.
    #[error("`{setting}` is {found}, expected {expected}")]
    Setting {
        /// Path of the setting in the job.
        setting: String,
        /// Its value.
        found: String,
        /// What would do.
        expected: String,
    },
    /// The checkpoint to start from could not be had.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A resumed run with other text, or from another checkpoint.
    #[error("`{setting}` is not as in {}: a run is resumed with what it began with", path.display())]
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
    /// The corpus, or the part of it that is held out, is too short for even one example.
    #[error(
        "the {part} part of the corpus has too little text for an example of {seq_len} tokens; one in \
         {held_out_every} documents, or in as many runs of 32 KiB of a long one, is held out: give more \
         text, a smaller `corpus.held_out_every`, or files to hold out (--held-out)"
    )]
    TooLittleText {
        /// Which part.
        part: &'static str,
        /// Tokens of an example.
        seq_len: usize,
        /// How documents are held out.
        held_out_every: u64,
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
    /// The model could not be loaded or saved.
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
