//! Which keys a query may attend to.

use burn::tensor::{Bool, Tensor, TensorData, backend::Backend};

use crate::encoder::{SelectedRows, mask_pad_from_lengths};

/// Which keys a query may attend to.
#[derive(Debug, Clone)]
pub enum AttentionMask<B: Backend> {
    /// No padding: every query sees every key.
    Full,
    /// Padded sequences: `true` at padding, `[batch, seq_len]`.
    Padding(Tensor<B, 2, Bool>),
    /// Any pattern, for packed or causal sequences: `true` where the query (axis 1) must not see
    /// the key (axis 2), `[batch, q_len, k_len]`.
    Pairwise(Tensor<B, 3, Bool>),
}

impl<B: Backend> AttentionMask<B> {
    /// Sequences of `lengths` tokens, padded at the end to `seq_len`.
    pub fn from_lengths(lengths: &[usize], seq_len: usize, device: &B::Device) -> Self {
        if lengths.iter().all(|&length| length >= seq_len) {
            return Self::Full;
        }
        Self::Padding(mask_pad_from_lengths(lengths, seq_len, device))
    }

    /// Several sequences one after the other in each row, and padding up to `seq_len`: a token sees
    /// its own sequence only.
    ///
    /// `packed[b]` has the lengths of the sequences in row `b`. Distances within a sequence are those
    /// of the sequence alone, so the relative terms need nothing else; with absolute positions give
    /// [`position_ids`](crate::DebertaInput::position_ids) that start anew in each sequence. A
    /// convolution ([`ConvLayer`](crate::conv::ConvLayer)) still sees the neighbour across a border.
    pub fn packed(packed: &[Vec<usize>], seq_len: usize, device: &B::Device) -> Self {
        let sequence_of_token = |lengths: &Vec<usize>| {
            let mut owners: Vec<Option<usize>> = lengths
                .iter()
                .enumerate()
                .flat_map(|(sequence, &length)| std::iter::repeat_n(Some(sequence), length))
                .collect();
            owners.resize(seq_len, None);
            owners
        };
        let blocked = packed.iter().map(sequence_of_token).flat_map(|owners| {
            let pairs = (0..seq_len * seq_len).map(|pair| {
                let (query, key) = (owners[pair / seq_len], owners[pair % seq_len]);
                query.is_none() || query != key
            });
            pairs.collect::<Vec<bool>>()
        });
        let blocked = TensorData::new(blocked.collect(), [packed.len(), seq_len, seq_len]);
        Self::Pairwise(Tensor::from_data(blocked, device))
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
            Self::Padding(mask_pad) => Some(mask_pad.clone()),
            Self::Pairwise(blocked) => Some(blocked.clone().all_dim(1).squeeze_dim(1)),
        }
    }

    /// Blocked pairs, broadcast over heads: `[batch, 1, 1 or q_len, k_len]`.
    pub(super) fn blocked(&self) -> Option<Tensor<B, 4, Bool>> {
        match self {
            Self::Full => None,
            Self::Padding(mask_pad) => Some(mask_pad.clone().unsqueeze_dims(&[1, 2])),
            Self::Pairwise(blocked) => Some(blocked.clone().unsqueeze_dim(1)),
        }
    }

    /// Queries that see nothing, whose output is zero: `[batch, q_len, 1]`.
    pub(super) fn blind_queries(&self) -> Option<Tensor<B, 3, Bool>> {
        match self {
            Self::Full => None,
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
