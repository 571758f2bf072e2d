//! What can go wrong with packed shards.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use super::PackMode;
use crate::corpus::CorpusError;
use crate::tokenizer::TokenizerError;

/// Why shards could not be written or opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PackError {
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `read`, `write`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is not as it was written: truncated, or its bytes changed.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How it shows.
        reason: String,
    },
    /// The shards do not fit the corpus, tokenizer or options, and must not be rebuilt.
    #[error("the packed tokens in {} are out of date: {reason}", path.display())]
    Stale {
        /// The folder.
        path: PathBuf,
        /// What changed.
        reason: Stale,
    },
    /// There are no shards, and they must not be built.
    #[error("no packed tokens in {}", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds something else, which building would destroy.
    #[error(
        "{} is not a folder of packed tokens: it holds `{found}`; name an empty or new folder",
        path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// A file in it that packing did not write.
        found: String,
    },
    /// An option with a value that makes no sense.
    #[error("packing option `{field}` is {value}, expected {expected}")]
    Option {
        /// Name of the option.
        field: &'static str,
        /// Its value.
        value: usize,
        /// What would be accepted.
        expected: &'static str,
    },
    /// The corpus yields no example.
    #[error("the corpus holds no text to pack: {tokens} tokens, too few for one example")]
    Empty {
        /// Tokens that were found.
        tokens: u64,
    },
    /// The corpus could not be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// A text could not be encoded.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Arrow refused to write.
    #[error("cannot encode {}", path.display())]
    Arrow {
        /// The shard.
        path: PathBuf,
        /// What Arrow said.
        source: arrow_schema::ArrowError,
    },
}

/// Why existing shards do not fit what is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stale {
    /// Another text, or other reading options.
    Corpus,
    /// Another vocabulary.
    Tokenizer,
    /// Another sequence length.
    SeqLen {
        /// Of the shards.
        packed: usize,
        /// Asked for.
        wanted: usize,
    },
    /// Another packing mode.
    Mode {
        /// Of the shards.
        packed: PackMode,
        /// Asked for.
        wanted: PackMode,
    },
    /// Another shortest example.
    MinTokens {
        /// Of the shards.
        packed: usize,
        /// Asked for.
        wanted: usize,
    },
    /// Another version of the format.
    Version {
        /// Of the shards.
        packed: u32,
        /// Of this program.
        wanted: u32,
    },
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corpus => f.write_str("the corpus changed since they were written"),
            Self::Tokenizer => f.write_str("they were written with another tokenizer"),
            Self::SeqLen { packed, wanted } => {
                write!(
                    f,
                    "they have sequence length {packed}, {wanted} is asked for"
                )
            }
            Self::Mode { packed, wanted } => {
                write!(f, "they were packed {packed}, asked for is {wanted}")
            }
            Self::MinTokens { packed, wanted } => {
                write!(
                    f,
                    "their shortest example is {packed} tokens, {wanted} is asked for"
                )
            }
            Self::Version { packed, wanted } => {
                write!(
                    f,
                    "they have format version {packed}, this program writes {wanted}"
                )
            }
        }
    }
}
