//! What a task consists of: examples in the form in which heads take them.

use serde::{Deserialize, Serialize};

/// One example of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Example {
    /// For classification, regression and multi-label tasks.
    Sequence(SequenceExample),
    /// For multiple choice.
    Choice(ChoiceExample),
    /// For extractive question answering.
    Question(QuestionExample),
    /// For a label per word.
    Tokens(TokensExample),
    /// For ReCoRD: which entity fills the gap.
    Cloze(ClozeExample),
}

impl Example {
    /// What identifies the example in files of predictions.
    pub fn id(&self) -> &str {
        match self {
            Self::Sequence(example) => &example.id,
            Self::Choice(example) => &example.id,
            Self::Question(example) => &example.id,
            Self::Tokens(example) => &example.id,
            Self::Cloze(example) => &example.id,
        }
    }
}

/// A text or a pair of texts with one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SequenceExample {
    /// The file's own number or name of the example, else its row from 0.
    pub id: String,
    /// First text.
    pub text: String,
    /// Second text.
    pub pair: Option<String>,
    /// `None` in test files without labels.
    pub target: Option<Target>,
    /// What WiC and WSC ask about: the words between the marks in the texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<TextSpan>,
    /// Which answer to which question this is, in MultiRC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateIndex>,
}

/// What a sequence head should say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Index of the label.
    Label(usize),
    /// A number.
    Score(f64),
    /// Indices of all labels that hold, ascending.
    Labels(Vec<usize>),
}

/// Part of a text, in characters as tokenizers count them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextSpan {
    /// In the second text of the pair.
    pub in_pair: bool,
    /// First character.
    pub start: usize,
    /// One past the last character.
    pub end: usize,
}

/// Numbers that MultiRC gives to a candidate answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CandidateIndex {
    /// The passage.
    pub passage: u64,
    /// The question about it.
    pub question: u64,
    /// The answer.
    pub answer: u64,
}

/// A context with alternatives that go on from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChoiceExample {
    /// The file's own number or name of the example, else its row from 0.
    pub id: String,
    /// What all choices have in common.
    pub context: String,
    /// At least two; a question is already part of each.
    pub choices: Vec<String>,
    /// The choice comes before the context: COPA asks for causes like this.
    pub choice_first: bool,
    /// Index of the right choice; `None` in test files.
    pub label: Option<usize>,
}

impl ChoiceExample {
    /// First and second text for each choice.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let context = self.context.as_str();
        self.choices
            .iter()
            .map(move |choice| match self.choice_first {
                true => (choice.as_str(), context),
                false => (context, choice.as_str()),
            })
    }
}

/// A question whose answer is a part of the context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionExample {
    /// The file's own name of the question, else its row from 0.
    pub id: String,
    /// The question.
    pub question: String,
    /// The text to search, as in the file.
    pub context: String,
    /// All answers that count as right, as in the file; none in test files and if impossible.
    pub answers: Vec<AnswerSpan>,
    /// The context has no answer.
    pub is_impossible: bool,
}

/// An answer and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerSpan {
    /// The characters of the context from `start`.
    pub text: String,
    /// First character in the context, counted in characters as tokenizers do.
    pub start: usize,
}

/// Words with a tag each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokensExample {
    /// The file's own name of the sentence, else its row from 0.
    pub id: String,
    /// At least one.
    pub words: Vec<String>,
    /// Index of the label of each word; `None` in test files.
    pub tags: Option<Vec<usize>>,
}

/// A passage with marked entities, one of which fills the gap of the query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClozeExample {
    /// The file's own number of the query.
    pub id: String,
    /// The passage, as in the file.
    pub passage: String,
    /// Mentions of entities by position; the same entity may be mentioned more than once.
    pub entities: Vec<PassageEntity>,
    /// The query with [`PLACEHOLDER`] where the entity is missing.
    pub query: String,
    /// Texts that count as right; none in test files.
    pub answers: Vec<String>,
    /// Indices of the mentions that are answers, ascending.
    pub answer_entities: Vec<usize>,
}

/// Stands for the missing entity in a [`ClozeExample::query`].
pub const PLACEHOLDER: &str = "@placeholder";

/// A mention of an entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassageEntity {
    /// The characters of the passage.
    pub text: String,
    /// First character in the passage.
    pub start: usize,
    /// One past the last character (the files say the last).
    pub end: usize,
}
