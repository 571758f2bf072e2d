//! Tokenizers that the `tokenizers` library runs: `tokenizer.json` and byte-level BPE.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde_json::{Value, json};
use tokenizers::models::ModelWrapper;
use tokenizers::{AddedToken, PostProcessorWrapper, Tokenizer as Library};

use super::{Encoding, PieceKind, TokenizerError, WordMark, vocab::SPACE_MARK};

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
        let mut library = parse(json).map_err(|reason| TokenizerError::malformed(path, reason))?;
        // Packing adds special tokens and cuts to length, not the tokenizer.
        library.with_post_processor(None::<PostProcessorWrapper>);
        library.with_padding(None);
        library
            .with_truncation(None)
            .map_err(|error| TokenizerError::malformed(path, error.to_string()))?;
        let pieces =
            list_pieces(&library).map_err(|reason| TokenizerError::malformed(path, reason))?;
        let word_mark = find_word_mark(&library, &pieces);
        Ok(Self {
            library,
            pieces,
            word_mark,
        })
    }

    /// Builds a byte-level BPE as GPT-2 and DeBERTa v1 use it.
    pub(super) fn from_bpe(
        path: &Path,
        vocab: &[u8],
        merges: &[u8],
    ) -> Result<Self, TokenizerError> {
        let vocab: BTreeMap<String, u32> = serde_json::from_slice(vocab)
            .map_err(|error| TokenizerError::malformed(path, format!("vocabulary: {error}")))?;
        let merges = parse_merges(merges)
            .map_err(|reason| TokenizerError::malformed(path, format!("merges: {reason}")))?;
        let byte_level = json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
            "use_regex": true,
        });
        let file = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": null, "pre_tokenizer": byte_level, "post_processor": null,
            "decoder": byte_level,
            "model": { "type": "BPE", "vocab": vocab, "merges": merges },
        });
        Self::from_json(path, file.to_string().as_bytes())
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
            let token = AddedToken::from(name, true).lstrip(takes_space);
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
    pub(super) fn pieces(&self) -> Vec<(String, PieceKind)> {
        self.pieces.clone()
    }

    /// How the vocabulary writes the start of a word.
    pub(super) fn word_mark(&self) -> WordMark {
        self.word_mark
    }

    pub(super) fn encode(&self, text: &str) -> Result<Encoding, TokenizerError> {
        let encoding = self.library.encode_char_offsets(text, false);
        let encoding = encoding.map_err(|source| TokenizerError::Encode {
            len: text.len(),
            source,
        })?;
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
        match self.library.encode_fast(text, false) {
            Ok(encoding) => Ok(encoding.get_ids().to_vec()),
            Err(source) => Err(TokenizerError::Encode {
                len: text.len(),
                source,
            }),
        }
    }

    /// Joins pieces into text; empty if the file's decoder rejects them.
    pub(super) fn decode(&self, ids: &[u32]) -> String {
        self.library.decode(ids, false).unwrap_or_default()
    }
}

/// Parses a `tokenizer.json`.
///
/// The library unwraps where it should not: on some files of the wrong shape it panics.
fn parse(json: &[u8]) -> Result<Library, String> {
    let value: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let json = value.to_string();
    match std::panic::catch_unwind(|| Library::from_bytes(json)) {
        Ok(parsed) => parsed.map_err(|error| error.to_string()),
        Err(_) => Err("the tokenizers library cannot read it".to_owned()),
    }
}

/// Reads `merges.txt`: two pieces a line, an optional `#version` line first.
fn parse_merges(bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut merges = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || (number == 1 && line.starts_with("#version")) {
            continue;
        }
        match line.split_once(' ') {
            Some((left, right))
                if !left.is_empty() && !right.is_empty() && !right.contains(' ') =>
            {
                merges.push((left.to_owned(), right.to_owned()));
            }
            _ => return Err(format!("line {number} is `{line}`, expected two pieces")),
        }
    }
    Ok(merges)
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

/// Names that vocabularies give to ids which no text produces.
fn is_placeholder(piece: &str) -> bool {
    let numbered = |prefix: &str, suffix: &str| {
        let digits = piece
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix(suffix));
        digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    numbered("[unused", "]") || numbered("madeupword", "") || piece == "<|endoftext|>"
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
