//! Word, token-type and absolute-position embeddings.

use burn::module::{Module, Param};
use burn::nn::{Dropout, DropoutConfig, Embedding, LayerNorm, Linear};
use burn::tensor::{Bool, Int, Tensor, backend::Backend};

use crate::config::{AbsolutePositions, DebertaConfig};
use crate::model::{DebertaInput, Tokens};
use crate::ops::{self, DebertaBackend};
use crate::vocabulary::{VocabularyGrowth, VocabularyShrinks};
use crate::weight_init::{WeightInit, layer_norm};

/// Input embeddings.
///
/// ```text
/// e = (W_word[ids] + W_type[types] + W_pos[0..seq_len]) P          each but the first optional
/// x = dropout(LN(e) ⊙ mask)
/// ```
///
/// `W_pos` is added only with [`AbsolutePositions::Input`]; with [`AbsolutePositions::Decoder`] it
/// waits for the mask decoder.
///
/// Reference: microsoft/DeBERTa `bert.py`, `BertEmbeddings`, commit 4d7fe0b.
#[derive(Module, Debug)]
pub struct DebertaEmbeddings<B: Backend> {
    /// Word table `[vocab, embedding]`, also the output matrix of the masked-language-model head.
    pub word_embeddings: Embedding<B>,
    position_embeddings: Option<Embedding<B>>,
    token_type_embeddings: Option<Embedding<B>>,
    embed_proj: Option<Linear<B>>,
    layer_norm: LayerNorm<B>,
    dropout: Dropout,
    epsilon: f64,
    add_positions: bool,
}

impl<B: Backend> DebertaEmbeddings<B> {
    pub(crate) fn new(
        config: &DebertaConfig,
        weights: &mut WeightInit,
        device: &B::Device,
    ) -> Self {
        let (width, hidden) = (config.embedding_size, config.hidden_size);
        let has_positions = config.absolute_positions != AbsolutePositions::None;
        Self {
            word_embeddings: weights.embedding(config.vocab_size, width, device),
            position_embeddings: has_positions
                .then(|| weights.embedding(config.max_position_embeddings, width, device)),
            token_type_embeddings: (config.type_vocab_size > 0)
                .then(|| weights.embedding(config.type_vocab_size, width, device)),
            embed_proj: (width != hidden).then(|| weights.linear(width, hidden, false, device)),
            layer_norm: layer_norm(hidden, config.layer_norm_eps, device),
            dropout: DropoutConfig::new(config.hidden_dropout_prob).init(),
            epsilon: config.layer_norm_eps,
            add_positions: config.absolute_positions == AbsolutePositions::Input,
        }
    }

    /// The table of absolute positions `[max_position_embeddings, embedding]`, wherever it is read;
    /// `None` if there is none.
    pub fn position_table(&self) -> Option<Tensor<B, 2>> {
        Some(self.position_embeddings.as_ref()?.weight.val())
    }

    /// The same embeddings with more rows of the word table, whose width and old rows stay.
    ///
    /// # Errors
    ///
    /// If the table has more rows than asked for.
    pub fn grow_vocabulary(self, growth: &VocabularyGrowth) -> Result<Self, VocabularyShrinks> {
        Ok(match growth.table(&self.word_embeddings.weight)? {
            None => self,
            Some(weight) => Self {
                word_embeddings: Embedding { weight },
                ..self
            },
        })
    }

    /// The same embeddings with these tables as new parameters.
    ///
    /// - `words`: `[vocab, embedding]`
    /// - `positions`: `[max_position_embeddings, embedding]`
    pub fn with_tables(self, words: Tensor<B, 2>, positions: Option<Tensor<B, 2>>) -> Self {
        let table = |weight: Tensor<B, 2>| Embedding {
            weight: Param::from_tensor(weight.detach()),
        };
        Self {
            word_embeddings: table(words),
            position_embeddings: positions.map(table),
            ..self
        }
    }
}

impl<B: DebertaBackend> DebertaEmbeddings<B> {
    /// Embeds a batch: `[batch, seq_len, hidden]`, zero at padding.
    pub fn forward(&self, input: &DebertaInput<B>) -> Tensor<B, 3> {
        self.finish(self.sum(input), input.mask.unseen_tokens())
    }

    /// Rows of the word table, `[batch, seq_len, embedding]`, at `ids` `[batch, seq_len]`.
    pub fn words(&self, ids: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        ops::lookup(self.word_embeddings.weight.val(), ids)
    }

    /// The sum before the layer norm, `[batch, seq_len, hidden]`.
    pub fn sum(&self, input: &DebertaInput<B>) -> Tensor<B, 3> {
        let [batch, seq_len] = input.dims();
        let mut sum = match &input.tokens {
            Tokens::Ids(ids) => match &input.tape {
                Some(tape) => tape.lookup(self.word_embeddings.weight.val(), ids.clone()),
                None => self.words(ids.clone()),
            },
            Tokens::Vectors(vectors) => vectors.clone(),
        };
        let device = sum.device();
        if let Some(table) = &self.token_type_embeddings {
            let types = input.token_type_ids.clone();
            let types = types.unwrap_or_else(|| Tensor::zeros([batch, seq_len], &device));
            sum = sum + table.forward(types);
        }
        if let Some(table) = self
            .position_embeddings
            .as_ref()
            .filter(|_| self.add_positions)
        {
            let positions = input.position_ids.clone();
            let positions =
                positions.unwrap_or_else(|| Tensor::arange(0..seq_len as i64, &device).unsqueeze());
            sum = sum + table.forward(positions);
        }
        match &self.embed_proj {
            Some(projection) => ops::linear(projection, sum),
            None => sum,
        }
    }

    /// Layer norm, padding to zero, dropout.
    pub fn finish(&self, sum: Tensor<B, 3>, unseen: Option<Tensor<B, 2, Bool>>) -> Tensor<B, 3> {
        let mut x = ops::norm(&self.layer_norm, self.epsilon, sum);
        if let Some(unseen) = unseen {
            let shape = x.shape();
            x = x.mask_fill(unseen.unsqueeze_dim::<3>(2).expand(shape), 0.0);
        }
        self.dropout.forward(x)
    }

    /// Raw absolute-position vectors `[batch, slots, embedding]` at `positions` `[batch, slots]`:
    /// no layer norm, no projection, no dropout. `None` if the network has no such table.
    pub fn absolute_positions(&self, positions: Tensor<B, 2, Int>) -> Option<Tensor<B, 3>> {
        let table = self.position_embeddings.as_ref()?;
        Some(table.forward(positions))
    }
}
