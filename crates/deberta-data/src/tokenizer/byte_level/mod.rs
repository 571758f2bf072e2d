//! Byte-level BPE as GPT-2 and DeBERTa v1 use it: `vocab.json` with `merges.txt`.
//!
//! The `tokenizers` library comes close. Its regular expression gives up on a run of about a million
//! spaces, and a merge that went stale may be mistaken for another one with the same result; here
//! words are split in linear time and the merges are those of GPT-2's `encoder.py`.

mod merges;
mod words;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{LazyLock, RwLock};

use ahash::AHashMap;
pub(super) use merges::parse_merges;
use merges::{MergeTable, parse_vocab};
use words::words;

use super::vocab::is_placeholder;
use super::{Encoding, PieceKind, TokenizerError};

/// Words of up to this many bytes are remembered with their pieces.
const CACHED_BYTES: usize = 64;
/// Number of remembered words; what comes later is cut each time.
const CACHED_WORDS: usize = 1 << 16;

/// A vocabulary with its merges.
#[derive(Debug)]
pub(super) struct ByteLevelBpe {
    pieces: Vec<(String, PieceKind)>,
    /// Bytes of text that a piece stands for, by id.
    lengths: Vec<u32>,
    /// Piece of each single byte.
    bytes: Box<[u32; 256]>,
    merges: MergeTable,
    cache: RwLock<AHashMap<Box<str>, Box<[u32]>>>,
}

/// The letter that stands for each byte: itself if it can be printed, else one from 256 on.
static LETTERS: LazyLock<[char; 256]> = LazyLock::new(|| {
    let mut letters = ['\0'; 256];
    let mut next = 256;
    for (byte, letter) in (0u8..=255).zip(&mut letters) {
        *letter = match byte {
            b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
            _ => {
                next += 1;
                char::from_u32(next - 1).unwrap_or_default()
            }
        };
    }
    letters
});

/// The byte of each letter.
static BYTES: LazyLock<AHashMap<char, u8>> =
    LazyLock::new(|| LETTERS.iter().copied().zip(0u8..=255).collect());

impl ByteLevelBpe {
    /// Parses the two files; `path` is for messages only.
    pub(super) fn from_bytes(
        path: &Path,
        vocab: &[u8],
        merges: &[u8],
    ) -> Result<Self, TokenizerError> {
        let malformed =
            |file: &str, reason| TokenizerError::malformed(path, format!("{file}: {reason}"));
        let vocab = parse_vocab(vocab).map_err(|reason| malformed("vocabulary", reason))?;
        let merges = parse_merges(merges).map_err(|reason| malformed("merges", reason))?;
        let merges =
            MergeTable::new(&vocab, &merges).map_err(|reason| malformed("merges", reason))?;
        let bytes = find_bytes(&vocab).map_err(|reason| malformed("vocabulary", reason))?;

        let size = vocab.values().max().map_or(0, |id| *id as usize + 1);
        let mut pieces = vec![(String::new(), PieceKind::Unused); size];
        for (piece, id) in vocab {
            let kind = match is_placeholder(&piece) {
                true => PieceKind::Unused,
                false => PieceKind::Normal,
            };
            pieces[id as usize] = (piece, kind);
        }
        let length = |piece: &(String, PieceKind)| u32::try_from(piece.0.chars().count()).ok();
        let lengths = pieces.iter().filter_map(length).collect();
        Ok(Self {
            pieces,
            lengths,
            bytes,
            merges,
            cache: RwLock::default(),
        })
    }

    /// Pieces in the order of their ids; an id without a piece has an empty name.
    pub(super) fn pieces(&self) -> &[(String, PieceKind)] {
        &self.pieces
    }

    /// Appends the ids of `text` to `ids`.
    pub(super) fn encode_ids(&self, text: &str, ids: &mut Vec<u32>) {
        for word in words(text) {
            self.cut(word, ids);
        }
    }

    /// Appends the tokens of `text`, whose first character is number `first_char`, to `encoding`.
    ///
    /// A piece that holds a part of a character covers the whole character.
    pub(super) fn encode(&self, text: &str, first_char: usize, encoding: &mut Encoding) {
        // Number of the character that each byte belongs to.
        let mut owners = Vec::with_capacity(text.len());
        for (number, character) in text.chars().enumerate() {
            owners.resize(owners.len() + character.len_utf8(), first_char + number);
        }
        let mut ids = Vec::new();
        self.encode_ids(text, &mut ids);
        let mut start = 0;
        for id in ids {
            let len = self.lengths.get(id as usize).map_or(1, |len| *len as usize);
            let end = start + len;
            let (Some(from), Some(to)) = (owners.get(start), owners.get(end - 1)) else {
                break;
            };
            encoding.push(id, &self.pieces[id as usize].0, (*from, to + 1));
            start = end;
        }
    }

    /// Joins pieces into text; bytes that are not UTF-8 become U+FFFD.
    pub(super) fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::new();
        let pieces = ids.iter().filter_map(|id| self.pieces.get(*id as usize));
        for character in pieces.flat_map(|(piece, _)| piece.chars()) {
            match BYTES.get(&character) {
                Some(byte) => bytes.push(*byte),
                None => bytes.extend(character.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn cut(&self, word: &str, ids: &mut Vec<u32>) {
        if word.len() > CACHED_BYTES {
            return ids.extend(self.merges.cut(self.singles(word)));
        }
        if let Ok(cache) = self.cache.try_read()
            && let Some(known) = cache.get(word)
        {
            return ids.extend(known);
        }
        let cut = self.merges.cut(self.singles(word));
        ids.extend(&cut);
        // A word is cut the same way every time, so whoever is first may write it.
        if let Ok(mut cache) = self.cache.try_write()
            && cache.len() < CACHED_WORDS
        {
            cache.insert(word.into(), cut.into());
        }
    }

    fn singles(&self, word: &str) -> impl ExactSizeIterator<Item = u32> {
        word.bytes().map(|byte| self.bytes[usize::from(byte)])
    }
}

/// Every byte needs a piece, or some texts could not be written.
fn find_bytes(vocab: &BTreeMap<String, u32>) -> Result<Box<[u32; 256]>, String> {
    let mut ids = Box::new([0; 256]);
    for ((letter, byte), id) in LETTERS.iter().zip(0u8..=255).zip(ids.iter_mut()) {
        *id = *vocab
            .get(letter.encode_utf8(&mut [0; 4]) as &str)
            .ok_or_else(|| format!("no piece `{letter}`, which stands for the byte {byte:#04x}"))?;
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_those_of_gpt2() {
        assert_eq!((LETTERS[0], LETTERS[32], LETTERS[10]), ('Ā', 'Ġ', 'Ċ'));
        assert_eq!((LETTERS[0x7f], LETTERS[0xad]), ('ġ', 'Ń'));
        assert_eq!((LETTERS[33], LETTERS[255]), ('!', 'ÿ'));
        assert_eq!(BYTES.len(), 256);
    }
}
