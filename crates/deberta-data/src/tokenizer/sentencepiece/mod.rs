//! SentencePiece unigram models (`spm.model`), id for id as the C++ library runs them.
//!
//! The `tokenizers` crate is close but not equal: it matches control pieces in text, knows no
//! user-defined pieces and sums scores in double precision. The golden tests compare with the
//! library itself.

mod charsmap;
mod double_array;
mod normalizer;
mod proto;
mod unigram;

use std::path::Path;

pub(super) use double_array::DoubleArray;
use normalizer::Normalizer;
use proto::{ModelProto, PieceProto, PieceType};
use unigram::{Score, Unigram};

use super::encode::Chars;
use super::{Encoding, PieceKind, TokenizerError, vocab::SPACE_MARK};

/// Whether replacement rules are sound, also for a reader that checks no bounds.
pub(super) fn check_charsmap(blob: &[u8]) -> Result<(), String> {
    charsmap::CharsMap::parse(blob)?.check_steps()
}

/// An opened model.
#[derive(Debug)]
pub(crate) struct SentencePiece {
    pieces: Vec<(String, PieceKind)>,
    normalizer: Normalizer,
    unigram: Unigram,
    unknown: u32,
    /// Ids of `<0x00>` … `<0xFF>`, if unknown characters are spelled in bytes.
    bytes: Option<Box<[u32; 256]>>,
}

impl SentencePiece {
    /// Parses a model file; `path` is for messages only.
    pub(crate) fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, TokenizerError> {
        let model = proto::parse(path, bytes)?;
        let malformed = |reason: String| TokenizerError::malformed(path, reason);
        let pieces = read_pieces(&model).map_err(malformed)?;
        let unknown = find_unknown(&model).map_err(malformed)?;

        let mut matchable = Vec::new();
        let mut user_defined = Vec::new();
        for ((piece, proto), id) in pieces.iter().zip(&model.pieces).zip(0u32..) {
            match proto.kind() {
                PieceType::Normal => {
                    matchable.push((piece.0.as_str(), id, Score::Normal(proto.score())));
                }
                PieceType::UserDefined => {
                    matchable.push((piece.0.as_str(), id, Score::UserDefined));
                    user_defined.push((piece.0.as_bytes(), id));
                }
                _ => {}
            }
        }
        let unigram = Unigram::new(&matchable, unknown)
            .ok_or_else(|| malformed("the pieces are too many or too long".to_owned()))?;
        let suffix = model
            .trainer
            .as_ref()
            .is_some_and(|it| it.treat_whitespace_as_suffix());
        let normalizer = model.normalizer.clone().unwrap_or_default();
        let normalizer = Normalizer::new(&normalizer, suffix, user_defined).map_err(malformed)?;
        let bytes = find_bytes(&model, &pieces).map_err(malformed)?;
        Ok(Self {
            pieces,
            normalizer,
            unigram,
            unknown,
            bytes,
        })
    }

    /// Pieces in the order of their ids.
    pub(crate) fn pieces(&self) -> &[(String, PieceKind)] {
        &self.pieces
    }

    /// Appends the ids of `text` to `ids`.
    pub(crate) fn encode_ids(&self, text: &str, ids: &mut Vec<u32>) {
        let normalized = self.normalizer.normalize(text, &mut ());
        let mut end = 0;
        let mut after_unknown = false;
        for cut in self.unigram.segment(&normalized) {
            let start = end;
            end += cut.len;
            let unknown = cut.id == self.unknown;
            match &self.bytes {
                Some(bytes) if unknown => {
                    let spelled = normalized[start..end].bytes();
                    ids.extend(spelled.map(|byte| bytes[usize::from(byte)]));
                }
                // A run of unknown characters is one unknown token.
                _ if unknown && after_unknown => {}
                _ => ids.push(cut.id),
            }
            after_unknown = unknown;
        }
    }

    /// Appends the tokens of `text`, whose first character is number `first_char`, to `encoding`.
    ///
    /// As in the library, of the byte pieces that spell a character only the last one covers it.
    pub(crate) fn encode(&self, text: &str, first_char: usize, encoding: &mut Encoding) {
        let mut origins = Vec::new();
        let normalized = self.normalizer.normalize(text, &mut origins);
        let mut chars = Chars::new(text, first_char);
        let mut end = 0;
        let mut after_unknown = false;
        for cut in self.unigram.segment(&normalized) {
            let start = end;
            end += cut.len;
            let from = chars.at(origins[start]);
            let to = chars.at(origins[end]);
            let piece = &normalized[start..end];
            let unknown = cut.id == self.unknown;
            match &self.bytes {
                Some(bytes) if unknown => {
                    for (index, byte) in piece.bytes().enumerate() {
                        let id = bytes[usize::from(byte)];
                        let to = if index + 1 == piece.len() { to } else { from };
                        encoding.push(id, &self.pieces[id as usize].0, (from, to));
                    }
                }
                _ if unknown && after_unknown => encoding.extend_last(piece, to),
                _ => encoding.push(cut.id, piece, (from, to)),
            }
            after_unknown = unknown;
        }
    }

