//! Rows to examples: classification, regression, multi-label, multiple choice, words with tags.

use serde_json::Value;

use super::Task;
use super::error::{Problem, ProblemKind};
use super::example::{ChoiceExample, Example, SequenceExample, Target, TokensExample};
use super::row::{Row, list, not_empty, scalar, spelled_out, string};

/// Examples of a row, usually one.
pub(super) type Build = fn(&Context<'_>, &Row) -> Result<Vec<Example>, Problem>;

/// What rows alone do not say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) task: &'a Task,
    /// A row without a label is bad.
    pub(super) needs_label: bool,
}

impl Context<'_> {
    /// Index of a label among those of the task.
    pub(super) fn label_index(&self, field: &str, label: &str) -> Result<usize, Problem> {
        let labels = &self.task.labels;
        if labels.is_empty() {
            let expected = "a task whose labels were given or collected from its training files";
            return Err(Problem::new(
                ProblemKind::Label,
                field,
                format!("`{label}`"),
                expected,
            ));
        }
        let found = labels.iter().position(|known| known == label);
        found.ok_or_else(|| {
            let shown: Vec<&str> = labels.iter().take(20).map(String::as_str).collect();
            let more = if labels.len() > 20 { ", …" } else { "" };
            let expected = format!("one of: {}{more}", shown.join(", "));
            Problem::new(ProblemKind::Label, field, format!("`{label}`"), expected)
        })
    }

    /// The label of a row as text; missing only where it may be.
    pub(super) fn label(&self, row: &Row) -> Result<Option<String>, Problem> {
        let label = row.label("label")?;
        if label.is_none() && self.needs_label {
            let name = row.name_of("label");
            return Err(Problem::new(ProblemKind::Label, name, "nothing", "a label"));
        }
        Ok(label)
    }
}

fn sequence(
    context: &Context<'_>,
    row: &Row,
    trim: bool,
    target: Option<Target>,
) -> Result<SequenceExample, Problem> {
    let text = |field: &str| -> Result<String, Problem> {
        let text = match context.task.is_tolerant {
            true => row
                .require(field)
                .and_then(|(name, value)| string(name, value)),
            false => row.text(field),
        }?;
        Ok(if trim { text.trim() } else { text }.to_owned())
    };
    Ok(SequenceExample {
        id: row.id(),
        text: text("text")?,
        pair: row
            .names
            .contains("pair")
            .then(|| text("pair"))
            .transpose()?,
        target,
        spans: Vec::new(),
        candidate: None,
    })
}

fn classified(context: &Context<'_>, row: &Row, trim: bool) -> Result<Vec<Example>, Problem> {
    let label = context.label(row)?;
    let index = label.map(|label| context.label_index(&row.name_of("label"), &label));
    let target = index.transpose()?.map(Target::Label);
    Ok(vec![Example::Sequence(sequence(
        context, row, trim, target,
    )?)])
}

/// A text or pair with one label; texts stay as they are.
pub(super) fn classify(context: &Context<'_>, row: &Row) -> Result<Vec<Example>, Problem> {
    classified(context, row, false)
}

/// The same with white space at the ends removed, as the released code does for SuperGLUE.
pub(super) fn classify_trimmed(context: &Context<'_>, row: &Row) -> Result<Vec<Example>, Problem> {
    classified(context, row, true)
}

/// A text or pair with a number.
pub(super) fn regress(context: &Context<'_>, row: &Row) -> Result<Vec<Example>, Problem> {
    let (least, most) = context.task.score_range;
    let score = context.label(row)?.map(|label| {
        let score = label.parse::<f64>().ok();
        // Comparisons with NaN are false.
        let score = score.filter(|it| it.is_finite() && *it >= least && *it <= most);
        score.ok_or_else(|| {
            let expected = match least.is_finite() && most.is_finite() {
                true => format!("a number from {least} to {most}"),
                false => "a number".to_owned(),
            };
            let name = row.name_of("label");
            Problem::new(ProblemKind::Label, name, format!("`{label}`"), expected)
        })
    });
    let target = score.transpose()?.map(Target::Score);
    Ok(vec![Example::Sequence(sequence(
        context, row, false, target,
    )?)])
}

/// The labels of a row of a multi-label task as text; `None` if it has no such field.
pub(super) fn label_set(row: &Row, separator: &str) -> Result<Option<Vec<String>>, Problem> {
    let Some((name, value)) = row.get("label") else {
        return Ok(None);
    };
    let labels: Vec<String> = match &*spelled_out(name, value)? {
        Value::Array(items) => {
            let labels = items.iter().map(|item| scalar(name, item));
            labels.collect::<Result<_, _>>()?
        }
        other => {
            let text = scalar(name, other)?;
            text.split(separator).map(str::to_owned).collect()
        }
    };
    let labels = labels.iter().map(|label| label.trim().to_owned());
    Ok(Some(labels.filter(|label| !label.is_empty()).collect()))
}

