//! Examples of a task as tokens, targets, and the way back.

mod choice;
mod question;
mod sequence;
mod tokens;

use deberta_data::task::{Example, Task};
use deberta_data::tokenizer::{Encoding, Sequence, Tokenize, Tokenizer, TokenizerError};
use deberta_train::objective::{Targets, TaskBatch};
use deberta_train::run::{ExampleId, ExampleSource, SourceError};
use rayon::prelude::*;

use super::{FinetuneError, Progress, TextSettings};

/// One text, pair or window, or all choices of an example: what gets logits of its own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    /// Index of the example that it belongs to.
    pub(super) example: usize,
    /// A sequence, or one per choice.
    pub(super) sequences: Vec<Ids>,
    pub(super) target: ItemTarget,
    pub(super) alignment: Alignment,
}

/// A sequence without the strings that it was made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ids {
    ids: Vec<i32>,
    /// Token from which the token type is 1.
    second: usize,
}

/// What the head should say.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ItemTarget {
    Unknown,
    Class(i32),
    Values(Vec<f32>),
    /// A class per token, negative for none.
    Tags(Vec<i32>),
    /// First and last token.
    Span(i32, i32),
}

/// How to get from logits back to the example.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Alignment {
    /// The logits are the example's.
    Whole,
    /// The text that this sequence puts into the gap.
    Candidate(String),
    /// Words whose first token is in this window.
    Words(Vec<WordToken>),
    /// Characters of the context that the tokens come from, beginning at a token of the window.
    Context {
        first: usize,
        offsets: Vec<(usize, usize)>,
    },
}

/// A word by its first token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct WordToken {
    /// Token of the window.
    pub(super) token: usize,
    /// Word of the sentence.
    pub(super) word: usize,
    /// Tokens of the sentence on the shorter side of it within the window.
    pub(super) context: usize,
}

impl Ids {
    fn new(sequence: &Sequence) -> Self {
        let second = sequence.type_ids.iter().position(|it| *it != 0);
        Self {
            ids: sequence.ids.iter().map(|id| *id as i32).collect(),
            second: second.unwrap_or(sequence.len()),
        }
    }
}

/// All examples of a set.
#[derive(Debug, Clone)]
pub(super) struct Encoded {
    pub(super) items: Vec<Item>,
    /// Sequences that lost tokens.
    pub(super) cut: usize,
    pad: i32,
    has_types: bool,
}

impl Encoded {
    /// Says how many sequences were too long, if any.
    pub(super) fn note_cut(&self, name: &str, text: &TextSettings, progress: &mut dyn Progress) {
        if self.cut > 0 {
            progress.note(&format!(
                "{name}: {} texts were cut to {} tokens",
                self.cut, text.max_length
            ));
        }
    }
}

/// What examples are encoded with.
#[derive(Clone, Copy)]
pub(super) struct Encoder<'a> {
    pub(super) task: &'a Task,
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) text: &'a TextSettings,
    /// Whether the network has embeddings of token types.
    pub(super) has_types: bool,
}

/// Items of one example, and how many of their sequences were cut.
type EncodedExample = (Vec<Item>, usize);

