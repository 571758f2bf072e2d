//! Text to ids and back.
//!
//! [`Tokenize`] is the one interface; [`Tokenizer`] is the type behind it, opened from the files
//! that DeBERTa checkpoints ship with, or trained from a corpus.
//!
//! | file | model | who uses it |
//! |---|---|---|
//! | `spm.model` | SentencePiece unigram | DeBERTa v2, v3, mDeBERTa |
//! | `vocab.json` + `merges.txt` | GPT-2 byte-level BPE | DeBERTa v1 |
//! | `tokenizer.json` | whatever it says | tokenizers trained here or elsewhere |
//! | `encoder.json` + `vocab.bpe` + `dict.txt` | GPT-2's files in fairseq's order | DeBERTa v1, as it was made |
//!
//! [`Tokenize`] adds no special token around a text; [`SequenceConfig`] makes `[CLS] … [SEP]` of one
//! text or two, cut to length or in windows, and [`PaddedBatch`] puts several side by side.
//!
//! The string `[MASK]` inside a text becomes the mask id, and what stands on either side of it is
//! encoded as a text of its own; so do tokens that were [added](Tokenizer::add_tokens).
//!
//! # Deviation from the transformers library
//!
//! Where its release 5 differs from the code that the models were trained with, that code is
//! followed: `spm.model` is run with its own normalisation rules instead of NFC, unknown characters
//! are spelled in bytes where the model says so, and `[CLS]`, `[SEP]`, `[PAD]` and `[UNK]` in a text
//! are text unless [`TokenizerOptions::markers_in_text`] is set.

mod added;
mod byte_level;
mod encode;
mod error;
mod facade;
mod fairseq;
mod files;
mod hub;
mod open;
mod prepare;
mod sentencepiece;
mod sequence;
mod sidecar;
mod special;
mod train;
mod vocab;

use std::path::Path;

pub use added::AddedToken;
pub use error::TokenizerError;
pub use facade::{Tokenizer, TokenizerOptions};
pub use sequence::{PadTo, PaddedBatch, Sequence, SequenceConfig, Truncation, TruncationSide};
pub use train::{TokenizerKind, TrainTokenizerConfig};
pub use vocab::{PieceKind, VocabInfo, WordMark};

/// Ids of the special pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecialTokens {
    /// `[PAD]`, fills the end of a short sequence.
    pub pad: u32,
    /// `[CLS]`, first of every sequence.
    pub cls: u32,
    /// `[SEP]`, ends a sequence or a segment.
    pub sep: u32,
    /// `[UNK]`, text the vocabulary cannot express.
    pub unk: u32,
    /// `[MASK]`, hides a token that the model has to guess.
    pub mask: u32,
}

impl SpecialTokens {
    /// The five ids, in the order of the fields.
    pub fn all(&self) -> [u32; 5] {
        [self.pad, self.cls, self.sep, self.unk, self.mask]
    }
}

/// An encoded text; the three lists have one entry per token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Ids.
    pub ids: Vec<u32>,
    /// Pieces, as the vocabulary spells them.
    pub tokens: Vec<String>,
    /// Where the token comes from: characters `start..end` of the original text.
    pub offsets: Vec<(usize, usize)>,
}

/// What the rest of the crate asks of a tokenizer.
pub trait Tokenize: Send + Sync {
    /// Encodes a text with pieces and offsets. Adds no special tokens.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Encode`] if the underlying library fails; SentencePiece cannot.
    fn encode(&self, text: &str) -> Result<Encoding, TokenizerError>;

    /// The ids of [`encode`](Self::encode) alone, and faster.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    fn encode_ids(&self, text: &str) -> Result<Vec<u32>, TokenizerError>;

    /// Encodes many texts on all cores, in the order given.
    ///
    /// # Errors
    ///
    /// The first failure of [`encode_ids`](Self::encode_ids).
    fn encode_batch_ids(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>, TokenizerError> {
        use rayon::prelude::*;
        texts.par_iter().map(|text| self.encode_ids(text)).collect()
    }

    /// Joins ids into text; special ids are skipped.
    fn decode(&self, ids: &[u32]) -> String;

    /// Number of ids that exist, `[MASK]` included: 128 001 for the published v3 vocabulary.
    fn vocab_size(&self) -> usize;

    /// Ids of the special pieces.
    fn special(&self) -> SpecialTokens;

    /// Piece of an id.
    fn token(&self, id: u32) -> Option<&str>;

    /// Id of a piece.
    fn id(&self, token: &str) -> Option<u32>;

    /// What masking needs to know about each id.
    fn vocab(&self) -> &VocabInfo;

    /// SHA-256, in hexadecimal, over everything that decides how a text is encoded.
    fn fingerprint(&self) -> &str;

    /// Writes the tokenizer's files into a folder in the layout of the Hub.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Io`] with the file that could not be written.
    fn save(&self, dir: &Path) -> Result<(), TokenizerError>;
}
