//! What may happen to a text before the model sees it: lower-casing, splitting at punctuation.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::Encoding;

/// Unicode's category P, and all of ASCII that is neither letter, digit nor space.
static PUNCTUATION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[\p{P}$+<=>^`|~]").expect("the pattern is valid"));

/// Calls `word` with each punctuation character and each stretch between two of them.
///
/// This is `_run_split_on_punc` of microsoft/DeBERTa `spm_tokenizer.py`: every such word is then
/// encoded as a text of its own, so each punctuation character gets a mark of a space before it,
/// whether there was one or not.
pub(super) fn split_at_punctuation(text: &str, mut word: impl FnMut(Range<usize>)) {
    let mut done = 0;
    for found in PUNCTUATION.find_iter(text) {
        if done < found.start() {
            word(done..found.start());
        }
        word(found.range());
        done = found.end();
    }
    if done < text.len() {
        word(done..text.len());
    }
}

/// A text in lower case that knows where its characters come from.
#[derive(Debug)]
pub(super) struct Lowered {
    pub(super) text: String,
    /// For each character its number in the raw text; `None` if no character became several.
    origins: Option<Vec<usize>>,
}

impl Lowered {
    /// Lower-cases character by character, so that a final Σ becomes σ, as transformers does.
    pub(super) fn new(raw: &str) -> Self {
        let text: String = raw.chars().flat_map(char::to_lowercase).collect();
        let grows = raw.chars().any(|it| it.to_lowercase().len() > 1);
        let origins = grows.then(|| {
            let origins = (0..).zip(raw.chars());
            origins
                .flat_map(|(number, it)| it.to_lowercase().map(move |_| number))
                .collect()
        });
        Self { text, origins }
    }

    /// Turns the offsets from `first_token` on, which count characters of the lower-cased text after
    /// `first_char`, into offsets of the raw text.
    pub(super) fn restore(&self, encoding: &mut Encoding, first_token: usize, first_char: usize) {
        let Some(origins) = &self.origins else {
            return;
        };
        let end = origins.last().map_or(0, |last| last + 1);
        let from = |at: usize| first_char + origins.get(at - first_char).copied().unwrap_or(end);
        for (start, stop) in encoding.offsets.iter_mut().skip(first_token) {
            let is_empty = start == stop;
            *start = from(*start);
            *stop = if is_empty {
                *start
            } else {
                from(*stop - 1) + 1
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_punctuation_character_is_a_word() {
        let text = "don't—stop!! 5$ x_y «z» 。";
        let mut words = Vec::new();
        split_at_punctuation(text, |range| words.push(&text[range]));
        let expected = [
            "don", "'", "t", "—", "stop", "!", "!", " 5", "$", " x", "_", "y ", "«", "z", "»", " ",
            "。",
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn offsets_survive_characters_that_grow() {
        let lowered = Lowered::new("aİbΣ");
        assert_eq!(lowered.text, "ai\u{307}bσ");
        let mut encoding = Encoding::default();
        for (at, token) in ["a", "i", "\u{307}", "\u{307}b", "σ"].iter().enumerate() {
            let offsets = [(7, 8), (8, 9), (9, 10), (9, 11), (11, 12)][at];
            encoding.push(0, token, offsets);
        }
        lowered.restore(&mut encoding, 0, 7);
        assert_eq!(
            encoding.offsets,
            [(7, 8), (8, 9), (8, 9), (8, 10), (10, 11)]
        );
    }
}
