//! Replaced-token detection, the pre-training head of DeBERTaV3's discriminator.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Bool, Tensor, backend::Backend};

use super::losses::binary_cross_entropy;
use super::{HeadConfig, TaskModel};
use crate::config::{Activation, ConfigError, DebertaConfig};
use crate::layer::linear_activation;
use crate::model::{DebertaInput, DebertaModel};
use crate::ops::{self, DebertaBackend};
use crate::weight_init::{WeightInit, layer_norm};

/// One logit per token: whether it was replaced.
///
/// ```text
/// s_i = Wc act(Wd LN(h_CLS + h_i) + bd) + bc
/// ```
///
/// Reference: microsoft/DeBERTa `replaced_token_detection_model.py`, commit 4d7fe0b.
#[derive(Module, Debug)]
pub struct ReplacedTokenHead<B: Backend> {
    dense: Linear<B>,
    layer_norm: LayerNorm<B>,
    classifier: Linear<B>,
    epsilon: f64,
    #[module(skip)]
    activation: Activation,
}

impl<B: DebertaBackend> ReplacedTokenHead<B> {
    /// Logits `[batch, seq_len]` of states `[batch, seq_len, hidden]`.
    pub fn forward(&self, states: Tensor<B, 3>) -> Tensor<B, 2> {
        let first = states.clone().slice_dim(1, 0..1);
        let states = ops::norm(&self.layer_norm, self.epsilon, states + first);
        let states = linear_activation(&self.dense, self.activation, states);
        ops::linear(&self.classifier, states).squeeze_dim(2)
    }
}

/// The discriminator of DeBERTaV3.
#[derive(Module, Debug)]
pub struct DebertaForReplacedTokenDetection<B: Backend> {
    /// The encoder.
    pub deberta: DebertaModel<B>,
    mask_predictions: ReplacedTokenHead<B>,
}

impl<B: Backend> TaskModel<B> for DebertaForReplacedTokenDetection<B> {
    const PARAMETERS: &'static [&'static str] = &["mask_predictions."];
    const TRANSFORMERS_CLASS: Option<&'static str> = None;

    /// `head` is not used: there is always one output.
    fn init(
        config: &DebertaConfig,
        _: &HeadConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let weights = &mut WeightInit::new(seed, config.initializer_range);
        let hidden = config.hidden_size;
        Ok(Self {
            deberta: DebertaModel::new(config, weights, device),
            mask_predictions: ReplacedTokenHead {
                dense: weights.linear(hidden, hidden, true, device),
                layer_norm: layer_norm(hidden, config.layer_norm_eps, device),
                classifier: weights.linear(hidden, 1, true, device),
                epsilon: config.layer_norm_eps,
                activation: config.hidden_act,
            },
        })
    }
}

impl<B: DebertaBackend> DebertaForReplacedTokenDetection<B> {
    /// Logits `[batch, seq_len]`, positive for replaced tokens; those of padding are unspecified.
    pub fn forward(&self, input: DebertaInput<B>) -> Tensor<B, 2> {
        self.detect(self.deberta.forward(input))
    }

    /// Logits `[batch, seq_len]` of the encoder's last states `[batch, seq_len, hidden]`.
    pub fn detect(&self, states: Tensor<B, 3>) -> Tensor<B, 2> {
        self.mask_predictions.forward(states)
    }
}

/// Mean binary cross-entropy over real tokens, `[1]`; 0 if there is none.
///
/// # Shapes
///
/// - logits: `[batch, seq_len]`
/// - replaced: `[batch, seq_len]`, `true` where the token is not the original one
/// - mask_pad: `[batch, seq_len]`, `true` at padding
pub fn replaced_token_loss<B: DebertaBackend>(
    logits: Tensor<B, 2>,
    replaced: Tensor<B, 2, Bool>,
    mask_pad: Tensor<B, 2, Bool>,
) -> Tensor<B, 1> {
    let real = mask_pad.clone().bool_not().int().sum().clamp_min(1);
    let losses = replaced_token_losses(logits, replaced);
    let dtype = losses.dtype();
    losses.mask_fill(mask_pad, 0.0).sum() / real.float().cast(dtype)
}

/// Binary cross-entropy of each token in nats, in the shape of `logits`.
///
/// - `replaced`: `true` where the token is not the original one
pub fn replaced_token_losses<B: DebertaBackend, const D: usize>(
    logits: Tensor<B, D>,
    replaced: Tensor<B, D, Bool>,
) -> Tensor<B, D> {
    let replaced = replaced.float().cast(logits.dtype());
    binary_cross_entropy(logits, replaced)
}
