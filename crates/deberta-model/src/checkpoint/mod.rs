//! Weights in the Hub layout: `config.json` and `model.safetensors`.
//!
//! Also read: `model.safetensors.index.json` and `pytorch_model.bin.index.json` with their parts,
//! `pytorch_model.bin` and Microsoft's `pytorch.model.bin`, in f64, f32, f16 or bf16. Of several, the
//! first in this order is taken: safetensors, safetensors in parts, PyTorch, PyTorch in parts,
//! Microsoft's.

use std::path::{Path, PathBuf};

use crate::config::ConfigError;

mod files;
mod load;
mod names;
mod save;

pub use load::{Compatibility, load_masked_lm, load_model, load_task_model};
pub use save::{hub_tensors, save_masked_lm, save_task_model};

/// File name of the configuration.
pub const CONFIG_FILE: &str = "config.json";
/// File name of the weights.
pub const WEIGHTS_FILE: &str = "model.safetensors";

/// A checkpoint that could not be read into a network, or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file could not be read or written.
    #[error("cannot access {}", path.display())]
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
    /// Names or shapes do not fit the network; every mismatch is listed.
    #[error("{} does not fit the network{}", path.display(), Mismatches(missing, unexpected, wrong_shape))]
    Mismatch {
        /// The weights file.
        path: PathBuf,
        /// Parameters that the network has and the file lacks, in the network's names.
        missing: Vec<String>,
        /// Tensors that the file has and the network lacks, in the file's names.
        unexpected: Vec<String>,
        /// Tensors of another shape than expected, described.
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
            ("of the wrong shape", self.2),
        ];
        for (what, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
            write!(f, "\n  {} {what}: {}", names.len(), names.join(", "))?;
        }
        Ok(())
    }
}

fn io_error(path: &Path, source: std::io::Error) -> CheckpointError {
    CheckpointError::Io {
        path: path.into(),
        source,
    }
}
