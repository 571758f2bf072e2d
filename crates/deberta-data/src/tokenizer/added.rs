//! Tokens beside the model: the mask, and what users add for their task.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::Regex;
use serde::{Deserialize, Serialize};

/// A token that stands for itself wherever its name occurs in a text.
///
/// The names of the fields are those of `tokenizer_config.json`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AddedToken {
    /// Its name.
    pub content: String,
    /// Takes the white space before it along.
    #[serde(default)]
    pub lstrip: bool,
    /// Takes the white space after it along.
    #[serde(default)]
    pub rstrip: bool,
    /// Counts only where no letter, digit, mark or underscore touches it.
    #[serde(default)]
    pub single_word: bool,
    /// Is looked for after lower-casing, and lower-cased itself; else in the text as it is.
    #[serde(default)]
    pub normalized: bool,
    /// Steers the model: never masked, and left out when ids are written as text.
    #[serde(default)]
    pub special: bool,
}

impl AddedToken {
    /// A token that steers the model, such as `<<ENT>>`.
    pub fn special(content: impl Into<String>) -> Self {
        Self {
            content: content.into(),
            lstrip: false,
            rstrip: false,
            single_word: false,
            normalized: false,
            special: true,
        }
    }

    /// A token that is text, such as the name of a substance.
    pub fn text(content: impl Into<String>) -> Self {
        Self {
            normalized: true,
            special: false,
            ..Self::special(content)
        }
    }
}

/// Finds added tokens in a text: of two that overlap the first, of two that start together the
/// longer, as the `tokenizers` library does.
#[derive(Debug, Default)]
pub(super) struct Finder {
    tokens: Vec<(u32, AddedToken)>,
    automaton: Option<AhoCorasick>,
}

/// A stretch of text between added tokens, or an added token. Positions are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Text { start: usize, end: usize },
    Added { id: u32, start: usize, end: usize },
}

impl Finder {
    /// Looks for these tokens; `None` if their names are too long together.
    pub(super) fn new(tokens: Vec<(u32, AddedToken)>) -> Option<Self> {
        if tokens.is_empty() {
            return Some(Self::default());
        }
        let names = tokens.iter().map(|(_, token)| &token.content);
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            // The DFA is quicker, but takes a kilobyte for each byte of a name.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(names)
            .ok()?;
        Some(Self {
            tokens,
            automaton: Some(automaton),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Calls `part` with the parts of the text in order. Stripped white space is in none of them.
    pub(super) fn split<E>(
        &self,
        text: &str,
        mut part: impl FnMut(Part) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut done = 0;
        let found = self
            .automaton
            .iter()
            .flat_map(|automaton| automaton.find_iter(text));
        for found in found {
            let (id, token) = &self.tokens[found.pattern().as_usize()];
            let (before, after) = (&text[..found.start()], &text[found.end()..]);
            // White space that was stripped may reach into a later match's start, not beyond it.
            if token.single_word && (before.ends_with(is_word) || after.starts_with(is_word)) {
                continue;
            }
            let text_end = match token.lstrip {
                true => before.trim_end().len().max(done),
                false => found.start(),
            };
            if done < text_end {
                part(Part::Text {
                    start: done,
                    end: text_end,
                })?;
            }
            part(Part::Added {
                id: *id,
                start: found.start(),
                end: found.end(),
            })?;
            done = match token.rstrip {
                true => text.len() - after.trim_start().len(),
                false => found.end(),
            };
        }
        if done < text.len() {
            part(Part::Text {
                start: done,
                end: text.len(),
            })?;
        }
        Ok(())
    }
}

static WORD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\A\w\z").expect("the pattern is valid"));

/// Whether a letter, digit, mark or underscore: the `\w` of regular expressions.
fn is_word(character: char) -> bool {
    WORD.is_match(character.encode_utf8(&mut [0; 4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(tokens: &[AddedToken], text: &str) -> Vec<String> {
        let finder = Finder::new((0..).zip(tokens.iter().cloned()).collect()).unwrap();
        let mut parts = Vec::new();
        let result: Result<(), ()> = finder.split(text, |part| {
            parts.push(match part {
                Part::Text { start, end } => format!("'{}'", &text[start..end]),
                Part::Added { id, start, end } => format!("{id}:{}", &text[start..end]),
            });
            Ok(())
        });
        result.unwrap();
        parts
    }

    #[test]
    fn the_first_and_then_the_longest_token_wins() {
        let tokens = ["<a>", "<a>b", "b<"].map(AddedToken::special);
        assert_eq!(parts(&tokens, "x<a>b<a>"), ["'x'", "1:<a>b", "0:<a>"]);
        assert_eq!(parts(&tokens, "xb<a>"), ["'x'", "2:b<", "'a>'"]);
        assert_eq!(parts(&tokens, ""), [] as [&str; 0]);
    }

    #[test]
    fn white_space_is_taken_along_where_asked() {
        let token = |lstrip, rstrip| AddedToken {
            lstrip,
            rstrip,
            ..AddedToken::special("<a>")
        };
        assert_eq!(
            parts(&[token(true, false)], "x \t<a> y"),
            ["'x'", "0:<a>", "' y'"]
        );
        assert_eq!(
            parts(&[token(false, true)], "x <a> \ny"),
            ["'x '", "0:<a>", "'y'"]
        );
        assert_eq!(parts(&[token(true, true)], " <a> <a> "), ["0:<a>", "0:<a>"]);
    }

    #[test]
    fn a_single_word_touches_no_other_word() {
        let token = AddedToken {
            single_word: true,
            ..AddedToken::text("ab")
        };
        assert_eq!(parts(&[token], "ab xab ab_ (ab)é"), {
            ["0:ab", "' xab ab_ ('", "0:ab", "')é'"]
        });
    }
}