    /// Joins pieces into text; special pieces and ids outside the vocabulary are skipped.
    pub(crate) fn decode(&self, ids: &[u32]) -> String {
        let mut text = Vec::new();
        for id in ids {
            match self.pieces.get(*id as usize) {
                Some((piece, PieceKind::Byte)) => text.extend(byte_value(piece)),
                Some((piece, PieceKind::Normal)) => text.extend(piece.as_bytes()),
                _ => {}
            }
        }
        let text = String::from_utf8_lossy(&text).replace(SPACE_MARK, " ");
        if self.normalizer.adds_dummy_prefix() {
            text.strip_prefix(' ').map(str::to_owned).unwrap_or(text)
        } else {
            text
        }
    }
}

impl Encoding {
    pub(super) fn push(&mut self, id: u32, token: &str, offsets: (usize, usize)) {
        self.ids.push(id);
        self.tokens.push(token.to_owned());
        self.offsets.push(offsets);
    }

    fn extend_last(&mut self, text: &str, to: usize) {
        if let (Some(token), Some(offsets)) = (self.tokens.last_mut(), self.offsets.last_mut()) {
            token.push_str(text);
            offsets.1 = to;
        }
    }
}

fn read_pieces(model: &ModelProto) -> Result<Vec<(String, PieceKind)>, String> {
    let mut seen = std::collections::HashSet::new();
    let mut pieces = Vec::with_capacity(model.pieces.len());
    for (id, proto) in model.pieces.iter().enumerate() {
        let piece = proto.piece();
        if piece.is_empty() {
            return Err(format!("piece {id} is empty"));
        }
        if !proto.score().is_finite() {
            return Err(format!(
                "piece {id} `{piece}` has the score {}",
                proto.score()
            ));
        }
        if !seen.insert(piece) {
            return Err(format!("piece {id} `{piece}` occurs twice"));
        }
        let kind = match proto.kind() {
            PieceType::Normal | PieceType::UserDefined => PieceKind::Normal,
            PieceType::Unknown | PieceType::Control => PieceKind::Special,
            PieceType::Unused => PieceKind::Unused,
            PieceType::Byte => PieceKind::Byte,
        };
        pieces.push((piece.to_owned(), kind));
    }
    Ok(pieces)
}

fn find_unknown(model: &ModelProto) -> Result<u32, String> {
    let is_unknown = |piece: &PieceProto| piece.kind() == PieceType::Unknown;
    let mut ids = (0u32..)
        .zip(&model.pieces)
        .filter(|(_, piece)| is_unknown(piece));
    match (ids.next(), ids.next()) {
        (Some((id, _)), None) => Ok(id),
        (None, _) => Err("no piece is marked as unknown".to_owned()),
        _ => Err("several pieces are marked as unknown".to_owned()),
    }
}

/// With byte fallback all 256 byte pieces must exist.
fn find_bytes(
    model: &ModelProto,
    pieces: &[(String, PieceKind)],
) -> Result<Option<Box<[u32; 256]>>, String> {
    if !model
        .trainer
        .as_ref()
        .is_some_and(|trainer| trainer.byte_fallback())
    {
        return Ok(None);
    }
    let mut ids = Box::new([u32::MAX; 256]);
    for ((piece, kind), id) in pieces.iter().zip(0u32..) {
        if *kind == PieceKind::Byte {
            let byte = byte_value(piece).ok_or_else(|| {
                format!("byte piece {id} is `{piece}`, expected `<0x00>` … `<0xFF>`")
            })?;
            ids[usize::from(byte)] = id;
        }
    }
    match ids.iter().position(|id| *id == u32::MAX) {
        Some(byte) => Err(format!(
            "byte fallback is on but piece <0x{byte:02X}> is missing"
        )),
        None => Ok(Some(ids)),
    }
}

/// The byte that a piece like `<0x0A>` stands for.
fn byte_value(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    let upper = digits
        .bytes()
        .all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'));
    (digits.len() == 2 && upper)
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}
