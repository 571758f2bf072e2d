//! The pieces a unigram vocabulary starts from: every character and the most useful substrings.

use std::collections::HashMap;

/// Longest piece in characters.
const MAX_PIECE_CHARS: usize = 16;
/// Share of the characters of a corpus that must be expressible.
const CHARACTER_COVERAGE: f64 = 0.9995;
/// Only this many words, the most frequent ones, contribute substrings.
const MAX_SEED_WORDS: usize = 500_000;

/// Characters to keep, most frequent first, at most `limit`; the rest are unknown.
pub(super) fn alphabet(words: &[(String, u64)], limit: usize) -> Vec<char> {
    let mut counts: HashMap<char, u64> = HashMap::new();
    for (word, count) in words {
        for character in word.chars() {
            *counts.entry(character).or_default() += count;
        }
    }
    let total: u64 = counts.values().sum();
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable_by_key(|(character, count)| (std::cmp::Reverse(*count), *character));
    let enough = (total as f64 * CHARACTER_COVERAGE) as u64;
    let mut covered = 0;
    let needed = counts.iter().take_while(|(_, count)| {
        let more = covered < enough;
        covered += count;
        more
    });
    needed
        .take(limit)
        .map(|(character, _)| *character)
        .collect()
}

/// Substrings of two characters or more with their counts: the `limit` that cover the most text.
pub(super) fn substrings(words: &[(String, u64)], limit: usize) -> Vec<(String, f64)> {
    let mut by_count: Vec<&(String, u64)> = words.iter().collect();
    by_count.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    by_count.truncate(MAX_SEED_WORDS);

    let mut counts: HashMap<&str, u64> = HashMap::new();
    for (word, count) in by_count {
        let ends: Vec<usize> = word
            .char_indices()
            .map(|(at, _)| at)
            .chain([word.len()])
            .collect();
        for (index, start) in ends.iter().enumerate() {
            for end in ends.iter().skip(index + 2).take(MAX_PIECE_CHARS - 1) {
                *counts.entry(&word[*start..*end]).or_default() += count;
            }
        }
    }
    let covers = |piece: &str, count: u64| count * piece.chars().count() as u64;
    let mut seeds: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 1).collect();
    seeds.sort_unstable_by_key(|(piece, count)| (std::cmp::Reverse(covers(piece, *count)), *piece));
    seeds.truncate(limit);
    seeds
        .into_iter()
        .map(|(piece, count)| (piece.to_owned(), count as f64))
        .collect()
}
