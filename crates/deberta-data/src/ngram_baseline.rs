//! N-gram predictors of masked tokens: what a model has to beat.
//!
//! ```text
//! unigram     p(w)       = (n(w) + δ) / (N + δV)        over ids that are text
//! bigram      p(w | l)   = (n(l w) + κ p(w)) / (n(l ·) + κ)
//! two-sided   p(w | l,r) ∝ p(w | l) · p(w | r) / p(w)
//! ```
//!
//! A neighbour that is masked itself says nothing: the bigram then falls back to the unigram, and
//! the two-sided predictor to the side it can see.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::masking::MaskedExample;
use crate::tokenizer::VocabInfo;

/// Added to every unigram count (δ).
const DELTA: f64 = 0.1;
/// Weight of the unigram distribution in a bigram (κ), in observations.
const KAPPA: f64 = 5.0;

/// Counts over the training examples.
#[derive(Debug, Clone)]
pub struct NgramBaselines {
    /// Smoothed unigram probabilities; 0 for special ids, which are never masked.
    unigram: Vec<f64>,
    /// The most frequent id.
    most_frequent: u32,
    after: HashMap<u32, Followers>,
    before: HashMap<u32, Followers>,
    mask: u32,
}

/// What stands beside a token, and how often.
#[derive(Debug, Clone, Default)]
struct Followers {
    counts: HashMap<u32, u32>,
    total: u64,
}

/// How well one predictor does.
#[derive(Debug, Clone, PartialEq)]
pub struct NgramScore {
    /// `unigram`, `bigram` or `two-sided bigram`.
    pub name: &'static str,
    /// Mean of `-ln p(token)`, in nats.
    pub loss_nats: f64,
    /// Share of tokens whose most probable candidate was right, in [0, 1].
    pub accuracy: f64,
}

/// Which neighbours a predictor looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sides {
    None,
    Left,
    Both,
}

impl NgramBaselines {
    /// Counts the tokens and the pairs of neighbours in `examples`.
    pub fn fit<'a>(examples: impl Iterator<Item = &'a [u32]>, vocab: &VocabInfo) -> Self {
        let mut counts = vec![0_u64; vocab.len()];
        let mut after: HashMap<u32, Followers> = HashMap::new();
        let mut before: HashMap<u32, Followers> = HashMap::new();
        let is_text = |id: u32| !vocab.is_special(id);
        for ids in examples {
            for pair in ids.windows(2) {
                if is_text(pair[1]) {
                    after.entry(pair[0]).or_default().add(pair[1]);
                }
                if is_text(pair[0]) {
                    before.entry(pair[1]).or_default().add(pair[0]);
                }
            }
            for id in ids.iter().filter(|id| is_text(**id)) {
                counts[*id as usize] += 1;
            }
        }
        let text_ids = (0..vocab.len() as u32).filter(|id| is_text(*id)).count();
        let total = counts.iter().sum::<u64>() as f64 + DELTA * text_ids as f64;
        let most_frequent = (0_u32..)
            .zip(&counts)
            .max_by_key(|(_, count)| **count)
            .map_or(0, |(id, _)| id);
        let smooth = |(id, count): (u32, u64)| match is_text(id) {
            true => (count as f64 + DELTA) / total,
            false => 0.0,
        };
        Self {
            unigram: (0..).zip(counts).map(smooth).collect(),
            most_frequent,
            after,
            before,
            mask: vocab.special().mask,
        }
    }

    /// Scores the predictors on the masked tokens of `examples`, simplest first.
    pub fn evaluate<'a>(
        &self,
        examples: impl Iterator<Item = &'a MaskedExample>,
    ) -> [NgramScore; 3] {
        let examples: Vec<_> = examples.collect();
        [
            ("unigram", Sides::None),
            ("bigram", Sides::Left),
            ("two-sided bigram", Sides::Both),
        ]
        .map(|(name, sides)| {
            let (loss, correct, tokens) = examples
                .par_iter()
                .map(|example| self.score(example, sides))
                .collect::<Vec<_>>()
                .into_iter()
                .fold((0.0, 0, 0), |sum, it| {
                    (sum.0 + it.0, sum.1 + it.1, sum.2 + it.2)
                });
            NgramScore {
                name,
                loss_nats: loss / f64::from(tokens),
                accuracy: f64::from(correct) / f64::from(tokens),
            }
        })
    }

    /// Loss, correct predictions and number of masked tokens of one example.
    fn score(&self, example: &MaskedExample, sides: Sides) -> (f64, u32, u32) {
        let (mut loss, mut correct) = (0.0, 0);
        for (&position, &label) in example.positions.iter().zip(&example.labels) {
            let position = position as usize;
            let visible = |index: Option<usize>| {
                let id = *example.input_ids.get(index?)?;
                (id != self.mask).then_some(id)
            };
            let left = visible(position.checked_sub(1)).filter(|_| sides != Sides::None);
            let right = visible(position.checked_add(1)).filter(|_| sides == Sides::Both);
            let (probability, is_best) = self.predict(left, right, label);
            loss -= probability.ln();
            correct += u32::from(is_best);
        }
        (loss, correct, example.positions.len() as u32)
    }

    /// Probability of `label` between its neighbours, and whether none is more probable.
    ///
    /// Ids that never stood beside a neighbour share the unigram's order, so only those that did,
    /// and the most frequent id, can be the best; the normaliser has a closed form.
    fn predict(&self, left: Option<u32>, right: Option<u32>, label: u32) -> (f64, bool) {
        let left = left.and_then(|id| self.after.get(&id));
        let right = right.and_then(|id| self.before.get(&id));
        let unigram = |id: u32| self.unigram.get(id as usize).copied().unwrap_or(0.0);
        // Unnormalised: every side contributes (n(w) + κ p(w)), two sides share one 1 / p(w).
        let weight = |id: u32| {
            let p = unigram(id);
            let with = |side: &Followers| side.count(id) + KAPPA * p;
            match (left, right) {
                (None, None) => p,
                (Some(side), None) | (None, Some(side)) => with(side),
                (Some(left), Some(right)) if p > 0.0 => with(left) * with(right) / p,
                _ => 0.0,
            }
        };
        let total = match (left, right) {
            (None, None) => 1.0,
            (Some(side), None) | (None, Some(side)) => side.total as f64 + KAPPA,
            (Some(left), Some(right)) => {
                let both = left.counts.keys().map(|&id| match right.count(id) {
                    0.0 => 0.0,
                    count => left.count(id) * count / unigram(id),
                });
                both.sum::<f64>() + KAPPA * (left.total + right.total) as f64 + KAPPA * KAPPA
            }
        };
        let of_label = weight(label);
        let is_best = [left, right]
            .into_iter()
            .flatten()
            .flat_map(|side| side.counts.keys())
            .chain([&self.most_frequent])
            .all(|&id| weight(id) <= of_label);
        (of_label / total, is_best)
    }
}

