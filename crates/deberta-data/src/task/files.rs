//! Which files of a folder are which part of a task.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Task;
use super::error::TaskError;

/// Part of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// To learn from.
    Train,
    /// To choose checkpoints by. Also called validation.
    Dev,
    /// To predict; labels may be missing.
    Test,
}

impl Split {
    /// `train`, `dev` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Dev => "dev",
            Self::Test => "test",
        }
    }
}

/// Files that belong together and are scored together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSet {
    /// The split, or which of several it is: MNLI has `matched` and `mismatched`.
    pub name: String,
    /// In order.
    pub paths: Vec<PathBuf>,
}

/// The sets of each split.
#[derive(Debug, Clone, Default)]
pub(super) struct Splits {
    /// Folder of the task within a distribution, in its spellings.
    pub(super) folders: Vec<String>,
    pub(super) train: Vec<NamedSet>,
    pub(super) dev: Vec<NamedSet>,
    pub(super) test: Vec<NamedSet>,
}

/// A set and the files it may consist of: the first alternative whose files all exist.
#[derive(Debug, Clone)]
pub(super) struct NamedSet {
    pub(super) name: String,
    pub(super) alternatives: Vec<Vec<String>>,
}

impl Task {
    /// The files of a split in a folder, which is that of the task or of the whole distribution.
    ///
    /// MNLI has two sets per split; one of them may be missing.
    ///
    /// # Errors
    ///
    /// If no set is complete; the message says what was looked for.
    pub fn files(&self, folder: &Path, split: Split) -> Result<Vec<FileSet>, TaskError> {
        let sets = match split {
            Split::Train => &self.splits.train,
            Split::Dev => &self.splits.dev,
            Split::Test => &self.splits.test,
        };
        let inner = self.splits.folders.iter().map(|name| folder.join(name));
        for folder in [folder.to_path_buf()].into_iter().chain(inner) {
            let found = sets.iter().filter_map(|set| set.find(&folder));
            let found: Vec<FileSet> = found.collect();
            if !found.is_empty() {
                return Ok(found);
            }
        }
        let alternatives = sets.iter().flat_map(|set| &set.alternatives);
        let looked_for: Vec<String> = alternatives.map(|files| files.join(" with ")).collect();
        Err(TaskError::NoFiles {
            task: self.name.clone(),
            split: split.name(),
            folder: folder.to_path_buf(),
            looked_for: looked_for.join(", "),
        })
    }
}

impl NamedSet {
    fn find(&self, folder: &Path) -> Option<FileSet> {
        let mut found = self.alternatives.iter().filter_map(|files| {
            let paths = files.iter().map(|file| expand(&folder.join(file)));
            let paths: Option<Vec<Vec<PathBuf>>> = paths.collect();
            paths.map(|paths| paths.concat())
        });
        let paths = found.next()?;
        Some(FileSet {
            name: self.name.clone(),
            paths,
        })
    }
}

/// A file, or the files of a folder in the order of their names; `None` if there is neither.
fn expand(path: &Path) -> Option<Vec<PathBuf>> {
    if path.is_file() {
        return Some(vec![path.to_path_buf()]);
    }
    let entries = std::fs::read_dir(path).ok()?;
    let files = entries.filter_map(|entry| entry.ok().map(|it| it.path()));
    let is_visible = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        path.is_file() && name.is_some_and(|name| !name.starts_with('.'))
    };
    let mut files: Vec<PathBuf> = files.filter(is_visible).collect();
    files.sort();
    (!files.is_empty()).then_some(files)
}
