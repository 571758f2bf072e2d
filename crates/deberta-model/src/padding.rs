//! Layers that compute on real tokens only.
//!
//! A batch of mixed lengths is mostly padding. Where the backend's attention knows where each
//! sequence starts ([`MaskCall::Segments`](crate::ops::MaskCall::Segments)), all real tokens stand
//! one after the other in one row, `[1, tokens, hidden]`, from the embeddings to the last layer, and
//! go back to `[batch, seq_len, hidden]` at the end, with zeros at padding.

use burn::tensor::{Bool, DType, IndexingUpdateOp, Int, Tensor, TensorData, backend::Backend};

use crate::attention::{AttentionMask, Sequences};
use crate::model::{DebertaInput, Tokens};
use crate::ops::{DebertaBackend, FusedKind};

/// The real tokens of a padded batch.
#[derive(Debug, Clone)]
pub(crate) struct RealTokens<B: Backend> {
    sequences: Sequences<B>,
    /// Of each real token its place among `batch * seq_len`, `[tokens]`.
    places: Tensor<B, 1, Int>,
}

impl<B: DebertaBackend> AttentionMask<B> {
    /// The mask that layers in `dtype` with this attention `kernel` work with, and the tokens that
    /// they work on if padding is to be skipped, of a batch of `[batch, seq_len]` tokens.
    ///
    /// What comes out is [`AttentionMask::Sequences`] only where a kernel reads it.
    ///
    /// # Panics
    ///
    /// If the mask is that of a batch of another shape.
    pub(crate) fn skip_padding(
        self,
        tokens: [usize; 2],
        kernel: FusedKind,
        dtype: DType,
    ) -> (Self, Option<RealTokens<B>>) {
        if let Self::Sequences(sequences) = &self {
            let expected = sequences.dims();
            assert_eq!(
                tokens, expected,
                "[batch, seq_len] of the tokens and of the mask"
            );
        }
        let reads = |it: &Sequences<B>| B::fuses(kernel, dtype, it.device()) && it.tokens() > 0;
        let sequences = match self {
            Self::Sequences(it) if reads(&it) => it,
            other => return (other.as_tensors(), None),
        };
        let [batch, seq_len] = sequences.dims();
        if sequences.tokens() == batch * seq_len {
            return (Self::Sequences(sequences), None);
        }
        let packed = sequences.without_padding();
        (Self::Sequences(packed), Some(RealTokens::new(sequences)))
    }
}

impl<B: Backend> RealTokens<B> {
    fn new(sequences: Sequences<B>) -> Self {
        Self {
            places: places(&sequences, |place| place),
            sequences,
        }
    }

    /// Position of each real token in its row, `[1, tokens]`.
    fn positions(&self) -> Tensor<B, 2, Int> {
        let [_, seq_len] = self.sequences.dims();
        places(&self.sequences, |place| place % seq_len).unsqueeze()
    }

    /// The padded batch's sequences.
    pub(crate) fn sequences(&self) -> &Sequences<B> {
        &self.sequences
    }

    /// `true` at padding, `[batch, seq_len]`.
    pub(crate) fn mask_pad(&self) -> Option<Tensor<B, 2, Bool>> {
        self.sequences.mask_pad()
    }

    /// Rows of real tokens, `[1, tokens, width]`, of `x` `[batch, seq_len, width]`.
    pub(crate) fn pack(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let [batch, seq_len, width] = x.dims();
        x.reshape([batch * seq_len, width])
            .select(0, self.places.clone())
            .unsqueeze()
    }

    /// `[batch, seq_len, width]` of packed rows `[1, tokens, width]`, zero at padding.
    pub(crate) fn unpack(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let ([batch, seq_len], [_, tokens, width]) = (self.sequences.dims(), x.dims());
        let options = (&x.device(), x.dtype());
        Tensor::<B, 2>::zeros([batch * seq_len, width], options)
            .select_assign(
                0,
                self.places.clone(),
                x.reshape([tokens, width]),
                IndexingUpdateOp::Add,
            )
            .reshape([batch, seq_len, width])
    }

    /// The batch as one row of real tokens, where they keep their absolute positions.
    pub(crate) fn pack_input(
        &self,
        input: &DebertaInput<B>,
        mask: AttentionMask<B>,
    ) -> DebertaInput<B> {
        let pack = |ids: &Tensor<B, 2, Int>| {
            let [batch, seq_len] = ids.dims();
            let ids = ids.clone().reshape([batch * seq_len]);
            ids.select(0, self.places.clone()).unsqueeze::<2>()
        };
        DebertaInput {
            tokens: match &input.tokens {
                Tokens::Ids(ids) => Tokens::Ids(pack(ids)),
                Tokens::Vectors(vectors) => Tokens::Vectors(self.pack(vectors.clone())),
            },
            token_type_ids: input.token_type_ids.as_ref().map(pack),
            position_ids: Some(
                input
                    .position_ids
                    .as_ref()
                    .map_or_else(|| self.positions(), pack),
            ),
            mask,
            tape: input.tape.clone(),
        }
    }
}

/// A function of each real token's place among `batch * seq_len`, `[tokens]`.
fn places<B: Backend>(
    sequences: &Sequences<B>,
    number: impl Fn(usize) -> usize,
) -> Tensor<B, 1, Int> {
    let places = sequences.segments().iter().flat_map(|it| it.keys.clone());
    let numbers: Vec<i32> = places.map(|place| number(place) as i32).collect();
    let numbers = TensorData::new(numbers, [sequences.tokens()]);
    Tensor::from_data(numbers, sequences.device())
}
