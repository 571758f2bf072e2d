//! What can go wrong with a checkpoint.

use std::path::{Path, PathBuf};

/// A checkpoint that could not be written or must not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file or folder could not be read or written; a full disk ends here.
    #[error("cannot access {}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is shorter or longer than it was written.
    #[error("{} is damaged: {found} bytes instead of {expected}", path.display())]
    Length {
        /// File that was read.
        path: PathBuf,
        /// Bytes written.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// A file has the right length but other content than was written.
    #[error("{} is damaged: its SHA-256 is {found} instead of {expected}", path.display())]
    Checksum {
        /// File that was read.
        path: PathBuf,
        /// Checksum of what was written.
        expected: String,
        /// Checksum of what was read.
        found: String,
    },
    /// A JSON file does not parse.
    #[error("cannot understand {}", path.display())]
    Json {
        /// File that was read.
        path: PathBuf,
        /// Where and why parsing failed.
        source: serde_json::Error,
    },
    /// The manifest does not list a file that belongs to every checkpoint.
    #[error("{} does not list `{file}`", path.display())]
    NotListed {
        /// Path of the manifest.
        path: PathBuf,
        /// File that is missing from it.
        file: &'static str,
    },
    /// The checkpoint was written in a format that this version does not read.
    #[error("{} has format version {found}, this program reads {supported}", path.display())]
    Version {
        /// Path of the manifest.
        path: PathBuf,
        /// Version found.
        found: u32,
        /// Version understood.
        supported: u32,
    },
    /// Folder name, manifest and state do not agree on the step.
    #[error("{} says step {found}, expected {expected}", path.display())]
    Step {
        /// File that disagrees.
        path: PathBuf,
        /// Step in the name of the folder.
        expected: usize,
        /// Step in the file.
        found: usize,
    },
    /// Burn could not turn a record into bytes or back.
    #[error("cannot convert the record of the {what}")]
    Record {
        /// `model` or `optimizer`.
        what: &'static str,
        /// What the recorder said.
        source: burn::record::RecorderError,
    },
    /// Another process, or another run of this one, trains in the folder.
    #[error("{} is in use by another run", path.display())]
    InUse {
        /// The run folder.
        path: PathBuf,
    },
    /// Checkpoints exist, but none of them may be used.
    #[error("none of the {count} checkpoints in {} is usable", dir.display())]
    NoneValid {
        /// Folder with the checkpoints.
        dir: PathBuf,
        /// Checkpoints that were tried.
        count: usize,
        /// Why the latest one is refused.
        source: Box<CheckpointError>,
    },
}

/// An error and what caused it, on one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

impl CheckpointError {
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
