//! A row of a file with named fields, whatever the format.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::{Problem, ProblemKind};

/// Names that the builders use for fields, and what files call them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ColumnNames(Vec<(&'static str, Vec<String>)>);

impl ColumnNames {
    /// Each field with the names it may have in files, best first.
    pub(super) fn new(names: &[(&'static str, &[&str])]) -> Self {
        let owned = names.iter().map(|(field, names)| {
            let names = names.iter().map(|name| (*name).to_owned());
            (*field, names.collect())
        });
        Self(owned.collect())
    }

    /// Adds a field with its only name.
    pub(super) fn with(mut self, field: &'static str, name: &str) -> Self {
        self.0.push((field, vec![name.to_owned()]));
        self
    }

    /// What files may call a field: the field's own name unless something else was said.
    pub(super) fn of(&self, field: &str) -> Vec<&str> {
        let names = self.0.iter().filter(|(known, _)| *known == field);
        names
            .flat_map(|(_, names)| names.iter().map(String::as_str))
            .collect()
    }

    pub(super) fn contains(&self, field: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == field)
    }
}

/// One row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Line on which it begins, from 1.
    pub(super) line: u64,
    /// Number of the row over all files, from 0.
    pub(super) number: u64,
    pub(super) fields: Map<String, Value>,
    pub(super) names: Arc<ColumnNames>,
}

impl Row {
    /// The value of a field and its name in the file; `None` if the file has none, or null.
    pub(super) fn get(&self, field: &str) -> Option<(&str, &Value)> {
        let found = self.names.0.iter().find(|(known, _)| *known == field);
        let names = found.map_or(&[][..], |(_, names)| names.as_slice());
        let mut values = names
            .iter()
            .filter_map(|name| Some((name.as_str(), self.fields.get(name)?)));
        let from_names = values.next();
        let plain = || self.fields.get_key_value(field);
        let value = from_names.or_else(|| match names.is_empty() {
            true => plain().map(|(name, value)| (name.as_str(), value)),
            false => None,
        });
        value.filter(|(_, value)| !value.is_null())
    }

    /// What the file would call the field, for messages.
    pub(super) fn name_of(&self, field: &str) -> String {
        let names = self.names.of(field);
        match names.first() {
            Some(name) => (*name).to_owned(),
            None => field.to_owned(),
        }
    }

    pub(super) fn require(&self, field: &str) -> Result<(&str, &Value), Problem> {
        self.get(field).ok_or_else(|| {
            Problem::new(
                ProblemKind::Field,
                self.name_of(field),
                "nothing",
                "a value",
            )
        })
    }

    /// A text with at least one character that is not white space.
    pub(super) fn text(&self, field: &str) -> Result<&str, Problem> {
        let (name, value) = self.require(field)?;
        let text = string(name, value)?;
        not_empty(name, text)
    }

    /// A label as text: numbers and truth values as JSON writes them; `None` if missing or blank.
    pub(super) fn label(&self, field: &str) -> Result<Option<String>, Problem> {
        let Some((name, value)) = self.get(field) else {
            return Ok(None);
        };
        let label = scalar(name, value)?;
        let label = label.trim();
        Ok((!label.is_empty()).then(|| label.to_owned()))
    }

    /// The file's own identifier, else the number of the row.
    pub(super) fn id(&self) -> String {
        let own = self.label("id").ok().flatten();
        own.unwrap_or_else(|| self.number.to_string())
    }

    /// A list of texts: a JSON array, or words between white space.
    pub(super) fn words(&self, field: &str) -> Result<Option<Vec<String>>, Problem> {
        let Some((name, value)) = self.get(field) else {
            return Ok(None);
        };
        let words = match &*spelled_out(name, value)? {
            Value::Array(items) => items.iter().map(|item| scalar(name, item)).collect(),
            other => {
                let text = string(name, other)?;
                Ok(text.split_whitespace().map(str::to_owned).collect())
            }
        };
        words.map(Some)
    }
}

/// The list or object that a cell of a table spells out as JSON; any other value as it is.
///
/// What Python prints of a list is neither JSON nor words, and is refused.
pub(super) fn spelled_out<'a>(name: &str, value: &'a Value) -> Result<Cow<'a, Value>, Problem> {
    let Some(text) = value.as_str().map(str::trim) else {
        return Ok(Cow::Borrowed(value));
    };
    if text.starts_with(['[', '{'])
        && let Ok(parsed) = serde_json::from_str(text)
    {
        return Ok(Cow::Owned(parsed));
    }
    let is_python = [("['", ']'), ("{'", '}')]
        .iter()
        .any(|(open, close)| text.starts_with(open) && text.ends_with(*close));
    if is_python {
        let expected = "JSON, with double quotation marks";
        let found = described(value);
        return Err(Problem::new(ProblemKind::Field, name, found, expected));
    }
    Ok(Cow::Borrowed(value))
}

/// A string.
pub(super) fn string<'a>(name: &str, value: &'a Value) -> Result<&'a str, Problem> {
    value
        .as_str()
        .ok_or_else(|| Problem::new(ProblemKind::Field, name, described(value), "a string"))
}

/// The text, if it is not blank.
pub(super) fn not_empty<'a>(name: &str, text: &'a str) -> Result<&'a str, Problem> {
    if text.trim().is_empty() {
        let found = if text.is_empty() {
            "nothing"
        } else {
            "white space"
        };
        return Err(Problem::new(ProblemKind::Empty, name, found, "a text"));
    }
    Ok(text)
}

/// A string, number or truth value as text.
pub(super) fn scalar(name: &str, value: &Value) -> Result<String, Problem> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        other => Err(Problem::new(
            ProblemKind::Field,
            name,
            described(other),
            "a string, number or truth value",
        )),
    }
}

/// A whole number that is not negative.
pub(super) fn index(name: &str, value: Option<&Value>) -> Result<usize, Problem> {
    let value = value.unwrap_or(&Value::Null);
    let number = value
        .as_u64()
        .and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| {
        let expected = "a whole number from 0";
        Problem::new(ProblemKind::Field, name, described(value), expected)
    })
}

/// A list.
pub(super) fn list<'a>(name: &str, value: Option<&'a Value>) -> Result<&'a [Value], Problem> {
    let value = value.unwrap_or(&Value::Null);
    let items = value.as_array().map(Vec::as_slice);
    items.ok_or_else(|| Problem::new(ProblemKind::Field, name, described(value), "a list"))
}

/// A value for a message.
pub(super) fn described(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => format!("`{text}`"),
        other => other.to_string(),
    }
}
