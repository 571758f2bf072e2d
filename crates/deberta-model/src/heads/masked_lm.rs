//! Masked language modelling with the enhanced mask decoder, Section 3.2 of the paper.

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, Linear};
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};

use crate::config::{AbsolutePositions, Activation, ConfigError, DebertaConfig};
use crate::encoder::{EncoderContext, Observe, SelectedRows};
use crate::layer::linear_activation;
use crate::model::{DebertaInput, DebertaModel};
use crate::ops::{self, DebertaBackend};
use crate::weight_init::{WeightInit, layer_norm, zeros};

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
        ops::add_bias(states.matmul(word_table.transpose()), self.bias.val())
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
#[derive(Module, Debug)]
pub struct DebertaForMaskedLm<B: Backend> {
    /// The encoder.
    pub deberta: DebertaModel<B>,
    lm_head: MaskedLmHead<B>,
    enhanced: bool,
}

/// Tokens to predict, known on the host.
#[derive(Debug, Clone)]
pub struct MaskedTokens<B: Backend> {
    rows: SelectedRows<B>,
    /// Real entries among `batch * slots`; `None` if all are.
    real: Option<Tensor<B, 1, Int>>,
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
        let mut real = Vec::new();
        for (row, tokens) in positions.iter().enumerate() {
            for slot in 0..slots {
                let position = tokens.get(slot).map_or(0, |&position| position as usize);
                assert!(
                    position < seq_len,
                    "masked position {position} of {seq_len}"
                );
                if slot < tokens.len() {
                    real.push((row * slots + slot) as i32);
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
        }
    }

    /// Rows of the real tokens, `[masked, hidden]`, of states `[batch, slots, hidden]`.
    fn real_rows(&self, states: Tensor<B, 3>) -> Tensor<B, 2> {
        let [batch, slots, hidden] = states.dims();
        let states = states.reshape([batch * slots, hidden]);
        match &self.real {
            Some(real) => states.select(0, real.clone()),
            None => states,
        }
    }
}

fn int_tensor<B: Backend>(values: Vec<i32>, device: &B::Device) -> Tensor<B, 1, Int> {
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), device)
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
        let embeddings = self.deberta.embed(&input.tokens);
        let encoder = &self.deberta.encoder;
        let context = encoder.context(&embeddings, input.tokens.mask.clone());
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
        let MaskedLmInput { tokens, masked } = input;
        let rows = &masked.rows;
        let mut queries = rows.select(states.clone());
        if passes > 0 {
            let positions = match &tokens.position_ids {
                Some(ids) => ids.clone().gather(1, rows.positions.clone()),
                None => rows.positions.clone(),
            };
            let embeddings = &self.deberta.embeddings;
            if let Some(positions) = embeddings.absolute_positions(positions) {
                queries = queries + positions;
            }
            let encoder = &self.deberta.encoder;
            queries = encoder.decode(queries, states, rows, context, passes);
        }
        masked.real_rows(queries)
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
