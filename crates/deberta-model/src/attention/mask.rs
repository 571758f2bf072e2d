//! Which keys a query may attend to.

use burn::tensor::{Bool, Tensor, TensorData, backend::Backend};

use super::Sequences;
use crate::encoder::SelectedRows;

/// Which keys a query may attend to.
#[derive(Debug, Clone)]
pub enum AttentionMask<B: Backend> {
    /// No padding: every query sees every key.
    Full,
    /// Padded or packed sequences whose lengths the host knows: see
    /// [`from_lengths`](Self::from_lengths) and [`packed`](Self::packed). Where the backend has a
    /// kernel for it, padding costs nothing.
    Sequences(Sequences<B>),
    /// Padded sequences of which only the device knows: `true` at padding, `[batch, seq_len]`.
    Padding(Tensor<B, 2, Bool>),
    /// Any pattern, for example of causal sequences: `true` where the query (axis 1) must not see
    /// the key (axis 2), `[batch, q_len, k_len]`.
    Pairwise(Tensor<B, 3, Bool>),
}

impl<B: Backend> AttentionMask<B> {
    /// Sequences of `lengths` tokens, padded at the end to `seq_len`; what is longer counts as
    /// `seq_len`.
    pub fn from_lengths(lengths: &[usize], seq_len: usize, device: &B::Device) -> Self {
        if lengths.iter().all(|&length| length >= seq_len) {
            return Self::Full;
        }
        let rows = lengths.iter().map(std::slice::from_ref);
        Self::Sequences(Sequences::new(rows, seq_len, device))
    }

    /// Several sequences one after the other in each row, and padding up to `seq_len`: a token sees
    /// its own sequence only.
    ///
    /// `packed[b]` has the lengths of the sequences in row `b`. Distances within a sequence are those
    /// of the sequence alone, so the relative terms need nothing else; with absolute positions give
    /// [`position_ids`](crate::DebertaInput::position_ids) that start anew in each sequence. A
    /// convolution ([`ConvLayer`](crate::conv::ConvLayer)) still sees the neighbour across a border.
    /// Sequences that go beyond `seq_len` together are cut there.
    pub fn packed(packed: &[Vec<usize>], seq_len: usize, device: &B::Device) -> Self {
        let rows = packed.iter().map(Vec::as_slice);
        Self::Sequences(Sequences::new(rows, seq_len, device))
    }

    /// A token sees itself and what stands before it, as in a language model.
    pub fn causal(batch: usize, seq_len: usize, device: &B::Device) -> Self {
        let future = (0..seq_len * seq_len).map(|pair| pair % seq_len > pair / seq_len);
        let future = TensorData::new(future.collect::<Vec<bool>>(), [1, seq_len, seq_len]);
        let future = Tensor::<B, 3, Bool>::from_data(future, device);
        Self::Pairwise(future.expand([batch, seq_len, seq_len]))
    }

    /// `true` at tokens that no query may see, `[batch, seq_len]`; `None` if there are none.
    pub fn unseen_tokens(&self) -> Option<Tensor<B, 2, Bool>> {
        match self {
            Self::Full => None,
            Self::Sequences(sequences) => sequences.mask_pad(),
            Self::Padding(mask_pad) => Some(mask_pad.clone()),
            Self::Pairwise(blocked) => Some(blocked.clone().all_dim(1).squeeze_dim(1)),
        }
    }

    /// The same mask without what the host knows: padding is then computed, as the references do.
    pub fn as_tensors(&self) -> Self {
        match self {
            Self::Sequences(sequences) => sequences.as_tensors(),
            other => other.clone(),
        }
    }

    /// Blocked pairs, broadcast over heads: `[batch, 1, 1 or q_len, k_len]`.
    pub(super) fn blocked(&self) -> Option<Tensor<B, 4, Bool>> {
        match self {
            Self::Full => None,
            Self::Sequences(sequences) => sequences.as_tensors().blocked(),
            Self::Padding(mask_pad) => Some(mask_pad.clone().unsqueeze_dims(&[1, 2])),
            Self::Pairwise(blocked) => Some(blocked.clone().unsqueeze_dim(1)),
        }
    }

    /// Queries that see nothing, whose output is zero: `[batch, q_len, 1]`.
    pub(super) fn blind_queries(&self) -> Option<Tensor<B, 3, Bool>> {
        match self {
            Self::Full => None,
            Self::Sequences(sequences) => sequences.mask_pad().map(|it| it.unsqueeze_dim(2)),
            Self::Padding(mask_pad) => Some(mask_pad.clone().unsqueeze_dim(2)),
            Self::Pairwise(blocked) => Some(blocked.clone().all_dim(2)),
        }
    }

    /// The mask of the queries at `positions` only.
    ///
    /// Selected queries are real tokens, so of a padding mask only the keys remain.
    pub(crate) fn for_selected_queries(&self, rows: &SelectedRows<B>) -> Self {
        match self {
            Self::Full => Self::Full,
            Self::Sequences(sequences) => sequences.as_tensors().for_selected_queries(rows),
            Self::Padding(mask_pad) => {
                let [batch, seq_len] = mask_pad.dims();
                let [_, slots] = rows.positions.dims();
                let blocked = mask_pad.clone().unsqueeze_dim::<3>(1);
                Self::Pairwise(blocked.expand([batch, slots, seq_len]))
            }
            Self::Pairwise(blocked) => {
                let [_, _, k_len] = blocked.dims();
                let [_, slots] = rows.positions.dims();
                let index = rows.positions.clone().unsqueeze_dim::<3>(2);
                let [batch, _, _] = blocked.dims();
                let index = index.expand([batch, slots, k_len]);
                Self::Pairwise(blocked.clone().int().gather(1, index).bool())
            }
        }
    }
}
