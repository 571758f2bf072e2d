//! Tokenizers that the `tokenizers` library runs: `tokenizer.json`.

mod check;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde_json::{Value, json};
use tokenizers::models::ModelWrapper;
use tokenizers::{AddedToken as LibraryToken, Tokenizer as Library};

use super::vocab::{SPACE_MARK, is_placeholder};
use super::{AddedToken, Encoding, PieceKind, TokenizerError, WordMark};

/// A tokenizer of the library, stripped of truncation, padding and added special tokens.
#[derive(Debug)]
pub(crate) struct Hub {
    library: Library,
    pieces: Vec<(String, PieceKind)>,
    word_mark: WordMark,
}

impl Hub {
    /// Parses a `tokenizer.json`; `path` is for messages only.
    pub(super) fn from_json(path: &Path, json: &[u8]) -> Result<Self, TokenizerError> {
        let library = parse(json).map_err(|reason| TokenizerError::malformed(path, reason))?;
        let pieces =
            list_pieces(&library).map_err(|reason| TokenizerError::malformed(path, reason))?;
        let word_mark = find_word_mark(&library, &pieces);
        Ok(Self {
            library,
            pieces,
            word_mark,
        })
    }

    /// Makes the piece `id` stand for itself when its name occurs in a text.
    ///
    /// A mask takes the place of a word with the space before it, where spaces belong to words.
    pub(super) fn recognise(&mut self, id: u32) {
        let known = self
            .library
            .get_added_vocabulary()
            .get_added_tokens_decoder();
        if known.contains_key(&id) {
            return;
        }
        if let Some(name) = self.library.id_to_token(id) {
            let takes_space = self.word_mark == WordMark::ByteLevel;
            let token = LibraryToken::from(name, true).lstrip(takes_space);
            self.library.add_special_tokens(&[token]);
            if let Some(piece) = self.pieces.get_mut(id as usize) {
                piece.1 = PieceKind::Special;
            }
        }
    }

    /// Id of a piece.
    pub(super) fn id(&self, piece: &str) -> Option<u32> {
        self.library.token_to_id(piece)
    }

    /// Pieces in the order of their ids; an id without a piece has an empty name.
    pub(super) fn pieces(&self) -> &[(String, PieceKind)] {
        &self.pieces
    }

    /// How the vocabulary writes the start of a word.
    pub(super) fn word_mark(&self) -> WordMark {
        self.word_mark
    }

    pub(super) fn encode(&self, text: &str) -> Result<Encoding, TokenizerError> {
        let encoding = guarded(text, || self.library.encode_char_offsets(text, false))?;
        let mut encoding = Encoding {
            ids: encoding.get_ids().to_vec(),
            tokens: encoding.get_tokens().to_vec(),
            offsets: encoding.get_offsets().to_vec(),
        };
        self.trim_masks(&mut encoding);
        Ok(encoding)
    }

    /// The library spells a piece that takes the space before it with that space.
    fn trim_masks(&self, encoding: &mut Encoding) {
        let tokens = encoding
            .ids
            .iter()
            .zip(&mut encoding.tokens)
            .zip(&mut encoding.offsets);
        for ((id, token), offsets) in tokens {
            if let Some((name, PieceKind::Special)) = self.pieces.get(*id as usize)
                && token.trim_start() == name
            {
                offsets.0 += token.chars().count() - name.chars().count();
                token.clone_from(name);
            }
        }
    }

