//! Words to text: spaces, capitals, articles, and a record of the words that a rule decides.

use super::ProbeKind;
use super::lexicon::article_before;

/// A word of the text that follows from the rest of the story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: ProbeKind,
    /// A word that would fit the place but breaks the rule; empty for a slot that is only hidden
    /// together with others.
    pub(super) distractor: &'static str,
    /// Slots that have to be hidden together, or one would give away the other.
    pub(super) hidden_together: bool,
}

/// Writes sentences.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) text: String,
    pub(super) marks: Vec<Mark>,
    starts_sentence: bool,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self {
            text: String::with_capacity(1024),
            marks: Vec::new(),
            starts_sentence: true,
        }
    }

    /// Appends words, given with single spaces between them.
    pub(super) fn words(&mut self, words: &str) -> &mut Self {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        let mut chars = words.chars();
        match chars.next() {
            Some(first) if self.starts_sentence => {
                self.text.push(first.to_ascii_uppercase());
                self.text.push_str(chars.as_str());
            }
            _ => self.text.push_str(words),
        }
        self.starts_sentence = false;
        self
    }

    /// Appends a word that the rule `kind` decides.
    pub(super) fn marked(
        &mut self,
        kind: ProbeKind,
        word: &str,
        distractor: &'static str,
    ) -> &mut Self {
        self.words(word);
        let end = self.text.len();
        // A word equal to its distractor ("you read", "they read") decides nothing.
        if word != distractor {
            let start = end - word.len();
            self.marks.push(Mark {
                start,
                end,
                kind,
                distractor,
                hidden_together: false,
            });
        }
        self
    }

    /// Appends one of several slots that a probe hides together; `distractor` may be empty.
    pub(super) fn slot(
        &mut self,
        kind: ProbeKind,
        word: &str,
        distractor: &'static str,
    ) -> &mut Self {
        self.words(word);
        let end = self.text.len();
        let start = end - word.len();
        self.marks.push(Mark {
            start,
            end,
            kind,
            distractor,
            hidden_together: true,
        });
        self
    }

    /// `a` or `an` and the word after it.
    pub(super) fn a(&mut self, next: &str) -> &mut Self {
        let article = article_before(next);
        let other = if article == "a" { "an" } else { "a" };
        self.marked(ProbeKind::Determiner, article, other)
            .words(next)
    }

    /// Appends a possessive ending or punctuation without a space before it.
    pub(super) fn glue(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Ends the sentence.
    pub(super) fn stop(&mut self) {
        self.text.push('.');
        self.starts_sentence = true;
    }
}
