//! Rows to examples of reading comprehension: SQuAD, RACE, MultiRC and ReCoRD.

use serde_json::Value;

use super::build::{Context, choice_index};
use super::error::{Problem, ProblemKind};
use super::example::{
    AnswerSpan, CandidateIndex, ChoiceExample, ClozeExample, Example, PLACEHOLDER, PassageEntity,
    QuestionExample, SequenceExample, Target,
};
use super::row::{Row, described, index, list, not_empty, scalar, spelled_out, string};

/// A question about a context, with spans as answers.
pub(super) fn question(context: &Context<'_>, row: &Row) -> Result<Vec<Example>, Problem> {
    let passage = row.text("context")?;
    let flag = row.get("is_impossible").map(|(name, value)| match value {
        Value::Bool(flag) => Ok(*flag),
        // In a cell of a table.
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        other => {
            let found = described(other);
            Err(Problem::new(
                ProblemKind::Field,
                name,
                found,
                "true or false",
            ))
        }
    });
    let flag = flag.transpose()?;
    let is_blank = |value: &Value| value.as_str().is_some_and(|text| text.trim().is_empty());
    let mut answers = match row.get("answers") {
        Some((name, value)) if !is_blank(value) => {
            let value = spelled_out(name, value)?;
            answer_spans(name, &value, passage)?
        }
        _ => Vec::new(),
    };
    let may_be_impossible = context.task.allows_no_answer;
    let is_impossible = may_be_impossible && flag.unwrap_or(answers.is_empty());
    if is_impossible {
        answers.clear();
    }
    if context.needs_label && answers.is_empty() && !is_impossible {
        let name = row.name_of("answers");
        return Err(Problem::new(
            ProblemKind::Label,
            name,
            "no answer",
            "at least one",
        ));
    }
    Ok(vec![Example::Question(QuestionExample {
        id: row.id(),
        question: row.text("question")?.to_owned(),
        context: passage.to_owned(),
        answers,
        is_impossible,
    })])
}

/// Answers as in SQuAD, a list of objects, or as in its copies, an object of lists.
fn answer_spans(name: &str, value: &Value, passage: &str) -> Result<Vec<AnswerSpan>, Problem> {
    let pairs: Vec<(Option<&Value>, Option<&Value>)> = match value {
        Value::Object(columns) => {
            let texts = list(name, columns.get("text"))?;
            let starts = list(name, columns.get("answer_start"))?;
            if texts.len() != starts.len() {
                let found = format!("{} texts and {} starts", texts.len(), starts.len());
                let expected = "a start for each text";
                return Err(Problem::new(ProblemKind::Field, name, found, expected));
            }
            texts
                .iter()
                .map(Some)
                .zip(starts.iter().map(Some))
                .collect()
        }
        other => {
            let answers = list(name, Some(other))?.iter();
            answers
                .map(|answer| (answer.get("text"), answer.get("answer_start")))
                .collect()
        }
    };
    let spans = pairs.into_iter().map(|(text, start)| {
        let text = not_empty(name, string(name, text.unwrap_or(&Value::Null))?)?;
        answer_span(name, text, index("answer_start", start)?, passage)
    });
    spans.collect()
}

/// Checks that the answer stands in the context where it says, give or take two characters: some
/// published files are off by that.
fn answer_span(name: &str, text: &str, start: usize, passage: &str) -> Result<AnswerSpan, Problem> {
    let nearby = [0, -1, 1, -2, 2];
    let starts = nearby.iter().filter_map(|by| start.checked_add_signed(*by));
    let mut fitting = starts.filter(|start| {
        let at = char_offset(passage, *start);
        at.is_some_and(|at| passage[at..].starts_with(text))
    });
    let found = fitting.next();
    let start = found.ok_or_else(|| {
        let length = passage.chars().count();
        let found = format!("`{text}` at {start}");
        let expected = format!("it to stand there in the context of {length} characters");
        Problem::new(ProblemKind::Span, name, found, expected)
    })?;
    Ok(AnswerSpan {
        text: text.to_owned(),
        start,
    })
}

