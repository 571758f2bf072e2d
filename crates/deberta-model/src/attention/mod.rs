//! Disentangled self-attention, Section 3.1 of the paper.

mod mask;
mod sequences;

use std::ops::Range;

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::activation::softmax;
use burn::tensor::{Tensor, backend::Backend};

use crate::config::{DebertaConfig, Family};
use crate::ops::{self, AttentionCall, DebertaBackend, FusedKind, MaskCall};
use crate::relative_position::RelativePositions;
use crate::weight_init::WeightInit;

pub use mask::AttentionMask;
pub use sequences::Sequences;

/// A score that no softmax notices.
const MASKED_SCORE: f64 = -1e30;

/// Content keys and values of a sequence, `[batch, k_len, heads * head_dim]` each.
#[derive(Debug, Clone)]
pub struct KeyValue<B: Backend> {
    key: Tensor<B, 3>,
    value: Tensor<B, 3>,
}

/// Position keys and queries of the live rows, `[live, heads * head_dim]` each.
#[derive(Debug, Clone)]
pub struct PositionProjections<B: Backend> {
    pos_key: Option<Tensor<B, 2>>,
    pos_query: Option<Tensor<B, 2>>,
}

impl<B: Backend> PositionProjections<B> {
    /// These of the rows.
    pub(crate) fn rows(&self, rows: Range<usize>) -> Self {
        let slice = |all: &Option<Tensor<B, 2>>| {
            let [_, width] = all.as_ref()?.dims();
            Some(all.clone()?.slice([rows.clone(), 0..width]))
        };
        Self {
            pos_key: slice(&self.pos_key),
            pos_query: slice(&self.pos_query),
        }
    }
}

/// Projected rows of the table, and which of them belongs to each pair.
pub type Positions<'a, B> = (&'a PositionProjections<B>, &'a RelativePositions<B>);

/// The terms of Eq. (4), each `[batch, heads, q_len, k_len]`, divided by `sqrt(scale_factor * head_dim)`.
#[derive(Debug, Clone)]
pub struct ScoreTerms<B: Backend> {
    /// Content to content.
    pub content: Tensor<B, 4>,
    /// Content to position, where the network has it.
    pub c2p: Option<Tensor<B, 4>>,
    /// Position to content, where the network has it.
    pub p2c: Option<Tensor<B, 4>>,
}

/// Disentangled self-attention.
///
/// ```text
/// A[i, j] = Qc[i]·Kc[j]  +  Qc[i]·Kr[δ(i, j)]  +  Kc[j]·Qr[δ(i, j)]        Eq. (4)
///           content          content-to-position   position-to-content
/// out     = softmax(A / sqrt(scale_factor * head_dim)) · Vc
/// ```
///
/// # Deviation from the paper
///
/// Position-to-content is indexed with `δ(i, j)`, as in the released code. A query that sees no key
/// gives zero, as in Microsoft's `XSoftmax`; transformers gives the mean of all values there.
/// The scale multiplies the queries before the products. In half precision the scores are computed
/// in f32, as Microsoft's code does: with 8 bits a score of 10 is off by 0.03, and its probability
/// by as much.
///
/// Reference: microsoft/DeBERTa `disentangled_attention.py`, commit 4d7fe0b.
#[derive(Module, Debug)]
pub struct DisentangledSelfAttention<B: Backend> {
    query_proj: Linear<B>,
    key_proj: Linear<B>,
    value_proj: Linear<B>,
    pos_key_proj: Option<Linear<B>>,
    pos_query_proj: Option<Linear<B>>,
    pos_dropout: Dropout,
    dropout: Dropout,
    num_heads: usize,
    head_size: usize,
    scale: f64,
    c2p: bool,
    p2c: bool,
}

