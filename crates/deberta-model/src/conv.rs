//! The convolution beside the first layer (v2-xlarge and v2-xxlarge).

use burn::module::Module;
use burn::nn::conv::{Conv1d, Conv1dConfig};
use burn::nn::{Dropout, DropoutConfig, LayerNorm, PaddingConfig1d};
use burn::tensor::{Bool, Tensor, backend::Backend};

use crate::config::{Activation, ConvConfig, DebertaConfig};
use crate::layer::activate;
use crate::ops::{self, DebertaBackend};
use crate::weight_init::{WeightInit, layer_norm};

/// Adds local context to the output of the first layer.
///
/// ```text
/// c = act(dropout(conv(x0)))        zero at padding before the activation
/// y = LN(h + c)                     zero at padding
/// ```
///
/// where `x0` is the embedding output and `h` the output of the first layer.
///
/// Reference: microsoft/DeBERTa `bert.py`, `ConvLayer`, commit 4d7fe0b.
#[derive(Module, Debug)]
pub struct ConvLayer<B: Backend> {
    conv: Conv1d<B>,
    layer_norm: LayerNorm<B>,
    dropout: Dropout,
    epsilon: f64,
    #[module(skip)]
    activation: Activation,
}

impl<B: Backend> ConvLayer<B> {
    pub(crate) fn new(
        conv: &ConvConfig,
        config: &DebertaConfig,
        weights: &mut WeightInit,
        device: &B::Device,
    ) -> Self {
        let half = (conv.kernel_size - 1) / 2;
        let conv_config =
            Conv1dConfig::new(config.hidden_size, config.hidden_size, conv.kernel_size)
                .with_groups(conv.groups)
                .with_padding(PaddingConfig1d::Explicit(half, half));
        Self {
            conv: weights.conv1d(conv_config, device),
            layer_norm: layer_norm(config.hidden_size, config.layer_norm_eps, device),
            dropout: DropoutConfig::new(config.hidden_dropout_prob).init(),
            epsilon: config.layer_norm_eps,
            activation: conv.activation,
        }
    }
}

impl<B: DebertaBackend> ConvLayer<B> {
    /// Joins the convolution of the embeddings to the first layer's output.
    ///
    /// # Shapes
    ///
    /// - embeddings, layer_output, output: `[batch, seq_len, hidden]`
    /// - unseen: `[batch, seq_len]`, `true` at padding
    pub fn forward(
        &self,
        embeddings: Tensor<B, 3>,
        layer_output: Tensor<B, 3>,
        unseen: Option<Tensor<B, 2, Bool>>,
    ) -> Tensor<B, 3> {
        let local = self.local(embeddings, unseen.clone());
        self.join(layer_output, local, unseen)
    }

    /// `c` of the formula, `[batch, seq_len, hidden]`.
    pub(crate) fn local(
        &self,
        embeddings: Tensor<B, 3>,
        unseen: Option<Tensor<B, 2, Bool>>,
    ) -> Tensor<B, 3> {
        let local = self
            .conv
            .forward(embeddings.swap_dims(1, 2))
            .swap_dims(1, 2);
        let local = self.dropout.forward(zero_padding(local, unseen));
        activate(self.activation, local)
    }

    /// `y` of the formula, shaped as the layer's output.
    pub(crate) fn join(
        &self,
        layer_output: Tensor<B, 3>,
        local: Tensor<B, 3>,
        unseen: Option<Tensor<B, 2, Bool>>,
    ) -> Tensor<B, 3> {
        let sum = layer_output + local;
        zero_padding(ops::norm(&self.layer_norm, self.epsilon, sum), unseen)
    }
}

fn zero_padding<B: Backend>(x: Tensor<B, 3>, unseen: Option<Tensor<B, 2, Bool>>) -> Tensor<B, 3> {
    let Some(unseen) = unseen else { return x };
    let shape = x.shape();
    x.mask_fill(unseen.unsqueeze_dim::<3>(2).expand(shape), 0.0)
}
