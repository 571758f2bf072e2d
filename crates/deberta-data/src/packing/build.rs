//! Writes a folder of shards so that it appears whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::PackError;
use super::index::{INDEX_FILE, Index, PackStats, Recipe};
use super::packer::Packer;
use super::writer::ShardWriter;
use super::{PackOptions, PackProgress};
use crate::corpus::{Corpus, Document, Documents};
use crate::tokenizer::Tokenize;

/// Text that is encoded at a time, in parallel: bounds the memory.
const CHUNK_BYTES: usize = 4 << 20;
const CHUNK_DOCUMENTS: usize = 1 << 14;

/// Held while a folder is being built, so that two processes do not build it at once.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until no other process builds `folder`.
    pub(super) fn acquire(folder: &Path) -> Result<Self, PackError> {
        let path = sibling(folder, "lock");
        let io_error = |source| PackError::Io {
            action: "lock",
            path: path.clone(),
            source,
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(io_error)?;
        }
        let file = File::create(&path).map_err(io_error)?;
        file.lock().map_err(io_error)?;
        Ok(Self { _file: file })
    }
}

/// Packs the corpus into a temporary folder and puts it in the place of `folder`.
///
/// The caller holds the [`Lock`]. If anything fails, `folder` is as it was.
pub(super) fn build(
    folder: &Path,
    corpus: &Corpus,
    tokenizer: &dyn Tokenize,
    recipe: Recipe,
    options: &PackOptions,
    progress: &mut dyn FnMut(PackProgress),
) -> Result<(), PackError> {
    refuse_foreign(folder)?;
    let building = Temporary::create(sibling(folder, "building"))?;
    let mut writer = ShardWriter::new(&building.0, &recipe, options.shard_tokens);
    let mut stats = write_shards(corpus, tokenizer, options, &mut writer, progress)?;
    stats.shards = writer.shards.len() as u64;
    stats.shard_bytes = writer.shards.iter().map(|shard| shard.bytes).sum();
    let index = Index::new(recipe, stats, writer.shards);
    write_index(&building.0.join(INDEX_FILE), &index)?;
    replace(folder, building)
}

fn write_shards(
    corpus: &Corpus,
    tokenizer: &dyn Tokenize,
    options: &PackOptions,
    writer: &mut ShardWriter<'_>,
    progress: &mut dyn FnMut(PackProgress),
) -> Result<PackStats, PackError> {
    let mut packer = Packer::new(options, tokenizer.special());
    let mut stats = PackStats::default();
    let joiner = Joiner::of(tokenizer)?;
    let mut documents = corpus.documents();
    let bytes_total = corpus.total_bytes();
    loop {
        let mut chunk = read_chunk(&mut documents)?;
        if chunk.is_empty() {
            break;
        }
        for document in &mut chunk {
            stats.documents += u64::from(document.starts_document);
            stats.text_bytes += document.text.len() as u64;
            joiner.join(document, options);
        }
        let texts: Vec<&str> = chunk
            .iter()
            .map(|document| document.text.as_str())
            .collect();
        let encoded = tokenizer.encode_batch_ids(&texts)?;
        for (document, ids) in chunk.iter().zip(&encoded) {
            packer.push(ids, document.starts_document, |example| {
                stats.examples += 1;
                stats.tokens += example.len() as u64;
                writer.push(example)
            })?;
        }
        let (examples, tokens) = (stats.examples, stats.tokens);
        let bytes_done = documents.bytes_read().min(bytes_total);
        progress(PackProgress {
            bytes_done,
            bytes_total,
            examples,
            tokens,
        });
    }
    packer.finish(|example| {
        stats.examples += 1;
        stats.tokens += example.len() as u64;
        writer.push(example)
    })?;
    writer.finish()?;
    let (examples, tokens) = (stats.examples, stats.tokens);
    progress(PackProgress {
        bytes_done: bytes_total,
        bytes_total,
        examples,
        tokens,
    });
    stats.dropped_tokens = packer.dropped_tokens;
    stats.skipped = documents.skipped();
    if stats.skipped.total() > 0 {
        log::warn!("{}", stats.skipped);
    }
    if stats.examples == 0 {
        return Err(PackError::Empty {
            tokens: stats.dropped_tokens,
        });
    }
    Ok(stats)
}