impl<B: Backend> DisentangledSelfAttention<B> {
    pub(crate) fn new(
        config: &DebertaConfig,
        weights: &mut WeightInit,
        device: &B::Device,
    ) -> Self {
        let (hidden, width) = (config.hidden_size, config.all_head_size());
        let key_bias = config.family == Family::V2;
        let terms = config.position_terms;
        let relative = config.relative_positions.is_some();
        let own_positions = relative && !config.share_att_key;
        let scale_factor = terms.scale_factor() * config.attention_head_size;

        Self {
            query_proj: weights.linear(hidden, width, true, device),
            key_proj: weights.linear(hidden, width, key_bias, device),
            value_proj: weights.linear(hidden, width, true, device),
            pos_key_proj: (own_positions && terms.c2p)
                .then(|| weights.linear(hidden, width, key_bias, device)),
            pos_query_proj: (own_positions && terms.p2c)
                .then(|| weights.linear(hidden, width, true, device)),
            pos_dropout: DropoutConfig::new(config.hidden_dropout_prob).init(),
            dropout: DropoutConfig::new(config.attention_probs_dropout_prob).init(),
            num_heads: config.num_attention_heads,
            head_size: config.attention_head_size,
            scale: 1.0 / (scale_factor as f64).sqrt(),
            c2p: relative && terms.c2p,
            p2c: relative && terms.p2c,
        }
    }
}

impl<B: DebertaBackend> DisentangledSelfAttention<B> {
    /// Content keys and values of `hidden_states` `[batch, k_len, hidden]`.
    pub fn keys_values(&self, hidden_states: Tensor<B, 3>) -> KeyValue<B> {
        KeyValue {
            key: ops::linear(&self.key_proj, hidden_states.clone()),
            value: ops::linear(&self.value_proj, hidden_states),
        }
    }

    /// Position keys and queries of the live rows of the table, `[live, hidden]`.
    ///
    /// With shared projections (v2, v3) the content's matrices and biases serve for both.
    pub fn project_positions(&self, live_rows: Tensor<B, 2>) -> PositionProjections<B> {
        let rows = self.pos_dropout.forward(live_rows);
        let project = |own: &Option<Linear<B>>, shared: &Linear<B>| {
            ops::linear(own.as_ref().unwrap_or(shared), rows.clone())
        };
        PositionProjections {
            pos_key: self
                .c2p
                .then(|| project(&self.pos_key_proj, &self.key_proj)),
            pos_query: self
                .p2c
                .then(|| project(&self.pos_query_proj, &self.query_proj)),
        }
    }

    /// Attends from `query_states` to `keys`.
    ///
    /// # Shapes
    ///
    /// - query_states: `[batch, q_len, hidden]`
    /// - output: `[batch, q_len, heads * head_dim]`
    pub fn forward(
        &self,
        query_states: Tensor<B, 3>,
        keys: &KeyValue<B>,
        positions: Option<Positions<'_, B>>,
        mask: &AttentionMask<B>,
    ) -> Tensor<B, 3> {
        let query = ops::linear(&self.query_proj, query_states);
        if ops::fuses(self.kernel(), &query) {
            return self.fused(query, keys, positions, mask);
        }
        let probs = self.probabilities_of(query, keys, positions, mask);
        let value = self.split_heads(keys.value.clone());
        let context = self.merge_heads(ops::matmul(self.dropout.forward(probs), value));
        match mask.blind_queries() {
            Some(blind) => {
                let shape = context.shape();
                context.mask_fill(blind.expand(shape), 0.0)
            }
            None => context,
        }
    }

    /// The kernel that [`forward`](Self::forward) looks for.
    fn kernel(&self) -> FusedKind {
        FusedKind::Attention {
            head_dim: self.head_size,
        }
    }

    /// [`forward`](Self::forward) by the backend's kernel, which keeps no probabilities.
    fn fused(
        &self,
        query: Tensor<B, 3>,
        keys: &KeyValue<B>,
        positions: Option<Positions<'_, B>>,
        mask: &AttentionMask<B>,
    ) -> Tensor<B, 3> {
        let device = query.device();
        let (pos_key, pos_query) = positions.map_or((None, None), |(projections, _)| {
            (projections.pos_key.clone(), projections.pos_query.clone())
        });
        let relative = positions.map(|(_, relative)| relative);
        let call = AttentionCall {
            heads: self.num_heads,
            c2p: pos_key.is_some(),
            p2c: pos_query.is_some(),
            scale: self.scale,
            slot_of_distance: relative
                .map(|it| it.slot_of_distance.clone())
                .unwrap_or_default(),
            zero_distance: relative.map_or(0, |it| it.zero_distance),
            query_positions: relative
                .and_then(|it| it.query_positions.clone())
                .map(Tensor::into_primitive),
            mask: match mask {
                AttentionMask::Full => MaskCall::Full,
                AttentionMask::Sequences(it) => MaskCall::Segments(it.table().clone()),
                AttentionMask::Padding(mask) => MaskCall::Padding(mask.clone().into_primitive()),
                AttentionMask::Pairwise(mask) => MaskCall::Pairwise(mask.clone().into_primitive()),
            },
            dropout: ops::dropout_call::<B>(&self.dropout, &device),
        };
        let inputs = vec![query, keys.key.clone(), keys.value.clone()];
        let positions = pos_key.into_iter().chain(pos_query).collect();
        ops::attention(call, inputs, positions)
    }

