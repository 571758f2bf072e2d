//! The list of files that makes damage visible.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
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

/// Passes on what is written, counting and hashing it.
pub(crate) struct Hashing<W> {
    inner: W,
    bytes: u64,
    digest: Sha256,
}

impl<W: Write> Hashing<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self {
            inner,
            bytes: 0,
            digest: Sha256::new(),
        }
    }

    /// What was written through, and what describes it.
    fn into_parts(self) -> (W, FileEntry) {
        let entry = FileEntry {
            bytes: self.bytes,
            sha256: hex(self.digest),
        };
        (self.inner, entry)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Manifest {
    /// Describes no file yet of the checkpoint made at `step`.
    pub(crate) fn new(step: usize) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            step,
            files: BTreeMap::new(),
        }
    }

    /// Adds a file that was written; returns it.
    pub(crate) fn add<W: Write>(&mut self, name: &'static str, written: Hashing<W>) -> W {
        let (file, entry) = written.into_parts();
        self.files.insert(name.to_owned(), entry);
        file
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
        let path = dir.join(name);
        let mut bytes = Vec::new();
        self.compare(dir, name, |hashing| {
            bytes = fs::read(&path)?;
            hashing.write_all(&bytes)
        })?;
        Ok(bytes)
    }

    /// Compares a file of the checkpoint in `dir` with its entry, without keeping it in memory.
    pub(crate) fn verify(&self, dir: &Path, name: &'static str) -> Result<(), CheckpointError> {
        let path = dir.join(name);
        self.compare(dir, name, |hashing| {
            io::copy(&mut File::open(&path)?, hashing).map(drop)
        })
    }

    /// - `read`: hands all bytes of the file to the hash
    fn compare(
        &self,
        dir: &Path,
        name: &'static str,
        read: impl FnOnce(&mut Hashing<io::Sink>) -> io::Result<()>,
    ) -> Result<(), CheckpointError> {
        let entry = self
            .files
            .get(name)
            .ok_or_else(|| CheckpointError::NotListed {
                path: dir.join(MANIFEST),
                file: name,
            })?;
        let path = dir.join(name);
        let mut hashing = Hashing::new(io::sink());
        read(&mut hashing).map_err(CheckpointError::io(&path))?;
        let (_, found) = hashing.into_parts();
        if found.bytes != entry.bytes {
            return Err(CheckpointError::Length {
                path,
                expected: entry.bytes,
                found: found.bytes,
            });
        }
        if found.sha256 != entry.sha256 {
            return Err(CheckpointError::Checksum {
                path,
                expected: entry.sha256.clone(),
                found: found.sha256,
            });
        }
        Ok(())
    }
}

fn hex(digest: Sha256) -> String {
    let digest = digest.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
