//! The stack of layers, with the relative-position table that they share.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::{DType, Int, Tensor, backend::Backend};

use crate::attention::{AttentionMask, PositionProjections, ScoreTerms};
use crate::config::DebertaConfig;
use crate::conv::ConvLayer;
use crate::layer::DebertaLayer;
use crate::ops::{self, DebertaBackend, FusedKind};
use crate::padding::RealTokens;
use crate::recompute::{Recording, Tape};
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
    /// What the layers' attention needs in order to run as a kernel.
    #[module(skip)]
    pub(crate) kernel: FusedKind,
    #[module(skip)]
    prepared: Prepared,
}

/// Queries at chosen tokens of each sequence.
#[derive(Debug, Clone)]
pub struct SelectedRows<B: Backend> {
    /// Token positions, `[batch, slots]`.
    pub positions: Tensor<B, 2, Int>,
    /// The same rows counted through the whole batch, `[batch * slots]`.
    pub flat_index: Tensor<B, 1, Int>,
}

/// States that a forward pass hands to its observer.
#[derive(Debug)]
pub enum Observation<'a, B: Backend> {
    /// Input of the first layer, then the output of each, `[batch, seq_len, hidden]`.
    HiddenStates(&'a Tensor<B, 3>),
    /// Attention probabilities of each layer, `[batch, heads, seq_len, seq_len]`.
    Attention(Tensor<B, 4>),
    /// What the attention scores of each layer are the sum of.
    ScoreTerms(ScoreTerms<B>),
}

/// What an observer wants to see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Observe {
    /// Hidden states of every layer.
    pub hidden_states: bool,
    /// Attention probabilities of every layer; they are computed a second time, and padding is
    /// not skipped.
    pub attentions: bool,
    /// The terms of the attention scores of every layer, for which the same holds.
    pub score_terms: bool,
}

impl Observe {
    /// See [`AttentionMask::skip_padding`].
    pub(crate) fn skip_padding<B: DebertaBackend>(
        self,
        mask: AttentionMask<B>,
        tokens: [usize; 2],
        kernel: FusedKind,
        dtype: DType,
    ) -> (AttentionMask<B>, Option<RealTokens<B>>) {
        if self.attentions || self.score_terms {
            return (mask.as_tensors(), None);
        }
        mask.skip_padding(tokens, kernel, dtype)
    }
}

/// What all layers of one forward pass share.
#[derive(Clone)]
pub(crate) struct EncoderContext<B: Backend> {
    pub(crate) mask: AttentionMask<B>,
    /// The layers run on these tokens only; `None` if nothing is skipped.
    pub(crate) real: Option<RealTokens<B>>,
    /// Tokens of the longest sequence.
    longest: usize,
    /// Normalised rows of the table, `[1, live, hidden]`; `None` also if what layers make of them is
    /// prepared.
    live_rows: Option<Tensor<B, 3>>,
    relative: Option<RelativePositions<B>>,
    /// Where the layers leave what they are computed again from.
    tape: Option<Tape<B>>,
}

impl<B: Backend> EncoderContext<B> {
    /// States `[batch, seq_len, hidden]`, zero at padding that was skipped.
    pub(crate) fn unpack(&self, states: Tensor<B, 3>) -> Tensor<B, 3> {
        match &self.real {
            Some(real) => real.unpack(states),
            None => states,
        }
    }

    /// The same without a tape, with other rows of the table.
    pub(crate) fn map_rows(&self, change: impl FnOnce(Tensor<B, 3>) -> Tensor<B, 3>) -> Self {
        Self {
            live_rows: self.live_rows.clone().map(change),
            tape: None,
            ..self.clone()
        }
    }
}

/// Position keys and queries of all layers for the whole table, once they are computed.
///
/// The type of the tensors is erased: a field of a module that is no parameter must be of the same
/// type with and without autodiff.
#[derive(Clone, Default)]
struct Prepared(Option<Arc<dyn Any + Send + Sync>>);

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Prepared").field(&self.0.is_some()).finish()
    }
}

impl<B: Backend> DebertaEncoder<B> {
    fn prepared<T: Backend>(&self) -> Option<&Vec<PositionProjections<T>>> {
        self.prepared.0.as_ref()?.downcast_ref()
    }

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
            kernel: FusedKind::Attention {
                head_dim: config.attention_head_size,
            },
            prepared: Prepared::default(),
        }
    }
}

