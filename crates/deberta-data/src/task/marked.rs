//! Rows to examples about words in their sentences: WiC and WSC.
//!
//! The words in question are marked in the text, as T5 did, so that a plain sequence head sees
//! them: `*word*`, and `#pronoun#` in WSC. The released code has no WSC; its WiC reads the vectors
//! of the words instead, for which [`SequenceExample::spans`] says where they stand.

use serde_json::Value;

use super::build::Context;
use super::error::{Problem, ProblemKind};
use super::example::{Example, SequenceExample, Target, TextSpan};
use super::row::{Row, index, string};

/// Characters of a text and the mark around them.
#[derive(Debug, Clone, Copy)]
struct Mark {
    start: usize,
    end: usize,
    sign: char,
}

/// Writes marks around parts of a text; also says where the parts stand afterwards. Parts may
/// contain each other.
fn marked(text: &[char], marks: &[Mark]) -> (String, Vec<(usize, usize)>) {
    let mut spans = vec![(0, 0); marks.len()];
    let mut out: Vec<char> = Vec::with_capacity(text.len() + 2 * marks.len());
    // The outer of two parts opens first and closes last.
    let mut order: Vec<usize> = (0..marks.len()).collect();
    order.sort_by_key(|&mark| (marks[mark].start, std::cmp::Reverse(marks[mark].end)));
    for at in 0..=text.len() {
        for &mark in order.iter().rev().filter(|&&mark| marks[mark].end == at) {
            spans[mark].1 = out.len();
            out.push(marks[mark].sign);
        }
        for &mark in order.iter().filter(|&&mark| marks[mark].start == at) {
            out.push(marks[mark].sign);
            spans[mark].0 = out.len();
        }
        out.extend(text.get(at));
    }
    (out.into_iter().collect(), spans)
}

fn target(context: &Context<'_>, row: &Row) -> Result<Option<Target>, Problem> {
    let label = context.label(row)?;
    let index = label.map(|label| context.label_index("label", &label));
    Ok(index.transpose()?.map(Target::Label))
}

/// Two sentences with a word in each: does it mean the same?
pub(super) fn wic(context: &Context<'_>, row: &Row) -> Result<Vec<Example>, Problem> {
    let sentence = |which: &str, in_pair: bool| -> Result<(String, TextSpan), Problem> {
        let name = format!("sentence{which}");
        let text: Vec<char> = row.text(&name)?.chars().collect();
        let position = |name: &str| index(name, row.fields.get(name));
        let start = position(&format!("start{which}"))?;
        let end = position(&format!("end{which}"))?;
        if start >= end || end > text.len() {
            let expected = format!("a part of the sentence of {} characters", text.len());
            let found = format!("{start}..{end}");
            return Err(Problem::new(ProblemKind::Span, name, found, expected));
        }
        let mark = Mark {
            start,
            end,
            sign: '*',
        };
        let (text, spans) = marked(&text, &[mark]);
        let (start, end) = spans[0];
        Ok((
            text,
            TextSpan {
                in_pair,
                start,
                end,
            },
        ))
    };
    let (text, first) = sentence("1", false)?;
    let (pair, second) = sentence("2", true)?;
    Ok(vec![Example::Sequence(SequenceExample {
        id: row.id(),
        text,
        pair: Some(pair),
        target: target(context, row)?,
        spans: vec![first, second],
        candidate: None,
    })])
}

/// A text with a noun phrase and a pronoun: does the one refer to the other?
pub(super) fn wsc(context: &Context<'_>, row: &Row) -> Result<Vec<Example>, Problem> {
    let text: Vec<char> = row.text("text")?.chars().collect();
    let (_, spans) = row.require("target")?;
    let noun = wsc_mark(&text, spans, "span1", '*')?;
    let pronoun = wsc_mark(&text, spans, "span2", '#')?;
    let (text, spans) = marked(&text, &[noun, pronoun]);
    let spans = spans.into_iter().map(|(start, end)| TextSpan {
        in_pair: false,
        start,
        end,
    });
    Ok(vec![Example::Sequence(SequenceExample {
        id: row.id(),
        text,
        pair: None,
        target: target(context, row)?,
        spans: spans.collect(),
        candidate: None,
    })])
}

