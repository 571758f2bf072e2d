//! The stack of layers, with the relative-position table that they share.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::{Bool, Int, Tensor, backend::Backend};

use crate::attention::AttentionMask;
use crate::config::DebertaConfig;
use crate::conv::ConvLayer;
use crate::layer::DebertaLayer;
use crate::ops::{self, DebertaBackend};
use crate::relative_position::{RelativePositionConfig, RelativePositions};
use crate::weight_init::{WeightInit, layer_norm};

/// Encoder of DeBERTa.
///
/// The table has `2 * span` rows; only the rows that the lengths at hand can reach are normalised
/// and projected, and no tensor has both a query, a key and a hidden axis.
///
/// Reference: microsoft/DeBERTa `bert.py`, `BertEncoder`, commit 4d7fe0b.
#[derive(Module, Debug)]
pub struct DebertaEncoder<B: Backend> {
    /// The layers, first to last.
    pub layers: Vec<DebertaLayer<B>>,
    rel_embeddings: Option<Embedding<B>>,
    layer_norm: Option<LayerNorm<B>>,
    conv: Option<ConvLayer<B>>,
    epsilon: f64,
    #[module(skip)]
    relative: Option<RelativePositionConfig>,
}

/// Queries at chosen tokens of each sequence.
#[derive(Debug, Clone)]
pub struct SelectedRows<B: Backend> {
    /// Token positions, `[batch, slots]`.
    pub positions: Tensor<B, 2, Int>,
    /// The same rows counted through the whole batch, `[batch * slots]`.
    pub flat_index: Tensor<B, 1, Int>,
}

impl<B: Backend> SelectedRows<B> {
    /// The selected rows of `x` `[batch, seq_len, hidden]` as `[batch, slots, hidden]`.
    pub fn select(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let [batch, seq_len, hidden] = x.dims();
        let [_, slots] = self.positions.dims();
        x.reshape([batch * seq_len, hidden])
            .select(0, self.flat_index.clone())
            .reshape([batch, slots, hidden])
    }
}

/// States that a forward pass hands to its observer.
#[derive(Debug)]
pub enum Observation<'a, B: Backend> {
    /// Input of the first layer, then the output of each, `[batch, seq_len, hidden]`.
    HiddenStates(&'a Tensor<B, 3>),
    /// Attention probabilities of each layer, `[batch, heads, seq_len, seq_len]`.
    Attention(Tensor<B, 4>),
}

/// What an observer wants to see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Observe {
    /// Hidden states of every layer.
    pub hidden_states: bool,
    /// Attention probabilities of every layer; they are computed a second time.
    pub attentions: bool,
}

/// What all layers of one forward pass share.
pub(crate) struct EncoderContext<B: Backend> {
    pub(crate) mask: AttentionMask<B>,
    live_rows: Option<Tensor<B, 2>>,
    relative: Option<RelativePositions<B>>,
}

impl<B: Backend> DebertaEncoder<B> {
    pub(crate) fn new(
        config: &DebertaConfig,
        weights: &mut WeightInit,
        device: &B::Device,
    ) -> Self {
        let hidden = config.hidden_size;
        let layers = (0..config.num_hidden_layers)
            .map(|_| DebertaLayer::new(config, weights, device))
            .collect();
        let relative = config.relative_positions;
        Self {
            layers,
            rel_embeddings: relative
                .map(|table| weights.embedding(2 * table.span(), hidden, device)),
            layer_norm: (relative.is_some() && config.norm_rel_embeddings)
                .then(|| layer_norm(hidden, config.layer_norm_eps, device)),
            conv: config
                .conv
                .as_ref()
                .map(|conv| ConvLayer::new(conv, config, weights, device)),
            epsilon: config.layer_norm_eps,
            relative,
        }
    }
}

impl<B: DebertaBackend> DebertaEncoder<B> {
    /// Runs all layers on embedded tokens `[batch, seq_len, hidden]`.
    pub fn forward(&self, embeddings: Tensor<B, 3>, mask: AttentionMask<B>) -> Tensor<B, 3> {
        let layers = self.layers.len();
        let context = self.context(&embeddings, mask);
        self.run(embeddings, &context, layers, Observe::default(), |_| {})
    }

