//! The list of files that makes damage visible.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::CheckpointError;

/// Name of the manifest inside a checkpoint.
pub(crate) const MANIFEST: &str = "manifest.json";

/// Format that is written, and the only one that is read.
const FORMAT_VERSION: u32 = 1;

/// Length and checksum of every file of a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format_version: u32,
    step: usize,
    files: BTreeMap<String, FileEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    bytes: u64,
    sha256: String,
}

impl Manifest {
    /// Describes `files` of the checkpoint made at `step`.
    pub(crate) fn describe(step: usize, files: &[(&'static str, &[u8])]) -> Self {
        let entry = |(name, bytes): &(&'static str, &[u8])| {
            let entry = FileEntry {
                bytes: bytes.len() as u64,
                sha256: sha256(bytes),
            };
            (name.to_string(), entry)
        };
        Self {
            format_version: FORMAT_VERSION,
            step,
            files: files.iter().map(entry).collect(),
        }
    }

    /// Reads the manifest of the checkpoint in `dir`, which was made at `step`.
    pub(crate) fn read(dir: &Path, step: usize) -> Result<Self, CheckpointError> {
        let path = dir.join(MANIFEST);
        let bytes = fs::read(&path).map_err(CheckpointError::io(&path))?;
        let manifest: Self =
            serde_json::from_slice(&bytes).map_err(CheckpointError::json(&path))?;
        if manifest.format_version != FORMAT_VERSION {
            let (found, supported) = (manifest.format_version, FORMAT_VERSION);
            return Err(CheckpointError::Version {
                path,
                found,
                supported,
            });
        }
        if manifest.step != step {
            return Err(CheckpointError::Step {
                path,
                expected: step,
                found: manifest.step,
            });
        }
        Ok(manifest)
    }

    /// Reads a file of the checkpoint in `dir` and compares it with its entry.
    pub(crate) fn read_file(
        &self,
        dir: &Path,
        name: &'static str,
    ) -> Result<Vec<u8>, CheckpointError> {
        let entry = self
            .files
            .get(name)
            .ok_or_else(|| CheckpointError::NotListed {
                path: dir.join(MANIFEST),
                file: name,
            })?;
        let path = dir.join(name);
        let bytes = fs::read(&path).map_err(CheckpointError::io(&path))?;
        if bytes.len() as u64 != entry.bytes {
            let (expected, found) = (entry.bytes, bytes.len() as u64);
            return Err(CheckpointError::Length {
                path,
                expected,
                found,
            });
        }
        let found = sha256(&bytes);
        if found != entry.sha256 {
            let expected = entry.sha256.clone();
            return Err(CheckpointError::Checksum {
                path,
                expected,
                found,
            });
        }
        Ok(bytes)
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
