//! Generator and discriminator, and the embeddings that they share.

use burn::module::Module;
use burn::tensor::{Int, Tensor, backend::Backend};
use deberta_model::attention::AttentionMask;
use deberta_model::config::AbsolutePositions;
use deberta_model::{
    DebertaBackend, DebertaConfig, DebertaForMaskedLm, DebertaInput, Tape, Tokens,
};

use super::{Discriminator, EmbeddingSharing, RtdConfig};

/// The two networks of replaced-token detection.
#[derive(Module, Debug)]
pub struct RtdNetworks<B: Backend> {
    /// The masked language model.
    pub generator: DebertaForMaskedLm<B>,
    /// The network that learns which tokens are the generator's. With [`EmbeddingSharing::Gdes`] its
    /// tables are `E_Δ`; with [`EmbeddingSharing::Shared`] it has none, and one row of zeros in
    /// place of its words. [`merged`](Self::merged) is the network to use on its own.
    pub discriminator: Discriminator<B>,
    #[module(skip)]
    sharing: EmbeddingSharing,
    /// Whether absolute positions are added to the words.
    adds_positions: bool,
}

impl<B: Backend> RtdNetworks<B> {
    /// Takes two networks of the configuration `model`, whose generator is `config`'s, on their way
    /// together.
    ///
    /// With [`EmbeddingSharing::Gdes`] both stay what they were, as `E_Δ` is the difference of their
    /// tables. With [`EmbeddingSharing::Shared`] the discriminator gets the generator's.
    pub fn join(
        generator: DebertaForMaskedLm<B>,
        mut discriminator: Discriminator<B>,
        config: &RtdConfig,
        model: &DebertaConfig,
    ) -> Self {
        let adds_positions = model.absolute_positions == AbsolutePositions::Input;
        let theirs = &generator.deberta.embeddings;
        let own = discriminator.deberta.embeddings;
        let own_words = own.word_embeddings.weight.val().detach();
        let words = theirs.word_embeddings.weight.val().detach();
        discriminator.deberta.embeddings = match config.sharing {
            EmbeddingSharing::None => own,
            EmbeddingSharing::Shared => {
                own.with_tables(words.zeros_like().slice_dim(0, 0..1), None)
            }
            EmbeddingSharing::Gdes => {
                let positions = own.position_table().zip(theirs.position_table());
                let positions = positions.filter(|_| adds_positions);
                let positions = positions.map(|(own, theirs)| own.detach() - theirs.detach());
                own.with_tables(own_words - words, positions)
            }
        };
        Self {
            generator,
            discriminator,
            sharing: config.sharing,
            adds_positions,
        }
    }

    /// The discriminator as it is used on its own, with `E_D` for its tables.
    pub fn merged(&self) -> Discriminator<B> {
        let mut discriminator = self.discriminator.clone();
        let theirs = &self.generator.deberta.embeddings;
        let own = discriminator.deberta.embeddings;
        let words = theirs.word_embeddings.weight.val();
        let positions = theirs.position_table();
        discriminator.deberta.embeddings = match self.sharing {
            EmbeddingSharing::None => own,
            EmbeddingSharing::Shared => own.with_tables(words, positions),
            EmbeddingSharing::Gdes => {
                let words = words + own.word_embeddings.weight.val();
                let positions = match (positions, own.position_table()) {
                    (Some(theirs), Some(own)) => Some(theirs + own),
                    (theirs, _) => theirs,
                };
                own.with_tables(words, positions)
            }
        };
        discriminator
    }
}

impl<B: DebertaBackend> RtdNetworks<B> {
    /// Logits `[batch, seq_len]` of the discriminator, positive for replaced tokens.
    ///
    /// - `ids`: tokens after replacement, `[batch, seq_len]`
    /// - `lengths`: real tokens of each sequence
    pub fn detect(
        &self,
        ids: Tensor<B, 2, Int>,
        lengths: &[usize],
        tape: Option<&Tape<B>>,
    ) -> Tensor<B, 2> {
        let [_, seq_len] = ids.dims();
        let device = ids.device();
        let input = DebertaInput {
            mask: AttentionMask::from_lengths(lengths, seq_len, &device),
            tape: tape.cloned(),
            ..match self.tokens(ids) {
                Tokens::Ids(ids) => DebertaInput::new(ids),
                Tokens::Vectors(vectors) => DebertaInput::from_vectors(vectors),
            }
        };
        self.discriminator.forward(input)
    }

    /// What stands for the words in the discriminator's input; its own position table is added later.
    fn tokens(&self, ids: Tensor<B, 2, Int>) -> Tokens<B> {
        let own = &self.discriminator.deberta.embeddings;
        match self.sharing {
            EmbeddingSharing::None => Tokens::Ids(ids),
            EmbeddingSharing::Shared => Tokens::Vectors(self.generators(ids)),
            EmbeddingSharing::Gdes => {
                Tokens::Vectors(self.generators(ids.clone()).detach() + own.words(ids))
            }
        }
    }

    /// Rows of the generator's tables for `ids` `[batch, seq_len]`: words, and positions if they are
    /// part of the input.
    fn generators(&self, ids: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        let ([_, seq_len], device) = (ids.dims(), ids.device());
        let tables = &self.generator.deberta.embeddings;
        let words = tables.words(ids);
        if !self.adds_positions {
            return words;
        }
        let positions = Tensor::arange(0..seq_len as i64, &device).unsqueeze();
        match tables.absolute_positions(positions) {
            Some(positions) => words + positions,
            None => words,
        }
    }
}
