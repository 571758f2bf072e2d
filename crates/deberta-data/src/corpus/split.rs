//! Which documents are held out.

use serde::{Deserialize, Serialize};

/// Long documents are split into runs of about this many bytes, each wholly in one part.
const BLOCK_BYTES: usize = 32 * 1024;

/// Which side of the train/held-out split a corpus yields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// Everything: no split.
    #[default]
    All,
    /// All but the held-out units.
    Train(HeldOut),
    /// The held-out units only.
    HeldOut(HeldOut),
}

/// Size and choice of the held-out part.
///
/// The unit is a document or, in a document that is longer, a run of about 32 KiB, so that a
/// single novel can be split too. Of every `every` consecutive units one is held out; which one
/// is drawn from the seed. The choice depends only on the order of the corpus, so train and
/// held-out never overlap, and a run of text next to a hole starts a new document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOut {
    /// One unit in this many is held out, at least 2.
    pub every: u64,
    /// Draws which one.
    pub seed: u64,
}

impl Default for HeldOut {
    /// One unit in 50 (2 %).
    fn default() -> Self {
        Self { every: 50, seed: 0 }
    }
}

/// Follows the documents of a corpus and says which side each piece of text is on.
#[derive(Debug)]
pub(super) struct Splitter {
    part: Part,
    units: u64,
    block_bytes: usize,
    last_kept: bool,
}

/// What becomes of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Drop,
    /// Keep it as it is.
    Keep,
    /// Keep it, but what stood before it is gone: it starts a document.
    KeepAsStart,
}

impl Splitter {
    pub(super) fn new(part: Part) -> Self {
        Self {
            part,
            units: 0,
            block_bytes: 0,
            last_kept: false,
        }
    }

    pub(super) fn fate(&mut self, bytes: usize, starts_document: bool) -> Fate {
        let (held_out, keep_held_out) = match self.part {
            Part::All => return Fate::Keep,
            Part::Train(held_out) => (held_out, false),
            Part::HeldOut(held_out) => (held_out, true),
        };
        if starts_document || self.units == 0 || self.block_bytes >= BLOCK_BYTES {
            self.units += 1;
            self.block_bytes = 0;
        }
        self.block_bytes += bytes;
        let unit = self.units - 1;
        let every = held_out.every.max(2);
        let chosen = crate::rng::mix(held_out.seed ^ crate::rng::mix(unit / every)) % every;
        let kept = (unit % every == chosen) == keep_held_out;
        let fate = match (kept, self.last_kept) {
            (false, _) => Fate::Drop,
            (true, true) => Fate::Keep,
            (true, false) => Fate::KeepAsStart,
        };
        self.last_kept = kept;
        fate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_on_exactly_one_side_and_the_share_is_exact() {
        let held_out = HeldOut { every: 10, seed: 3 };
        let mut train = Splitter::new(Part::Train(held_out));
        let mut test = Splitter::new(Part::HeldOut(held_out));
        let mut num_held_out = 0;
        for _ in 0..1000 {
            let in_train = train.fate(100, true) != Fate::Drop;
            let in_test = test.fate(100, true) != Fate::Drop;
            assert_ne!(in_train, in_test);
            num_held_out += u32::from(in_test);
        }
        assert_eq!(num_held_out, 100);
    }

    #[test]
    fn a_hole_starts_a_document() {
        let mut train = Splitter::new(Part::Train(HeldOut { every: 4, seed: 1 }));
        let mut was_dropped = true;
        for index in 0..200 {
            let fate = train.fate(BLOCK_BYTES, index == 0);
            assert_eq!(fate == Fate::KeepAsStart, was_dropped && fate != Fate::Drop);
            was_dropped = fate == Fate::Drop;
        }
    }
}
