//! The folder of checkpoints: saving, loading, falling back, tidying.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use burn::record::Record;
use burn::tensor::backend::Backend;
use serde::Serialize;

use super::manifest::{Hashing, MANIFEST, Manifest};
use super::record::read_record;
use super::storage::{Disk, Storage, sync_dir};
use super::{CheckpointError, TrainState, with_causes};

const MODEL: &str = "model.mpk";
const OPTIMIZER: &str = "optimizer.mpk";
const STATE: &str = "state.json";
const CONFIG: &str = "config.json";

/// File of a run folder that whoever trains there has locked.
const LOCK: &str = ".lock";

/// Folders of this kind are unfinished or on their way out, never checkpoints.
const TEMP_PREFIX: &str = ".tmp-";

/// A checkpoint without its records of model and optimiser.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Where the run stands.
    pub state: TrainState,
    /// Resolved configuration of the run, as JSON.
    pub config: serde_json::Value,
}

/// The newest usable checkpoint, and those that had to be passed over.
#[derive(Debug)]
pub struct Restored {
    /// What to continue from.
    pub checkpoint: Checkpoint,
    /// Folder it was read from.
    pub path: PathBuf,
    /// Why each newer checkpoint was refused, newest first.
    pub rejected: Vec<CheckpointError>,
}

impl Restored {
    /// The record of the model, whose bytes were verified.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or belongs to another kind of model.
    pub fn model<B: Backend, R: Record<B>>(
        &self,
        device: &B::Device,
    ) -> Result<R, CheckpointError> {
        read_record("model", &self.path.join(MODEL), device)
    }

    /// The record of the optimiser, whose bytes were verified.
    ///
    /// # Errors
    ///
    /// As [`Self::model`].
    pub fn optimizer<B: Backend, R: Record<B>>(
        &self,
        device: &B::Device,
    ) -> Result<R, CheckpointError> {
        read_record("optimizer", &self.path.join(OPTIMIZER), device)
    }
}

/// The checkpoints of one run, locked for as long as this lives.
pub struct CheckpointStore {
    dir: PathBuf,
    keep_last: usize,
    storage: Box<dyn Storage>,
    /// The system unlocks it when the process ends, however it ends.
    _lock: Option<File>,
}

impl CheckpointStore {
    /// Opens the checkpoints below a run folder; what an interrupted save left is removed.
    ///
    /// - `keep_last`: newest checkpoints that are kept, at least one; the best is kept besides
    ///
    /// # Errors
    ///
    /// [`CheckpointError::InUse`] if another store of the folder is open, in whatever process, and
    /// [`CheckpointError::Io`] if the folder cannot be created or read.
    pub fn open(run_dir: &Path, keep_last: usize) -> Result<Self, CheckpointError> {
        let dir = checkpoints_dir(run_dir);
        fs::create_dir_all(&dir).map_err(CheckpointError::io(&dir))?;
        let store = Self {
            _lock: lock(run_dir)?,
            dir,
            keep_last: keep_last.max(1),
            storage: Box::new(Disk),
        };
        let names = names_in(&store.dir)?;
        for name in names.iter().filter(|name| name.starts_with(TEMP_PREFIX)) {
            store.remove(&store.dir.join(name));
        }
        Ok(store)
    }

    /// Folder of the checkpoint made at `step`.
    pub fn path(&self, step: usize) -> PathBuf {
        self.dir.join(format!("step-{step:07}"))
    }

    /// Steps of all checkpoints, in ascending order.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`] if the folder cannot be read.
    pub fn steps(&self) -> Result<Vec<usize>, CheckpointError> {
        steps_in(&self.dir)
    }

