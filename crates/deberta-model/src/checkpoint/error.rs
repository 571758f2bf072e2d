//! What can go wrong with a checkpoint.

use std::path::{Path, PathBuf};

use crate::config::ConfigError;
use crate::precision::UnsupportedFloat;
use crate::vocabulary::VocabularyShrinks;

/// A checkpoint that could not be read into a network, or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file could not be read or written.
    #[error("cannot access {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The configuration is not usable.
    #[error("{}: {source}", path.display())]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// The float type that was asked for is not to be had.
    #[error(transparent)]
    Float(#[from] UnsupportedFloat),
    /// The weights are not a safetensors file.
    #[error("{} is not a valid safetensors file: {source}", path.display())]
    Safetensors {
        /// The weights file.
        path: PathBuf,
        /// What the parser said.
        source: safetensors::SafeTensorError,
    },
    /// The weights are not a file that PyTorch wrote, or one that is damaged.
    #[error("{} is not a valid PyTorch weights file: {problem}", path.display())]
    PyTorch {
        /// The weights file.
        path: PathBuf,
        /// What the parser said.
        problem: String,
    },
    /// The list of the parts of a large model is not usable.
    #[error("{} is not a valid list of weights files: {problem}", path.display())]
    Index {
        /// The list.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A tensor cannot be used as it is.
    #[error("{}: tensor `{name}` {problem}", path.display())]
    Tensor {
        /// The weights file.
        path: PathBuf,
        /// Name in the file.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The word table would lose rows.
    #[error("{}: {source}", path.display())]
    Vocabulary {
        /// The weights file.
        path: PathBuf,
        /// How many rows there are and were asked for.
        source: VocabularyShrinks,
    },
    /// Two tensors claim to be the same parameter.
    #[error("{}: both {} are the parameter `{parameter}`", path.display(), tensors.join(" and "))]
    Duplicate {
        /// The weights file, or the list of its parts.
        path: PathBuf,
        /// Name of the parameter, in the Hub's spelling.
        parameter: String,
        /// Both tensors, each with its file.
        tensors: [String; 2],
    },
    /// Names or shapes do not fit the network; every mismatch is listed.
    #[error("{} does not fit the network{}", path.display(), Mismatches(missing, unexpected, wrong_shape))]
    Mismatch {
        /// The weights file.
        path: PathBuf,
        /// Parameters that the network has and the file lacks, in the Hub's names.
        missing: Vec<String>,
        /// Tensors that the file has and the network lacks, in the file's names.
        unexpected: Vec<String>,
        /// Tensors of another shape or type than expected, described.
        wrong_shape: Vec<String>,
    },
}

/// The three lists of a mismatch, the empty ones left out.
struct Mismatches<'a>(&'a [String], &'a [String], &'a [String]);

impl std::fmt::Display for Mismatches<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lists = [
            ("missing", self.0),
            ("unexpected", self.1),
            ("of the wrong shape or type", self.2),
        ];
        for (what, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
            write!(f, "\n  {} {what}: {}", names.len(), names.join(", "))?;
        }
        Ok(())
    }
}

pub(crate) fn io_error(path: &Path, source: std::io::Error) -> CheckpointError {
    CheckpointError::Io {
        path: path.into(),
        source,
    }
}
