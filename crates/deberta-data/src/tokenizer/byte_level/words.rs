//! Cutting a text into the words that merges stay inside of.

use std::sync::LazyLock;

use regex::Regex;

/// The pattern of GPT-2 without `\s+(?!\S)`, which [`words`] adds: so it runs in linear time.
static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";
    Regex::new(pattern).expect("the pattern is valid")
});

/// The words of a text, which together are the text.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let found = PATTERN.find_at(text, start)?;
        let mut word = found.as_str();
        // The last of several spaces belongs to the word that follows.
        if found.end() < text.len()
            && word.starts_with(char::is_whitespace)
            && word.ends_with(char::is_whitespace)
            && let Some((last, _)) = word.char_indices().next_back()
            && last > 0
        {
            word = &word[..last];
        }
        start += word.len();
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(words(text).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn spaces_go_to_the_next_word_but_for_one() {
        check("  a   b", &[" ", " a", "  ", " b"]);
        check("a \n b\n", &["a", " \n", " b", "\n"]);
        check("a\u{a0}\u{3000}b", &["a", "\u{a0}", "\u{3000}", "b"]);
        check("   ", &["   "]);
        check("", &[]);
    }

    #[test]
    fn letters_numbers_and_the_rest_part() {
        check("don't x2y!?", &["don", "'t", " x", "2", "y", "!?"]);
        check(
            "'LL it'll  've",
            &["'", "LL", " it", "'ll", " ", " '", "ve"],
        );
    }
}