impl Encoder<'_> {
    /// Encodes examples on all cores.
    pub(super) fn encode(&self, examples: &[Example]) -> Result<Encoded, FinetuneError> {
        choice::check_numbers(examples)?;
        let encoded = examples.par_iter().enumerate();
        let encoded = encoded
            .map(|(index, example)| {
                let encoded = self.example(index, example);
                encoded.map_err(|source| FinetuneError::Encode {
                    id: example.id().into(),
                    source,
                })
            })
            .collect::<Result<Vec<EncodedExample>, _>>()?;
        let cut = encoded.iter().map(|(_, cut)| cut).sum();
        Ok(Encoded {
            items: encoded.into_iter().flat_map(|(items, _)| items).collect(),
            cut,
            pad: self.tokenizer.special().pad as i32,
            has_types: self.has_types,
        })
    }

    fn example(&self, index: usize, example: &Example) -> Result<EncodedExample, TokenizerError> {
        match example {
            Example::Sequence(example) => self.sequence(index, example),
            Example::Choice(example) => self.choices(index, example),
            Example::Question(example) => self.question(index, example),
            Example::Tokens(example) => self.words(index, example),
            Example::Cloze(example) => self.cloze(index, example),
        }
    }

    /// A text or pair, cut if need be, and whether it was.
    fn cut(&self, first: &str, second: Option<&str>) -> Result<(Ids, usize), TokenizerError> {
        let first = self.tokenizer.encode(first)?;
        let second = second.map(|it| self.tokenizer.encode(it)).transpose()?;
        let config = self.text.cut();
        let sequence = config.assemble(self.tokenizer, &first, second.as_ref())?;
        let texts = std::iter::once(&first).chain(&second);
        let is_cut = texts
            .zip(&sequence.kept)
            .any(|(text, kept)| kept.len() < text.ids.len());
        Ok((Ids::new(&sequence), usize::from(is_cut)))
    }
}

/// The first tokens of a text.
fn shortened(mut text: Encoding, tokens: usize) -> Encoding {
    text.ids.truncate(tokens);
    text.tokens.truncate(tokens);
    text.offsets.truncate(tokens);
    text
}

impl ExampleSource<TaskBatch> for Encoded {
    fn len(&self) -> usize {
        self.items.len()
    }

    fn tokens(&self, index: usize) -> usize {
        let lengths = self.items[index].sequences.iter().map(|it| it.ids.len());
        lengths.max().unwrap_or(0)
    }

    fn batch(&self, examples: &[ExampleId]) -> Result<TaskBatch, SourceError> {
        let items: Vec<&Item> = examples.iter().map(|it| &self.items[it.index]).collect();
        let sequences: Vec<&Ids> = items.iter().flat_map(|item| &item.sequences).collect();
        let lengths: Vec<usize> = sequences.iter().map(|it| it.ids.len()).collect();
        let seq_len = lengths.iter().copied().max().unwrap_or(0);
        let mut input_ids = Vec::with_capacity(sequences.len() * seq_len);
        let mut type_ids = Vec::new();
        for (row, sequence) in (1..).zip(&sequences) {
            input_ids.extend(&sequence.ids);
            input_ids.resize(row * seq_len, self.pad);
            if self.has_types {
                type_ids.resize((row - 1) * seq_len + sequence.second, 0);
                type_ids.resize((row - 1) * seq_len + sequence.ids.len(), 1);
                type_ids.resize(row * seq_len, 0);
            }
        }
        Ok(TaskBatch {
            examples: examples.iter().map(|it| it.index).collect(),
            choices: items.first().map_or(1, |item| item.sequences.len()),
            seq_len,
            input_ids,
            type_ids: self.has_types.then_some(type_ids),
            lengths,
            targets: targets(&items, seq_len),
        })
    }
}

/// The targets of a batch; unknown as soon as one is.
fn targets(items: &[&Item], seq_len: usize) -> Targets {
    let mut values = Vec::new();
    let (mut classes, mut ends) = (Vec::new(), Vec::new());
    for item in items {
        match &item.target {
            ItemTarget::Unknown => return Targets::Unknown,
            ItemTarget::Class(class) => classes.push(*class),
            ItemTarget::Values(of_item) => values.extend(of_item),
            ItemTarget::Tags(tags) => {
                classes.extend(tags);
                let padding = seq_len.saturating_sub(tags.len());
                classes.extend(std::iter::repeat_n(-1, padding));
            }
            ItemTarget::Span(first, last) => {
                classes.push(*first);
                ends.push(*last);
            }
        }
    }
    // The starts of all spans come before all ends.
    classes.extend(ends);
    match values.is_empty() {
        true => Targets::Classes(classes),
        false => Targets::Values(values),
    }
}
