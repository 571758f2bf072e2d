//! The tokens that a masked language model has to predict, and how they are asked for.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{DType, Int, Tensor, TensorData, backend::Backend};

use crate::attention::{AttentionMask, Sequences};
use crate::encoder::{EncoderContext, SelectedRows};
use crate::model::DebertaInput;
use crate::ops::{DebertaBackend, FusedKind, Segment};
use crate::relative_position::int_tensor;

/// Tokens to predict, known on the host.
#[derive(Debug, Clone)]
pub struct MaskedTokens<B: Backend> {
    rows: SelectedRows<B>,
    /// Real entries among `batch * slots`; `None` if all are.
    real: Option<Tensor<B, 1, Int>>,
    /// Place of each token among `batch * seq_len`, in the order of the logits.
    places: Arc<[usize]>,
    batch: usize,
    seq_len: usize,
}

impl<B: Backend> MaskedTokens<B> {
    /// Every real token of padded sequences of `lengths` tokens.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn all(lengths: &[usize], seq_len: usize, device: &B::Device) -> Self {
        let positions: Vec<Vec<u32>> = lengths
            .iter()
            .map(|&length| (0..length as u32).collect())
            .collect();
        Self::new(&positions, seq_len, device)
    }

    /// Tokens at `positions[b]` of each sequence `b`, in the order of the logits.
    ///
    /// # Panics
    ///
    /// If there is no token at all, or a position is not below `seq_len`.
    pub fn new(positions: &[Vec<u32>], seq_len: usize, device: &B::Device) -> Self {
        let batch = positions.len();
        let slots = positions.iter().map(Vec::len).max().unwrap_or(0);
        assert!(slots > 0, "at least one token must be masked");

        // Rows with fewer tokens ask again for position 0; `real` leaves those answers out.
        let mut padded = Vec::with_capacity(batch * slots);
        let mut flat = Vec::with_capacity(batch * slots);
        let (mut real, mut places) = (Vec::new(), Vec::new());
        for (row, tokens) in positions.iter().enumerate() {
            for slot in 0..slots {
                let position = tokens.get(slot).map_or(0, |&position| position as usize);
                assert!(
                    position < seq_len,
                    "masked position {position} of {seq_len}"
                );
                if slot < tokens.len() {
                    real.push((row * slots + slot) as i32);
                    places.push(row * seq_len + position);
                }
                padded.push(position as i32);
                flat.push((row * seq_len + position) as i32);
            }
        }

        let ragged = real.len() < batch * slots;
        Self {
            rows: SelectedRows {
                positions: Tensor::from_data(TensorData::new(padded, [batch, slots]), device),
                flat_index: int_tensor(flat, device),
            },
            real: ragged.then(|| int_tensor(real, device)),
            places: places.into(),
            batch,
            seq_len,
        }
    }

    /// The same batch with a mask that keeps padding if a masked token is there.
    pub(super) fn with_visible_mask(&self, tokens: &DebertaInput<B>) -> DebertaInput<B> {
        let mut tokens = tokens.clone();
        if let AttentionMask::Sequences(sequences) = &tokens.mask {
            let ranges = key_ranges(sequences);
            let is_seen = |&place: &usize| {
                ranges[sequence_of(&ranges, place)..]
                    .first()
                    .is_some_and(|it| it.contains(&place))
            };
            if !self.places.iter().all(is_seen) {
                tokens.mask = tokens.mask.as_tensors();
            }
        }
        tokens
    }
}

/// Masked tokens as queries.
///
/// A kernel takes them one after the other, `[1, masked]`; otherwise each sequence has as many slots
/// as the one with most masked tokens, `[batch, slots]`.
pub(super) struct MaskedQueries<B: Backend> {
    /// Row of each query among all rows of the states.
    rows: Tensor<B, 1, Int>,
    /// Place of each query among `batch * seq_len`.
    places: Tensor<B, 1, Int>,
    /// Position in its row of the batch.
    row_positions: Tensor<B, 2, Int>,
    /// Position in its sequence.
    pub(super) positions: Tensor<B, 2, Int>,
    /// What each query sees.
    pub(super) mask: AttentionMask<B>,
    /// Which queries are asked for, in the order of the logits; `None` for all of them in turn.
    order: Option<Tensor<B, 1, Int>>,
}

impl<B: DebertaBackend> MaskedTokens<B> {
    /// Queries to the states that the layers of `context` computed in `dtype`, for layers with this
    /// attention `kernel`.
    pub(super) fn queries(
        &self,
        context: &EncoderContext<B>,
        kernel: FusedKind,
        dtype: DType,
    ) -> MaskedQueries<B> {
        let kernel_reads = match &context.mask {
            AttentionMask::Full | AttentionMask::Sequences(_) => {
                B::fuses(kernel, dtype, &self.rows.positions.device())
            }
            AttentionMask::Padding(_) | AttentionMask::Pairwise(_) => false,
        };
        if kernel_reads {
            return self.packed_queries(context);
        }
        let SelectedRows {
            positions,
            flat_index,
        } = &self.rows;
        MaskedQueries {
            rows: flat_index.clone(),
            places: flat_index.clone(),
            row_positions: positions.clone(),
            positions: positions.clone(),
            mask: context.mask.for_selected_queries(&self.rows),
            order: self.real.clone(),
        }
    }

