//! Sequences side by side.

use serde::{Deserialize, Serialize};

use super::Sequence;
use crate::tokenizer::TokenizerError;

/// How long the rows of a batch are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PadTo {
    /// As long as the longest sequence.
    #[default]
    Longest,
    /// The same, rounded up to a multiple: kernels like lengths that are divisible by 8. 0 does not
    /// round.
    MultipleOf(usize),
    /// This long; no sequence may be longer.
    Length(usize),
}

/// Sequences of one length, padded at the end. All lists are `[batch, seq_len]`, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaddedBatch {
    /// Number of sequences, `batch`.
    pub batch: usize,
    /// Length of each row, `seq_len`.
    pub seq_len: usize,
    /// Ids, with the id of `[PAD]` at padding.
    pub ids: Vec<u32>,
    /// Token types, 0 at padding.
    pub type_ids: Vec<u32>,
    /// `true` at padding.
    pub mask_pad: Vec<bool>,
    /// Length of each sequence without padding.
    pub lengths: Vec<usize>,
}

impl PaddedBatch {
    /// Pads sequences with the id `pad`, see [`SpecialTokens`](crate::tokenizer::SpecialTokens).
    ///
    /// # Errors
    ///
    /// [`TokenizerError::TooLong`] for a sequence longer than [`PadTo::Length`].
    pub fn new(sequences: &[Sequence], pad: u32, pad_to: PadTo) -> Result<Self, TokenizerError> {
        let longest = sequences.iter().map(Sequence::len).max().unwrap_or(0);
        let seq_len = match pad_to {
            PadTo::Longest => longest,
            PadTo::MultipleOf(multiple) => longest.next_multiple_of(multiple.max(1)),
            PadTo::Length(max_length) if longest > max_length => {
                return Err(TokenizerError::TooLong {
                    len: longest,
                    max_length,
                });
            }
            PadTo::Length(length) => length,
        };
        let mut batch = Self {
            batch: sequences.len(),
            seq_len,
            ids: Vec::with_capacity(sequences.len() * seq_len),
            type_ids: Vec::with_capacity(sequences.len() * seq_len),
            mask_pad: Vec::with_capacity(sequences.len() * seq_len),
            lengths: sequences.iter().map(Sequence::len).collect(),
        };
        for (row, sequence) in (1..).zip(sequences) {
            batch.ids.extend(&sequence.ids);
            batch.ids.resize(row * seq_len, pad);
            batch.type_ids.extend(&sequence.type_ids);
            batch.type_ids.resize(row * seq_len, 0);
            let end = batch.mask_pad.len() + sequence.len();
            batch.mask_pad.resize(end, false);
            batch.mask_pad.resize(row * seq_len, true);
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(ids: &[u32]) -> Sequence {
        Sequence {
            ids: ids.to_vec(),
            type_ids: vec![1; ids.len()],
            ..Sequence::default()
        }
    }

    #[test]
    fn rows_are_padded_at_the_end() {
        let sequences = [sequence(&[1, 5, 2]), sequence(&[1, 2])];
        let batch = PaddedBatch::new(&sequences, 9, PadTo::MultipleOf(4)).unwrap();
        assert_eq!((batch.batch, batch.seq_len), (2, 4));
        assert_eq!(batch.ids, [1, 5, 2, 9, 1, 2, 9, 9]);
        assert_eq!(batch.type_ids, [1, 1, 1, 0, 1, 1, 0, 0]);
        let pads = batch.mask_pad.iter().map(|pad| u8::from(*pad));
        assert_eq!(pads.collect::<Vec<_>>(), [0, 0, 0, 1, 0, 0, 1, 1]);
        assert_eq!(batch.lengths, [3, 2]);
    }

    #[test]
    fn a_fixed_length_must_hold_the_longest() {
        let sequences = [sequence(&[1, 5, 2])];
        let error = PaddedBatch::new(&sequences, 0, PadTo::Length(2)).unwrap_err();
        assert!(matches!(
            error,
            TokenizerError::TooLong {
                len: 3,
                max_length: 2
            }
        ));
        let longest = PaddedBatch::new(&sequences, 0, PadTo::Longest).unwrap();
        assert_eq!(longest.seq_len, 3);
        assert_eq!(
            PaddedBatch::new(&[], 0, PadTo::MultipleOf(0))
                .unwrap()
                .seq_len,
            0
        );
    }
}
