//! What masking needs to know about each id of a vocabulary.

use super::SpecialTokens;

/// The marker that SentencePiece puts where a space was.
pub(crate) const SPACE_MARK: char = '\u{2581}';

/// Bit set in [`VocabInfo`] when a piece opens a word.
const STARTS_WORD: u8 = 1;
/// Bit set when a random replacement may draw the piece.
const REPLACEABLE: u8 = 2;
/// Bit set for control pieces, which are never masked.
const SPECIAL: u8 = 4;

/// How a vocabulary writes the start of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordMark {
    /// `▁` (SentencePiece and tokenizers with a `Metaspace` step).
    Metaspace,
    /// `Ġ` and the other symbols that stand for white-space bytes (byte-level BPE).
    ByteLevel,
    /// Pieces that continue a word begin with `##` (WordPiece).
    Hashes,
    /// Every piece is a word.
    EveryPiece,
}

/// What a piece is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceKind {
    /// Text.
    Normal,
    /// One byte of a character that has no piece of its own.
    Byte,
    /// Steers the model: `[CLS]`, `[MASK]`, the unknown piece, …
    Special,
    /// An id that no text maps to.
    Unused,
}

/// Per id: does it start a word, may it replace another token, is it special.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VocabInfo {
    flags: Vec<u8>,
    replaceable: Vec<u32>,
    special: SpecialTokens,
}

impl VocabInfo {
    /// Classifies the pieces of a vocabulary, given in the order of their ids.
    ///
    /// A piece starts a word if it carries `mark`, or if it is a single white-space, control or
    /// punctuation character, or special. Normal pieces are replaceable; byte pieces are not,
    /// because a lone byte is not a text.
    pub fn new<'a>(
        pieces: impl IntoIterator<Item = (&'a str, PieceKind)>,
        mark: WordMark,
        special: SpecialTokens,
    ) -> Self {
        let mut flags = Vec::new();
        let mut replaceable = Vec::new();
        for (id, (piece, kind)) in (0u32..).zip(pieces) {
            let is_special = kind == PieceKind::Special || special.all().contains(&id);
            let mut flag = 0;
            if is_special {
                flag |= SPECIAL;
            }
            if is_special || starts_word(piece, mark) {
                flag |= STARTS_WORD;
            }
            if !is_special && kind == PieceKind::Normal {
                flag |= REPLACEABLE;
                replaceable.push(id);
            }
            flags.push(flag);
        }
        Self {
            flags,
            replaceable,
            special,
        }
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.flags.len()
    }

    /// Whether there are no ids at all.
    pub fn is_empty(&self) -> bool {
        self.flags.is_empty()
    }

    /// Whether the piece opens a word; `true` for ids outside the vocabulary.
    pub fn starts_word(&self, id: u32) -> bool {
        self.flag(id) & STARTS_WORD != 0
    }

    /// Whether a random replacement may be this id; `false` for ids outside the vocabulary.
    pub fn replaceable(&self, id: u32) -> bool {
        self.flag(id) & REPLACEABLE != 0
    }

    /// Whether the id is special and so never masked; `true` for ids outside the vocabulary.
    pub fn is_special(&self, id: u32) -> bool {
        self.flag(id) & SPECIAL != 0
    }

    /// Every id that a random replacement may draw, ascending.
    pub fn replaceable_ids(&self) -> &[u32] {
        &self.replaceable
    }

    /// Ids of the special pieces.
    pub fn special(&self) -> SpecialTokens {
        self.special
    }

    fn flag(&self, id: u32) -> u8 {
        let flag = usize::try_from(id)
            .ok()
            .and_then(|index| self.flags.get(index));
        flag.copied().unwrap_or(SPECIAL | STARTS_WORD)
    }
}

fn starts_word(piece: &str, mark: WordMark) -> bool {
    let mut chars = piece.chars();
    let (Some(first), second) = (chars.next(), chars.next()) else {
        return false;
    };
    let marked = match mark {
        WordMark::Metaspace => first == SPACE_MARK,
        // The byte-level alphabet writes white space as Ġ (space), Ċ, ĉ, č, ċ and Č.
        WordMark::ByteLevel => matches!(first, 'Ġ' | 'Ċ' | 'ĉ' | 'č' | 'ċ' | 'Č'),
        WordMark::Hashes => !piece.starts_with("##"),
        WordMark::EveryPiece => true,
    };
    marked || (second.is_none() && stands_alone(first))
}

/// Names that vocabularies give to ids which no text produces.
pub(super) fn is_placeholder(piece: &str) -> bool {
    let numbered = |prefix: &str, suffix: &str| {
        let digits = piece
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix(suffix));
        digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    numbered("[unused", "]") || numbered("madeupword", "") || piece == "<|endoftext|>"
}

/// Whether a one-character piece is a word of its own: white space, control or punctuation.
fn stands_alone(character: char) -> bool {
    character.is_whitespace()
        || character.is_control()
        || character.is_ascii_punctuation()
        || matches!(character,
            '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205E}' // general punctuation
            | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' // CJK
            | '\u{FF01}'..='\u{FF0F}' | '\u{FF1A}'..='\u{FF20}' // full width
            | '¡' | '§' | '«' | '¶' | '·' | '»' | '¿' | '،' | '؛' | '؟' | '।')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocab(pieces: &[(&str, PieceKind)], mark: WordMark) -> VocabInfo {
        let special = SpecialTokens {
            pad: 0,
            cls: 0,
            sep: 0,
            unk: 0,
            mask: 0,
        };
        VocabInfo::new(pieces.iter().copied(), mark, special)
    }

    #[test]
    fn pieces_with_a_mark_and_lone_punctuation_start_words() {
        let pieces = ["[PAD]", "▁the", "ing", ",", "...", "▁", "—", "é"];
        let pieces = pieces.map(|piece| (piece, PieceKind::Normal));
        let vocab = vocab(&pieces, WordMark::Metaspace);
        let starts: Vec<_> = (0..8).map(|id| vocab.starts_word(id)).collect();
        assert_eq!(starts, [true, true, false, true, false, true, true, false]);
    }

    #[test]
    fn only_normal_pieces_are_replaceable() {
        let pieces = [
            ("[PAD]", PieceKind::Special),
            ("<0x00>", PieceKind::Byte),
            ("▁the", PieceKind::Normal),
            ("[unused1]", PieceKind::Unused),
        ];
        let vocab = vocab(&pieces, WordMark::Metaspace);
        assert_eq!(vocab.replaceable_ids(), [2]);
        assert!(vocab.is_special(0) && !vocab.is_special(1));
    }

    #[test]
    fn ids_outside_the_vocabulary_are_left_alone() {
        let vocab = vocab(&[("[PAD]", PieceKind::Special)], WordMark::Metaspace);
        assert!(vocab.is_special(7) && vocab.starts_word(7) && !vocab.replaceable(7));
    }

    #[test]
    fn byte_level_words_start_at_white_space_or_punctuation() {
        let pieces = ["[PAD]", "Ġthe", "ing", "Ċ", "!"].map(|piece| (piece, PieceKind::Normal));
        let vocab = vocab(&pieces, WordMark::ByteLevel);
        let starts: Vec<_> = (0..5).map(|id| vocab.starts_word(id)).collect();
        assert_eq!(starts, [true, true, false, true, true]);
    }
}