/// A text or pair with any number of labels, also none.
pub(super) fn multi_label(context: &Context<'_>, row: &Row) -> Result<Vec<Example>, Problem> {
    let labels = label_set(row, &context.task.label_separator)?;
    if labels.is_none() && context.needs_label {
        row.require("label")?;
    }
    let target = labels.map(|labels| {
        let name = row.name_of("label");
        let indices = labels.iter().map(|label| context.label_index(&name, label));
        let mut indices = indices.collect::<Result<Vec<usize>, Problem>>()?;
        indices.sort_unstable();
        indices.dedup();
        Ok(Target::Labels(indices))
    });
    let target = target.transpose()?;
    Ok(vec![Example::Sequence(sequence(
        context, row, false, target,
    )?)])
}

/// A context, optionally a question, and alternatives in columns of their own or in one list.
pub(super) fn choice(context: &Context<'_>, row: &Row) -> Result<Vec<Example>, Problem> {
    let choices = choices(context, row)?;
    // COPA asks for the cause or the effect of the premise; causes come first.
    let asks = row.get("asks_for").map(|(name, value)| string(name, value));
    let asks = asks.transpose()?.map(|it| it.trim().to_lowercase());
    let choice_first = match asks.as_deref() {
        Some("cause") => true,
        None | Some("effect") => false,
        Some(other) => {
            let (found, expected) = (format!("`{other}`"), "`cause` or `effect`");
            let name = row.name_of("asks_for");
            return Err(Problem::new(ProblemKind::Field, name, found, expected));
        }
    };
    let question = row.names.contains("question").then(|| row.text("question"));
    let question = question.transpose()?;
    let label = context.label(row)?;
    let label = label.map(|label| choice_index(row, &label, choices.len()));
    let joined = choices.iter().map(|choice| match question {
        Some(question) => format!("{question} {choice}"),
        None => choice.clone(),
    });
    Ok(vec![Example::Choice(ChoiceExample {
        id: row.id(),
        context: row.text("context")?.trim().to_owned(),
        choices: joined.collect(),
        choice_first,
        label: label.transpose()?,
    })])
}

fn choices(context: &Context<'_>, row: &Row) -> Result<Vec<String>, Problem> {
    let columns = &context.task.choice_columns;
    let trimmed = |name: &str, value: &Value| -> Result<String, Problem> {
        Ok(not_empty(name, string(name, value)?)?.trim().to_owned())
    };
    let choices: Vec<String> = match columns.as_slice() {
        [one] => {
            let value = row.fields.get(one).unwrap_or(&Value::Null);
            let value = spelled_out(one, value)?;
            let items = list(one, Some(&*value))?.iter();
            let items = items.map(|item| trimmed(one, item));
            items.collect::<Result<_, Problem>>()
        }
        many => {
            let cells = many.iter().map(|name| {
                let value = row.fields.get(name).unwrap_or(&Value::Null);
                trimmed(name, value)
            });
            cells.collect()
        }
    }?;
    if choices.len() < 2 {
        let found = format!("{} choices", choices.len());
        let name = columns.first().cloned().unwrap_or_default();
        return Err(Problem::new(ProblemKind::Field, name, found, "at least 2"));
    }
    Ok(choices)
}

/// A choice by number from 0, or by letter from A.
pub(super) fn choice_index(row: &Row, label: &str, num_choices: usize) -> Result<usize, Problem> {
    let by_letter = || match label.as_bytes() {
        [letter @ b'A'..=b'Z'] => Some(usize::from(letter - b'A')),
        _ => None,
    };
    let index = label.parse::<usize>().ok().or_else(by_letter);
    index.filter(|index| *index < num_choices).ok_or_else(|| {
        let expected = format!("a number from 0 to {}, or a letter from A", num_choices - 1);
        let name = row.name_of("label");
        Problem::new(ProblemKind::Label, name, format!("`{label}`"), expected)
    })
}

/// Words with a tag each.
pub(super) fn tokens(context: &Context<'_>, row: &Row) -> Result<Vec<Example>, Problem> {
    let name = row.name_of("tokens");
    let words = row.words("tokens")?.unwrap_or_default();
    if words.is_empty() {
        return Err(Problem::new(ProblemKind::Empty, name, "no words", "words"));
    }
    for word in &words {
        not_empty(&name, word)?;
    }
    let tags_name = row.name_of("tags");
    let tags = row.words("tags")?;
    if tags.is_none() && context.needs_label {
        let expected = "a tag for each word";
        return Err(Problem::new(
            ProblemKind::Label,
            tags_name,
            "nothing",
            expected,
        ));
    }
    if let Some(tags) = &tags
        && tags.len() != words.len()
    {
        let found = format!("{} tags", tags.len());
        let expected = format!("{}, one for each word", words.len());
        return Err(Problem::new(
            ProblemKind::Columns,
            tags_name,
            found,
            expected,
        ));
    }
    let indices = tags.map(|tags| {
        let indices = tags.iter().map(|tag| context.label_index(&tags_name, tag));
        indices.collect::<Result<Vec<usize>, Problem>>()
    });
    Ok(vec![Example::Tokens(TokensExample {
        id: row.id(),
        words,
        tags: indices.transpose()?,
    })])
}