/// Finds a span of WSC, which is given by its text and the number of its first word.
///
/// The text decides how much of the words belongs to the span (`him` of `him.`). A few published
/// rows have a wrong number or a text that does not stand there: then the nearest words of that
/// text count, and if there are none, as many words from the number as the text has.
fn wsc_mark(text: &[char], target: &Value, span: &str, sign: char) -> Result<Mark, Problem> {
    let name = format!("{span}_text");
    let wanted = string(&name, target.get(&name).unwrap_or(&Value::Null))?;
    let wanted: Vec<&str> = wanted.split_whitespace().collect();
    let name = format!("{span}_index");
    let number = index(&name, target.get(&name))?;
    let words = words_of(text);
    if number >= words.len() || wanted.is_empty() {
        let expected = format!("one of the {} words of the text", words.len());
        return Err(Problem::new(ProblemKind::Span, name, number, expected));
    }
    let mut candidates: Vec<usize> = (0..words.len()).collect();
    candidates.sort_by_key(|at| at.abs_diff(number));
    let found = candidates.into_iter().find_map(|at| {
        let end = phrase_end(text, &words, at, &wanted)?;
        Some((words[at].0, end))
    });
    let (start, end) = found.unwrap_or_else(|| {
        let last = (number + wanted.len() - 1).min(words.len() - 1);
        (words[number].0, words[last].1)
    });
    Ok(Mark { start, end, sign })
}

/// First character and end of each word.
fn words_of(text: &[char]) -> Vec<(usize, usize)> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.iter().enumerate() {
        match (start, c.is_whitespace()) {
            (None, false) => start = Some(at),
            (Some(from), true) => {
                words.push((from, at));
                start = None;
            }
            _ => {}
        }
    }
    words.extend(start.map(|from| (from, text.len())));
    words
}

/// Where a phrase that begins with word `at` ends, if it stands there; case does not matter, and
/// neither does punctuation after its last word or at the end of the phrase itself.
fn phrase_end(
    text: &[char],
    words: &[(usize, usize)],
    at: usize,
    phrase: &[&str],
) -> Option<usize> {
    let mut end = None;
    for (offset, wanted) in phrase.iter().enumerate() {
        let &(from, to) = words.get(at + offset)?;
        let word: String = text[from..to].iter().collect();
        let is_last = offset + 1 == phrase.len();
        let wanted = match is_last {
            true => wanted.trim_end_matches(['.', ',']).to_lowercase(),
            false => wanted.to_lowercase(),
        };
        let rest = word.to_lowercase();
        let rest = rest.strip_prefix(&wanted)?;
        let goes_on = rest.chars().next().is_some_and(char::is_alphanumeric);
        if goes_on || (!is_last && !rest.is_empty()) {
            return None;
        }
        end = Some((from + wanted.chars().count()).min(to));
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_within_parts_are_marked() {
        let text: Vec<char> = "his hands hurt him".chars().collect();
        let mark = |start, end, sign| Mark { start, end, sign };
        let marks = [mark(0, 9, '*'), mark(0, 3, '#'), mark(15, 18, '#')];
        let (text, spans) = marked(&text, &marks);
        assert_eq!(text, "*#his# hands* hurt #him#");
        let words = spans.iter().map(|&(start, end)| &text[start..end]);
        assert_eq!(words.collect::<Vec<_>>(), ["#his# hands", "his", "him"]);
    }

    #[track_caller]
    fn check_wsc(text: &str, span: &str, number: usize, expected: &str) {
        let chars: Vec<char> = text.chars().collect();
        let target = serde_json::json!({"span1_text": span, "span1_index": number});
        let mark = wsc_mark(&chars, &target, "span1", '*').unwrap();
        assert_eq!(marked(&chars, &[mark]).0, expected);
    }

    #[test]
    fn a_phrase_is_found_by_its_words() {
        check_wsc("She told him.", "him", 2, "She told *him*.");
        check_wsc("the dog ran", "The dog", 0, "*the dog* ran");
        check_wsc("It is the tape", "the tape.", 2, "It is *the tape*");
    }

    #[test]
    fn a_wrong_number_is_put_right_by_the_text() {
        check_wsc(
            "to use it well, it said",
            "it",
            1,
            "to use *it* well, it said",
        );
        check_wsc(
            "Lev Kamenev, old",
            "Kamenev and Zinoviev",
            1,
            "Lev *Kamenev, old*",
        );
    }
}
