//! The best part of a text by start and end scores of its tokens.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// How start and end scores become answers.
///
/// The search is that of BERT's `run_squad` and of transformers: the best starts and the best ends of
/// each window are paired, and the score of a pair is the sum of both. "No answer" has the scores of
/// the first token; of several windows, the one counts that is surest of an answer.
///
/// # Deviation from transformers
///
/// The same characters found in two windows are one candidate, with the better score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerConfig {
    /// Candidates that are kept, and starts and ends that are tried in each window. Default: 20
    pub n_best: usize,
    /// Longest answer in tokens. Default: 30
    pub max_tokens: usize,
    /// "No answer" is said if its score exceeds the best one by more than this; a score metric's
    /// best threshold `p` on the probability is `ln(p / (1 − p))` here. Default: 0
    pub null_threshold: f64,
}

impl Default for AnswerConfig {
    fn default() -> Self {
        Self {
            n_best: 20,
            max_tokens: 30,
            null_threshold: 0.0,
        }
    }
}

/// What a head says about the tokens of one window over a text.
#[derive(Debug, Clone)]
pub struct AnswerWindow<'a> {
    /// Score of each token of the window as the first of the answer, markers included.
    pub starts: &'a [f32],
    /// Score of each token as the last.
    pub ends: &'a [f32],
    /// Which of the tokens belong to the text that is searched.
    pub context: Range<usize>,
    /// Where these come from: characters `start..end` of the text.
    pub offsets: &'a [(usize, usize)],
}

/// A part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AnswerCandidate {
    /// First character.
    pub start: usize,
    /// One past the last character.
    pub end: usize,
    /// Sum of the two scores.
    pub score: f64,
    /// Probability in [0, 1] among all candidates and "no answer".
    pub probability: f64,
}

/// All windows of a question together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecodedAnswer {
    /// Best first; empty if no window has a token of the text.
    pub candidates: Vec<AnswerCandidate>,
    /// Score of "no answer".
    pub null_score: f64,
    /// Logistic function of how far "no answer" is ahead of the best candidate, in [0, 1].
    pub no_answer_prob: f64,
    /// Whether there is a candidate, and "no answer" is not ahead by more than the threshold.
    pub has_answer: bool,
}

impl DecodedAnswer {
    /// The best candidate, whether or not "no answer" is ahead of it.
    pub fn best(&self) -> Option<&AnswerCandidate> {
        self.candidates.first()
    }
}

