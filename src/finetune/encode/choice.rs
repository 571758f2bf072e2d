//! Alternatives that go on from one context.

use deberta_data::task::{ChoiceExample, Example};
use deberta_data::tokenizer::TokenizerError;

use super::super::FinetuneError;
use super::{Alignment, EncodedExample, Encoder, Item, ItemTarget};

/// Examples of a batch have equally many choices, so all of them must.
pub(super) fn check_numbers(examples: &[Example]) -> Result<(), FinetuneError> {
    let mut numbers = examples.iter().filter_map(|example| match example {
        Example::Choice(example) => Some((&example.id, example.choices.len())),
        _ => None,
    });
    let Some((_, expected)) = numbers.next() else {
        return Ok(());
    };
    match numbers.find(|(_, number)| *number != expected) {
        None => Ok(()),
        Some((id, number)) => Err(FinetuneError::Example {
            id: id.clone(),
            found: format!("{number} choices"),
            expected: format!("{expected}, as the first example has"),
        }),
    }
}

impl Encoder<'_> {
    pub(super) fn choices(
        &self,
        index: usize,
        example: &ChoiceExample,
    ) -> Result<EncodedExample, TokenizerError> {
        let (mut sequences, mut cut) = (Vec::new(), 0);
        for (first, second) in example.pairs() {
            let (ids, is_cut) = self.cut(first, Some(second))?;
            cut += is_cut;
            sequences.push(ids);
        }
        let target = example.label.map(|label| ItemTarget::Class(label as i32));
        let item = Item {
            example: index,
            sequences,
            target: target.unwrap_or(ItemTarget::Unknown),
            alignment: Alignment::Whole,
        };
        Ok((vec![item], cut))
    }
}