    /// Attention probabilities before dropout.
    ///
    /// # Shapes
    ///
    /// - query_states: `[batch, q_len, hidden]`
    /// - output: `[batch, heads, q_len, k_len]`
    pub fn probabilities(
        &self,
        query_states: Tensor<B, 3>,
        keys: &KeyValue<B>,
        positions: Option<Positions<'_, B>>,
        mask: &AttentionMask<B>,
    ) -> Tensor<B, 4> {
        let query = ops::linear(&self.query_proj, query_states);
        self.probabilities_of(query, keys, positions, mask)
    }

    fn probabilities_of(
        &self,
        query: Tensor<B, 3>,
        keys: &KeyValue<B>,
        positions: Option<Positions<'_, B>>,
        mask: &AttentionMask<B>,
    ) -> Tensor<B, 4> {
        let dtype = query.dtype();
        let terms = self.terms_of(query, keys, positions);
        let mut scores = terms.content;
        for term in terms.c2p.into_iter().chain(terms.p2c) {
            scores = scores + term;
        }
        if let Some(blocked) = mask.blocked() {
            let shape = scores.shape();
            scores = scores.mask_fill(blocked.expand(shape), MASKED_SCORE);
        }
        softmax(scores, 3).cast(dtype)
    }

    /// The terms of Eq. (4) for `query_states` `[batch, q_len, hidden]`, already scaled: their sum is
    /// what the softmax takes.
    pub fn terms(
        &self,
        query_states: Tensor<B, 3>,
        keys: &KeyValue<B>,
        positions: Option<Positions<'_, B>>,
    ) -> ScoreTerms<B> {
        let query = ops::linear(&self.query_proj, query_states);
        self.terms_of(query, keys, positions)
    }

    fn terms_of(
        &self,
        query: Tensor<B, 3>,
        keys: &KeyValue<B>,
        positions: Option<Positions<'_, B>>,
    ) -> ScoreTerms<B> {
        let query = self.split_heads(ops::widen(query).mul_scalar(self.scale));
        let key = self.split_heads(ops::widen(keys.key.clone()));
        let content = ops::matmul(query.clone(), key.clone().swap_dims(2, 3));
        let (mut c2p, mut p2c) = (None, None);
        if let Some((projections, relative)) = positions {
            c2p = projections.pos_key.clone().map(|pos_key| {
                let pos_key = self.split_heads(ops::widen(pos_key).unsqueeze());
                ops::content_to_position(query, pos_key, relative.index())
            });
            p2c = projections.pos_query.clone().map(|pos_query| {
                let pos_query = ops::widen(pos_query).mul_scalar(self.scale);
                let pos_query = self.split_heads(pos_query.unsqueeze());
                ops::position_to_content(pos_query, key, relative.index())
            });
        }
        ScoreTerms { content, c2p, p2c }
    }

    /// `[batch, len, heads * head_dim]` to `[batch, heads, len, head_dim]`.
    fn split_heads(&self, x: Tensor<B, 3>) -> Tensor<B, 4> {
        let [batch, len, _] = x.dims();
        x.reshape([batch, len, self.num_heads, self.head_size])
            .swap_dims(1, 2)
    }

    /// `[batch, heads, len, head_dim]` to `[batch, len, heads * head_dim]`.
    fn merge_heads(&self, x: Tensor<B, 4>) -> Tensor<B, 3> {
        let [batch, heads, len, head_dim] = x.dims();
        x.swap_dims(1, 2).reshape([batch, len, heads * head_dim])
    }
}
