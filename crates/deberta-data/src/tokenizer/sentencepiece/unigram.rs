//! The best way to cut a normalised text into pieces.

use super::double_array::DoubleArray;

/// How far below the least likely piece an unknown character scores.
const UNKNOWN_PENALTY: f32 = 10.0;

/// A piece with its log-probability, as far as the search cares.
#[derive(Debug, Clone, Copy)]
pub(super) enum Score {
    /// Learned.
    Normal(f32),
    /// A user-defined piece: chosen whenever it matches.
    UserDefined,
}

/// Viterbi search over a piece trie.
///
/// Scores are summed exactly as SentencePiece's `EncodeOptimized` does, in single precision along
/// a path and with ties going to the candidate seen first: ids have to be equal, not just good.
#[derive(Debug)]
pub(super) struct Unigram {
    trie: DoubleArray,
    scores: Vec<Score>,
    highest: f32,
    unknown_score: f32,
    unknown_id: u32,
}

/// Best path that ends at a byte.
#[derive(Debug, Clone, Copy)]
struct Ending {
    score: f32,
    /// Length in bytes of the last piece; 0 if nothing ends here.
    len: u32,
    id: u32,
}

/// A piece of the best path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// Bytes of normalised text.
    pub(super) len: usize,
    /// Piece.
    pub(super) id: u32,
}

impl Unigram {
    /// Builds the search from the matchable pieces `(text, id, score)`.
    ///
    /// Returns `None` if the vocabulary is too large for the trie.
    pub(super) fn new(pieces: &[(&str, u32, Score)], unknown_id: u32) -> Option<Self> {
        let ids = pieces
            .iter()
            .map(|(_, id, _)| *id as usize + 1)
            .max()
            .unwrap_or(0);
        let mut scores = vec![Score::UserDefined; ids];
        let mut lowest = f32::MAX;
        // The library starts from the smallest positive number too; learned scores are negative.
        let mut highest = f32::MIN_POSITIVE;
        for (_, id, score) in pieces {
            scores[*id as usize] = *score;
            if let Score::Normal(score) = *score {
                lowest = lowest.min(score);
                highest = highest.max(score);
            }
        }
        let keys = pieces
            .iter()
            .map(|(text, id, _)| (text.as_bytes(), *id))
            .collect();
        Some(Self {
            trie: DoubleArray::build(keys)?,
            scores,
            highest,
            unknown_score: lowest - UNKNOWN_PENALTY,
            unknown_id,
        })
    }

    /// Cuts `text` so that the scores of the pieces add up to the most.
    pub(super) fn segment(&self, text: &str) -> Vec<Cut> {
        let endings = self.search(text);
        let mut cuts = Vec::with_capacity(text.len() / 4);
        let mut end = text.len();
        while end > 0 {
            let ending = endings[end];
            let len = ending.len as usize;
            cuts.push(Cut { len, id: ending.id });
            end -= len;
        }
        cuts.reverse();
        cuts
    }

    fn search(&self, text: &str) -> Vec<Ending> {
        let nothing = Ending {
            score: 0.0,
            len: 0,
            id: self.unknown_id,
        };
        let mut endings = vec![nothing; text.len() + 1];
        let bytes = text.as_bytes();
        let mut start = 0;
        while let Some(character) = text[start..].chars().next() {
            let character_len = character.len_utf8();
            let so_far = endings[start].score;
            let mut covered = false;
            let (_, ahead) = endings.split_at_mut(start);
            self.trie.prefixes(&bytes[start..], |len, id| {
                let total = match self.scores[id as usize] {
                    Score::Normal(score) => f64::from(score) + f64::from(so_far),
                    Score::UserDefined => {
                        f64::from(len as f32 * self.highest) - 0.1 + f64::from(so_far)
                    }
                };
                let ending = &mut ahead[len];
                if ending.len == 0 || total > f64::from(ending.score) {
                    *ending = Ending {
                        score: total as f32,
                        len: len as u32,
                        id,
                    };
                }
                covered |= len == character_len;
            });
            if !covered {
                let total = self.unknown_score + so_far;
                let ending = &mut ahead[character_len];
                if ending.len == 0 || total > ending.score {
                    let len = character_len as u32;
                    *ending = Ending {
                        score: total,
                        len,
                        id: self.unknown_id,
                    };
                }
            }
            start += character_len;
        }
        endings
    }
}