impl Followers {
    fn count(&self, id: u32) -> f64 {
        f64::from(self.counts.get(&id).copied().unwrap_or(0))
    }

    fn add(&mut self, id: u32) {
        *self.counts.entry(id).or_default() += 1;
        self.total += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::{PieceKind, SpecialTokens, WordMark};

    const SPECIAL: SpecialTokens = SpecialTokens {
        pad: 0,
        cls: 1,
        sep: 2,
        unk: 3,
        mask: 7,
    };

    fn vocab() -> VocabInfo {
        let kinds = (0..8).map(|id| match id {
            4..7 => ("x", PieceKind::Normal),
            _ => ("", PieceKind::Special),
        });
        VocabInfo::new(kinds, WordMark::EveryPiece, SPECIAL)
    }

    fn masked(ids: &[u32], position: u32) -> MaskedExample {
        let mut input_ids = ids.to_vec();
        input_ids[position as usize] = SPECIAL.mask;
        MaskedExample {
            input_ids,
            positions: vec![position],
            labels: vec![ids[position as usize]],
        }
    }

    #[test]
    fn each_predictor_uses_what_it_may_see() {
        // 5 follows 4 and 6 follows 5, always; 4 is the most frequent.
        let train: Vec<Vec<u32>> = vec![vec![1, 4, 5, 6, 4, 4, 5, 6, 2]; 50];
        let baselines = NgramBaselines::fit(train.iter().map(Vec::as_slice), &vocab());
        let examples: Vec<_> = (1..8).map(|position| masked(&train[0], position)).collect();
        let [unigram, bigram, both] = baselines.evaluate(examples.iter());

        assert_eq!(unigram.accuracy, 3.0 / 7.0);
        let p = |count: f64| (50.0 * count + DELTA) / (350.0 + 3.0 * DELTA);
        let expected = -(3.0 * p(3.0).ln() + 4.0 * p(2.0).ln()) / 7.0;
        assert!((unigram.loss_nats - expected).abs() < 1e-12);

        // Only "4 4" and "4 5" share a left neighbour; both sides settle them.
        assert_eq!(bigram.accuracy, 6.0 / 7.0);
        assert_eq!(both.accuracy, 1.0);
        assert!(both.loss_nats < bigram.loss_nats && bigram.loss_nats < unigram.loss_nats);
    }

    #[test]
    fn a_masked_neighbour_says_nothing() {
        let train = [vec![1, 4, 5, 6, 2]];
        let baselines = NgramBaselines::fit(train.iter().map(Vec::as_slice), &vocab());
        let mut example = masked(&train[0], 2);
        example.input_ids[1] = SPECIAL.mask;
        example.input_ids[3] = SPECIAL.mask;
        let [unigram, bigram, both] = baselines.evaluate([&example].into_iter());
        assert_eq!(unigram.loss_nats, bigram.loss_nats);
        assert_eq!(unigram.loss_nats, both.loss_nats);
    }

    #[test]
    fn probabilities_sum_to_one() {
        let train = [vec![1, 4, 5, 6, 4, 6, 2]];
        let baselines = NgramBaselines::fit(train.iter().map(Vec::as_slice), &vocab());
        for (left, right) in [(None, None), (Some(4), None), (Some(4), Some(6))] {
            let sum: f64 = (0..8).map(|id| baselines.predict(left, right, id).0).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{left:?} {right:?}: {sum}");
        }
    }
}