    /// Writes a checkpoint, then removes those that need not be kept.
    ///
    /// - `model`, `optimizer`: write their records, see [`write_record`](super::write_record), one after
    ///   the other
    ///
    /// # Errors
    ///
    /// Any error leaves the older checkpoints as they were, and nothing of the new one.
    pub fn save(
        &self,
        checkpoint: &Checkpoint,
        model: impl FnOnce(&mut dyn Write) -> io::Result<()>,
        optimizer: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<PathBuf, CheckpointError> {
        let step = checkpoint.state.step;
        let temp = self.dir.join(format!("{TEMP_PREFIX}step-{step:07}"));
        let written = self
            .write_files(&temp, checkpoint, model, optimizer)
            .and_then(|()| self.publish(&temp, step));
        match written {
            Ok(path) => {
                self.tidy(&checkpoint.state)?;
                Ok(path)
            }
            Err(error) => {
                self.remove(&temp);
                Err(error)
            }
        }
    }

    /// Reads the checkpoint made at `step` and verifies every byte, also of the records.
    ///
    /// # Errors
    ///
    /// The first damage found, naming the file.
    pub fn load(&self, step: usize) -> Result<Checkpoint, CheckpointError> {
        let dir = self.path(step);
        let manifest = Manifest::read(&dir, step)?;
        let state_path = dir.join(STATE);
        let state: TrainState = serde_json::from_slice(&manifest.read_file(&dir, STATE)?)
            .map_err(CheckpointError::json(&state_path))?;
        if state.step != step {
            let found = state.step;
            return Err(CheckpointError::Step {
                path: state_path,
                expected: step,
                found,
            });
        }
        let config = serde_json::from_slice(&manifest.read_file(&dir, CONFIG)?)
            .map_err(CheckpointError::json(&dir.join(CONFIG)))?;
        manifest.verify(&dir, MODEL)?;
        manifest.verify(&dir, OPTIMIZER)?;
        Ok(Checkpoint { state, config })
    }

    /// Reads the model of the checkpoint made at `step`, and nothing but that.
    ///
    /// # Errors
    ///
    /// If the file is damaged, or belongs to another kind of model.
    pub fn load_model<B: Backend, R: Record<B>>(
        &self,
        step: usize,
        device: &B::Device,
    ) -> Result<R, CheckpointError> {
        let dir = self.path(step);
        Manifest::read(&dir, step)?.verify(&dir, MODEL)?;
        read_record("model", &dir.join(MODEL), device)
    }

    /// Reads the newest checkpoint that is undamaged; `None` if there is none at all.
    ///
    /// Each one that is passed over is reported as a warning, too.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::NoneValid`] if there are checkpoints and all of them are damaged.
    pub fn latest_valid(&self) -> Result<Option<Restored>, CheckpointError> {
        let mut rejected = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            let path = self.path(step);
            match self.load(step) {
                Ok(checkpoint) => {
                    return Ok(Some(Restored {
                        checkpoint,
                        path,
                        rejected,
                    }));
                }
                Err(error) => {
                    let reason = with_causes(&error);
                    log::warn!("checkpoint {} is not used: {reason}", path.display());
                    rejected.push(error);
                }
            }
        }
        let count = rejected.len();
        match rejected.into_iter().next() {
            None => Ok(None),
            Some(newest) => Err(CheckpointError::NoneValid {
                dir: self.dir.clone(),
                count,
                source: Box::new(newest),
            }),
        }
    }

