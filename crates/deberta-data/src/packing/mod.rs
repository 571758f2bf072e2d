//! Text to sequences of token ids, written once and memory-mapped ever after.
//!
//! [`PackedCorpus::build_or_open`] encodes a [`Corpus`], cuts it into `[CLS] … [SEP]` sequences
//! and writes them as shards. The next call finds the shards, checks that they still fit the
//! corpus, the tokenizer and the options, and maps them: nothing is read until an example is.
//!
//! ```no_run
//! # use std::path::Path;
//! use deberta_data::corpus::{Corpus, synthetic::SyntheticConfig};
//! use deberta_data::packing::{PackOptions, PackedCorpus};
//! use deberta_data::tokenizer::Tokenizer;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let corpus = Corpus::synthetic(SyntheticConfig::default());
//! let tokenizer = Tokenizer::open(Path::new("tokenizer"))?;
//! let options = PackOptions::new(128);
//! let packed = PackedCorpus::build_or_open(
//!     Path::new("packed"), &corpus, &tokenizer, &options, &mut |progress| {
//!         println!("{} of {} bytes", progress.bytes_done, progress.bytes_total);
//!     },
//! )?;
//! println!("{} examples, the first is {:?}", packed.len(), packed.example(0));
//! # Ok(())
//! # }
//! ```
//!
//! # The files
//!
//! A folder holds `index.json` (what the shards were made from, their sizes and SHA-256 hashes)
//! and `shard-00000.arrow`, … in the Arrow IPC file format, with one column `input_ids` of type
//! `List<UInt32>`: one row is one sequence. The schema's metadata repeats what the shards were made
//! from (`deberta.seq_len`, `deberta.tokenizer`, …). Other tools read them directly:
//!
//! ```python
//! import pyarrow as pa
//! table = pa.ipc.open_file(pa.memory_map("packed/shard-00000.arrow")).read_all()
//! table["input_ids"][0].as_py()        # [1, 573, 261, …, 2]
//! ```
//!
//! A folder is written beside its place and renamed when it is complete, so it is never seen half
//! done; a process that is killed leaves a hidden `.building` folder that the next one removes.

mod build;
mod error;
mod index;
mod packer;
mod shard;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::corpus::Corpus;
use crate::tokenizer::Tokenize;
pub use error::{PackError, Stale};
pub use index::PackStats;
use index::{Index, Recipe};
use shard::{Batch, Shard};

/// Up to this size in all, opening also hashes the tokens (a fraction of a second).
const VERIFY_BYTES: u64 = 256 << 20;

/// How documents share sequences.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackMode {
    /// All text is one stream, cut where a sequence is full; nothing marks where a document ends.
    /// No position is wasted.
    #[default]
    Concatenate,
    /// A sequence holds text of one document only. Long documents are cut into several sequences,
    /// so lengths vary.
    DocumentBoundaries,
}

impl fmt::Display for PackMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Concatenate => "as one stream",
            Self::DocumentBoundaries => "with document boundaries",
        })
    }
}

/// What to do with shards that are out of date or damaged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnStale {
    /// Write them again.
    #[default]
    Rebuild,
    /// Fail with an error that says what changed.
    Fail,
}

/// How a corpus is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackOptions {
    /// Most tokens of a sequence, `[CLS]` and `[SEP]` included, at least 3.
    pub seq_len: usize,
    /// How documents share sequences. Default: as one stream
    pub mode: PackMode,
    /// Remainders and documents with fewer tokens are dropped and counted, at least 1. Default: 4
    pub min_tokens: usize,
    /// Tokens after which a shard is closed, at least 1. Default: 2²⁶ (256 MiB)
    pub shard_tokens: usize,
    /// What to do with shards that are out of date. Default: rebuild
    pub on_stale: OnStale,
}

impl PackOptions {
    /// Defaults for a sequence length.
    pub fn new(seq_len: usize) -> Self {
        Self {
            seq_len,
            mode: PackMode::Concatenate,
            min_tokens: 4,
            shard_tokens: 1 << 26,
            on_stale: OnStale::Rebuild,
        }
    }

    fn check(&self) -> Result<(), PackError> {
        let fields = [
            ("seq_len", self.seq_len, 3, "at least 3"),
            ("min_tokens", self.min_tokens, 1, "at least 1"),
            ("shard_tokens", self.shard_tokens, 1, "at least 1"),
        ];
        for (field, value, least, expected) in fields {
            if value < least {
                return Err(PackError::Option {
                    field,
                    value,
                    expected,
                });
            }
        }
        Ok(())
    }
}

/// How far packing has come; the last report has `bytes_done == bytes_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackProgress {
    /// Bytes of the corpus that were read.
    pub bytes_done: u64,
    /// Bytes of the corpus.
    pub bytes_total: u64,
    /// Sequences so far.
    pub examples: u64,
    /// Tokens in them.
    pub tokens: u64,
}

/// Why [`PackedCorpus::build_or_open`] wrote shards.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildReason {
    /// There were none.
    Missing,
    /// They were out of date.
    Stale(Stale),
    /// A file was damaged; the message says which and how.
    Damaged(String),
}

impl fmt::Display for BuildReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there are no shards yet"),
            Self::Stale(reason) => write!(f, "the shards are out of date: {reason}"),
            Self::Damaged(reason) => f.write_str(reason),
        }
    }
}

