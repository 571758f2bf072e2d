//! Texts and pairs with one target, and gaps with a candidate filled in.

use std::collections::BTreeSet;

use deberta_data::task::{ClozeExample, PLACEHOLDER, SequenceExample, Target};
use deberta_data::tokenizer::TokenizerError;

use super::{Alignment, EncodedExample, Encoder, Item, ItemTarget};

impl Encoder<'_> {
    pub(super) fn sequence(
        &self,
        index: usize,
        example: &SequenceExample,
    ) -> Result<EncodedExample, TokenizerError> {
        let (ids, cut) = self.cut(&example.text, example.pair.as_deref())?;
        let target = match &example.target {
            None => ItemTarget::Unknown,
            Some(Target::Label(label)) => ItemTarget::Class(*label as i32),
            Some(Target::Score(score)) => ItemTarget::Values(vec![*score as f32]),
            Some(Target::Labels(labels)) => {
                let mut values = vec![0.0; self.task.labels().len()];
                for label in labels {
                    values[*label] = 1.0;
                }
                ItemTarget::Values(values)
            }
        };
        let item = Item {
            example: index,
            sequences: vec![ids],
            target,
            alignment: Alignment::Whole,
        };
        Ok((vec![item], cut))
    }

    /// A sequence for each text that an entity of the passage has: the passage, then the query with
    /// that text in its gap. The head says whether it is right.
    pub(super) fn cloze(
        &self,
        index: usize,
        example: &ClozeExample,
    ) -> Result<EncodedExample, TokenizerError> {
        let candidates: BTreeSet<&str> = example.entities.iter().map(|it| &*it.text).collect();
        let (mut items, mut cut) = (Vec::new(), 0);
        for candidate in candidates {
            let query = example.query.replace(PLACEHOLDER, candidate);
            let (ids, is_cut) = self.cut(&example.passage, Some(&query))?;
            cut += is_cut;
            let is_right = example.answers.iter().any(|answer| answer == candidate);
            items.push(Item {
                example: index,
                sequences: vec![ids],
                target: match example.answers.is_empty() {
                    true => ItemTarget::Unknown,
                    false => ItemTarget::Class(i32::from(is_right)),
                },
                alignment: Alignment::Candidate(candidate.to_owned()),
            });
        }
        Ok((items, cut))
    }
}
