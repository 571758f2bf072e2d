//! The concrete tokenizer: one engine, its vocabulary, and the files it came from.

use std::collections::HashMap;
use std::path::Path;

use super::files::TokenizerFiles;
use super::hub::Hub;
use super::sentencepiece::SentencePiece;
use super::{
    Encoding, PieceKind, SpecialTokens, Tokenize, TokenizerError, VocabInfo, WordMark, special,
};

/// A tokenizer opened from files or trained from a corpus.
///
/// ```no_run
/// use deberta_data::tokenizer::{Tokenize, Tokenizer};
///
/// let tokenizer = Tokenizer::open("deberta-v3-base".as_ref())?;
/// let encoding = tokenizer.encode("A [MASK] day.")?;
/// assert_eq!(encoding.ids[1], tokenizer.special().mask);
/// # Ok::<(), deberta_data::tokenizer::TokenizerError>(())
/// ```
#[derive(Debug)]
pub struct Tokenizer {
    engine: Engine,
    lookup: Lookup,
    files: TokenizerFiles,
    fingerprint: String,
}

#[derive(Debug)]
enum Engine {
    SentencePiece(Box<SentencePiece>),
    Hub(Box<Hub>),
}

/// Pieces by id and ids by piece.
#[derive(Debug)]
struct Lookup {
    pieces: Vec<String>,
    ids: HashMap<String, u32>,
    vocab: VocabInfo,
}

impl Tokenizer {
    /// Opens a folder or a file.
    ///
    /// - A folder: `spm.model` if there is one, else `vocab.json` with `merges.txt`, else
    ///   `tokenizer.json`. Repositories that have several keep them equivalent, and the first two
    ///   are what the model was trained with.
    /// - `*.model`: SentencePiece. `vocab.json` or `merges.txt`: byte-level BPE, the other file
    ///   beside it. Any other `*.json`: a file of the `tokenizers` library.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::NotFound`], [`Io`](TokenizerError::Io),
    /// [`Malformed`](TokenizerError::Malformed) or
    /// [`MissingSpecials`](TokenizerError::MissingSpecials), each with the path.
    pub fn open(path: &Path) -> Result<Self, TokenizerError> {
        Self::from_files(TokenizerFiles::locate(path)?, path)
    }

    /// Opens a byte-level BPE whose two files have names or places of their own.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn from_bpe_files(vocab: &Path, merges: &Path) -> Result<Self, TokenizerError> {
        Self::from_files(TokenizerFiles::read_bpe(vocab, merges)?, vocab)
    }

    /// Builds the engine; `path` is for messages only.
    pub(super) fn from_files(files: TokenizerFiles, path: &Path) -> Result<Self, TokenizerError> {
        let (engine, lookup) = match &files {
            TokenizerFiles::SentencePiece { model } => open_sentencepiece(path, model)?,
            TokenizerFiles::Bpe { vocab, merges } => {
                open_hub(path, Hub::from_bpe(path, vocab, merges)?)?
            }
            TokenizerFiles::Json { json } => open_hub(path, Hub::from_json(path, json)?)?,
        };
        let fingerprint = files.fingerprint();
        Ok(Self {
            engine,
            lookup,
            files,
            fingerprint,
        })
    }

    /// Calls `text` with each stretch of plain text and its first character's number, and `mask`
    /// with the position of each mask in between.
    fn split_at_masks<'t>(&self, text: &'t str, mut part: impl FnMut(usize, Part<'t>)) {
        let mask = self.token(self.special().mask).unwrap_or(special::MASK[0]);
        let mut rest = text;
        let mut chars = 0;
        while let Some((before, after)) = rest.split_once(mask) {
            part(chars, Part::Text(before));
            chars += before.chars().count();
            part(chars, Part::Mask);
            chars += mask.chars().count();
            rest = after;
        }
        part(chars, Part::Text(rest));
    }
}

/// A stretch of text, or a mask.
enum Part<'t> {
    Text(&'t str),
    Mask,
}

