//! Text in, answers out: tokenizer, network and decoding in one.

mod fill_mask;

use std::path::PathBuf;

use deberta_data::tokenizer::TokenizerError;
use deberta_model::checkpoint::CheckpointError;

use crate::hub::HubError;

pub use fill_mask::{FillMask, FilledMask, MaskCandidate};

/// A pipeline that could not be opened, or a text that it cannot answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The model could not be found or downloaded.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The weights or their configuration could not be loaded.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The tokenizer could not be loaded, or failed on a text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The tokenizer has ids that the network has no row for.
    #[error(
        "{}: the tokenizer has {tokenizer} ids, but the network's word table has {network} rows",
        dir.display()
    )]
    VocabularyMismatch {
        /// The checkpoint folder.
        dir: PathBuf,
        /// Ids of the tokenizer.
        tokenizer: usize,
        /// Rows of the word table.
        network: usize,
    },
    /// A text without anything to fill in.
    #[error("text {index} has no {mask}: {text:?}")]
    NoMask {
        /// Position of the text among those given.
        index: usize,
        /// How the tokenizer spells the mask.
        mask: String,
        /// The text.
        text: String,
    },
    /// A text of more tokens than the network has positions for.
    #[error("text {index} has {tokens} tokens with its two markers, the network takes {limit}")]
    TooLong {
        /// Position of the text among those given.
        index: usize,
        /// Its tokens.
        tokens: usize,
        /// The largest number that is possible.
        limit: usize,
    },
}
