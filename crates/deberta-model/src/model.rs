//! Embeddings and encoder together.

use burn::module::Module;
use burn::tensor::{Int, Tensor, backend::Backend};

use crate::attention::AttentionMask;
use crate::config::{ConfigError, DebertaConfig};
use crate::embeddings::DebertaEmbeddings;
use crate::encoder::{DebertaEncoder, EncoderContext, Observation, Observe};
use crate::ops::DebertaBackend;
use crate::recompute::Tape;
use crate::vocabulary::{VocabularyGrowth, VocabularyShrinks};
use crate::weight_init::WeightInit;

/// The DeBERTa encoder with its embeddings.
#[derive(Module, Debug)]
pub struct DebertaModel<B: Backend> {
    /// Input embeddings.
    pub embeddings: DebertaEmbeddings<B>,
    /// Stack of layers.
    pub encoder: DebertaEncoder<B>,
}

/// What stands for the words of a batch.
#[derive(Debug, Clone)]
pub enum Tokens<B: Backend> {
    /// Token ids `[batch, seq_len]`.
    Ids(Tensor<B, 2, Int>),
    /// Vectors in place of rows of the word table, `[batch, seq_len, embedding]`.
    Vectors(Tensor<B, 3>),
}

/// A batch of sequences.
#[derive(Debug, Clone)]
pub struct DebertaInput<B: Backend> {
    /// The words.
    pub tokens: Tokens<B>,
    /// Token types `[batch, seq_len]`; `None` is type 0 everywhere.
    pub token_type_ids: Option<Tensor<B, 2, Int>>,
    /// Absolute positions `[batch, seq_len]`, for networks that read them, in their input or in the
    /// mask decoder; `None` counts from 0 in each row. Relative positions follow the order of the
    /// tokens.
    pub position_ids: Option<Tensor<B, 2, Int>>,
    /// Which keys each query may see.
    pub mask: AttentionMask<B>,
    /// Gradient checkpointing: gradients then come from [`Tape::backward`]. `None` keeps what the
    /// layers compute.
    pub tape: Option<Tape<B>>,
}

impl<B: Backend> DebertaInput<B> {
    /// Token ids `[batch, seq_len]` without padding and with token type 0.
    pub fn new(input_ids: Tensor<B, 2, Int>) -> Self {
        Self::of(Tokens::Ids(input_ids))
    }

    /// Word vectors `[batch, seq_len, embedding]` without padding and with token type 0.
    pub fn from_vectors(vectors: Tensor<B, 3>) -> Self {
        Self::of(Tokens::Vectors(vectors))
    }

    fn of(tokens: Tokens<B>) -> Self {
        Self {
            tokens,
            token_type_ids: None,
            position_ids: None,
            mask: AttentionMask::Full,
            tape: None,
        }
    }

    /// `[batch, seq_len]`.
    pub fn dims(&self) -> [usize; 2] {
        match &self.tokens {
            Tokens::Ids(ids) => ids.dims(),
            Tokens::Vectors(vectors) => {
                let [batch, seq_len, _] = vectors.dims();
                [batch, seq_len]
            }
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

    /// The same encoder with more rows of the word table; what it makes of old tokens stays, to the
    /// bit. `vocab_size` of its configuration is then `growth.rows`.
    ///
    /// # Errors
    ///
    /// If the table has more rows than asked for.
    pub fn grow_vocabulary(mut self, growth: &VocabularyGrowth) -> Result<Self, VocabularyShrinks> {
        self.embeddings = self.embeddings.grow_vocabulary(growth)?;
        Ok(self)
    }
}

impl<B: DebertaBackend> DebertaModel<B> {
    /// Makes many forward passes faster: what the layers make of the relative-position table is
    /// computed once, not in every pass.
    ///
    /// It takes `2 · span · hidden` numbers twice for each layer, and is a fifth of the work on one
    /// sequence of 128 tokens. For the network in its last form: parameters, float type and device
    /// that change afterwards are not looked at. Does nothing under autodiff.
    pub fn prepare(&mut self) {
        self.encoder.prepare();
    }

    /// The last hidden state, `[batch, seq_len, hidden]`.
    ///
    /// Rows of padding tokens are unspecified. With [`AttentionMask::from_lengths`] they cost
    /// nothing where the backend has a kernel, and are zero.
    ///
    /// # Panics
    ///
    /// If the mask is that of a batch of another shape.
    pub fn forward(&self, input: DebertaInput<B>) -> Tensor<B, 3> {
        self.forward_observed(input, Observe::default(), |_| {})
    }

    /// As [`forward`](Self::forward), from the [sum](DebertaEmbeddings::sum) of the embeddings
    /// before their layer norm, `[batch, seq_len, hidden]`: what adversarial training perturbs.
    ///
    /// # Panics
    ///
    /// If the mask is that of a batch of another shape.
    pub fn forward_from_sum(
        &self,
        sum: Tensor<B, 3>,
        mask: AttentionMask<B>,
        tape: Option<&Tape<B>>,
    ) -> Tensor<B, 3> {
        let [batch, seq_len, _] = sum.dims();
        let kernel = self.encoder.kernel;
        let (mask, real) = mask.skip_padding([batch, seq_len], kernel, sum.dtype());
        let sum = match &real {
            Some(real) => real.pack(sum),
            None => sum,
        };
        let embeddings = self.embeddings.finish(sum, mask.unseen_tokens());
        let context = self.encoder.context(&embeddings, mask, real, tape);
        self.encode(embeddings, &context, Observe::default(), |_| {})
    }

    /// As [`forward`](Self::forward), showing inner states to `observer` on the way.
    pub fn forward_observed(
        &self,
        input: DebertaInput<B>,
        observe: Observe,
        observer: impl FnMut(Observation<'_, B>),
    ) -> Tensor<B, 3> {
        let (embeddings, context) = self.embed(&input, observe);
        self.encode(embeddings, &context, observe, observer)
    }

    /// Embedding output, `[batch, seq_len, hidden]` or `[1, tokens, hidden]`, and what the layers
    /// need with it.
    pub(crate) fn embed(
        &self,
        input: &DebertaInput<B>,
        observe: Observe,
    ) -> (Tensor<B, 3>, EncoderContext<B>) {
        let dtype = self.embeddings.word_embeddings.weight.dtype();
        let kernel = self.encoder.kernel;
        let (mask, real) = observe.skip_padding(input.mask.clone(), input.dims(), kernel, dtype);
        let embeddings = match &real {
            Some(real) => self
                .embeddings
                .forward(&real.pack_input(input, mask.clone())),
            None => self.embeddings.forward(input),
        };
        let tape = input.tape.as_ref();
        let context = self.encoder.context(&embeddings, mask, real, tape);
        (embeddings, context)
    }

    fn encode(
        &self,
        embeddings: Tensor<B, 3>,
        context: &EncoderContext<B>,
        observe: Observe,
        observer: impl FnMut(Observation<'_, B>),
    ) -> Tensor<B, 3> {
        let layers = self.encoder.layers.len();
        let encoder = &self.encoder;
        context.unpack(encoder.run(embeddings, context, layers, observe, observer))
    }
}
