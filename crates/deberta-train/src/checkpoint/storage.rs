//! Writing files so that a crash leaves the old content or the new, never half of it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Where the files of a checkpoint are written. The tests replace it by a disk that is full.
pub(crate) trait Storage: Send + Sync {
    /// Begins a new file.
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>>;
}

/// A file that is being written.
pub(crate) trait NewFile: Write {
    /// Waits until everything has reached the disk.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// The file system.
pub(crate) struct Disk;

impl Storage for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        Ok(Box::new(BufWriter::new(File::create(path)?)))
    }
}

impl NewFile for BufWriter<File> {
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.into_inner()?.sync_all()
    }
}

/// Replaces the content of `path` in one stroke.
///
/// On an error the old content is untouched and nothing new lies around.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temp = path.with_file_name(name);
    let write = || {
        let mut file = Disk.create(&temp)?;
        file.write_all(bytes)?;
        file.finish()
    };
    let written = write().and_then(|()| fs::rename(&temp, path));
    if written.is_err() {
        // Already failing; what could not be removed is overwritten next time.
        let _ = fs::remove_file(&temp);
        return written;
    }
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Makes renames in `dir` survive a power cut.
#[cfg(unix)]
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    File::open(dir)?.sync_all()
}

/// Makes renames in `dir` survive a power cut; elsewhere a folder cannot be opened for that.
#[cfg(not(unix))]
pub(crate) fn sync_dir(_dir: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_remains() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.md");
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, b"new").unwrap();

        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_keeps_the_old_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.md");
        // A folder that is not empty cannot be replaced by a file.
        fs::create_dir(&path).unwrap();
        fs::write(path.join("content"), b"old").unwrap();

        assert!(write_atomic(&path, b"new").is_err());

        assert_eq!(fs::read(path.join("content")).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
