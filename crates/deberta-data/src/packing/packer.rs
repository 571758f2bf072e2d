//! From a stream of tokens to sequences.

use super::{PackMode, PackOptions};
use crate::tokenizer::SpecialTokens;

/// Cuts tokens into `[CLS] … [SEP]` sequences.
#[derive(Debug)]
pub(super) struct Packer {
    mode: PackMode,
    /// Tokens of an example without `[CLS]` and `[SEP]`.
    body_len: usize,
    min_tokens: usize,
    special: SpecialTokens,
    /// Tokens that do not fill an example yet.
    pending: Vec<u32>,
    example: Vec<u32>,
    pub(super) dropped_tokens: u64,
}

impl Packer {
    pub(super) fn new(options: &PackOptions, special: SpecialTokens) -> Self {
        Self {
            mode: options.mode,
            body_len: options.seq_len - 2,
            min_tokens: options.min_tokens,
            special,
            pending: Vec::new(),
            example: Vec::new(),
            dropped_tokens: 0,
        }
    }

    /// Adds a piece of text and hands every finished example to `emit`.
    pub(super) fn push<E>(
        &mut self,
        tokens: &[u32],
        starts_document: bool,
        mut emit: impl FnMut(&[u32]) -> Result<(), E>,
    ) -> Result<(), E> {
        if starts_document && self.mode == PackMode::DocumentBoundaries {
            self.finish(&mut emit)?;
        }
        self.pending.extend_from_slice(tokens);
        let full = self.pending.len() / self.body_len * self.body_len;
        for start in (0..full).step_by(self.body_len) {
            Self::wrap(
                &mut self.example,
                self.special,
                &self.pending[start..start + self.body_len],
            );
            emit(&self.example)?;
        }
        self.pending.drain(..full);
        Ok(())
    }

    /// Ends the document or the stream.
    pub(super) fn finish<E>(
        &mut self,
        mut emit: impl FnMut(&[u32]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.pending.len() >= self.min_tokens {
            Self::wrap(&mut self.example, self.special, &self.pending);
            emit(&self.example)?;
        } else {
            self.dropped_tokens += self.pending.len() as u64;
        }
        self.pending.clear();
        Ok(())
    }

    fn wrap(example: &mut Vec<u32>, special: SpecialTokens, body: &[u32]) {
        example.clear();
        example.push(special.cls);
        example.extend_from_slice(body);
        example.push(special.sep);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    const SPECIAL: SpecialTokens = SpecialTokens {
        pad: 0,
        cls: 1,
        sep: 2,
        unk: 3,
        mask: 4,
    };

    fn pack(documents: &[Vec<u32>], mode: PackMode, seq_len: usize) -> (Vec<Vec<u32>>, u64) {
        let options = PackOptions {
            mode,
            min_tokens: 2,
            ..PackOptions::new(seq_len)
        };
        let mut packer = Packer::new(&options, SPECIAL);
        let mut examples = Vec::new();
        let mut emit = |example: &[u32]| {
            examples.push(example.to_vec());
            Ok::<(), Infallible>(())
        };
        for document in documents {
            packer.push(document, true, &mut emit).unwrap();
        }
        packer.finish(&mut emit).unwrap();
        (examples, packer.dropped_tokens)
    }

    #[test]
    fn concatenation_runs_over_documents() {
        let documents = [vec![10, 11, 12], vec![13], vec![14, 15, 16, 17]];
        let (examples, dropped) = pack(&documents, PackMode::Concatenate, 5);
        let expected = [
            vec![1, 10, 11, 12, 2],
            vec![1, 13, 14, 15, 2],
            vec![1, 16, 17, 2],
        ];
        assert_eq!((examples, dropped), (expected.to_vec(), 0));
    }

    #[test]
    fn boundaries_are_kept_and_short_remainders_dropped() {
        let documents = [vec![10, 11, 12, 13], vec![14, 15], vec![16]];
        let (examples, dropped) = pack(&documents, PackMode::DocumentBoundaries, 5);
        let expected = [vec![1, 10, 11, 12, 2], vec![1, 14, 15, 2]];
        assert_eq!((examples, dropped), (expected.to_vec(), 2));
    }

    proptest! {
        /// No token is lost, invented or moved, and no example is too long.
        #[test]
        fn examples_hold_the_stream(
            lengths in prop::collection::vec(0usize..40, 0..20),
            seq_len in 3usize..20,
            boundaries: bool,
        ) {
            let mut next = 10;
            let documents: Vec<Vec<u32>> = lengths
                .iter()
                .map(|len| (0..*len).map(|_| { next += 1; next }).collect())
                .collect();
            let mode =
                if boundaries { PackMode::DocumentBoundaries } else { PackMode::Concatenate };
            let (examples, dropped) = pack(&documents, mode, seq_len);
            let mut seen: Vec<u32> = Vec::new();
            for example in &examples {
                prop_assert!(example.len() <= seq_len);
                prop_assert_eq!((example[0], example[example.len() - 1]), (1, 2));
                let body = &example[1..example.len() - 1];
                if boundaries {
                    prop_assert!(documents.iter().any(|it| it.windows(body.len()).any(|w| w == body)));
                }
                seen.extend_from_slice(body);
            }
            prop_assert!(seen.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(seen.len() as u64 + dropped, lengths.iter().sum::<usize>() as u64);
        }
    }
}
