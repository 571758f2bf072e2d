//! One file from the Hub into the cache.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::cache::{RepoCache, create_parent, size_of};
use super::error::io_error;
use super::hash::Hasher;
use super::http::{Ask, header, shown};
use super::listing::{Hub, RemoteFile};
use super::{ContentHash, DownloadProgress, HubError};

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 16;

/// A request that brought so many bytes was not in vain: failures are counted anew.
const WORTHWHILE: u64 = 1 << 20;

/// First and longest wait after a request that brought nothing.
const WAITS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));

/// Fetches files of one commit.
pub(super) struct Downloads<'a> {
    pub(super) hub: &'a Hub<'a>,
    pub(super) cache: &'a RepoCache,
    pub(super) commit: &'a str,
    pub(super) retries: u32,
    pub(super) progress: &'a mut dyn DownloadProgress,
}

/// A file on its way.
struct Part<'f> {
    name: &'f str,
    url: String,
    size: u64,
    hash: ContentHash,
    /// Where the bytes are until they are complete.
    path: PathBuf,
}

impl Downloads<'_> {
    /// Makes the file part of the snapshot, and says where.
    pub(super) fn fetch(&mut self, file: &RemoteFile) -> Result<PathBuf, HubError> {
        let place = self.cache.snapshot(self.commit).join(&file.name);
        let (size, hash) = match (file.size, size_of(&place)?) {
            (expected, Some(found)) if expected.is_none_or(|it| it == found) => return Ok(place),
            _ => self.hub.describe(self.commit, file)?,
        };
        let blob = self.cache.blob(hash.digits());
        if size_of(&blob)? != Some(size) {
            let _lock = self.cache.lock(hash.digits())?;
            // Whoever held the lock may have brought it.
            if size_of(&blob)? != Some(size) {
                let part = Part {
                    name: &file.name,
                    url: self.hub.url(self.commit, &file.name),
                    size,
                    path: blob.with_extension("incomplete"),
                    hash: hash.clone(),
                };
                self.download(&part)?;
                fs::rename(&part.path, &blob).map_err(io_error(&blob))?;
            }
        }
        self.cache.link(hash.digits(), self.commit, &file.name)?;
        Ok(place)
    }

    /// Completes the part and compares its hash.
    fn download(&mut self, part: &Part<'_>) -> Result<(), HubError> {
        create_parent(&part.path)?;
        if size_of(&part.path)?.is_some_and(|it| it > part.size) {
            remove(&part.path)?;
        }
        let mut resumed = size_of(&part.path)?.is_some_and(|it| it > 0);
        loop {
            let found = self.complete(part)?;
            if found == part.hash.digits() {
                self.progress.finish(part.name);
                return Ok(());
            }
            remove(&part.path)?;
            if !resumed {
                return Err(HubError::HashMismatch {
                    file: part.name.into(),
                    expected: part.hash.digits().into(),
                    found,
                });
            }
            // What an earlier attempt left may have suffered, in a crash for example.
            log::warn!(
                "{}: what was left of an earlier download is damaged; starting over",
                part.name
            );
            resumed = false;
        }
    }

    /// Requests what is missing until nothing is; the hash of the whole.
    fn complete(&mut self, part: &Part<'_>) -> Result<String, HubError> {
        let mut writer = Writer::open(part)?;
        self.progress.start(part.name, part.size, writer.received);
        let mut failures = 0;
        while writer.received < part.size {
            let before = writer.received;
            let problem = match self.request(part, &mut writer) {
                Ok(problem) => problem,
                Err(error) if error.is_transient() => error.to_string(),
                Err(error) => return Err(error),
            };
            if writer.received >= part.size {
                break;
            }
            let gained = writer.received.saturating_sub(before);
            failures = if gained >= WORTHWHILE {
                1
            } else {
                failures + 1
            };
            if failures > self.retries {
                writer.flush()?;
                return Err(HubError::Interrupted {
                    file: part.name.into(),
                    received: writer.received,
                    size: part.size,
                    problem,
                    partial: part.path.clone(),
                });
            }
            log::warn!("{}: {problem}; trying again", part.name);
            if gained == 0 {
                let wait = WAITS.0.saturating_mul(1 << (failures - 1).min(16));
                thread::sleep(wait.min(WAITS.1));
            }
        }
        writer.flush()?;
        Ok(writer.hasher.digits())
    }

    /// One request for the bytes that are missing; why it brought no more.
    fn request(&mut self, part: &Part<'_>, writer: &mut Writer<'_>) -> Result<String, HubError> {
        let first = writer.received;
        let ask = Ask {
            head: false,
            range: (first > 0).then_some((first, None)),
        };
        let response = self.hub.client.send(&part.url, ask)?;
        let continues = match response.status().as_u16() {
            200 => false,
            206 => true,
            416 => {
                writer.restart()?;
                return Ok("the server has no such range".into());
            }
            _ => return Err(self.hub.refusal(response, &part.url)),
        };
        let range = header(&response, "content-range").unwrap_or_default();
        if continues && !range.starts_with(&format!("bytes {first}-")) {
            return Err(HubError::Malformed {
                origin: shown(&part.url),
                problem: format!("sends `{range}`, asked for bytes from {first} on"),
            });
        }
        if first > 0 && !continues {
            writer.restart()?;
            self.progress.start(part.name, part.size, 0);
        }
        let length = header(&response, "content-length").and_then(|it| it.parse::<u64>().ok());
        let found = length.map(|it| writer.received.saturating_add(it));
        match found {
            Some(found) if found != part.size => Err(HubError::WrongSize {
                file: part.name.into(),
                expected: part.size,
                found,
            }),
            _ => writer.append(response.into_body().into_reader(), self.progress),
        }
    }
}

