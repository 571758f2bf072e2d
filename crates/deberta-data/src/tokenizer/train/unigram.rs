//! A unigram vocabulary by expectation-maximisation and pruning.
//!
//! Start with far too many pieces; then in turns fit their probabilities to the corpus and drop
//! the quarter whose loss hurts its likelihood the least. Characters are never dropped.
//!
//! Reference: Kudo 2018, "Subword Regularization", section 3.2, <https://arxiv.org/abs/1804.10959>.

use std::cmp::Reverse;
use std::collections::HashSet;

use rayon::prelude::*;

use super::lattice::Lattice;
use super::{failed, seeds};
use crate::tokenizer::TokenizerError;

/// Starting pieces per piece of the result.
const SEEDS_PER_PIECE: usize = 12;
/// Part of the pieces that survives a round.
const SURVIVORS: f64 = 0.75;
/// Fits per round.
const FITS_PER_ROUND: usize = 2;
/// Pieces expected fewer times than this are dropped at once.
const MIN_EXPECTED: f64 = 0.5;
/// The last rounds stop at this multiple of the target; the rest goes by probability.
const OVERSHOOT: f64 = 1.1;
/// Parts of the corpus that are summed separately: fixed, so that the sums are too.
const PARTS: usize = 32;
/// Longer words are noise and cost quadratic time.
const MAX_WORD_BYTES: usize = 256;

/// Pieces with log-probabilities, best first.
type Pieces = Vec<(String, f64)>;

/// Learns at most `target` pieces.
pub(super) fn train(words: &[(String, u64)], target: usize) -> Result<Pieces, TokenizerError> {
    let alphabet = seeds::alphabet(words, target);
    // With half of the vocabulary spent on single characters there are no words to speak of.
    if alphabet.len() * 2 > target {
        let needed = alphabet.len() * 2 + 5;
        return Err(failed(format!(
            "vocab_size is {}, this alphabet needs at least {needed}",
            target + 5
        )));
    }
    let words = split_at_unknown(words, &alphabet);
    let required: HashSet<String> = alphabet.iter().map(char::to_string).collect();
    let mut pieces: Pieces = required.iter().cloned().map(|piece| (piece, 1.0)).collect();
    pieces.sort_unstable_by(|left, right| left.0.cmp(&right.0));
    pieces.extend(seeds::substrings(&words, target * SEEDS_PER_PIECE));
    to_log_probabilities(&mut pieces, f64::ln);

    let goal = (target as f64 * OVERSHOOT) as usize;
    loop {
        for _ in 0..FITS_PER_ROUND {
            pieces = fit(pieces, &words, &required)?;
        }
        if pieces.len() <= goal {
            break;
        }
        let keep = goal.max((pieces.len() as f64 * SURVIVORS) as usize);
        pieces = prune(pieces, &words, &required, keep)?;
    }
    Ok(finish(pieces, &required, target))
}

/// Cuts words where a character is outside the alphabet.
fn split_at_unknown(words: &[(String, u64)], alphabet: &[char]) -> Vec<(String, u64)> {
    let alphabet: HashSet<char> = alphabet.iter().copied().collect();
    let parts = words.iter().flat_map(|(word, count)| {
        let known = word.split(|character| !alphabet.contains(&character));
        known.map(|part| (part.to_owned(), *count))
    });
    parts
        .filter(|(part, _)| !part.is_empty() && part.len() <= MAX_WORD_BYTES)
        .collect()
}

/// One round of expectation and maximisation.
fn fit(
    mut pieces: Pieces,
    words: &[(String, u64)],
    required: &HashSet<String>,
) -> Result<Pieces, TokenizerError> {
    let expected = sum_parts(&pieces, words, |lattice, word, count, sums| {
        lattice.add_expected(word, count, sums);
    })?;
    for (piece, expected) in pieces.iter_mut().zip(expected) {
        piece.1 = expected;
    }
    pieces.retain(|(piece, expected)| *expected >= MIN_EXPECTED || required.contains(piece));
    for (_, expected) in &mut pieces {
        *expected = expected.max(MIN_EXPECTED);
    }
    // The digamma function in place of the logarithm makes rare pieces rarer still.
    to_log_probabilities(&mut pieces, digamma);
    Ok(pieces)
}

