//! The best way to cut a normalised text into pieces.

use super::double_array::DoubleArray;

/// How far below the least likely piece an unknown character scores.
const UNKNOWN_PENALTY: f32 = 10.0;

/// Path scores beyond this are too coarse in single precision and start over from zero.
const REBASE_AT: f32 = 100_000.0;

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
/// Scores are summed exactly as the SentencePiece library does (`EncodeOptimized`, release 0.2.3):
/// in single precision along a path, rebased on long texts, and with ties going to the candidate
/// seen first. Ids have to be equal, not just good.
#[derive(Debug)]
pub(super) struct Unigram {
    trie: DoubleArray,
    scores: Vec<Score>,
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
        for (_, id, score) in pieces {
            scores[*id as usize] = *score;
            if let Score::Normal(score) = *score {
                lowest = lowest.min(score);
            }
        }
        let keys = pieces
            .iter()
            .map(|(text, id, _)| (text.as_bytes(), *id))
            .collect();
        Some(Self {
            trie: DoubleArray::build(keys)?,
            scores,
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
        // End of the longest piece so far: nothing beyond it has a score.
        let mut frontier = 0;
        while let Some(character) = text[start..].chars().next() {
            let character_len = character.len_utf8();
            let ahead = &mut endings[start..];
            if ahead[0].score.abs() > REBASE_AT {
                rebase(&mut ahead[..frontier + 1 - start]);
            }
            let so_far = ahead[0].score;
            let mut covered = false;
            self.trie.prefixes(&bytes[start..], |len, id| {
                let score = match self.scores[id as usize] {
                    Score::Normal(score) => score,
                    Score::UserDefined => user_defined_score(len),
                };
                let total = so_far + score;
                let ending = &mut ahead[len];
                if ending.len == 0 || total > ending.score {
                    *ending = Ending {
                        score: total,
                        len: len as u32,
                        id,
                    };
                }
                covered |= len == character_len;
                frontier = frontier.max(start + len);
            });
            if !covered {
                frontier = frontier.max(start + character_len);
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

/// Above every log-probability, and more so for longer pieces.
fn user_defined_score(len: usize) -> f32 {
    (0.1 * (len as f64 - 1.0)) as f32
}

/// Moves the scores of all open paths so that the first is zero.
fn rebase(open: &mut [Ending]) {
    let offset = open[0].score;
    for (index, ending) in open.iter_mut().enumerate() {
        if index == 0 || ending.len > 0 {
            ending.score -= offset;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(pieces: &[(&str, u32, Score)], text: &str) -> Vec<u32> {
        let unigram = Unigram::new(pieces, 9).unwrap();
        unigram
            .segment(text)
            .into_iter()
            .map(|cut| cut.id)
            .collect()
    }

    #[test]
    fn the_likeliest_pieces_win() {
        let pieces = [
            ("a", 0, Score::Normal(-2.0)),
            ("b", 1, Score::Normal(-2.0)),
            ("ab", 2, Score::Normal(-3.0)),
            ("ba", 3, Score::Normal(-5.0)),
        ];
        assert_eq!(ids(&pieces, "aba"), [2, 0]);
    }

    /// `m|mm` and `mm|m` score the same; holding an exact sum against a rounded one would break the
    /// tie.
    #[test]
    fn ties_go_to_the_earlier_start_whatever_the_rounding() {
        for step in 1..100 {
            let pieces = [
                ("m", 0, Score::Normal(-1.1 * step as f32)),
                ("mm", 1, Score::Normal(-0.3 * step as f32)),
            ];
            assert_eq!(ids(&pieces, "mmm"), [0, 1]);
        }
    }

    #[test]
    fn characters_without_a_piece_are_unknown_one_by_one() {
        let pieces = [
            ("a", 0, Score::Normal(-1.0)),
            ("éé", 1, Score::Normal(-30.0)),
        ];
        assert_eq!(ids(&pieces, "aé語"), [0, 9, 9]);
        assert_eq!(ids(&pieces, "ééa"), [1, 0]);
    }

    #[test]
    fn user_defined_pieces_beat_likelier_ones() {
        let pieces = [("a", 0, Score::Normal(-0.5)), ("aa", 1, Score::UserDefined)];
        assert_eq!(ids(&pieces, "aaa"), [0, 1]);
    }
}