/// A folder of memory-mapped shards.
#[derive(Debug)]
pub struct PackedCorpus {
    folder: PathBuf,
    index: Index,
    shards: Vec<Shard>,
    /// Shard, batch and number of the first example of every batch.
    batches: Vec<(usize, usize, usize)>,
    len: usize,
    built: Option<BuildReason>,
}

impl PackedCorpus {
    /// Opens the shards in `folder` if they fit, else writes them.
    ///
    /// `progress` is called while they are written, not if they are only opened. Two processes
    /// that want the same folder take turns: the second finds the shards of the first.
    ///
    /// # Errors
    ///
    /// If the corpus or the tokenizer fails, a file cannot be read or written, the folder holds
    /// something else, or shards are out of date or damaged and [`OnStale::Fail`] is set. What was
    /// in the folder before is then still there.
    pub fn build_or_open(
        folder: &Path,
        corpus: &Corpus,
        tokenizer: &dyn Tokenize,
        options: &PackOptions,
        progress: &mut dyn FnMut(PackProgress),
    ) -> Result<Self, PackError> {
        options.check()?;
        let recipe = Recipe::new(corpus.fingerprint()?, tokenizer.fingerprint(), options);
        let reason = match Self::open_matching(folder, &recipe, options.on_stale)? {
            Ok(packed) => return Ok(packed),
            Err(reason) => reason,
        };
        let lock = build::Lock::acquire(folder)?;
        // Another process may have built it while this one waited.
        if let Ok(packed) = Self::open_matching(folder, &recipe, options.on_stale)? {
            return Ok(packed);
        }
        log::info!("packing into {}: {reason}", folder.display());
        build::build(folder, corpus, tokenizer, recipe, options, progress)?;
        drop(lock);
        let mut packed = Self::open(folder)?;
        packed.built = Some(reason);
        Ok(packed)
    }

    /// Opens whatever shards `folder` holds.
    ///
    /// Sizes and layout of the files are checked; up to 256 MiB in all, the tokens too (beyond,
    /// see [`verify`](Self::verify)).
    ///
    /// # Errors
    ///
    /// If there are no shards, a file cannot be read, or one is damaged.
    pub fn open(folder: &Path) -> Result<Self, PackError> {
        let Some(index) = Index::read(folder)? else {
            return Err(PackError::Missing {
                path: folder.to_path_buf(),
            });
        };
        Self::from_index(folder, index)
    }

    fn from_index(folder: &Path, index: Index) -> Result<Self, PackError> {
        let shards: Vec<Shard> = index
            .shards
            .iter()
            .map(|info| Shard::open(folder, info))
            .collect::<Result<_, _>>()?;
        let mut batches = Vec::new();
        let mut len = 0;
        for (shard_index, shard) in shards.iter().enumerate() {
            for (batch_index, batch) in shard.batches.iter().enumerate() {
                batches.push((shard_index, batch_index, len));
                len += batch.len();
            }
        }
        let folder = folder.to_path_buf();
        let packed = Self {
            folder,
            index,
            shards,
            batches,
            len,
            built: None,
        };
        if packed.stats().shard_bytes <= VERIFY_BYTES {
            packed.verify()?;
        }
        Ok(packed)
    }

    /// The shards if they fit, else why they have to be built; an error if they must not be.
    fn open_matching(
        folder: &Path,
        wanted: &Recipe,
        on_stale: OnStale,
    ) -> Result<Result<Self, BuildReason>, PackError> {
        let opened = Index::read(folder).and_then(|index| match index {
            None => Ok(Err(BuildReason::Missing)),
            Some(index) => match index.recipe.stale_for(wanted) {
                None => Self::from_index(folder, index).map(Ok),
                Some(reason) if on_stale == OnStale::Fail => Err(PackError::Stale {
                    path: folder.to_path_buf(),
                    reason,
                }),
                Some(reason) => Ok(Err(BuildReason::Stale(reason))),
            },
        });
        match opened {
            Err(error @ PackError::Damaged { .. }) if on_stale == OnStale::Rebuild => {
                Ok(Err(BuildReason::Damaged(error.to_string())))
            }
            other => other,
        }
    }

    /// Hashes every shard and compares with what was written.
    ///
    /// # Errors
    ///
    /// [`PackError::Damaged`] with the first file that differs.
    pub fn verify(&self) -> Result<(), PackError> {
        use rayon::prelude::*;
        let pairs = self.shards.par_iter().zip(&self.index.shards);
        pairs.map(|(shard, info)| shard.verify(info)).collect()
    }

    /// Number of sequences.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One sequence, straight from the memory map.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`len`](Self::len), as indexing a slice does; see
    /// [`get`](Self::get).
    pub fn example(&self, index: usize) -> &[u32] {
        assert!(index < self.len, "example {index} of {}", self.len);
        let batch = self.batches.partition_point(|(.., first)| *first <= index) - 1;
        let (shard, batch, first) = self.batches[batch];
        let batch: &Batch = &self.shards[shard].batches[batch];
        batch.example(index - first)
    }

    /// One sequence, or `None` beyond the last.
    pub fn get(&self, index: usize) -> Option<&[u32]> {
        (index < self.len).then(|| self.example(index))
    }

    /// Sizes, for reports.
    pub fn stats(&self) -> PackStats {
        self.index.stats
    }

    /// The sequence length they were packed to.
    pub fn seq_len(&self) -> usize {
        self.index.recipe.seq_len
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Why the shards were written, or `None` if they were there already.
    pub fn built_because(&self) -> Option<&BuildReason> {
        self.built.as_ref()
    }
}
