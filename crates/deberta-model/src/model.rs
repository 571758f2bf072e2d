//! Embeddings and encoder together.

use burn::module::Module;
use burn::tensor::{Int, Tensor, backend::Backend};

use crate::attention::AttentionMask;
use crate::config::{ConfigError, DebertaConfig};
use crate::embeddings::DebertaEmbeddings;
use crate::encoder::{DebertaEncoder, Observation, Observe};
use crate::ops::DebertaBackend;
use crate::weight_init::WeightInit;

/// The DeBERTa encoder with its embeddings.
#[derive(Module, Debug)]
pub struct DebertaModel<B: Backend> {
    /// Input embeddings.
    pub embeddings: DebertaEmbeddings<B>,
    /// Stack of layers.
    pub encoder: DebertaEncoder<B>,
}

/// A batch of token ids.
#[derive(Debug, Clone)]
pub struct DebertaInput<B: Backend> {
    /// Token ids `[batch, seq_len]`.
    pub input_ids: Tensor<B, 2, Int>,
    /// Token types `[batch, seq_len]`; `None` is type 0 everywhere.
    pub token_type_ids: Option<Tensor<B, 2, Int>>,
    /// Which keys each query may see.
    pub mask: AttentionMask<B>,
}

impl<B: Backend> DebertaInput<B> {
    /// A batch without padding and with token type 0.
    pub fn new(input_ids: Tensor<B, 2, Int>) -> Self {
        Self {
            input_ids,
            token_type_ids: None,
            mask: AttentionMask::Full,
        }
    }
}

impl DebertaConfig {
    /// Builds an encoder with weights drawn from `N(0, initializer_range)`, the same on every
    /// backend for the same `seed`.
    ///
    /// # Errors
    ///
    /// See [`validate`](Self::validate).
    pub fn init<B: Backend>(
        &self,
        seed: u64,
        device: &B::Device,
    ) -> Result<DebertaModel<B>, ConfigError> {
        self.validate()?;
        let mut weights = WeightInit::new(seed, self.initializer_range);
        Ok(DebertaModel::new(self, &mut weights, device))
    }
}

impl<B: Backend> DebertaModel<B> {
    pub(crate) fn new(
        config: &DebertaConfig,
        weights: &mut WeightInit,
        device: &B::Device,
    ) -> Self {
        Self {
            embeddings: DebertaEmbeddings::new(config, weights, device),
            encoder: DebertaEncoder::new(config, weights, device),
        }
    }
}

impl<B: DebertaBackend> DebertaModel<B> {
    /// The last hidden state, `[batch, seq_len, hidden]`.
    ///
    /// Rows of padding tokens are unspecified.
    pub fn forward(&self, input: DebertaInput<B>) -> Tensor<B, 3> {
        let embeddings = self.embed(&input);
        self.encoder.forward(embeddings, input.mask)
    }

    /// As [`forward`](Self::forward), showing inner states to `observer` on the way.
    pub fn forward_observed(
        &self,
        input: DebertaInput<B>,
        observe: Observe,
        observer: impl FnMut(Observation<'_, B>),
    ) -> Tensor<B, 3> {
        let embeddings = self.embed(&input);
        self.encoder
            .forward_observed(embeddings, input.mask, observe, observer)
    }

    /// Embedding output `[batch, seq_len, hidden]`.
    pub(crate) fn embed(&self, input: &DebertaInput<B>) -> Tensor<B, 3> {
        self.embeddings.forward(
            input.input_ids.clone(),
            input.token_type_ids.clone(),
            input.mask.unseen_tokens(),
        )
    }
}