impl Tokenize for Tokenizer {
    fn encode(&self, text: &str) -> Result<Encoding, TokenizerError> {
        let model = match &self.engine {
            Engine::Hub(hub) => return hub.encode(text),
            Engine::SentencePiece(model) => model,
        };
        let mut encoding = Encoding::default();
        let mask = self.special().mask;
        self.split_at_masks(text, |first_char, part| match part {
            Part::Text(text) => model.encode(text, first_char, &mut encoding),
            Part::Mask => {
                let name = self.token(mask).unwrap_or_default();
                let offsets = (first_char, first_char + name.chars().count());
                encoding.push(mask, name, offsets);
            }
        });
        Ok(encoding)
    }

    fn encode_ids(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let model = match &self.engine {
            Engine::Hub(hub) => return hub.encode_ids(text),
            Engine::SentencePiece(model) => model,
        };
        let mut ids = Vec::with_capacity(text.len() / 4);
        self.split_at_masks(text, |_, part| match part {
            Part::Text(text) => model.encode_ids(text, &mut ids),
            Part::Mask => ids.push(self.special().mask),
        });
        Ok(ids)
    }

    fn decode(&self, ids: &[u32]) -> String {
        let vocab = &self.lookup.vocab;
        let ids: Vec<u32> = ids
            .iter()
            .copied()
            .filter(|id| !vocab.is_special(*id))
            .collect();
        match &self.engine {
            Engine::SentencePiece(model) => model.decode(&ids),
            Engine::Hub(hub) => hub.decode(&ids),
        }
    }

    fn vocab_size(&self) -> usize {
        self.lookup.pieces.len()
    }

    fn special(&self) -> SpecialTokens {
        self.lookup.vocab.special()
    }

    fn token(&self, id: u32) -> Option<&str> {
        let piece = self.lookup.pieces.get(usize::try_from(id).ok()?)?;
        // Ids that a `tokenizer.json` leaves out have an empty name.
        (!piece.is_empty()).then_some(piece)
    }

    fn id(&self, token: &str) -> Option<u32> {
        self.lookup.ids.get(token).copied()
    }

    fn vocab(&self) -> &VocabInfo {
        &self.lookup.vocab
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn save(&self, dir: &Path) -> Result<(), TokenizerError> {
        let special = self.special();
        let name = |id| self.token(id).unwrap_or_default().to_owned();
        let names = [
            special.pad,
            special.cls,
            special.sep,
            special.unk,
            special.mask,
        ]
        .map(name);
        // Only SentencePiece keeps its mask outside the model file.
        let added_mask = match &self.engine {
            Engine::SentencePiece(model) if special.mask as usize >= model.pieces().len() => {
                Some(special.mask)
            }
            _ => None,
        };
        self.files.save(dir, &names, added_mask)
    }
}

impl Lookup {
    fn new(pieces: Vec<(String, PieceKind)>, mark: WordMark, special: SpecialTokens) -> Self {
        let kinds = pieces.iter().map(|(piece, kind)| (piece.as_str(), *kind));
        let vocab = VocabInfo::new(kinds, mark, special);
        let pieces: Vec<String> = pieces.into_iter().map(|(piece, _)| piece).collect();
        let ids = pieces.iter().cloned().zip(0u32..).collect();
        Self { pieces, ids, vocab }
    }
}

fn open_sentencepiece(path: &Path, bytes: &[u8]) -> Result<(Engine, Lookup), TokenizerError> {
    let model = SentencePiece::from_bytes(path, bytes)?;
    let mut pieces = model.pieces().to_vec();
    let next_id = u32::try_from(pieces.len()).ok();
    let id = |name: &str| {
        let index = pieces.iter().position(|(piece, _)| piece == name)?;
        u32::try_from(index).ok()
    };
    let special = special::find(path, id, next_id)?;
    if Some(special.mask) == next_id {
        pieces.push((special::MASK[0].to_owned(), PieceKind::Special));
    }
    let lookup = Lookup::new(pieces, WordMark::Metaspace, special);
    Ok((Engine::SentencePiece(Box::new(model)), lookup))
}

fn open_hub(path: &Path, mut hub: Hub) -> Result<(Engine, Lookup), TokenizerError> {
    let special = special::find(path, |name| hub.id(name), None)?;
    hub.recognise(special.mask);
    let lookup = Lookup::new(hub.pieces(), hub.word_mark(), special);
    Ok((Engine::Hub(Box::new(hub)), lookup))
}
