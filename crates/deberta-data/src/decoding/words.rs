//! Words of a sentence and the tokens that speak for them.

/// Words joined by single spaces, and where each of them stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordText {
    text: String,
    /// Characters `start..end` of each word, ascending.
    spans: Vec<(usize, usize)>,
}

impl WordText {
    /// Joins words.
    pub fn new<S: AsRef<str>>(words: &[S]) -> Self {
        let (mut text, mut spans, mut position) = (String::new(), Vec::new(), 0);
        for word in words {
            if !spans.is_empty() {
                text.push(' ');
                position += 1;
            }
            let length = word.as_ref().chars().count();
            text.push_str(word.as_ref());
            spans.push((position, position + length));
            position += length;
        }
        Self { text, spans }
    }

    /// The sentence.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Characters `start..end` of each word.
    pub fn spans(&self) -> &[(usize, usize)] {
        &self.spans
    }

    /// For each token the word of which it is the first, if it is the first of one.
    ///
    /// A token that holds several words speaks for the first of them, and a word may have no token
    /// at all: some characters are normalised away.
    ///
    /// - `offsets`: where the tokens come from, [without white space](super::trimmed_offsets)
    pub fn first_tokens(&self, offsets: &[(usize, usize)]) -> Vec<Option<usize>> {
        let mut next = 0;
        let word_of = |&(start, end): &(usize, usize)| {
            // Words that end before this token have been spoken for, or have no token.
            while self
                .spans
                .get(next)
                .is_some_and(|(_, word_end)| *word_end <= start)
            {
                next += 1;
            }
            let (word_start, _) = *self.spans.get(next)?;
            (start < end && word_start < end).then(|| {
                next += 1;
                next - 1
            })
        };
        offsets.iter().map(word_of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_joined_and_found_again() {
        let words = WordText::new(&["Zoë", "lives", "in", "Rome"]);
        assert_eq!(words.text(), "Zoë lives in Rome");
        assert_eq!(words.spans(), [(0, 3), (4, 9), (10, 12), (13, 17)]);
        assert_eq!(WordText::new::<&str>(&[]).text(), "");
    }

    #[test]
    fn the_first_token_of_each_word_speaks_for_it() {
        let words = WordText::new(&["Zoë", "lives", "in"]);
        // `Zo` `ë` `` `live` `s` `in`; the empty one is a lone space.
        let offsets = [(0, 2), (2, 3), (4, 4), (4, 8), (8, 9), (10, 12)];
        assert_eq!(
            words.first_tokens(&offsets),
            [Some(0), None, None, Some(1), None, Some(2)]
        );
    }

    #[test]
    fn a_word_without_a_token_is_passed_over() {
        let words = WordText::new(&["a", "\u{200b}", "b"]);
        assert_eq!(words.first_tokens(&[(0, 1), (4, 5)]), [Some(0), Some(2)]);
    }

    #[test]
    fn a_token_over_two_words_speaks_for_the_first() {
        let words = WordText::new(&["a", "b", "c"]);
        assert_eq!(words.first_tokens(&[(0, 3), (4, 5)]), [Some(0), Some(2)]);
    }
}