fn read_chunk(documents: &mut Documents<'_>) -> Result<Vec<Document>, PackError> {
    let mut chunk = Vec::new();
    let mut bytes = 0;
    while bytes < CHUNK_BYTES && chunk.len() < CHUNK_DOCUMENTS {
        let Some(document) = documents.next() else {
            break;
        };
        let document = document?;
        bytes += document.text.len();
        chunk.push(document);
    }
    Ok(chunk)
}

/// Puts a space before a text that follows another, where the tokenizer tells the difference.
///
/// A byte-level BPE marks the beginning of a word by the space before it; without one, the first
/// word of a text would look like the end of the last word of the text before.
struct Joiner {
    space: bool,
}

impl Joiner {
    fn of(tokenizer: &dyn Tokenize) -> Result<Self, PackError> {
        let (bare, spaced) = (tokenizer.encode_ids("a")?, tokenizer.encode_ids(" a")?);
        Ok(Self {
            space: bare != spaced && bare.len() == spaced.len(),
        })
    }

    fn join(&self, document: &mut Document, options: &PackOptions) {
        let follows = !document.starts_document || options.mode == super::PackMode::Concatenate;
        if self.space && follows {
            document.text.insert(0, ' ');
        }
    }
}

fn write_index(path: &Path, index: &Index) -> Result<(), PackError> {
    let io_error = |source| PackError::Io {
        action: "write",
        path: path.to_path_buf(),
        source,
    };
    let json = index.to_json().map_err(|error| io_error(error.into()))?;
    let mut file = File::create(path).map_err(io_error)?;
    file.write_all(&json)
        .and_then(|()| file.sync_all())
        .map_err(io_error)
}

/// Moves the new folder to its place; an old one is moved aside first and removed last.
fn replace(folder: &Path, building: Temporary) -> Result<(), PackError> {
    let io_error = |source| PackError::Io {
        action: "replace",
        path: folder.to_path_buf(),
        source,
    };
    let old = Temporary(sibling(folder, "old"));
    old.remove()?;
    if folder.exists() {
        fs::rename(folder, &old.0).map_err(io_error)?;
    }
    if let Err(error) = fs::rename(&building.0, folder) {
        if old.0.exists() {
            fs::rename(&old.0, folder).map_err(io_error)?;
        }
        return Err(io_error(error));
    }
    Ok(())
}

/// Fails if the folder holds a file that packing did not write.
fn refuse_foreign(folder: &Path) -> Result<(), PackError> {
    let io_error = |source| PackError::Io {
        action: "read",
        path: folder.to_path_buf(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error(error)),
    };
    for entry in entries {
        let name = entry
            .map_err(io_error)?
            .file_name()
            .to_string_lossy()
            .into_owned();
        let is_shard = name.starts_with("shard-") && name.ends_with(".arrow");
        if !is_shard && name != INDEX_FILE {
            return Err(PackError::Foreign {
                path: folder.to_path_buf(),
                found: name,
            });
        }
    }
    Ok(())
}

/// `.name.suffix` beside a folder.
fn sibling(folder: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(folder.file_name().unwrap_or_else(|| "packed".as_ref()));
    name.push(".");
    name.push(suffix);
    folder.with_file_name(name)
}

/// A folder that is removed when the value goes, unless it was moved away.
struct Temporary(PathBuf);

impl Temporary {
    /// Creates it; what a killed process left there is removed.
    fn create(path: PathBuf) -> Result<Self, PackError> {
        let folder = Self(path);
        folder.remove()?;
        match fs::create_dir_all(&folder.0) {
            Ok(()) => Ok(folder),
            Err(source) => Err(PackError::Io {
                action: "create",
                path: folder.0.clone(),
                source,
            }),
        }
    }

    fn remove(&self) -> Result<(), PackError> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(PackError::Io {
                action: "remove",
                path: self.0.clone(),
                source: error,
            }),
            _ => Ok(()),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            log::warn!("{error}");
        }
    }
}