    /// As [`forward`](Self::forward), showing inner states to `observer` on the way.
    pub fn forward_observed(
        &self,
        embeddings: Tensor<B, 3>,
        mask: AttentionMask<B>,
        observe: Observe,
        observer: impl FnMut(Observation<'_, B>),
    ) -> Tensor<B, 3> {
        let layers = self.layers.len();
        let context = self.context(&embeddings, mask);
        self.run(embeddings, &context, layers, observe, observer)
    }

    /// Table rows, positions and mask for states `[batch, seq_len, hidden]`.
    pub(crate) fn context(
        &self,
        states: &Tensor<B, 3>,
        mask: AttentionMask<B>,
    ) -> EncoderContext<B> {
        let [_, seq_len, _] = states.dims();
        let relative = self.relative.as_ref().map(|config| {
            RelativePositions::consecutive(config, seq_len, seq_len, &states.device())
        });
        EncoderContext {
            mask,
            live_rows: relative.as_ref().and_then(|it| self.live_rows(it)),
            relative,
        }
    }

    /// Runs the first `layers` layers.
    pub(crate) fn run(
        &self,
        embeddings: Tensor<B, 3>,
        context: &EncoderContext<B>,
        layers: usize,
        observe: Observe,
        mut observer: impl FnMut(Observation<'_, B>),
    ) -> Tensor<B, 3> {
        let mut states = embeddings.clone();
        if observe.hidden_states {
            observer(Observation::HiddenStates(&states));
        }
        for (index, layer) in self.layers.iter().take(layers).enumerate() {
            let keys = layer.keys(states.clone(), context.live_rows.clone());
            let relative = context.relative.as_ref();
            if observe.attentions {
                let probs = layer.probabilities(states.clone(), &keys, relative, &context.mask);
                observer(Observation::Attention(probs));
            }
            states = layer.forward(states, &keys, relative, &context.mask);
            if let Some(conv) = self.conv.as_ref().filter(|_| index == 0) {
                states = conv.forward(embeddings.clone(), states, context.mask.unseen_tokens());
            }
            if observe.hidden_states {
                observer(Observation::HiddenStates(&states));
            }
        }
        states
    }

    /// Applies the last layer `passes` times to queries at `rows`, keys always from `states`.
    ///
    /// This is the enhanced mask decoder's use of the layer; see
    /// [`DebertaForMaskedLm`](crate::DebertaForMaskedLm).
    pub(crate) fn decode(
        &self,
        query_states: Tensor<B, 3>,
        states: Tensor<B, 3>,
        rows: &SelectedRows<B>,
        context: &EncoderContext<B>,
        passes: usize,
    ) -> Tensor<B, 3> {
        let Some(layer) = self.layers.last() else {
            return query_states;
        };
        let [_, seq_len, _] = states.dims();
        let relative = self.relative.as_ref().map(|config| {
            let positions = rows.positions.clone();
            RelativePositions::scattered(config, positions, seq_len, &states.device())
        });
        let keys = layer.keys(states, context.live_rows.clone());
        let mask = context.mask.for_selected_queries(rows);
        (0..passes).fold(query_states, |query_states, _| {
            layer.forward(query_states, &keys, relative.as_ref(), &mask)
        })
    }

    /// Normalised live rows of the table, `[live, hidden]`.
    pub fn live_rows(&self, relative: &RelativePositions<B>) -> Option<Tensor<B, 2>> {
        let table = self.rel_embeddings.as_ref()?.weight.val();
        let [_, hidden] = table.dims();
        let rows = table.slice([relative.live.clone(), 0..hidden]);
        Some(match &self.layer_norm {
            Some(layer_norm) => ops::norm(layer_norm, self.epsilon, rows),
            None => rows,
        })
    }
}

/// `true` at padding, from the number of real tokens of each sequence.
pub fn mask_pad_from_lengths<B: Backend>(
    lengths: &[usize],
    seq_len: usize,
    device: &B::Device,
) -> Tensor<B, 2, Bool> {
    let mask: Vec<bool> = lengths
        .iter()
        .flat_map(|&length| (0..seq_len).map(move |position| position >= length))
        .collect();
    Tensor::from_data(
        burn::tensor::TensorData::new(mask, [lengths.len(), seq_len]),
        device,
    )
}