/// Keeps the `keep` pieces that the likelihood of the corpus needs most.
fn prune(
    pieces: Pieces,
    words: &[(String, u64)],
    required: &HashSet<String>,
    keep: usize,
) -> Result<Pieces, TokenizerError> {
    let counts = sum_parts(&pieces, words, |lattice, word, count, sums| {
        for piece in lattice.best(word, None) {
            sums[piece] += count;
        }
    })?;
    let lattice = open_lattice(&pieces)?;
    let total: f64 = counts.iter().sum();
    let loss = |index: usize| {
        let (piece, count) = (&pieces[index].0, counts[index]);
        if required.contains(piece) {
            return f64::INFINITY;
        }
        if count == 0.0 {
            return 0.0;
        }
        let parts = lattice.best(piece, Some(index));
        let total_without = total + count * (parts.len() as f64 - 1.0);
        let in_parts: f64 = parts
            .iter()
            .map(|part| (counts[*part] + count).ln() - total_without.ln())
            .sum();
        count * (count.ln() - total.ln() - in_parts)
    };
    let mut ranked: Vec<(f64, usize)> = (0..pieces.len())
        .into_par_iter()
        .map(|index| (loss(index), index))
        .collect();
    ranked.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
    let mut kept: Vec<usize> = ranked
        .into_iter()
        .take(keep)
        .map(|(_, index)| index)
        .collect();
    kept.sort_unstable();
    Ok(kept
        .into_iter()
        .map(|index| pieces[index].clone())
        .collect())
}

/// Every character and the likeliest other pieces, likeliest first.
fn finish(mut pieces: Pieces, required: &HashSet<String>, target: usize) -> Pieces {
    let by_score = |left: &(String, f64), right: &(String, f64)| {
        right
            .1
            .total_cmp(&left.1)
            .then_with(|| left.0.cmp(&right.0))
    };
    pieces.sort_by(by_score);
    pieces.sort_by_key(|(piece, _)| Reverse(required.contains(piece)));
    pieces.truncate(target);
    pieces.sort_by(by_score);
    pieces
}

/// Runs `add` over all words and adds up what it writes, in an order that never varies.
fn sum_parts(
    pieces: &Pieces,
    words: &[(String, u64)],
    add: impl Fn(&Lattice<'_>, &str, f64, &mut [f64]) + Sync,
) -> Result<Vec<f64>, TokenizerError> {
    let lattice = open_lattice(pieces)?;
    let parts: Vec<Vec<f64>> = words
        .par_chunks(words.len().div_ceil(PARTS).max(1))
        .map(|words| {
            let mut sums = vec![0.0; pieces.len()];
            for (word, count) in words {
                add(&lattice, word, *count as f64, &mut sums);
            }
            sums
        })
        .collect();
    let mut total = vec![0.0; pieces.len()];
    for part in parts {
        for (total, part) in total.iter_mut().zip(part) {
            *total += part;
        }
    }
    Ok(total)
}

fn open_lattice(pieces: &Pieces) -> Result<Lattice<'_>, TokenizerError> {
    Lattice::new(pieces).ok_or_else(|| failed("vocab_size is too large"))
}

fn to_log_probabilities(pieces: &mut Pieces, log: impl Fn(f64) -> f64) {
    let total = log(pieces.iter().map(|(_, count)| count).sum());
    for (_, count) in pieces {
        *count = log(*count) - total;
    }
}

/// Derivative of the logarithm of the gamma function, for positive arguments.
fn digamma(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 7.0 {
        shift -= 1.0 / x;
        x += 1.0;
    }
    let inverse = 1.0 / (x * x);
    let tail = inverse * (1.0 / 12.0 - inverse * (1.0 / 120.0 - inverse / 252.0));
    shift + x.ln() - 0.5 / x - tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digamma_matches_its_known_values() {
        let euler = 0.577_215_664_901_532_9;
        assert!((digamma(1.0) + euler).abs() < 1e-9);
        assert!((digamma(0.5) + euler + 2.0 * std::f64::consts::LN_2).abs() < 1e-9);
        assert!((digamma(100.0) - 4.600_161_852_738_087).abs() < 1e-9);
    }

    #[test]
    fn frequent_words_become_pieces_and_characters_stay() {
        let words = [
            ("▁low", 50),
            ("▁lower", 20),
            ("▁newest", 40),
            ("▁widest", 30),
            ("▁x", 1),
        ];
        let words: Vec<_> = words.map(|(word, count)| (word.to_owned(), count)).into();
        let pieces = train(&words, 40).unwrap();
        let has = |piece: &str| pieces.iter().any(|(it, _)| it == piece);
        assert!(has("▁low") && has("▁newest"), "{pieces:?}");
        assert!(
            "▁lowernstid"
                .chars()
                .all(|character| has(&character.to_string()))
        );
        assert!(pieces.len() <= 40 && pieces.is_sorted_by(|left, right| left.1 >= right.1));
    }

    #[test]
    fn a_vocabulary_below_the_alphabet_is_refused() {
        let words: Vec<_> = ('a'..='z').map(|letter| (letter.to_string(), 5)).collect();
        let error = train(&words, 30).unwrap_err();
        let expected =
            "cannot train a tokenizer: vocab_size is 35, this alphabet needs at least 57";
        assert_eq!(error.to_string(), expected);
    }
}
