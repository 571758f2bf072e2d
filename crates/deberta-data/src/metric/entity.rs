//! Entities in sequences of tags, found and scored as seqeval does.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::classification::{Average, ClassScores};
use super::{MetricError, check_lengths};

/// How tags become entities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TagScheme {
    /// seqeval's default, which follows conlleval: any of the prefixes `B I E S`, and an entity
    /// begins wherever the tags cannot be read otherwise, for example at an `I-` after `O`.
    #[default]
    Lenient,
    /// seqeval's `mode="strict", scheme=IOB2`: entities begin at `B-`; other `I-` do not count.
    Iob2,
    /// seqeval's `mode="strict", scheme=IOBES`: `B- … E-` or `S-`; what is not closed does not
    /// count.
    Iobes,
}

/// A run of words of one type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entity {
    /// The type, such as `PER`; `_` if the tag has none.
    pub kind: String,
    /// First word.
    pub start: usize,
    /// One past the last word.
    pub end: usize,
}

/// The entities of one sentence.
///
/// # Errors
///
/// If a tag is empty, or has a prefix that a strict scheme does not know.
pub fn entities<S: AsRef<str>>(tags: &[S], scheme: TagScheme) -> Result<Vec<Entity>, MetricError> {
    let tags = tags.iter().map(|tag| Tag::parse(tag.as_ref(), scheme));
    let tags = tags.collect::<Result<Vec<Tag<'_>>, _>>()?;
    Ok(match scheme {
        TagScheme::Lenient => lenient(&tags),
        TagScheme::Iob2 => strict(&tags, "I", |_| true),
        TagScheme::Iobes => strict(&tags, "IE", |last| matches!(last, 'E' | 'S')),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag<'a> {
    prefix: char,
    kind: &'a str,
}

const OUTSIDE: Tag<'_> = Tag {
    prefix: 'O',
    kind: "_",
};

impl<'a> Tag<'a> {
    fn parse(tag: &'a str, scheme: TagScheme) -> Result<Self, MetricError> {
        let (allowed, expected) = match scheme {
            TagScheme::Lenient => (None, "a tag such as `O`, `B-PER` or `I-PER`"),
            TagScheme::Iob2 => (Some("IOB"), "a tag that begins with I, O or B"),
            TagScheme::Iobes => (Some("IOBES"), "a tag that begins with I, O, B, E or S"),
        };
        let prefix = tag.chars().next();
        let prefix = prefix.filter(|it| allowed.is_none_or(|allowed| allowed.contains(*it)));
        let Some(prefix) = prefix else {
            return Err(MetricError::Tag {
                tag: tag.to_owned(),
                expected,
            });
        };
        let rest = &tag[prefix.len_utf8()..];
        let kind = match scheme {
            TagScheme::Lenient => rest.split_once('-').map_or(rest, |(_, kind)| kind),
            _ => rest.trim_matches('-'),
        };
        let kind = if kind.is_empty() { "_" } else { kind };
        Ok(Self { prefix, kind })
    }

    fn is_outside(self) -> bool {
        matches!(self.prefix, 'O' | '.')
    }
}

/// `get_entities` of seqeval.
fn lenient(tags: &[Tag<'_>]) -> Vec<Entity> {
    let mut found = Vec::new();
    let mut previous = Tag {
        prefix: 'O',
        kind: "",
    };
    let mut start = 0;
    for (index, &tag) in tags.iter().chain([&OUTSIDE]).enumerate() {
        if ends(previous, tag) {
            found.push(Entity {
                kind: previous.kind.to_owned(),
                start,
                end: index,
            });
        }
        if starts(previous, tag) {
            start = index;
        }
        previous = tag;
    }
    found
}

/// Whether an entity that goes on up to `previous` ends there.
fn ends(previous: Tag<'_>, tag: Tag<'_>) -> bool {
    match (previous.prefix, tag.prefix) {
        ('E' | 'S', _) | ('B' | 'I', 'B' | 'S' | 'O') => true,
        _ => !previous.is_outside() && previous.kind != tag.kind,
    }
}

/// Whether an entity begins at `tag`.
fn starts(previous: Tag<'_>, tag: Tag<'_>) -> bool {
    match (previous.prefix, tag.prefix) {
        (_, 'B' | 'S') | ('E' | 'S' | 'O', 'E' | 'I') => true,
        _ => !tag.is_outside() && previous.kind != tag.kind,
    }
}

/// `B` or `S`, then tags of the same type with a prefix in `inside`; `closes` judges the last.
fn strict(tags: &[Tag<'_>], inside: &str, closes: impl Fn(char) -> bool) -> Vec<Entity> {
    let mut found = Vec::new();
    let mut start = 0;
    while start < tags.len() {
        let first = tags[start];
        let mut end = start + 1;
        if !matches!(first.prefix, 'B' | 'S') {
            start = end;
            continue;
        }
        while end < tags.len()
            && matches!(tags[end - 1].prefix, 'B' | 'I')
            && inside.contains(tags[end].prefix)
            && tags[end].kind == first.kind
        {
            end += 1;
        }
        if closes(tags[end - 1].prefix) {
            found.push(Entity {
                kind: first.kind.to_owned(),
                start,
                end,
            });
        }
        start = end;
    }
    found
}

/// Precision, recall and F1 of entities: a hit has the right words and the right type.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityReport {
    counts: BTreeMap<String, Counts>,
    accuracy: f64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Counts {
    right: u64,
    predicted: u64,
    support: u64,
}

impl EntityReport {
    /// Compares sentences of tags.
    ///
    /// # Errors
    ///
    /// If there are no sentences, lengths differ, or a tag is not one.
    pub fn new(
        predictions: &[Vec<String>],
        references: &[Vec<String>],
        scheme: TagScheme,
    ) -> Result<Self, MetricError> {
        check_lengths(predictions.len(), references.len())?;
        let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
        let (mut right_tags, mut words) = (0u64, 0u64);
        for (sentence, (prediction, reference)) in predictions.iter().zip(references).enumerate() {
            if prediction.len() != reference.len() {
                return Err(MetricError::SentenceLength {
                    sentence,
                    predictions: prediction.len(),
                    references: reference.len(),
                });
            }
            words += reference.len() as u64;
            let pairs = prediction.iter().zip(reference);
            right_tags += pairs.filter(|(a, b)| a == b).count() as u64;
            let expected: HashSet<Entity> = entities(reference, scheme)?.into_iter().collect();
            for entity in entities(prediction, scheme)? {
                let hit = expected.contains(&entity);
                let count = counts.entry(entity.kind).or_default();
                count.predicted += 1;
                count.right += u64::from(hit);
            }
            for entity in expected {
                counts.entry(entity.kind).or_default().support += 1;
            }
        }
        let accuracy = right_tags as f64 / words as f64;
        Ok(Self { counts, accuracy })
    }

    /// Part of the words with the right tag; NaN if all sentences are empty.
    pub fn accuracy(&self) -> f64 {
        self.accuracy
    }

    /// The types of entities in predictions or references, in alphabetical order, with scores.
    pub fn per_kind(&self) -> impl Iterator<Item = (&str, ClassScores)> {
        self.counts
            .iter()
            .map(|(kind, counts)| (kind.as_str(), counts.scores()))
    }

    /// Scores of all types as one; seqeval and conlleval report [`Average::Micro`]. Zeros if there
    /// are no entities at all.
    pub fn average(&self, average: Average) -> ClassScores {
        let weighted = |weight: fn(&ClassScores) -> f64| {
            let scores: Vec<_> = self.per_kind().map(|(_, it)| (it, weight(&it))).collect();
            ClassScores::mean(&scores)
        };
        match average {
            Average::Macro => weighted(|_| 1.0),
            Average::Weighted => weighted(|it| it.support as f64),
            Average::Micro => {
                let sum = self.counts.values().fold(Counts::default(), |a, b| Counts {
                    right: a.right + b.right,
                    predicted: a.predicted + b.predicted,
                    support: a.support + b.support,
                });
                sum.scores()
            }
        }
    }
}

impl Counts {
    fn scores(self) -> ClassScores {
        ClassScores::from_counts(self.right, self.predicted, self.support)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tags: &str, scheme: TagScheme, expected: &[(&str, usize, usize)]) {
        let tags: Vec<&str> = tags.split(' ').collect();
        let found = entities(&tags, scheme).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|it| (it.kind.as_str(), it.start, it.end))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn an_inside_tag_after_outside_begins_an_entity_unless_strict() {
        check("O I-PER I-PER", TagScheme::Lenient, &[("PER", 1, 3)]);
        check("O I-PER I-PER", TagScheme::Iob2, &[]);
    }

    #[test]
    fn a_change_of_type_splits_an_entity() {
        let lenient = [("PER", 0, 1), ("LOC", 1, 2)];
        check("B-PER I-LOC", TagScheme::Lenient, &lenient);
        check("B-PER I-LOC", TagScheme::Iob2, &[("PER", 0, 1)]);
    }

    #[test]
    fn what_is_not_closed_does_not_count_in_iobes() {
        check("B-A I-A O S-B", TagScheme::Iobes, &[("B", 3, 4)]);
        check("B-A E-A E-A", TagScheme::Iobes, &[("A", 0, 2)]);
    }

    #[test]
    fn types_keep_their_hyphens() {
        let tags = "B-creative-work I-creative-work";
        check(tags, TagScheme::Lenient, &[("creative-work", 0, 2)]);
        check(tags, TagScheme::Iob2, &[("creative-work", 0, 2)]);
    }

    #[test]
    fn tags_that_are_none_are_errors() {
        assert!(entities(&[""], TagScheme::Lenient).is_err());
        let message = entities(&["S-PER"], TagScheme::Iob2)
            .unwrap_err()
            .to_string();
        assert_eq!(
            message,
            "tag `S-PER`, expected a tag that begins with I, O or B"
        );
    }
}
