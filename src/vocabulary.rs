//! Whether a tokenizer and a network belong together.

use std::path::{Path, PathBuf};

use deberta_data::tokenizer::{Tokenize, Tokenizer};
use deberta_model::DebertaConfig;

/// A tokenizer with ids that the network has no row for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}: the tokenizer has {tokenizer} ids, but the network's word table has {network} rows",
    dir.display()
)]
pub struct VocabularyMismatch {
    /// The checkpoint folder.
    pub dir: PathBuf,
    /// Ids of the tokenizer.
    pub tokenizer: usize,
    /// Rows of the word table.
    pub network: usize,
}

impl VocabularyMismatch {
    /// Compares the tokenizer of a checkpoint folder with its network.
    ///
    /// # Errors
    ///
    /// If the tokenizer has an id that the network does not know.
    pub fn check(dir: &Path, tokenizer: &Tokenizer, config: &DebertaConfig) -> Result<(), Self> {
        match tokenizer.vocab_size() <= config.vocab_size {
            true => Ok(()),
            false => Err(Self {
                dir: dir.into(),
                tokenizer: tokenizer.vocab_size(),
                network: config.vocab_size,
            }),
        }
    }
}