    fn write_files(
        &self,
        temp: &Path,
        checkpoint: &Checkpoint,
        model: impl FnOnce(&mut dyn Write) -> io::Result<()>,
        optimizer: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CheckpointError> {
        if temp.exists() {
            fs::remove_dir_all(temp).map_err(CheckpointError::io(temp))?;
        }
        fs::create_dir(temp).map_err(CheckpointError::io(temp))?;
        let state = to_json(&temp.join(STATE), &checkpoint.state)?;
        let config = to_json(&temp.join(CONFIG), &checkpoint.config)?;

        let mut manifest = Manifest::new(checkpoint.state.step);
        self.write_file(temp, MODEL, &mut manifest, model)?;
        self.write_file(temp, OPTIMIZER, &mut manifest, optimizer)?;
        self.write_file(temp, STATE, &mut manifest, |file| file.write_all(&state))?;
        self.write_file(temp, CONFIG, &mut manifest, |file| file.write_all(&config))?;

        let path = temp.join(MANIFEST);
        let bytes = to_json(&path, &manifest)?;
        let write = || {
            let mut file = self.storage.create(&path)?;
            file.write_all(&bytes)?;
            file.finish()
        };
        write().map_err(CheckpointError::io(&path))?;
        sync_dir(temp).map_err(CheckpointError::io(temp))
    }

    /// Writes a file and enters it into the manifest.
    fn write_file(
        &self,
        temp: &Path,
        name: &'static str,
        manifest: &mut Manifest,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CheckpointError> {
        let path = temp.join(name);
        let write = || {
            let mut file = Hashing::new(self.storage.create(&path)?);
            content(&mut file)?;
            manifest.add(name, file).finish()
        };
        write().map_err(CheckpointError::io(&path))
    }

    /// Gives the folder its final name; a damaged or outdated one of that name makes way.
    fn publish(&self, temp: &Path, step: usize) -> Result<PathBuf, CheckpointError> {
        let path = self.path(step);
        let old = path.exists().then(|| self.doomed(&path));
        if let Some(old) = &old {
            fs::rename(&path, old).map_err(CheckpointError::io(&path))?;
        }
        if let Err(source) = fs::rename(temp, &path) {
            if let Some(old) = &old {
                fs::rename(old, &path).map_err(CheckpointError::io(&path))?;
            }
            return Err(CheckpointError::Io { path, source });
        }
        if let Some(old) = &old {
            self.remove(old);
        }
        sync_dir(&self.dir).map_err(CheckpointError::io(&self.dir))?;
        Ok(path)
    }

    /// Removes all checkpoints but the newest ones and the best one.
    ///
    /// What was made after `state` belongs to a future that will not come: it was damaged, or the run
    /// would have been resumed from it.
    fn tidy(&self, state: &TrainState) -> Result<(), CheckpointError> {
        let steps = self.steps()?;
        let (made, ahead) = steps.split_at(steps.partition_point(|step| *step <= state.step));
        let superseded = &made[..made.len().saturating_sub(self.keep_last)];
        let best = state.best.map(|best| best.step);
        let superseded = superseded.iter().filter(|step| Some(**step) != best);
        for step in superseded.chain(ahead) {
            self.remove(&self.path(*step));
        }
        Ok(())
    }

    /// Removes a folder below the store.
    ///
    /// It is renamed first, so that no half-removed checkpoint can be met. A failure costs disk
    /// space and nothing else, hence it is only reported.
    fn remove(&self, path: &Path) {
        let doomed = self.doomed(path);
        let renamed = if doomed == path {
            Ok(())
        } else {
            fs::rename(path, &doomed)
        };
        match renamed.and_then(|()| fs::remove_dir_all(&doomed)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("cannot remove {}: {error}", path.display());
            }
            _ => {}
        }
    }

    /// Name under which a folder waits for its removal.
    fn doomed(&self, path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match name.starts_with(TEMP_PREFIX) {
            true => path.to_owned(),
            false => self.dir.join(format!("{TEMP_PREFIX}removed-{name}")),
        }
    }
}

/// Steps of the checkpoints of a run, in ascending order; none if there is no such run. Whoever trains
/// in the folder is not disturbed.
///
/// # Errors
///
/// [`CheckpointError::Io`] if the folder exists and cannot be read.
pub fn saved_steps(run_dir: &Path) -> Result<Vec<usize>, CheckpointError> {
    let dir = checkpoints_dir(run_dir);
    match dir.exists() {
        true => steps_in(&dir),
        false => Ok(Vec::new()),
    }
}

fn checkpoints_dir(run_dir: &Path) -> PathBuf {
    run_dir.join("checkpoints")
}

fn steps_in(dir: &Path) -> Result<Vec<usize>, CheckpointError> {
    let names = names_in(dir)?;
    let steps = names
        .iter()
        .filter_map(|name| name.strip_prefix("step-")?.parse().ok());
    let mut steps: Vec<usize> = steps.collect();
    steps.sort_unstable();
    Ok(steps)
}

fn names_in(dir: &Path) -> Result<Vec<String>, CheckpointError> {
    let entries = fs::read_dir(dir).map_err(CheckpointError::io(dir))?;
    let name = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.map_err(CheckpointError::io(dir))?;
        Ok(entry.file_name().to_string_lossy().into_owned())
    };
    entries.map(name).collect()
}

/// Keeps others from training in a run folder; `None` where the file system has no locks.
fn lock(run_dir: &Path) -> Result<Option<File>, CheckpointError> {
    let path = run_dir.join(LOCK);
    let file = File::create(&path).map_err(CheckpointError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(CheckpointError::InUse {
            path: run_dir.to_owned(),
        }),
        Err(TryLockError::Error(error)) => {
            log::warn!("cannot lock {}: {error}", path.display());
            Ok(None)
        }
    }
}

/// JSON for people to read.
fn to_json(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, CheckpointError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(CheckpointError::json(path))?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
