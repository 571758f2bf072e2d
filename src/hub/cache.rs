//! The cache of one model, in the layout of Python's `huggingface_hub`.
//!
//! ```text
//! <cache>/models--owner--name/blobs/<hash>                    content
//!                             snapshots/<commit>/<file>       link to a blob, or a file where links cannot be
//!                             refs/<revision>                 commit of a branch or tag
//!                             .no_exist/<commit>/<file>       empty: the commit has no such file
//! <cache>/.locks/models--owner--name/<hash>.lock              held while a blob is downloaded
//! ```

use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::error::io_error;
use super::model_id::is_commit;
use super::select::missing;
use super::{HubError, ModelId, Parts};

/// Folders of a model in the cache.
pub(super) struct RepoCache {
    files: CacheRepo,
    root: PathBuf,
    locks: PathBuf,
    revision: String,
}

/// What the cache has of a model.
pub(super) enum Cached {
    /// All that is needed, in this folder.
    Complete(PathBuf),
    /// Something is missing.
    Lacks(String),
}

impl RepoCache {
    pub(super) fn new(cache_dir: &Path, id: &ModelId) -> Self {
        let repo = repo(id);
        let folder = repo.folder_name();
        Self {
            root: cache_dir.join(&folder),
            locks: cache_dir.join(".locks").join(folder),
            revision: id.revision().into(),
            files: Cache::new(cache_dir.into()).repo(repo),
        }
    }

    /// The folder of the model.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the files of a commit are.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.files.pointer_path(commit)
    }

    pub(super) fn blob(&self, digits: &str) -> PathBuf {
        self.files.blob_path(digits)
    }

    /// Whether the cache suffices for the revision.
    pub(super) fn lookup(&self, parts: Parts) -> Result<Cached, HubError> {
        let Some(commit) = self.commit()? else {
            return Ok(Cached::Lacks(format!("the revision `{}`", self.revision)));
        };
        let snapshot = self.snapshot(&commit);
        let absent = self.root.join(".no_exist").join(&commit);
        let lacks = missing(&snapshot, parts, |name| absent.join(name).exists())?;
        Ok(lacks.map_or(Cached::Complete(snapshot), Cached::Lacks))
    }

    /// The commit that the revision stands for, if the cache knows it.
    fn commit(&self) -> Result<Option<String>, HubError> {
        if is_commit(&self.revision) {
            return Ok(Some(self.revision.clone()));
        }
        let path = self.ref_path();
        match fs::read_to_string(&path) {
            Ok(commit) => Ok(Some(commit.trim().to_owned()).filter(|it| is_commit(it))),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(io_error(&path)(error)),
        }
    }

    /// Notes which commit the revision stands for.
    pub(super) fn write_ref(&self, commit: &str) -> Result<(), HubError> {
        if self.revision == commit || self.commit()?.as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.ref_path();
        replace(&path, |new| {
            let mut file = File::create(new)?;
            file.write_all(commit.as_bytes())?;
            file.sync_all()
        })
    }

    fn ref_path(&self) -> PathBuf {
        self.root.join("refs").join(&self.revision)
    }

    /// Notes that the commit has no such file, so that nobody has to ask again.
    pub(super) fn note_absent(&self, commit: &str, name: &str) -> Result<(), HubError> {
        let path = self.root.join(".no_exist").join(commit).join(name);
        if path.exists() {
            return Ok(());
        }
        replace(&path, |new| File::create(new).map(drop))
    }

    /// Makes a blob a file of the commit.
    pub(super) fn link(&self, digits: &str, commit: &str, name: &str) -> Result<(), HubError> {
        let blob = self.blob(digits);
        replace(&self.snapshot(commit).join(name), |new| {
            // Relative, so that the cache can be moved.
            let target: PathBuf = ["..", "..", "blobs", digits].iter().collect();
            symlink(&target, new)
                .or_else(|_| fs::hard_link(&blob, new))
                .or_else(|_| fs::copy(&blob, new).map(drop))
        })
    }

    /// Waits until no one else downloads the blob; the lock is held until the file is dropped.
    pub(super) fn lock(&self, digits: &str) -> Result<File, HubError> {
        let path = self.locks.join(format!("{digits}.lock"));
        create_parent(&path)?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(io_error(&path))?;
        let locked = match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                log::info!("waiting for another download, by {}", path.display());
                file.lock()
            }
            Err(TryLockError::Error(error)) => Err(error),
            Ok(()) => Ok(()),
        };
        match locked {
            // The hash tells if two write at once; nothing wrong enters the cache.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
            Err(error) => Err(io_error(&path)(error)),
            Ok(()) => Ok(file),
        }
    }
}

/// A model as `hf-hub` names it.
pub(super) fn repo(id: &ModelId) -> Repo {
    Repo::with_revision(id.name().into(), RepoType::Model, id.revision().into())
}

/// Size of a file, of what it links to if it is a link; `None` if it is not there.
pub(super) fn size_of(path: &Path) -> Result<Option<u64>, HubError> {
    match fs::metadata(path) {
        Ok(it) => Ok(Some(it.len())),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(io_error(path)(error)),
    }
}

pub(super) fn create_parent(path: &Path) -> Result<(), HubError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(io_error(parent))
}

fn is_missing(error: &io::Error) -> bool {
    // A file where a folder was expected is what a hand-made cache may have.
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Makes a file under a name of its own, then moves it to `path`, over what may be there.
fn replace(path: &Path, make: impl Fn(&Path) -> io::Result<()>) -> Result<(), HubError> {
    create_parent(path)?;
    // Unlike the number of the process, random ones differ between threads and containers too.
    let unique = RandomState::new().build_hasher().finish();
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{unique:016x}.new"));
    let new = PathBuf::from(new);
    let result = make(&new).and_then(|()| fs::rename(&new, path));
    if result.is_err() {
        let _ = fs::remove_file(&new);
    }
    result.map_err(io_error(path))
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_target: &Path, _link: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