    pub(super) fn encode_ids(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = guarded(text, || self.library.encode_fast(text, false))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Joins pieces into text; empty if the file's decoder rejects them.
    pub(super) fn decode(&self, ids: &[u32]) -> String {
        self.library.decode(ids, false).unwrap_or_default()
    }
}

/// Runs the library on a text. Should it panic, that is an error like others: it keeps no state but
/// caches of whole words.
fn guarded<T>(
    text: &str,
    encode: impl FnOnce() -> tokenizers::Result<T>,
) -> Result<T, TokenizerError> {
    let result = catch_unwind(AssertUnwindSafe(encode));
    result
        .unwrap_or_else(|_| Err("the tokenizers library failed on it".into()))
        .map_err(|source| TokenizerError::Encode {
            len: text.len(),
            source,
        })
}

/// Parses a `tokenizer.json`.
///
/// Should the library panic on a file that looks right, that is an error like others.
fn parse(json: &[u8]) -> Result<Library, String> {
    let mut file: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    check::sanitise(&mut file)?;
    let json = file.to_string();
    let library = match catch_unwind(|| Library::from_bytes(json)) {
        Ok(parsed) => parsed.map_err(|error| error.to_string())?,
        Err(_) => return Err("the tokenizers library cannot read it".to_owned()),
    };
    // The library numbers added tokens itself, whatever the file says.
    for token in added_tokens(&file) {
        let name = token["content"].as_str().unwrap_or_default();
        let (says, is) = (&token["id"], library.token_to_id(name));
        if says.as_u64() != is.map(u64::from) {
            return Err(format!(
                "the added token `{name}` has the id {says}, its place in the list gives it {is:?}"
            ));
        }
    }
    Ok(library)
}

fn added_tokens(file: &Value) -> impl Iterator<Item = &Value> {
    file["added_tokens"].as_array().into_iter().flatten()
}

/// The tokens that a `tokenizer.json` lists beside its model.
pub(super) fn read_added(json: &[u8]) -> Vec<(u32, AddedToken)> {
    let file: Value = serde_json::from_slice(json).unwrap_or_default();
    let read = |token: &Value| {
        let id = u32::try_from(token["id"].as_u64()?).ok()?;
        Some((id, serde_json::from_value(token.clone()).ok()?))
    };
    added_tokens(&file).filter_map(read).collect()
}

/// A `tokenizer.json` with more added tokens.
pub(super) fn with_added(
    path: &Path,
    json: &[u8],
    tokens: &[(u32, AddedToken)],
) -> Result<Vec<u8>, TokenizerError> {
    let mut file: Value = serde_json::from_slice(json)
        .map_err(|error| TokenizerError::malformed(path, error.to_string()))?;
    if !file["added_tokens"].is_array() {
        file["added_tokens"] = json!([]);
    }
    if let Some(list) = file["added_tokens"].as_array_mut() {
        list.extend(tokens.iter().map(|(id, token)| {
            let mut entry = json!(token);
            entry["id"] = json!(id);
            entry
        }));
        list.sort_by_key(|token| token["id"].as_u64());
    }
    Ok(file.to_string().into_bytes())
}

fn list_pieces(library: &Library) -> Result<Vec<(String, PieceKind)>, String> {
    let vocab = library.get_vocab(true);
    let added = library.get_added_vocabulary().get_added_tokens_decoder();
    let special: HashSet<u32> = added
        .iter()
        .filter(|(_, token)| token.special)
        .map(|(id, _)| *id)
        .collect();
    let size = vocab.values().max().map_or(0, |id| *id as usize + 1);
    // A stray huge id would otherwise ask for gigabytes.
    if size > 2 * vocab.len() + 1024 {
        return Err(format!(
            "ids run up to {size} for only {} pieces",
            vocab.len()
        ));
    }
    let byte_fallback = match library.get_model() {
        ModelWrapper::BPE(model) => model.byte_fallback,
        ModelWrapper::Unigram(model) => model.byte_fallback(),
        _ => false,
    };
    let mut pieces = vec![(String::new(), PieceKind::Unused); size];
    for (piece, id) in vocab {
        let kind = if special.contains(&id) {
            PieceKind::Special
        } else if byte_fallback && is_byte_piece(&piece) {
            PieceKind::Byte
        } else if is_placeholder(&piece) {
            PieceKind::Unused
        } else {
            PieceKind::Normal
        };
        pieces[id as usize] = (piece, kind);
    }
    Ok(pieces)
}

fn is_byte_piece(piece: &str) -> bool {
    let digits = piece
        .strip_prefix("<0x")
        .and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| u8::from_str_radix(digits, 16).is_ok())
}

/// Takes the mark that most pieces carry.
fn find_word_mark(library: &Library, pieces: &[(String, PieceKind)]) -> WordMark {
    if let ModelWrapper::WordLevel(_) = library.get_model() {
        return WordMark::EveryPiece;
    }
    let count = |is_marked: &dyn Fn(&str) -> bool| {
        pieces.iter().filter(|(piece, _)| is_marked(piece)).count()
    };
    let marks = [
        (count(&|piece| piece.starts_with('Ġ')), WordMark::ByteLevel),
        (count(&|piece| piece.starts_with("##")), WordMark::Hashes),
        (
            count(&|piece| piece.starts_with(SPACE_MARK)),
            WordMark::Metaspace,
        ),
    ];
    let most = marks.into_iter().max_by_key(|(count, _)| *count);
    most.filter(|(count, _)| *count > 0)
        .map_or(WordMark::EveryPiece, |(_, mark)| mark)
}