    /// Queries one after the other, those of a sequence side by side.
    fn packed_queries(&self, context: &EncoderContext<B>) -> MaskedQueries<B> {
        let whole_rows = || {
            let starts = (0..self.batch).map(|row| row * self.seq_len);
            starts.map(|start| start..start + self.seq_len).collect()
        };
        let keys: Vec<_> = match &context.mask {
            AttentionMask::Sequences(sequences) => key_ranges(sequences),
            _ => whole_rows(),
        };
        // The same sequences in the padded batch.
        let padded = match &context.real {
            Some(real) => key_ranges(real.sequences()),
            None => keys.clone(),
        };

        let sequences = self.places.iter().map(|&it| sequence_of(&padded, it));
        let sequences: Vec<usize> = sequences.collect();
        let mut queries: Vec<usize> = (0..self.places.len()).collect();
        queries.sort_by_key(|&query| sequences[query]);
        let mut segments: Vec<Segment> = Vec::new();
        let (mut rows, mut positions) = (Vec::new(), Vec::new());
        for (index, &query) in queries.iter().enumerate() {
            let keys = keys[sequences[query]].clone();
            let position = self.places[query] - padded[sequences[query]].start;
            rows.push((keys.start + position) as i32);
            positions.push(position as i32);
            match segments.last_mut() {
                Some(last) if last.keys == keys => last.queries.end = index + 1,
                _ => segments.push(Segment {
                    queries: index..index + 1,
                    keys,
                }),
            }
        }
        let places: Vec<i32> = queries.iter().map(|&it| self.places[it] as i32).collect();
        let device = &self.rows.positions.device();
        let row = |values: Vec<i32>| int_tensor::<B>(values, device).unsqueeze::<2>();
        let in_row = places.iter().map(|place| place % self.seq_len as i32);
        MaskedQueries {
            rows: int_tensor(rows, device),
            row_positions: row(in_row.collect()),
            places: int_tensor(places, device),
            positions: row(positions),
            mask: AttentionMask::Sequences(Sequences::of_queries(segments, queries.len(), device)),
            order: (!queries.is_sorted()).then(|| int_tensor(inverse(&queries), device)),
        }
    }
}

impl<B: Backend> MaskedQueries<B> {
    /// The queries' rows of the layers' `states`, `[batch, slots, hidden]` or `[1, masked, hidden]`.
    pub(super) fn select(&self, states: Tensor<B, 3>) -> Tensor<B, 3> {
        let ([batch, len, hidden], [rows, slots]) = (states.dims(), self.positions.dims());
        states
            .reshape([batch * len, hidden])
            .select(0, self.rows.clone())
            .reshape([rows, slots, hidden])
    }

    /// Absolute positions, which are `given` as `[batch, seq_len]` or count from 0 in each row.
    pub(super) fn absolute_positions(
        &self,
        given: Option<&Tensor<B, 2, Int>>,
    ) -> Tensor<B, 2, Int> {
        let Some(given) = given else {
            return self.row_positions.clone();
        };
        let ([batch, seq_len], shape) = (given.dims(), self.positions.dims());
        let given = given.clone().reshape([batch * seq_len]);
        given.select(0, self.places.clone()).reshape(shape)
    }

    /// The answers to the masked tokens, `[masked, hidden]`, of states of all queries.
    pub(super) fn answers(&self, states: Tensor<B, 3>) -> Tensor<B, 2> {
        let [rows, slots, hidden] = states.dims();
        let states = states.reshape([rows * slots, hidden]);
        match &self.order {
            Some(order) => states.select(0, order.clone()),
            None => states,
        }
    }
}

fn key_ranges<B: Backend>(sequences: &Sequences<B>) -> Vec<Range<usize>> {
    let segments = sequences.segments().iter();
    segments.map(|it| it.keys.clone()).collect()
}

/// The first of the rising `ranges` that does not end before `place`.
fn sequence_of(ranges: &[Range<usize>], place: usize) -> usize {
    ranges.partition_point(|it| it.end <= place)
}

/// Where in `permutation` each number stands.
fn inverse(permutation: &[usize]) -> Vec<i32> {
    let mut inverse = vec![0; permutation.len()];
    for (at, &number) in permutation.iter().enumerate() {
        inverse[number] = at as i32;
    }
    inverse
}