/// The byte at which a character begins; the end for the number of characters.
fn char_offset(text: &str, char_index: usize) -> Option<usize> {
    let offsets = text.char_indices().map(|(at, _)| at);
    offsets.chain([text.len()]).nth(char_index)
}

/// The characters `start..end`.
fn slice_chars(text: &str, start: usize, end: usize) -> Option<&str> {
    let from = char_offset(text, start)?;
    let length = char_offset(&text[from..], end.checked_sub(start)?)?;
    Some(&text[from..from + length])
}

/// A passage of RACE: several questions with four options each.
pub(super) fn race(context: &Context<'_>, row: &Row) -> Result<Vec<Example>, Problem> {
    let article = normalized(row.text("article")?);
    let questions = list("questions", row.fields.get("questions"))?;
    let options = list("options", row.fields.get("options"))?;
    let answers = match row.get("answers") {
        Some((name, value)) => Some(list(name, Some(value))?),
        None if context.needs_label => {
            return Err(row.require("answers").err().unwrap_or_else(|| {
                Problem::new(ProblemKind::Label, "answers", "nothing", "answers")
            }));
        }
        None => None,
    };
    let fits = |length: usize| length == questions.len();
    if !fits(options.len()) || !answers.is_none_or(|it| fits(it.len())) {
        let found = format!("{} questions and {} lists", questions.len(), options.len());
        let expected = "options and an answer for each question";
        return Err(Problem::new(
            ProblemKind::Columns,
            "options",
            found,
            expected,
        ));
    }
    let passage = row.id();
    let mut examples = Vec::with_capacity(questions.len());
    for (number, (question, options)) in questions.iter().zip(options).enumerate() {
        let question = string("questions", question)?;
        let options = list("options", Some(options))?.iter();
        let choices = options.map(|option| {
            let option = string("options", option)?;
            let choice = normalized(&format!("{question} {option}"));
            not_empty("options", &choice).map(str::to_owned)
        });
        let choices = choices.collect::<Result<Vec<String>, Problem>>()?;
        if choices.len() < 2 {
            let found = format!("{} options", choices.len());
            return Err(Problem::new(
                ProblemKind::Field,
                "options",
                found,
                "at least 2",
            ));
        }
        let answer = answers.and_then(|answers| answers.get(number));
        let label = answer.map(|answer| {
            let label = scalar("answers", answer)?;
            choice_index(row, label.trim(), choices.len())
        });
        examples.push(Example::Choice(ChoiceExample {
            id: format!("{passage}-{number}"),
            context: article.clone(),
            choices,
            choice_first: false,
            label: label.transpose()?,
        }));
    }
    Ok(examples)
}

/// Single spaces, and no underscores (which stand for gaps) at the ends, as the released code does.
fn normalized(text: &str) -> String {
    let text = text.trim_matches(['\t', ' ', '\r', '\n', '_']);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

/// A passage of MultiRC: an example for each candidate answer. The pair is question and answer,
/// joined by a space.
pub(super) fn multirc(context: &Context<'_>, row: &Row) -> Result<Vec<Example>, Problem> {
    let number = |object: &Value, name: &str| Ok(index(name, object.get("idx"))? as u64);
    let (_, passage) = row.require("passage")?;
    let (_, passage_index) = row.require("idx")?;
    let passage_index = index("idx", Some(passage_index))? as u64;
    let text = trimmed("passage.text", passage.get("text"))?;
    let mut examples = Vec::new();
    for question in list("passage.questions", passage.get("questions"))? {
        let asked = trimmed("question", question.get("question"))?;
        for answer in list("answers", question.get("answers"))? {
            let candidate = CandidateIndex {
                passage: passage_index,
                question: number(question, "question.idx")?,
                answer: number(answer, "answer.idx")?,
            };
            let answered = trimmed("answer.text", answer.get("text"))?;
            let label = answer.get("label").filter(|label| !label.is_null());
            let label = match label {
                Some(label) => Some(context.label_index("label", &scalar("label", label)?)?),
                None if context.needs_label => {
                    let found = "nothing";
                    return Err(Problem::new(ProblemKind::Label, "label", found, "0 or 1"));
                }
                None => None,
            };
            let CandidateIndex {
                passage,
                question,
                answer,
            } = candidate;
            examples.push(Example::Sequence(SequenceExample {
                id: format!("{passage}-{question}-{answer}"),
                text: text.to_owned(),
                pair: Some(format!("{asked} {answered}")),
                target: label.map(Target::Label),
                spans: Vec::new(),
                candidate: Some(candidate),
            }));
        }
    }
    Ok(examples)
}

fn trimmed<'a>(name: &str, value: Option<&'a Value>) -> Result<&'a str, Problem> {
    let text = string(name, value.unwrap_or(&Value::Null))?;
    Ok(not_empty(name, text)?.trim())
}