impl AnswerConfig {
    /// The best answers over the windows of one question.
    pub fn decode(&self, windows: &[AnswerWindow<'_>]) -> DecodedAnswer {
        let null_score = windows.iter().map(null_score).fold(f64::INFINITY, f64::min);
        let mut best: BTreeMap<(usize, usize), f64> = BTreeMap::new();
        for window in windows {
            for (span, score) in self.spans(window) {
                let known = best.entry(span).or_insert(score);
                *known = known.max(score);
            }
        }
        let mut candidates: Vec<AnswerCandidate> = best
            .into_iter()
            .map(|((start, end), score)| AnswerCandidate {
                start,
                end,
                score,
                probability: 0.0,
            })
            .collect();
        // Stable: equal scores keep the order of the text.
        candidates.sort_by(|a, b| descending(a.score, b.score));
        candidates.truncate(self.n_best.max(1));
        set_probabilities(&mut candidates, null_score);
        let lead = candidates
            .first()
            .map_or(f64::INFINITY, |best| null_score - best.score);
        DecodedAnswer {
            has_answer: lead <= self.null_threshold,
            no_answer_prob: 1.0 / (1.0 + (-lead).exp()),
            null_score,
            candidates,
        }
    }

    /// Pairs of good starts and good ends, as characters with their score.
    fn spans(&self, window: &AnswerWindow<'_>) -> Vec<((usize, usize), f64)> {
        let starts = self.best_tokens(window.starts, &window.context);
        let ends = self.best_tokens(window.ends, &window.context);
        let mut spans = Vec::new();
        for &start in &starts {
            for &end in &ends {
                if end < start || end - start >= self.max_tokens.max(1) {
                    continue;
                }
                let place = |token: usize| window.offsets.get(token - window.context.start);
                let (Some(&(from, _)), Some(&(_, to))) = (place(start), place(end)) else {
                    continue;
                };
                if from < to {
                    let score = f64::from(window.starts[start]) + f64::from(window.ends[end]);
                    spans.push(((from, to), score));
                }
            }
        }
        spans
    }

    /// The tokens of the text with the highest scores.
    fn best_tokens(&self, scores: &[f32], context: &Range<usize>) -> Vec<usize> {
        let end = context.end.min(scores.len());
        let mut tokens: Vec<usize> = (context.start..end).collect();
        tokens.sort_by(|a, b| descending(f64::from(scores[*a]), f64::from(scores[*b])));
        tokens.truncate(self.n_best.max(1));
        tokens
    }
}

/// Scores of the first token, which stands for "no answer".
fn null_score(window: &AnswerWindow<'_>) -> f64 {
    let first = |scores: &[f32]| scores.first().map_or(0.0, |it| f64::from(*it));
    first(window.starts) + first(window.ends)
}

/// Larger numbers first, and what is not a number last.
fn descending(a: f64, b: f64) -> Ordering {
    a.is_nan()
        .cmp(&b.is_nan())
        .then_with(|| b.partial_cmp(&a).unwrap_or(Ordering::Equal))
}

/// Softmax over the candidates and "no answer".
fn set_probabilities(candidates: &mut [AnswerCandidate], null_score: f64) {
    let scores = candidates.iter().map(|it| it.score);
    let largest = scores.clone().fold(null_score, f64::max);
    let weight = |score: f64| (score - largest).exp();
    let total: f64 = scores.map(weight).sum::<f64>() + weight(null_score);
    for candidate in candidates {
        candidate.probability = weight(candidate.score) / total;
    }
}

/// The fewest tokens, first and last, that cover the characters `start..end` of a text.
///
/// `None` if a character of it is in no token, so that the tokens do not hold the whole answer.
///
/// - `offsets`: where the tokens come from, [without white space](super::trimmed_offsets)
pub fn token_span(offsets: &[(usize, usize)], start: usize, end: usize) -> Option<(usize, usize)> {
    let holds = |&(from, to): &(usize, usize)| from < end && to > start;
    let first = offsets.iter().position(holds)?;
    let last = offsets.iter().rposition(holds)?;
    (offsets[first].0 <= start && offsets[last].1 >= end).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `[CLS] q [SEP] a b c [SEP]`, of which the text is "a b c".
    fn window<'a>(
        starts: &'a [f32; 7],
        ends: &'a [f32; 7],
        offsets: &'a [(usize, usize)],
    ) -> AnswerWindow<'a> {
        AnswerWindow {
            starts,
            ends,
            context: 3..6,
            offsets,
        }
    }

    const OFFSETS: [(usize, usize); 3] = [(0, 1), (2, 3), (4, 5)];

    #[test]
    fn the_best_pair_in_the_text_wins() {
        // Tokens outside the text score highest, an end before its start next.
        let starts = [0.0, 9.0, 0.0, 1.0, 4.0, 2.0, 9.0];
        let ends = [0.5, 9.0, 0.0, 5.0, 1.0, 3.0, 9.0];
        let decoded = AnswerConfig::default().decode(&[window(&starts, &ends, &OFFSETS)]);
        let best = decoded.best().unwrap();
        assert_eq!((best.start, best.end, best.score), (2, 5, 7.0));
        assert_eq!(decoded.candidates.len(), 6);
        assert_eq!(decoded.null_score, 0.5);
        assert!(decoded.has_answer);
        assert!((decoded.no_answer_prob - 1.0 / (1.0 + 6.5_f64.exp())).abs() < 1e-12);
        let total: f64 = decoded.candidates.iter().map(|it| it.probability).sum();
        let scores: [f64; 6] = [7.0, 6.0, 5.0, 5.0, 4.0, 2.0];
        let weights: f64 = scores.iter().map(|it| it.exp()).sum();
        assert!((total - weights / (weights + 0.5_f64.exp())).abs() < 1e-12);
        assert!((best.probability - 7.0_f64.exp() / (weights + 0.5_f64.exp())).abs() < 1e-12);
    }

    #[test]
    fn answers_are_no_longer_than_allowed() {
        let starts = [0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0];
        let ends = [0.0, 0.0, 0.0, 0.0, 0.0, 5.0, 0.0];
        let config = AnswerConfig {
            max_tokens: 2,
            ..AnswerConfig::default()
        };
        let decoded = config.decode(&[window(&starts, &ends, &OFFSETS)]);
        let longest = decoded.candidates.iter().map(|it| it.end - it.start).max();
        assert_eq!(longest, Some(3));
    }

    #[test]
    fn no_answer_is_said_beyond_the_threshold() {
        let starts = [3.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
        let ends = [3.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
        // A second window is less sure that there is none.
        let mut surer = starts;
        surer[0] = 2.0;
        let windows = [
            window(&starts, &ends, &OFFSETS),
            window(&surer, &ends, &OFFSETS),
        ];
        let decode = |null_threshold| {
            let config = AnswerConfig {
                null_threshold,
                ..AnswerConfig::default()
            };
            config.decode(&windows)
        };
        assert_eq!(decode(0.0).null_score, 5.0);
        assert!(!decode(0.0).has_answer);
        assert!(!decode(2.9).has_answer);
        assert!(decode(3.0).has_answer);
        // Both windows have the same answers.
        assert_eq!(decode(0.0).candidates.len(), 6);
    }

    #[test]
    fn a_text_without_tokens_has_no_answer() {
        let decoded = AnswerConfig::default().decode(&[]);
        assert_eq!((decoded.best(), decoded.has_answer), (None, false));
        assert_eq!(decoded.no_answer_prob, 1.0);
    }

    #[test]
    fn the_span_of_an_answer_is_the_smallest() {
        let offsets = [(0, 3), (4, 6), (6, 9), (9, 9), (10, 12)];
        assert_eq!(token_span(&offsets, 4, 9), Some((1, 2)));
        assert_eq!(token_span(&offsets, 5, 7), Some((1, 2)));
        assert_eq!(token_span(&offsets, 0, 12), Some((0, 4)));
        assert_eq!(token_span(&offsets, 12, 14), None);
        assert_eq!(token_span(&offsets, 10, 14), None);
        assert_eq!(token_span(&[], 0, 1), None);
    }

    proptest! {
        #[test]
        fn candidates_are_sorted_and_lie_in_the_text(
            starts in prop::array::uniform7(-9.0f32..9.0), ends in prop::array::uniform7(-9.0f32..9.0),
            n_best in 0usize..5, max_tokens in 0usize..5,
        ) {
            let config = AnswerConfig { n_best, max_tokens, null_threshold: 0.0 };
            let decoded = config.decode(&[window(&starts, &ends, &OFFSETS)]);
            prop_assert!(decoded.candidates.len() <= n_best.max(1));
            prop_assert!(decoded.candidates.is_sorted_by(|a, b| a.score >= b.score));
            let is_in_text = |it: &AnswerCandidate| it.start < it.end && it.end <= 5;
            prop_assert!(decoded.candidates.iter().all(is_in_text));
            prop_assert!((0.0..=1.0).contains(&decoded.no_answer_prob));
        }
    }
}
