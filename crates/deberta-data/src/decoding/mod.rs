//! From what a head says about tokens back to words and characters.
//!
//! Heads score tokens; people want answers and tagged words. [`AnswerConfig::decode`] turns start and
//! end scores of windows into the best parts of a text, [`WordText`] finds the token that speaks for
//! each word. Both are plain functions of numbers and positions; networks are none of their business.

mod answers;
mod words;

pub use answers::{AnswerCandidate, AnswerConfig, AnswerWindow, DecodedAnswer, token_span};
pub use words::WordText;

/// The characters `start..end` of a text, as tokenizers count them; as many of them as there are.
pub fn char_slice(text: &str, start: usize, end: usize) -> &str {
    let byte = |text: &str, count: usize| {
        let mut offsets = text.char_indices().map(|(at, _)| at);
        offsets.nth(count).unwrap_or(text.len())
    };
    let rest = &text[byte(text, start)..];
    &rest[..byte(rest, end.saturating_sub(start))]
}

/// Where tokens come from, without the white space at their ends: SentencePiece counts the space
/// before a word as part of its first token.
///
/// - `offsets`: characters `start..end` of `text` for each token
pub fn trimmed_offsets(text: &str, offsets: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let blank: Vec<bool> = text.chars().map(char::is_whitespace).collect();
    let is_blank = |at: usize| blank.get(at).copied().unwrap_or(false);
    let trim = |&(mut start, mut end): &(usize, usize)| {
        while start < end && is_blank(start) {
            start += 1;
        }
        while start < end && is_blank(end - 1) {
            end -= 1;
        }
        (start, end)
    };
    offsets.iter().map(trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_count_characters_and_never_leave_the_text() {
        assert_eq!(char_slice("a é b", 2, 3), "é");
        assert_eq!(char_slice("a é b", 0, 99), "a é b");
        assert_eq!(char_slice("a é b", 3, 2), "");
        assert_eq!(char_slice("ab", 7, 9), "");
    }

    #[test]
    fn white_space_does_not_belong_to_a_token() {
        let offsets = [(0, 2), (2, 4), (4, 6), (6, 7)];
        // The last token is nothing but a space.
        assert_eq!(
            trimmed_offsets("é b cd e", &offsets),
            [(0, 1), (2, 3), (4, 6), (7, 7)]
        );
    }
}
