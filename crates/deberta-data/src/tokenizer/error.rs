//! What can go wrong between a tokenizer file and a list of ids.

use std::path::PathBuf;

/// A tokenizer that could not be read, built, trained or saved, or a text it could not encode.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read`, `write` or `create`.
        action: &'static str,
        /// File or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The path holds no tokenizer that this crate knows.
    #[error(
        "no tokenizer at {}: expected spm.model, vocab.json with merges.txt, or tokenizer.json",
        path.display()
    )]
    NotFound {
        /// Path that was opened.
        path: PathBuf,
    },
    /// A file is truncated, corrupt or of a kind that is not supported.
    #[error("{} is not a usable tokenizer file: {reason}", path.display())]
    Malformed {
        /// File that was read.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
    /// The vocabulary lacks special pieces that every DeBERTa needs.
    #[error("{} has no {}", path.display(), missing.join(", no "))]
    MissingSpecials {
        /// File that was read.
        path: PathBuf,
        /// Names that were looked for, never empty.
        missing: Vec<&'static str>,
    },
    /// The training settings cannot be met.
    #[error("cannot train a tokenizer: {reason}")]
    Training {
        /// Which setting, and what would do.
        reason: String,
    },
    /// Tokens that cannot be added.
    #[error("cannot add the token `{token}`: {reason}")]
    CannotAdd {
        /// Name of the token.
        token: String,
        /// What is in the way.
        reason: String,
    },
    /// A sequence is too long and may not be cut.
    #[error(
        "the sequence has {len} tokens with its markers, expected at most {max_length}: shorten the \
         text, or allow truncation"
    )]
    TooLong {
        /// Its length in tokens, markers included.
        len: usize,
        /// Length asked for.
        max_length: usize,
    },
    /// A sequence cannot be cut as asked.
    #[error("cannot cut a sequence to {max_length} tokens: {reason}")]
    CannotCut {
        /// Length asked for.
        max_length: usize,
        /// What is in the way, and what would do.
        reason: String,
    },
    /// The `tokenizers` library refused a text.
    #[error("cannot encode a text of {len} bytes")]
    Encode {
        /// Length of the text in bytes.
        len: usize,
        /// What the library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl TokenizerError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    pub(crate) fn malformed(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Malformed {
            path: path.into(),
            reason: reason.into(),
        }
    }
}
