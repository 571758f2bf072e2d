//! `index.json`: what a folder of shards holds and what it was made from.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::{PackError, Stale};
use super::{PackMode, PackOptions};
use crate::corpus::SkippedRows;

/// Raise when the meaning of the shards changes.
pub(super) const VERSION: u32 = 1;
pub(super) const INDEX_FILE: &str = "index.json";
const FORMAT: &str = "deberta-packed-tokens";

/// What shards are made from; if any of it changes, they are stale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recipe {
    pub(super) version: u32,
    pub(super) corpus: String,
    pub(super) tokenizer: String,
    pub(super) seq_len: usize,
    pub(super) mode: PackMode,
    pub(super) min_tokens: usize,
}

impl Recipe {
    pub(super) fn new(corpus: String, tokenizer: &str, options: &PackOptions) -> Self {
        let PackOptions {
            seq_len,
            mode,
            min_tokens,
            ..
        } = *options;
        let tokenizer = tokenizer.to_owned();
        Self {
            version: VERSION,
            corpus,
            tokenizer,
            seq_len,
            mode,
            min_tokens,
        }
    }

    /// What makes shards of this recipe unfit for another.
    pub(super) fn stale_for(&self, wanted: &Self) -> Option<Stale> {
        if self.version != wanted.version {
            Some(Stale::Version {
                packed: self.version,
                wanted: wanted.version,
            })
        } else if self.seq_len != wanted.seq_len {
            Some(Stale::SeqLen {
                packed: self.seq_len,
                wanted: wanted.seq_len,
            })
        } else if self.mode != wanted.mode {
            Some(Stale::Mode {
                packed: self.mode,
                wanted: wanted.mode,
            })
        } else if self.min_tokens != wanted.min_tokens {
            Some(Stale::MinTokens {
                packed: self.min_tokens,
                wanted: wanted.min_tokens,
            })
        } else if self.tokenizer != wanted.tokenizer {
            Some(Stale::Tokenizer)
        } else if self.corpus != wanted.corpus {
            Some(Stale::Corpus)
        } else {
            None
        }
    }

    /// The recipe as the metadata of an Arrow schema, for other tools.
    pub(super) fn metadata(&self) -> HashMap<String, String> {
        let mode = match self.mode {
            PackMode::Concatenate => "concatenate",
            PackMode::DocumentBoundaries => "document_boundaries",
        };
        HashMap::from([
            ("deberta.version".into(), self.version.to_string()),
            ("deberta.corpus".into(), self.corpus.clone()),
            ("deberta.tokenizer".into(), self.tokenizer.clone()),
            ("deberta.seq_len".into(), self.seq_len.to_string()),
            ("deberta.mode".into(), mode.into()),
            ("deberta.min_tokens".into(), self.min_tokens.to_string()),
        ])
    }
}

/// One file of examples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShardInfo {
    pub(super) file: String,
    pub(super) examples: u64,
    pub(super) tokens: u64,
    pub(super) bytes: u64,
    /// SHA-256 of the file.
    pub(super) sha256: String,
    /// SHA-256 of everything but the tokens, quick to check however large the file is.
    pub(super) layout_sha256: String,
}

/// Sizes of a packed corpus, for reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackStats {
    /// Documents read.
    pub documents: u64,
    /// Sequences.
    pub examples: u64,
    /// Tokens in them, `[CLS]` and `[SEP]` included.
    pub tokens: u64,
    /// Tokens in remainders and documents that were too short to keep.
    pub dropped_tokens: u64,
    /// Bytes of text that were encoded.
    pub text_bytes: u64,
    /// Bytes of the shards.
    pub shard_bytes: u64,
    /// Number of shards.
    pub shards: u64,
    /// Rows of the corpus that were skipped.
    pub skipped: SkippedRows,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    format: String,
    pub(super) recipe: Recipe,
    pub(super) stats: PackStats,
    pub(super) shards: Vec<ShardInfo>,
}

impl Index {
    pub(super) fn new(recipe: Recipe, stats: PackStats, shards: Vec<ShardInfo>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            recipe,
            stats,
            shards,
        }
    }

    /// Reads the index of a folder; `None` if there is none.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, PackError> {
        let path = folder.join(INDEX_FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(PackError::Io {
                    action: "read",
                    path,
                    source,
                });
            }
        };
        let index: Self = match serde_json::from_slice(&text) {
            Ok(index) => index,
            Err(error) => {
                return Err(PackError::Damaged {
                    path,
                    reason: error.to_string(),
                });
            }
        };
        if index.format != FORMAT {
            let reason = format!("`format` is `{}`, expected `{FORMAT}`", index.format);
            return Err(PackError::Damaged { path, reason });
        }
        Ok(Some(index))
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(self)
    }
}
