//! Tokens and words of texts that may take several windows.

use deberta_data::tokenizer::Sequence;

/// For each token of a text, the window in which it has most context, and its place there.
///
/// Context is what lies between the token and the nearer end of its window; an end of the text is no
/// end of context. Of windows that are alike the first is taken.
pub(super) fn most_context(windows: &[Sequence]) -> Vec<(usize, usize)> {
    let kept = |window: &Sequence| window.kept.first().cloned().unwrap_or(0..0);
    let tokens = windows.iter().map(|it| kept(it).end).max().unwrap_or(0);
    let place = |token: usize| {
        let mut best = (0, 0);
        let mut most = None;
        for (number, window) in windows.iter().enumerate() {
            let kept = kept(window);
            if !kept.contains(&token) {
                continue;
            }
            let at_start = kept.start == 0;
            let at_end = kept.end == tokens;
            let left = if at_start {
                usize::MAX
            } else {
                token - kept.start
            };
            let right = if at_end {
                usize::MAX
            } else {
                kept.end - 1 - token
            };
            let context = left.min(right);
            if most.is_none_or(|most| context > most) {
                most = Some(context);
                // The first marker comes before the text.
                best = (number, 1 + token - kept.start);
            }
        }
        best
    };
    (0..tokens).map(place).collect()
}

/// The characters of a text, for offsets that count them.
pub(super) struct Characters(Vec<char>);

impl Characters {
    pub(super) fn of(text: &str) -> Self {
        Self(text.chars().collect())
    }

    /// The characters `start..end`, as far as there are any.
    pub(super) fn slice(&self, start: usize, end: usize) -> String {
        let end = end.min(self.0.len());
        self.0[start.min(end)..end].iter().collect()
    }

    /// Whether a token that starts there is not the first of its word: there is no space at its first
    /// character or before it.
    ///
    /// This is how the transformers library finds words for tokenizers that know none.
    pub(super) fn continues_word(&self, start: usize) -> bool {
        let around = self.0.iter().skip(start.saturating_sub(1)).take(2);
        start > 0 && !around.clone().any(|&it| it == ' ')
    }

    /// Whether the character there and the one before it are not both letters, both digits, or both
    /// something else; a space belongs to what follows it.
    pub(super) fn changes_kind(&self, at: usize) -> bool {
        let kind = |it: char| match it {
            it if it.is_alphabetic() => 0,
            it if it.is_numeric() => 1,
            it if it.is_whitespace() => 2,
            _ => 3,
        };
        let here = self.0.get(at).copied().map(kind);
        let before = at.checked_sub(1).and_then(|it| self.0.get(it));
        here == Some(2) || before.is_none_or(|it| kind(*it) != 2 && Some(kind(*it)) != here)
    }

    /// `start..end` without white space at its ends.
    pub(super) fn trim(&self, mut start: usize, mut end: usize) -> (usize, usize) {
        let is_space = |at: usize| self.0.get(at).is_some_and(|it| it.is_whitespace());
        while start < end && is_space(start) {
            start += 1;
        }
        while start < end && is_space(end - 1) {
            end -= 1;
        }
        (start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(kept: std::ops::Range<usize>) -> Sequence {
        Sequence {
            kept: vec![kept],
            ..Sequence::default()
        }
    }

    #[test]
    fn a_token_is_looked_up_where_both_sides_of_it_are_known() {
        // Tokens 2 and 3 are in both windows; 2 ends its context later in the first.
        let places = most_context(&[window(0..4), window(2..6)]);
        assert_eq!(places, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (1, 4)]);
        assert_eq!(most_context(&[window(0..2)]), [(0, 1), (0, 2)]);
        assert!(most_context(&[window(0..0)]).is_empty());
    }

    #[test]
    fn words_begin_after_spaces() {
        let text = Characters::of("ein Bär");
        assert!(!text.continues_word(0));
        assert!(text.continues_word(1));
        // With the space that some tokenizers count to the word, and without it.
        assert!(!text.continues_word(3));
        assert!(!text.continues_word(4));
        assert!(text.continues_word(5));
        assert_eq!(text.slice(4, 9), "Bär");
        let text = Characters::of("a1 (b)");
        let starts = (0..6).filter(|&at| text.changes_kind(at));
        assert_eq!(starts.collect::<Vec<_>>(), [0, 1, 2, 4, 5]);
        let text = Characters::of("ein Bär");
        assert_eq!(text.trim(3, 7), (4, 7));
        assert_eq!(text.trim(3, 4), (4, 4));
    }
}
