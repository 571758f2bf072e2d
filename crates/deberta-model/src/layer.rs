//! One transformer layer: disentangled attention and feed-forward, post-norm.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, LayerNorm, Linear};
use burn::tensor::activation::{gelu_approximate, relu, tanh};
use burn::tensor::{Tensor, backend::Backend};

use crate::attention::{
    AttentionMask, DisentangledSelfAttention, KeyValue, PositionProjections, ScoreTerms,
};
use crate::config::{Activation, DebertaConfig};
use crate::ops::{self, DebertaBackend, gelu};
use crate::relative_position::RelativePositions;
use crate::weight_init::{WeightInit, layer_norm};

/// Applies the nonlinearity element by element.
pub(crate) fn activate<B: Backend, const D: usize>(
    activation: Activation,
    x: Tensor<B, D>,
) -> Tensor<B, D> {
    match activation {
        Activation::Gelu => gelu(x),
        Activation::GeluTanh => gelu_approximate(x),
        Activation::Relu => relu(x),
        Activation::Tanh => tanh(x),
    }
}

/// `activation(x W + b)` for `x` `[..., d_input]`.
pub(crate) fn linear_activation<B: DebertaBackend, const D: usize>(
    dense: &Linear<B>,
    activation: Activation,
    x: Tensor<B, D>,
) -> Tensor<B, D> {
    match activation {
        Activation::Gelu => ops::linear_gelu(dense, x),
        other => activate(other, ops::linear(dense, x)),
    }
}

/// Linear map, dropout, residual and layer norm: the end of both halves of a layer.
///
/// ```text
/// y = LN(dropout(x W + b) + residual)
/// ```
#[derive(Module, Debug)]
pub struct ResidualOutput<B: Backend> {
    dense: Linear<B>,
    layer_norm: LayerNorm<B>,
    dropout: Dropout,
    epsilon: f64,
}

impl<B: Backend> ResidualOutput<B> {
    fn new(
        d_input: usize,
        config: &DebertaConfig,
        weights: &mut WeightInit,
        device: &B::Device,
    ) -> Self {
        Self {
            dense: weights.linear(d_input, config.hidden_size, true, device),
            layer_norm: layer_norm(config.hidden_size, config.layer_norm_eps, device),
            dropout: DropoutConfig::new(config.hidden_dropout_prob).init(),
            epsilon: config.layer_norm_eps,
        }
    }
}

impl<B: DebertaBackend> ResidualOutput<B> {
    fn forward(&self, x: Tensor<B, 3>, residual: Tensor<B, 3>) -> Tensor<B, 3> {
        let Self {
            dense,
            layer_norm,
            dropout,
            epsilon,
        } = self;
        ops::linear_residual_norm(dense, dropout, layer_norm, *epsilon, x, residual)
    }
}

/// Self-attention with its output projection.
#[derive(Module, Debug)]
pub struct DebertaAttention<B: Backend> {
    /// Scores, softmax and weighted sum.
    pub self_attention: DisentangledSelfAttention<B>,
    output: ResidualOutput<B>,
}

/// First linear map of the feed-forward network.
#[derive(Module, Debug)]
pub struct Intermediate<B: Backend> {
    dense: Linear<B>,
}

/// One layer of the encoder.
///
/// ```text
/// a = LN(dropout(attention(query, keys) Wo + bo) + query)
/// y = LN(dropout(act(a W1 + b1) W2 + b2) + a)
/// ```
///
/// Queries and keys may come from different states: the mask decoder asks with absolute positions.
///
/// Reference: microsoft/DeBERTa `bert.py`, `BertLayer`, commit 4d7fe0b.
#[derive(Module, Debug)]
pub struct DebertaLayer<B: Backend> {
    /// The attention half.
    pub attention: DebertaAttention<B>,
    intermediate: Intermediate<B>,
    output: ResidualOutput<B>,
    #[module(skip)]
    activation: Activation,
}

/// Keys of a layer for one sequence of states, computed once for any number of queries.
#[derive(Debug, Clone)]
pub struct LayerKeys<B: Backend> {
    keys_values: KeyValue<B>,
    positions: Option<PositionProjections<B>>,
}

impl<B: Backend> DebertaLayer<B> {
    pub(crate) fn new(
        config: &DebertaConfig,
        weights: &mut WeightInit,
        device: &B::Device,
    ) -> Self {
        let intermediate = config.intermediate_size;
        Self {
            attention: DebertaAttention {
                self_attention: DisentangledSelfAttention::new(config, weights, device),
                output: ResidualOutput::new(config.all_head_size(), config, weights, device),
            },
            intermediate: Intermediate {
                dense: weights.linear(config.hidden_size, intermediate, true, device),
            },
            output: ResidualOutput::new(intermediate, config, weights, device),
            activation: config.hidden_act,
        }
    }
}

impl<B: DebertaBackend> DebertaLayer<B> {
    /// Projects keys and values of `hidden_states` `[batch, k_len, hidden]`; `positions` come from
    /// [`project_positions`](DisentangledSelfAttention::project_positions).
    pub fn keys(
        &self,
        hidden_states: Tensor<B, 3>,
        positions: Option<PositionProjections<B>>,
    ) -> LayerKeys<B> {
        LayerKeys {
            keys_values: self.attention.self_attention.keys_values(hidden_states),
            positions,
        }
    }

    /// Applies the layer to `query_states` `[batch, q_len, hidden]`; the same shape comes out.
    pub fn forward(
        &self,
        query_states: Tensor<B, 3>,
        keys: &LayerKeys<B>,
        relative: Option<&RelativePositions<B>>,
        mask: &AttentionMask<B>,
    ) -> Tensor<B, 3> {
        let attention = &self.attention.self_attention;
        let positions = keys.positions.as_ref().zip(relative);
        let context = attention.forward(query_states.clone(), &keys.keys_values, positions, mask);
        let attended = self.attention.output.forward(context, query_states);

        let dense = &self.intermediate.dense;
        let expanded = linear_activation(dense, self.activation, attended.clone());
        self.output.forward(expanded, attended)
    }

    /// The terms of the attention scores for `query_states` `[batch, q_len, hidden]`.
    pub fn score_terms(
        &self,
        query_states: Tensor<B, 3>,
        keys: &LayerKeys<B>,
        relative: Option<&RelativePositions<B>>,
    ) -> ScoreTerms<B> {
        let positions = keys.positions.as_ref().zip(relative);
        let attention = &self.attention.self_attention;
        attention.terms(query_states, &keys.keys_values, positions)
    }

    /// Attention probabilities `[batch, heads, q_len, k_len]` for `query_states`.
    pub fn probabilities(
        &self,
        query_states: Tensor<B, 3>,
        keys: &LayerKeys<B>,
        relative: Option<&RelativePositions<B>>,
        mask: &AttentionMask<B>,
    ) -> Tensor<B, 4> {
        let positions = keys.positions.as_ref().zip(relative);
        let attention = &self.attention.self_attention;
        attention.probabilities(query_states, &keys.keys_values, positions, mask)
    }
}
