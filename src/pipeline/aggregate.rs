//! From probabilities of tokens to labelled spans: no network, no text.
//!
//! The rules are those of `TokenClassificationPipeline` in the transformers library, release 5.23,
//! with BIOES beside them.

use super::score::argmax;
use super::token_classifier::Aggregation;

/// A token that is not a marker.
#[derive(Debug, Clone)]
pub(super) struct Token {
    /// Probability of each label.
    pub(super) scores: Vec<f64>,
    /// First character.
    pub(super) start: usize,
    /// The character after the last one.
    pub(super) end: usize,
    /// Whether it belongs to the word of the token before it.
    pub(super) continues_word: bool,
}

/// Characters with a label.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    pub(super) label: String,
    pub(super) score: f64,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What the labels of a checkpoint mean.
#[derive(Debug)]
pub(super) struct Grouping {
    labels: Vec<String>,
    /// Whether some labels end an entity or stand alone.
    has_ends: bool,
}

/// Place of a token within an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Begin,
    Inside,
    End,
    Single,
}

impl Grouping {
    pub(super) fn new(labels: Vec<String>) -> Self {
        let has = |prefix: &str, tag: &str| labels.contains(&format!("{prefix}-{tag}"));
        let ends = |label: &String| {
            label.split_once('-').is_some_and(|(prefix, tag)| {
                let continues = has("B", tag) || has("I", tag);
                continues && ["E", "L", "S", "U"].contains(&prefix)
            })
        };
        let has_ends = labels.iter().any(ends);
        Self { labels, has_ends }
    }

    pub(super) fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The spans of a window's tokens; without aggregation one per token.
    pub(super) fn spans(&self, tokens: &[Token], aggregation: Aggregation) -> Vec<Span> {
        match aggregation {
            Aggregation::None => tokens.iter().map(|it| self.of_token(it)).collect(),
            Aggregation::Simple => self.group(tokens.iter().map(|it| self.of_token(it)).collect()),
            Aggregation::First | Aggregation::Max | Aggregation::Average => {
                let words = tokens.chunk_by(|_, next| next.continues_word);
                self.group(words.map(|it| self.of_word(it, aggregation)).collect())
            }
        }
    }

    fn of_token(&self, token: &Token) -> Span {
        self.best(&token.scores, token.start, token.end)
    }

    fn of_word(&self, tokens: &[Token], aggregation: Aggregation) -> Span {
        let highest = |token: &Token| token.scores[argmax(&token.scores)];
        let start = tokens[0].start;
        let end = tokens[tokens.len() - 1].end;
        match aggregation {
            Aggregation::Average => {
                let count = tokens.len() as f64;
                let mean = |label: usize| {
                    let scores = tokens.iter().map(|token| token.scores[label]);
                    scores.sum::<f64>() / count
                };
                let means: Vec<f64> = (0..self.labels.len()).map(mean).collect();
                self.best(&means, start, end)
            }
            Aggregation::Max => {
                let scores: Vec<f64> = tokens.iter().map(highest).collect();
                self.best(&tokens[argmax(&scores)].scores, start, end)
            }
            _ => self.best(&tokens[0].scores, start, end),
        }
    }

    fn best(&self, scores: &[f64], start: usize, end: usize) -> Span {
        let label = argmax(scores);
        Span {
            label: self.labels[label].clone(),
            score: scores[label],
            start,
            end,
        }
    }

    /// Joins neighbours whose labels continue each other.
    fn group(&self, spans: Vec<Span>) -> Vec<Span> {
        let groups = spans.chunk_by(|last, next| self.continues(&last.label, &next.label));
        let joined = groups.map(|group| {
            let label = &group[0].label;
            let scores = group.iter().map(|it| it.score);
            Span {
                label: label.split_once('-').map_or(&**label, |it| it.1).into(),
                score: scores.sum::<f64>() / group.len() as f64,
                start: group[0].start,
                end: group[group.len() - 1].end,
            }
        });
        joined.collect()
    }

    fn continues(&self, last: &str, next: &str) -> bool {
        let (last_place, last_tag) = self.place(last);
        let (place, tag) = self.place(next);
        let open = matches!(last_place, Place::Begin | Place::Inside);
        let goes_on = matches!(place, Place::Inside | Place::End);
        tag == last_tag && open && goes_on
    }

    /// Labels without a known prefix are inside: neighbours with the same one are one entity.
    fn place<'a>(&self, label: &'a str) -> (Place, &'a str) {
        let Some((prefix, tag)) = label.split_once('-') else {
            return (Place::Inside, label);
        };
        let place = match prefix {
            "B" => Place::Begin,
            "I" => Place::Inside,
            "E" | "L" if self.has_ends => Place::End,
            "S" | "U" if self.has_ends => Place::Single,
            _ => return (Place::Inside, label),
        };
        (place, tag)
    }
}

/// One list of the spans of overlapping windows.
///
/// Of two that share characters the longer one stays, of equally long ones that of the higher score.
pub(super) fn merge_windows(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| span.start);
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        let length = |it: &Span| it.end - it.start;
        match merged.last_mut() {
            Some(last) if span.start < last.end => {
                let longer = length(&span) > length(last);
                if longer || (length(&span) == length(last) && span.score > last.score) {
                    *last = span;
                }
            }
            _ => merged.push(span),
        }
    }
    merged
}