/// A passage of ReCoRD: an example for each query.
pub(super) fn record(context: &Context<'_>, row: &Row) -> Result<Vec<Example>, Problem> {
    let (_, passage) = row.require("passage")?;
    let text = string("passage.text", passage.get("text").unwrap_or(&Value::Null))?;
    let text = not_empty("passage.text", text)?;
    let mut entities = Vec::new();
    for entity in list("passage.entities", passage.get("entities"))? {
        let start = index("entities.start", entity.get("start"))?;
        // The files give the last character.
        let end = index("entities.end", entity.get("end"))?.saturating_add(1);
        // Empty mentions occur and are left out, as in the released code.
        if start >= end {
            continue;
        }
        let mention = slice_chars(text, start, end).ok_or_else(|| {
            let length = text.chars().count();
            let expected = format!("a part of the passage of {length} characters");
            let found = format!("{start}..{end}");
            Problem::new(ProblemKind::Span, "passage.entities", found, expected)
        })?;
        entities.push(PassageEntity {
            text: mention.to_owned(),
            start,
            end,
        });
    }
    entities.sort_by_key(|entity| (entity.start, entity.end));
    let (name, queries) = row.require("qas")?;
    let queries = list(name, Some(queries))?.iter();
    let examples = queries.map(|query| cloze(context, row, text, &entities, query));
    examples.collect()
}

fn cloze(
    context: &Context<'_>,
    row: &Row,
    passage: &str,
    entities: &[PassageEntity],
    query: &Value,
) -> Result<Example, Problem> {
    let asked = string("query", query.get("query").unwrap_or(&Value::Null))?;
    if !asked.contains(PLACEHOLDER) {
        let expected = format!("a query with {PLACEHOLDER}");
        return Err(Problem::new(
            ProblemKind::Field,
            "query",
            format!("`{asked}`"),
            expected,
        ));
    }
    let id = match query.get("idx") {
        Some(id) => scalar("idx", id)?,
        None => row.id(),
    };
    let given = query.get("answers").filter(|answers| !answers.is_null());
    let given = match given {
        Some(answers) => list("answers", Some(answers))?,
        None => &[],
    };
    if given.is_empty() && context.needs_label {
        let (found, expected) = ("no answer", "at least one");
        return Err(Problem::new(ProblemKind::Label, "answers", found, expected));
    }
    let mut answers = Vec::new();
    let mut answer_entities = Vec::new();
    for answer in given {
        let text = string("answers.text", answer.get("text").unwrap_or(&Value::Null))?;
        let start = index("answers.start", answer.get("start"))?;
        let end = index("answers.end", answer.get("end"))?.saturating_add(1);
        let at = entities
            .iter()
            .position(|it| (it.start, it.end) == (start, end));
        let at = at.ok_or_else(|| {
            let found = format!("`{text}` at {start}..{end}");
            Problem::new(ProblemKind::Span, "answers", found, "one of the entities")
        })?;
        answer_entities.push(at);
        answers.push(text.to_owned());
    }
    answer_entities.sort_unstable();
    answer_entities.dedup();
    Ok(Example::Cloze(ClozeExample {
        id,
        passage: passage.to_owned(),
        entities: entities.to_vec(),
        query: asked.to_owned(),
        answers,
        answer_entities,
    }))
}
