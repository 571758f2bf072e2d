//! The text functions of Python that evaluation scripts rely on.

use std::sync::LazyLock;

use regex::Regex;

/// White space as `str.split` sees it: Unicode's, and the four separators of ASCII.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// `str.split()`.
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// Whether the character is one of `string.punctuation`.
pub(super) fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation()
}

/// Characters that `\w` matches in Python's `re`: letters and numbers but, unlike elsewhere, no
/// combining marks.
static WORD: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[\p{L}\p{N}_]+").ok());

/// `re.sub(r"\b(a|an|the)\b", " ", text)`: a match between boundaries is a whole run of word
/// characters.
pub(super) fn without_articles(text: &str) -> String {
    let Some(word) = WORD.as_ref() else {
        return text.to_owned();
    };
    let replaced = word.replace_all(text, |captures: &regex::Captures<'_>| match &captures[0] {
        "a" | "an" | "the" => " ".to_owned(),
        word => word.to_owned(),
    });
    replaced.into_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde::Deserialize;

    use super::*;

    #[test]
    fn only_whole_words_are_articles() {
        assert_eq!(without_articles("the cat, a hat"), "  cat,   hat");
        assert_eq!(
            without_articles("theme an_a über_the"),
            "theme an_a über_the"
        );
        // A combining mark ends a word for Python.
        assert_eq!(without_articles("a\u{0301}"), " \u{0301}");
    }

    /// What CPython does with every character, by `scripts/make_metric_golden.py`.
    #[derive(Deserialize)]
    struct Characters {
        word: Vec<(u32, u32)>,
        space: Vec<(u32, u32)>,
        punctuation: String,
        unassigned: Vec<(u32, u32)>,
        lower: Vec<(char, String)>,
    }

    #[test]
    fn every_character_is_treated_as_by_python() {
        let path = "tests/fixtures/metric/python_characters.json";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let text = std::fs::read_to_string(path).unwrap();
        let python: Characters = serde_json::from_str(&text).unwrap();
        let holds = |ranges: &[(u32, u32)], c: char| {
            let at = ranges.partition_point(|(_, last)| *last < c as u32);
            ranges.get(at).is_some_and(|(first, _)| *first <= c as u32)
        };
        let lower: std::collections::HashMap<_, _> = python.lower.into_iter().collect();
        let word = WORD.as_ref().unwrap();
        let mut assigned = 0;
        for c in '\0'..=char::MAX {
            // Newer versions of Unicode give these a meaning.
            if holds(&python.unassigned, c) {
                continue;
            }
            assigned += 1;
            let text = c.to_string();
            assert_eq!(word.is_match(&text), holds(&python.word, c), "{c:?}");
            assert_eq!(is_space(c), holds(&python.space, c), "{c:?}");
            assert_eq!(is_punctuation(c), python.punctuation.contains(c), "{c:?}");
            let lowered = lower.get(&c).unwrap_or(&text);
            assert_eq!(&text.to_lowercase(), lowered, "{c:?}");
        }
        assert!(assigned > 140_000);
    }
}