/// All the characters of some spans: of those that share characters one is made, with the label and
/// score of the longest, of equally long ones that of the higher score.
pub(super) fn cover(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| span.start);
    let mut covered: Vec<Span> = Vec::with_capacity(spans.len());
    // Length of the span that gave the last one its label.
    let mut longest = 0;
    for span in spans {
        let length = span.end - span.start;
        match covered.last_mut() {
            Some(last) if span.start < last.end => {
                last.end = last.end.max(span.end);
                if (length, span.score) > (longest, last.score) {
                    (last.label, last.score) = (span.label, span.score);
                    longest = length;
                }
            }
            _ => {
                longest = length;
                covered.push(span);
            }
        }
    }
    covered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grouping(labels: &[&str]) -> Grouping {
        Grouping::new(labels.iter().map(|&it| it.into()).collect())
    }

    /// One token of one character per label; each continues the word before it if its mark says so.
    fn entities(grouping: &Grouping, tags: &[&str]) -> Vec<(String, usize, usize)> {
        let token = |(at, tag): (usize, &&str)| Token {
            scores: grouping
                .labels()
                .iter()
                .map(|label| f64::from(u8::from(label == tag)))
                .collect(),
            start: at,
            end: at + 1,
            continues_word: false,
        };
        let tokens: Vec<Token> = tags.iter().enumerate().map(token).collect();
        let spans = grouping.spans(&tokens, Aggregation::Simple);
        let found = spans.into_iter().filter(|it| it.label != "O");
        found.map(|it| (it.label, it.start, it.end)).collect()
    }

    fn found(expected: &[(&str, usize, usize)]) -> Vec<(String, usize, usize)> {
        expected
            .iter()
            .map(|&(tag, a, b)| (tag.into(), a, b))
            .collect()
    }

    #[test]
    fn in_iob_an_entity_begins_with_b_or_another_tag() {
        let iob = grouping(&["O", "B-X", "I-X", "B-Y", "I-Y"]);
        let tags = ["I-X", "B-X", "I-X", "I-Y", "O", "B-Y", "B-Y", "I-Y"];
        let expected = [
            ("X", 0, 1),
            ("X", 1, 3),
            ("Y", 3, 4),
            ("Y", 5, 6),
            ("Y", 6, 8),
        ];
        assert_eq!(entities(&iob, &tags), found(&expected));
    }

    #[test]
    fn in_bioes_an_entity_ends_where_it_says() {
        let bioes = grouping(&["O", "B-X", "I-X", "E-X", "S-X"]);
        let tags = [
            "B-X", "I-X", "E-X", "I-X", "E-X", "S-X", "S-X", "B-X", "S-X",
        ];
        let expected = [
            ("X", 0, 3),
            ("X", 3, 5),
            ("X", 5, 6),
            ("X", 6, 7),
            ("X", 7, 8),
            ("X", 8, 9),
        ];
        assert_eq!(entities(&bioes, &tags), found(&expected));
    }

    #[test]
    fn other_prefixes_are_part_of_the_tag() {
        let plain = grouping(&["O", "S-BAHN", "PER"]);
        let tags = ["S-BAHN", "S-BAHN", "PER", "PER", "O"];
        assert_eq!(
            entities(&plain, &tags),
            found(&[("BAHN", 0, 2), ("PER", 2, 4)])
        );
    }

    #[test]
    fn words_have_one_label() {
        let grouping = grouping(&["O", "B-X"]);
        let token = |scores: [f64; 2], start, continues_word| Token {
            scores: scores.into(),
            start,
            end: start + 1,
            continues_word,
        };
        let word = [
            token([0.6, 0.4], 0, false),
            token([0.2, 0.8], 1, true),
            token([0.8, 0.2], 2, true),
        ];
        let label = |aggregation| {
            let spans = grouping.spans(&word, aggregation);
            assert_eq!((spans[0].start, spans[0].end), (0, 3));
            (spans[0].label.clone(), spans[0].score)
        };
        assert_eq!(label(Aggregation::First), ("O".into(), 0.6));
        assert_eq!(label(Aggregation::Max), ("X".into(), 0.8));
        let (average, score) = label(Aggregation::Average);
        assert_eq!(average, "O");
        assert!((score - 1.6 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn overlapping_spans_are_covered_whole() {
        let span = |label: &str, start, end, score| Span {
            label: label.into(),
            score,
            start,
            end,
        };
        let covered = cover(vec![
            span("A", 10, 20, 0.9),
            span("C", 40, 44, 0.5),
            span("B", 18, 30, 0.1),
            span("D", 29, 31, 1.0),
            span("E", 44, 46, 0.5),
            span("F", 40, 44, 0.6),
        ]);
        let expected = [
            span("B", 10, 31, 0.1),
            span("F", 40, 44, 0.6),
            span("E", 44, 46, 0.5),
        ];
        assert_eq!(covered, expected);
        assert!(cover(Vec::new()).is_empty());
    }

    #[test]
    fn of_overlapping_entities_the_longer_one_stays() {
        let span = |start, end, score| Span {
            label: "X".into(),
            score,
            start,
            end,
        };
        let merged = merge_windows(vec![
            span(0, 4, 0.9),
            span(6, 8, 0.5),
            span(2, 9, 0.1),
            span(10, 12, 0.5),
            span(10, 12, 0.6),
        ]);
        assert_eq!(merged, [span(2, 9, 0.1), span(10, 12, 0.6)]);
    }
}