impl<B: DebertaBackend> DebertaEncoder<B> {
    /// Runs all layers on embedded tokens `[batch, seq_len, hidden]`.
    ///
    /// # Panics
    ///
    /// If the mask is that of a batch of another shape.
    pub fn forward(&self, embeddings: Tensor<B, 3>, mask: AttentionMask<B>) -> Tensor<B, 3> {
        self.forward_observed(embeddings, mask, Observe::default(), |_| {})
    }

    /// As [`forward`](Self::forward), showing inner states to `observer` on the way.
    ///
    /// # Panics
    ///
    /// If the mask is that of a batch of another shape.
    pub fn forward_observed(
        &self,
        embeddings: Tensor<B, 3>,
        mask: AttentionMask<B>,
        observe: Observe,
        observer: impl FnMut(Observation<'_, B>),
    ) -> Tensor<B, 3> {
        let [batch, seq_len, _] = embeddings.dims();
        let tokens = [batch, seq_len];
        let (mask, real) = observe.skip_padding(mask, tokens, self.kernel, embeddings.dtype());
        let embeddings = match &real {
            Some(real) => real.pack(embeddings),
            None => embeddings,
        };
        let context = self.context(&embeddings, mask, real, None);
        let states = self.run(embeddings, &context, self.layers.len(), observe, observer);
        context.unpack(states)
    }

    /// Table rows and positions for states `[batch, seq_len, hidden]`, or `[1, tokens, hidden]` of
    /// the `real` tokens; `mask` is theirs.
    pub(crate) fn context(
        &self,
        states: &Tensor<B, 3>,
        mask: AttentionMask<B>,
        real: Option<RealTokens<B>>,
        tape: Option<&Tape<B>>,
    ) -> EncoderContext<B> {
        let tape = tape.filter(|_| B::ad_enabled(&states.device()));
        let [_, seq_len, _] = states.dims();
        let longest = match &mask {
            AttentionMask::Sequences(sequences) => sequences.longest(),
            _ => seq_len,
        };
        let relative = self.relative.as_ref().map(|config| {
            RelativePositions::consecutive(config, longest, longest, &states.device())
        });
        EncoderContext {
            mask,
            real,
            longest,
            live_rows: match self.prepared::<B>() {
                Some(_) => None,
                None => relative.as_ref().and_then(|it| {
                    let rows = self.live_rows(it)?.unsqueeze();
                    Some(match tape {
                        Some(tape) => tape.cut(rows),
                        None => rows,
                    })
                }),
            },
            relative,
            tape: tape.cloned(),
        }
    }

    /// Runs the first `layers` layers. The observer sees `[batch, seq_len, hidden]` also where
    /// padding is skipped.
    pub(crate) fn run(
        &self,
        embeddings: Tensor<B, 3>,
        context: &EncoderContext<B>,
        layers: usize,
        observe: Observe,
        mut observer: impl FnMut(Observation<'_, B>),
    ) -> Tensor<B, 3> {
        let (mut recording, mut states) = match &context.tape {
            Some(tape) => {
                let (recording, states) = Recording::start(tape, self, context, embeddings);
                (Some(recording), states)
            }
            None => (None, embeddings),
        };
        let show = |states: &Tensor<B, 3>, observer: &mut dyn FnMut(Observation<'_, B>)| {
            if observe.hidden_states {
                observer(Observation::HiddenStates(&context.unpack(states.clone())));
            }
        };
        show(&states, &mut observer);
        for (index, layer) in self.layers.iter().take(layers).enumerate() {
            if observe.attentions || observe.score_terms {
                let keys = layer.keys(states.clone(), self.positions(index, layer, context));
                let relative = context.relative.as_ref();
                if observe.attentions {
                    let probs = layer.probabilities(states.clone(), &keys, relative, &context.mask);
                    observer(Observation::Attention(probs));
                }
                if observe.score_terms {
                    let terms = layer.score_terms(states.clone(), &keys, relative);
                    observer(Observation::ScoreTerms(terms));
                }
            }
            states = match &mut recording {
                Some(recording) => recording.layer(index, states),
                None => self.layer(index, states, context),
            };
            show(&states, &mut observer);
        }
        if let Some(recording) = recording {
            recording.finish();
        }
        states
    }

    /// A layer, with the convolution beside the first, on `states` `[_, _, hidden]`.
    pub(crate) fn layer(
        &self,
        index: usize,
        states: Tensor<B, 3>,
        context: &EncoderContext<B>,
    ) -> Tensor<B, 3> {
        let layer = &self.layers[index];
        let keys = layer.keys(states.clone(), self.positions(index, layer, context));
        let relative = context.relative.as_ref();
        let output = layer.forward(states.clone(), &keys, relative, &context.mask);
        match self.conv.as_ref().filter(|_| index == 0) {
            Some(conv) => convolve(conv, states, output, context),
            None => output,
        }
    }

    /// Applies the last layer `passes` times to queries at `positions` of their sequences, keys
    /// always from `states`; `mask` is that of the queries.
    ///
    /// This is the enhanced mask decoder's use of the layer; see
    /// [`DebertaForMaskedLm`](crate::DebertaForMaskedLm).
    pub(crate) fn decode(
        &self,
        query_states: Tensor<B, 3>,
        states: Tensor<B, 3>,
        positions: Tensor<B, 2, Int>,
        mask: &AttentionMask<B>,
        context: &EncoderContext<B>,
        passes: usize,
    ) -> Tensor<B, 3> {
        let Some(layer) = self.layers.last() else {
            return query_states;
        };
        let relative = self.relative.as_ref().map(|config| {
            RelativePositions::scattered(config, positions, context.longest, &states.device())
        });
        let last = self.layers.len() - 1;
        let keys = layer.keys(states, self.positions(last, layer, context));
        (0..passes).fold(query_states, |query_states, _| {
            layer.forward(query_states, &keys, relative.as_ref(), mask)
        })
    }

    /// Position keys and queries of a layer for the live rows.
    fn positions(
        &self,
        index: usize,
        layer: &DebertaLayer<B>,
        context: &EncoderContext<B>,
    ) -> Option<PositionProjections<B>> {
        let relative = context.relative.as_ref()?;
        match self.prepared::<B>() {
            Some(prepared) => prepared.get(index).map(|it| it.rows(relative.live.clone())),
            None => {
                let attention = &layer.attention.self_attention;
                // A node for each layer: its gradients are added up before those of other layers,
                // as they are where layers are computed again.
                let rows = context.live_rows.clone()?.squeeze_dim(0);
                Some(attention.project_positions(rows))
            }
        }
    }

    /// Normalised live rows of the table, `[live, hidden]`.
    pub fn live_rows(&self, relative: &RelativePositions<B>) -> Option<Tensor<B, 2>> {
        self.table_rows(relative.live.clone())
    }

    fn table_rows(&self, rows: Range<usize>) -> Option<Tensor<B, 2>> {
        let table = self.rel_embeddings.as_ref()?.weight.val();
        let [_, hidden] = table.dims();
        let rows = table.slice([rows, 0..hidden]);
        Some(match &self.layer_norm {
            Some(layer_norm) => ops::norm(layer_norm, self.epsilon, rows),
            None => rows,
        })
    }

    /// See [`DebertaModel::prepare`](crate::DebertaModel::prepare).
    pub(crate) fn prepare(&mut self) {
        let Some(table) = &self.rel_embeddings else {
            return;
        };
        let rows = table.weight.dims()[0];
        let device = table.weight.device();
        if B::ad_enabled(&device) {
            return;
        }
        self.prepared = Prepared(None);
        let Some(rows) = self.table_rows(0..rows) else {
            return;
        };
        let layers = self.layers.iter();
        let positions: Vec<PositionProjections<B>> = layers
            .map(|layer| {
                layer
                    .attention
                    .self_attention
                    .project_positions(rows.clone())
            })
            .collect();
        self.prepared = Prepared(Some(Arc::new(positions)));
    }
}

/// The convolution beside the first layer, which has to see the neighbours in their places.
fn convolve<B: DebertaBackend>(
    conv: &ConvLayer<B>,
    embeddings: Tensor<B, 3>,
    layer_output: Tensor<B, 3>,
    context: &EncoderContext<B>,
) -> Tensor<B, 3> {
    match &context.real {
        None => conv.forward(embeddings, layer_output, context.mask.unseen_tokens()),
        Some(real) => {
            let local = conv.local(real.unpack(embeddings), real.mask_pad());
            conv.join(layer_output, real.pack(local), None)
        }
    }
}
