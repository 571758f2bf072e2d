//! All ways to write a word with the current pieces: sums and the best one.

use crate::tokenizer::sentencepiece::DoubleArray;

/// Pieces with their log-probabilities, ready to match.
pub(super) struct Lattice<'p> {
    trie: DoubleArray,
    pieces: &'p [(String, f64)],
}

/// A piece inside a word.
#[derive(Clone, Copy)]
struct Arc {
    start: usize,
    end: usize,
    piece: usize,
}

impl<'p> Lattice<'p> {
    /// `None` if the pieces are too many for the trie.
    pub(super) fn new(pieces: &'p [(String, f64)]) -> Option<Self> {
        let keys = pieces
            .iter()
            .map(|(piece, _)| piece.as_bytes())
            .zip(0u32..)
            .collect();
        Some(Self {
            trie: DoubleArray::build(keys)?,
            pieces,
        })
    }

    fn score(&self, arc: Arc) -> f64 {
        self.pieces[arc.piece].1
    }

    /// Every piece at every place it fits, by start.
    fn arcs(&self, word: &str) -> Vec<Arc> {
        let mut arcs = Vec::with_capacity(word.len() * 4);
        for (start, _) in word.char_indices() {
            self.trie.prefixes(&word.as_bytes()[start..], |len, piece| {
                arcs.push(Arc {
                    start,
                    end: start + len,
                    piece: piece as usize,
                });
            });
        }
        arcs
    }

    /// Adds `weight` times the probability of each piece being used in `word` to `expected`.
    pub(super) fn add_expected(&self, word: &str, weight: f64, expected: &mut [f64]) {
        let arcs = self.arcs(word);
        let mut before = vec![f64::NEG_INFINITY; word.len() + 1];
        let mut after = before.clone();
        before[0] = 0.0;
        after[word.len()] = 0.0;
        for arc in &arcs {
            before[arc.end] = log_add(before[arc.end], before[arc.start] + self.score(*arc));
        }
        for arc in arcs.iter().rev() {
            after[arc.start] = log_add(after[arc.start], after[arc.end] + self.score(*arc));
        }
        let total = before[word.len()];
        if !total.is_finite() {
            return;
        }
        for arc in &arcs {
            let path = before[arc.start] + self.score(*arc) + after[arc.end] - total;
            expected[arc.piece] += weight * path.exp();
        }
    }

    /// Pieces of the best way to write `word`, without `excluded`; empty if there is none.
    pub(super) fn best(&self, word: &str, excluded: Option<usize>) -> Vec<usize> {
        let arcs = self.arcs(word);
        let mut best: Vec<(f64, Option<Arc>)> = vec![(f64::NEG_INFINITY, None); word.len() + 1];
        best[0].0 = 0.0;
        for arc in arcs.into_iter().filter(|arc| Some(arc.piece) != excluded) {
            let score = best[arc.start].0 + self.score(arc);
            if score > best[arc.end].0 {
                best[arc.end] = (score, Some(arc));
            }
        }
        let mut path = Vec::new();
        let mut end = word.len();
        while let Some(arc) = best[end].1 {
            path.push(arc.piece);
            end = arc.start;
        }
        path
    }
}

fn log_add(left: f64, right: f64) -> f64 {
    let (low, high) = if left < right {
        (left, right)
    } else {
        (right, left)
    };
    if low == f64::NEG_INFINITY {
        high
    } else {
        high + (low - high).exp().ln_1p()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces() -> Vec<(String, f64)> {
        [("a", 0.2), ("b", 0.2), ("ab", 0.3), ("ba", 0.3)]
            .map(|(piece, share): (_, f64)| (piece.to_owned(), share.ln()))
            .into()
    }

    #[test]
    fn expectations_weigh_every_way_to_write_a_word() {
        let pieces = pieces();
        let lattice = Lattice::new(&pieces).unwrap();
        let mut expected = [0.0; 4];
        lattice.add_expected("aba", 1.0, &mut expected);
        // a·b·a 0.008, ab·a 0.06, a·ba 0.06
        let total = 0.128;
        let by_hand = [
            (2.0 * 0.008 + 0.12) / total,
            0.008 / total,
            0.06 / total,
            0.06 / total,
        ];
        for (expected, by_hand) in expected.iter().zip(by_hand) {
            assert!((expected - by_hand).abs() < 1e-12, "{expected} {by_hand}");
        }
    }

    #[test]
    fn the_best_way_can_leave_a_piece_out() {
        let pieces = pieces();
        let lattice = Lattice::new(&pieces).unwrap();
        assert_eq!(lattice.best("ab", None), [2]);
        assert_eq!(lattice.best("ab", Some(2)), [1, 0]);
        assert!(lattice.best("ac", None).is_empty());
    }
}
