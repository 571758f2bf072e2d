//! The compiled replacement rules (`nmt_nfkc` and friends) inside a SentencePiece model.
//!
//! The blob is a little-endian length, a Darts-clone double array of 32-bit units whose values
//! are positions in a table, and that table: replacement strings, each ended by a zero byte.

/// Longest replacement, in bytes: the longest of `nmt_nfkc` has 33, and a text must not explode.
const MAX_REPLACEMENT: usize = 255;

/// Rewriting rules: a prefix of the text to its replacement.
#[derive(Debug)]
pub(super) struct CharsMap {
    units: Vec<u32>,
    replacements: String,
    /// ASCII bytes that no rule rewrites as long as the next byte is ASCII too.
    plain: [bool; 128],
}

/// One step in the double array: the units are read as Darts-clone packs them.
#[derive(Clone, Copy)]
struct Unit(u32);

impl Unit {
    fn has_leaf(self) -> bool {
        self.0 >> 8 & 1 == 1
    }

    fn value(self) -> usize {
        (self.0 & 0x7fff_ffff) as usize
    }

    /// Label with the leaf bit kept, so that a leaf never equals a byte.
    fn label(self) -> u32 {
        self.0 & 0x8000_00ff
    }

    fn offset(self) -> usize {
        ((self.0 >> 10) << ((self.0 & 1 << 9) >> 6)) as usize
    }
}

impl CharsMap {
    /// Reads the blob; the error says what is wrong with it.
    pub(super) fn parse(blob: &[u8]) -> Result<Self, String> {
        let (head, rest) = blob
            .split_first_chunk::<4>()
            .ok_or("charsmap of less than 4 bytes")?;
        let trie_len = u32::from_le_bytes(*head) as usize;
        if trie_len == 0 || !trie_len.is_multiple_of(4) || trie_len > rest.len() {
            let len = rest.len();
            return Err(format!(
                "charsmap declares {trie_len} bytes of trie, {len} are there"
            ));
        }
        let (trie, table) = rest.split_at(trie_len);
        let units = trie
            .as_chunks::<4>()
            .0
            .iter()
            .map(|unit| u32::from_le_bytes(*unit))
            .collect();
        let replacements = String::from_utf8(table.to_vec())
            .map_err(|error| format!("charsmap replacements: {error}"))?;

        let mut map = Self {
            units,
            replacements,
            plain: [false; 128],
        };
        map.check_values()?;
        map.check_lengths()?;
        let mut plain = [false; 128];
        for (byte, plain) in (0u8..).zip(&mut plain) {
            *plain = map.is_plain(byte);
        }
        map.plain = plain;
        Ok(map)
    }

    /// Longest rule that matches the start of `text`: bytes consumed and their replacement.
    pub(super) fn longest_prefix(&self, text: &[u8]) -> Option<(usize, &str)> {
        let mut position = self.unit(0)?.offset();
        let mut longest = None;
        for (index, &byte) in text.iter().enumerate() {
            position ^= usize::from(byte);
            let Some(unit) = self
                .unit(position)
                .filter(|unit| unit.label() == u32::from(byte))
            else {
                break;
            };
            position ^= unit.offset();
            if unit.has_leaf() {
                longest = self.unit(position).map(|leaf| (index + 1, leaf.value()));
            }
        }
        let (len, start) = longest?;
        let tail = self.replacements.get(start..)?;
        Some((len, tail.split('\0').next().unwrap_or(tail)))
    }

    /// Whether `byte` stays as it is when the byte after it is ASCII.
    pub(super) fn leaves_alone(&self, byte: u8) -> bool {
        self.plain.get(usize::from(byte)).copied().unwrap_or(false)
    }

    fn unit(&self, position: usize) -> Option<Unit> {
        self.units.get(position).copied().map(Unit)
    }

    fn is_plain(&self, byte: u8) -> bool {
        let child = |position: usize, byte: u8| {
            let at = position ^ usize::from(byte);
            self.unit(at)
                .filter(|unit| unit.label() == u32::from(byte))
                .map(|unit| (at, unit))
        };
        let Some(root) = self.unit(0) else {
            return true;
        };
        let Some((at, unit)) = child(root.offset(), byte) else {
            return true;
        };
        let below = at ^ unit.offset();
        !unit.has_leaf() && (0..128).all(|next| child(below, next).is_none())
    }

    /// Whether every step of a library that checks no bounds stays inside the array.
    pub(super) fn check_steps(&self) -> Result<(), String> {
        let is_leaf = |unit: Unit| unit.0 >> 31 == 1;
        for (at, unit) in self.units.iter().copied().map(Unit).enumerate() {
            let below = at ^ unit.offset();
            let leads_out = below | 0xff >= self.units.len();
            let lacks_leaf = || unit.has_leaf() && !self.unit(below).is_some_and(is_leaf);
            if !is_leaf(unit) && (leads_out || lacks_leaf()) {
                return Err(format!("charsmap: unit {at} of the trie leads out of it"));
            }
        }
        Ok(())
    }

    fn check_lengths(&self) -> Result<(), String> {
        let longest = self.replacements.split('\0').map(str::len).max();
        match longest.unwrap_or(0) {
            len if len > MAX_REPLACEMENT => Err(format!(
                "charsmap has a replacement of {len} bytes, expected at most {MAX_REPLACEMENT}"
            )),
            _ => Ok(()),
        }
    }

    /// Every leaf must point into the table.
    fn check_values(&self) -> Result<(), String> {
        let is_leaf = |unit: &&u32| **unit >> 31 == 1;
        match self.units.iter().filter(is_leaf).find(|unit| {
            let start = Unit(**unit).value();
            !self.replacements.is_char_boundary(start)
        }) {
            Some(_) => Err("charsmap points outside its replacements".to_owned()),
            None => Ok(()),
        }
    }
}