/// The part on disk and the hash of what is in it.
struct Writer<'p> {
    part: &'p Part<'p>,
    file: File,
    hasher: Hasher,
    received: u64,
}

impl<'p> Writer<'p> {
    /// Reads what an earlier attempt left.
    fn open(part: &'p Part<'p>) -> Result<Self, HubError> {
        let file = File::options()
            .create(true)
            .read(true)
            .append(true)
            .open(&part.path)
            .map_err(io_error(&part.path))?;
        let mut writer = Self {
            part,
            file,
            hasher: part.hash.hasher(part.size),
            received: 0,
        };
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = writer.file.read(&mut chunk).map_err(io_error(&part.path))?;
            if read == 0 {
                return Ok(writer);
            }
            writer.hasher.update(&chunk[..read]);
            writer.received += read as u64;
        }
    }

    /// Writes what the body has, up to the size of the file; why it brought no more.
    fn append(
        &mut self,
        body: impl Read,
        progress: &mut dyn DownloadProgress,
    ) -> Result<String, HubError> {
        let mut body = body.take(self.part.size.saturating_sub(self.received));
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = match body.read(&mut chunk) {
                Ok(0) => return Ok("the connection was closed".into()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(format!("the connection broke off: {error}")),
            };
            self.file
                .write_all(&chunk[..read])
                .map_err(io_error(&self.part.path))?;
            self.hasher.update(&chunk[..read]);
            self.received += read as u64;
            progress.advance(read as u64);
        }
    }

    /// Forgets everything.
    fn restart(&mut self) -> Result<(), HubError> {
        self.file.set_len(0).map_err(io_error(&self.part.path))?;
        self.hasher = self.part.hash.hasher(self.part.size);
        self.received = 0;
        Ok(())
    }

    /// Brings what was written to the disk.
    fn flush(&self) -> Result<(), HubError> {
        self.file.sync_all().map_err(io_error(&self.part.path))
    }
}

fn remove(path: &Path) -> Result<(), HubError> {
    fs::remove_file(path).map_err(io_error(path))
}
