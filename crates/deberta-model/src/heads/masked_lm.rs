//! Masked language modelling with the enhanced mask decoder, Section 3.2 of the paper.

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Int, Tensor, backend::Backend};

use crate::config::{AbsolutePositions, Activation, ConfigError, DebertaConfig};
use crate::encoder::{EncoderContext, Observe};
use crate::layer::linear_activation;
use crate::model::{DebertaInput, DebertaModel};
use crate::ops::{self, DebertaBackend};
use crate::vocabulary::{VocabularyGrowth, VocabularyShrinks};
use crate::weight_init::{WeightInit, layer_norm, zeros};

pub use super::masked_tokens::MaskedTokens;

/// Times the decoder applies the last layer: the paper's *n*.
const DECODER_PASSES: usize = 2;

/// Turns hidden states into vocabulary logits with the word table as output matrix.
///
/// ```text
/// logits = LN(act(h Wd + bd)) · W_wordᵀ + b
/// ```
#[derive(Module, Debug)]
pub struct MaskedLmHead<B: Backend> {
    dense: Linear<B>,
    layer_norm: LayerNorm<B>,
    bias: Param<Tensor<B, 1>>,
    epsilon: f64,
    #[module(skip)]
    activation: Activation,
}

impl<B: Backend> MaskedLmHead<B> {
    fn new(config: &DebertaConfig, weights: &mut WeightInit, device: &B::Device) -> Self {
        Self {
            dense: weights.linear(config.hidden_size, config.embedding_size, true, device),
            layer_norm: layer_norm(config.embedding_size, config.layer_norm_eps, device),
            bias: zeros([config.vocab_size], device),
            epsilon: config.layer_norm_eps,
            activation: config.hidden_act,
        }
    }
}

impl<B: DebertaBackend> MaskedLmHead<B> {
    /// Logits `[masked, vocab]` of states `[masked, hidden]` against `word_table`
    /// `[vocab, embedding]`.
    pub fn forward(&self, states: Tensor<B, 2>, word_table: Tensor<B, 2>) -> Tensor<B, 2> {
        let states = linear_activation(&self.dense, self.activation, states);
        let states = ops::norm(&self.layer_norm, self.epsilon, states);
        ops::vocabulary_logits(states, word_table, self.bias.val())
    }
}

/// DeBERTa with a masked-language-model head.
///
/// With [`AbsolutePositions::Decoder`] the enhanced mask decoder (EMD) takes the place of the last
/// layer. It applies that layer twice, with shared weights; absolute positions enter only there:
///
/// ```text
/// q0     = W_pos[positions] + H⁻          H⁻: output of the last layer but one
/// q1     = Layer(query = q0, keys = H⁻)
/// q2     = Layer(query = q1, keys = H⁻)
/// logits = head(q2)
/// ```
///
/// Only the masked tokens are queries, and only their logits are computed: a query's row depends on
/// no other query. The layer's ordinary output is not computed. Otherwise the head reads the last
/// hidden state, as in BERT and in transformers.
///
/// Reference: microsoft/DeBERTa `masked_language_model.py`, `EnhancedMaskDecoder`, commit 4d7fe0b.
///
/// # Deviation
///
/// The decoder's keys are projected once, so in training both passes see the same dropout of position
/// keys and queries; Microsoft draws it anew in each.
#[derive(Module, Debug)]
pub struct DebertaForMaskedLm<B: Backend> {
    /// The encoder.
    pub deberta: DebertaModel<B>,
    lm_head: MaskedLmHead<B>,
    enhanced: bool,
}

/// A batch with masked tokens.
#[derive(Debug, Clone)]
pub struct MaskedLmInput<B: Backend> {
    /// Token ids after masking, with their attention mask.
    pub tokens: DebertaInput<B>,
    /// Where the masked tokens are.
    pub masked: MaskedTokens<B>,
}

