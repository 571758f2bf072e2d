//! Labelled questions to a model, one phenomenon at a time.

use std::collections::VecDeque;

use super::writer::{Mark, Writer};

/// The rules of the language that decide words; see the [module](super) for the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProbeKind {
    /// `a` or `an`.
    Determiner,
    /// Number of a verb across a phrase.
    Agreement,
    /// Gender and number of a pronoun.
    Pronoun,
    /// A name, place or thing mentioned before.
    Recall,
    /// Who has the treasure.
    Possession,
    /// Class of a verb's object.
    Selection,
    /// Tools, place and product of a trade.
    Trade,
    /// Weather of the season.
    Season,
    /// Which of two buildings opened, which was there.
    ClauseRole,
    /// Which building is the nth in a row.
    AbsolutePosition,
}

impl ProbeKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Determiner,
        Self::Agreement,
        Self::Pronoun,
        Self::Recall,
        Self::Possession,
        Self::Selection,
        Self::Trade,
        Self::Season,
        Self::ClauseRole,
        Self::AbsolutePosition,
    ];
}

/// A story with hidden words, one of which is asked for.
///
/// A model passes if it gives `answer` a higher score than `distractor` at the mask. Both are
/// written as they would stand in the text. For a model whose tokenizer splits one of them, leave
/// the probe out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The story with `[MASK]` in place of the hidden words.
    pub text: String,
    /// Which `[MASK]` is asked for, from 0. Only `ClauseRole` and `AbsolutePosition` hide more
    /// than one word.
    pub mask_index: usize,
    /// The word that stood there.
    pub answer: String,
    /// A word that would fit the place but breaks the rule.
    pub distractor: String,
}

/// Endless iterator over probes of one kind; see
/// [`SyntheticLanguage::probes`](super::SyntheticLanguage::probes).
#[derive(Debug, Clone)]
pub struct Probes {
    seed: u64,
    kind: ProbeKind,
    next_story: u64,
    end: u64,
    ready: VecDeque<Probe>,
}

impl Probes {
    pub(super) fn new(seed: u64, kind: ProbeKind, first_story: u64) -> Self {
        Self {
            seed,
            kind,
            next_story: first_story,
            end: u64::MAX,
            ready: VecDeque::new(),
        }
    }

    pub(super) fn until(mut self, end: u64) -> Self {
        self.end = end;
        self
    }
}

impl Iterator for Probes {
    type Item = Probe;

    fn next(&mut self) -> Option<Probe> {
        while self.ready.is_empty() {
            if self.next_story >= self.end {
                return None;
            }
            let writer = super::tell(self.seed, self.next_story);
            self.ready.extend(probes_in(&writer, self.kind));
            self.next_story += 1;
        }
        self.ready.pop_front()
    }
}

fn probes_in(writer: &Writer, kind: ProbeKind) -> Vec<Probe> {
    let marks: Vec<&Mark> = writer
        .marks
        .iter()
        .filter(|mark| mark.kind == kind)
        .collect();
    let asked = marks
        .iter()
        .enumerate()
        .filter(|(_, mark)| !mark.distractor.is_empty());
    asked
        .map(|(index, mark)| {
            let (hidden, mask_index) = if mark.hidden_together {
                (&marks[..], index)
            } else {
                (&marks[index..=index], 0)
            };
            let answer = writer.text[mark.start..mark.end].to_owned();
            let capitalised = answer.starts_with(|first: char| first.is_ascii_uppercase());
            Probe {
                text: hide(&writer.text, hidden),
                mask_index,
                distractor: cased(mark.distractor, capitalised),
                answer,
            }
        })
        .collect()
}

fn hide(text: &str, marks: &[&Mark]) -> String {
    let mut hidden = String::with_capacity(text.len() + 8 * marks.len());
    let mut from = 0;
    for mark in marks {
        hidden.push_str(&text[from..mark.start]);
        hidden.push_str("[MASK]");
        from = mark.end;
    }
    hidden.push_str(&text[from..]);
    hidden
}

/// Capitalised at the start of a sentence; names keep their capital anywhere.
fn cased(word: &str, capitalised: bool) -> String {
    let mut chars = word.chars();
    match chars.next() {
        Some(first) if capitalised => first.to_ascii_uppercase().to_string() + chars.as_str(),
        _ => word.to_owned(),
    }
}