impl DebertaConfig {
    /// Builds a masked language model with random weights; the enhanced mask decoder is used if
    /// `absolute_positions` is [`AbsolutePositions::Decoder`].
    ///
    /// # Errors
    ///
    /// See [`validate`](Self::validate).
    pub fn init_masked_lm<B: Backend>(
        &self,
        seed: u64,
        device: &B::Device,
    ) -> Result<DebertaForMaskedLm<B>, ConfigError> {
        self.validate()?;
        let mut weights = WeightInit::new(seed, self.initializer_range);
        Ok(DebertaForMaskedLm {
            deberta: DebertaModel::new(self, &mut weights, device),
            lm_head: MaskedLmHead::new(self, &mut weights, device),
            enhanced: self.absolute_positions == AbsolutePositions::Decoder,
        })
    }
}

impl<B: Backend> DebertaForMaskedLm<B> {
    /// Whether the enhanced mask decoder is used.
    pub fn is_enhanced(&self) -> bool {
        self.enhanced
    }

    /// The same network with more rows of the word table and an output bias for each; the logits of
    /// old tokens stay. `vocab_size` of its configuration is then `growth.rows`.
    ///
    /// # Errors
    ///
    /// If the table has more rows than asked for.
    pub fn grow_vocabulary(mut self, growth: &VocabularyGrowth) -> Result<Self, VocabularyShrinks> {
        if let Some(bias) = growth.bias(&self.lm_head.bias)? {
            self.lm_head.bias = bias;
        }
        self.deberta = self.deberta.grow_vocabulary(growth)?;
        Ok(self)
    }
}

impl<B: DebertaBackend> DebertaForMaskedLm<B> {
    /// Logits of the masked tokens, `[masked, vocab]`: sequence after sequence, in the order of
    /// their positions.
    ///
    /// With the enhanced mask decoder every position must be below `max_position_embeddings`.
    pub fn forward(&self, input: MaskedLmInput<B>) -> Tensor<B, 2> {
        let states = self.masked_states(&input);
        let word_table = self.deberta.embeddings.word_embeddings.weight.val();
        self.lm_head.forward(states, word_table)
    }

    /// States of the masked tokens that the head decodes, `[masked, hidden]`.
    pub fn masked_states(&self, input: &MaskedLmInput<B>) -> Tensor<B, 2> {
        let tokens = &input.masked.with_visible_mask(&input.tokens);
        let (embeddings, context) = self.deberta.embed(tokens, Observe::default());
        let encoder = &self.deberta.encoder;
        let (layers, passes) = if self.enhanced {
            (encoder.layers.len() - 1, DECODER_PASSES)
        } else {
            (encoder.layers.len(), 0)
        };
        let states = encoder.run(embeddings, &context, layers, Observe::default(), |_| {});
        self.decode(states, input, &context, passes)
    }

    /// States of the masked tokens after `passes` uses of the last layer.
    fn decode(
        &self,
        states: Tensor<B, 3>,
        input: &MaskedLmInput<B>,
        context: &EncoderContext<B>,
        passes: usize,
    ) -> Tensor<B, 2> {
        let masked = input
            .masked
            .queries(context, self.deberta.encoder.kernel, states.dtype());
        let mut queries = masked.select(states.clone());
        if passes > 0 {
            let positions = masked.absolute_positions(input.tokens.position_ids.as_ref());
            let embeddings = &self.deberta.embeddings;
            if let Some(positions) = embeddings.absolute_positions(positions) {
                queries = queries + positions;
            }
            let (encoder, positions) = (&self.deberta.encoder, masked.positions.clone());
            queries = encoder.decode(queries, states, positions, &masked.mask, context, passes);
        }
        masked.answers(queries)
    }
}

/// Mean cross-entropy in nats.
///
/// # Shapes
///
/// - logits: `[masked, vocab]`
/// - labels: `[masked]`
/// - output: `[1]`
pub fn masked_lm_loss<B: DebertaBackend>(
    logits: Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
) -> Tensor<B, 1> {
    token_losses(logits, labels).mean()
}

/// Cross-entropy of each masked token in nats, `[masked]`.
pub fn token_losses<B: DebertaBackend>(
    logits: Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
) -> Tensor<B, 1> {
    ops::cross_entropy(logits, labels)
}
