//! A batch whose masked tokens the generator has replaced.

use burn::tensor::{Bool, Int, Tensor, TensorData, backend::Backend};

use crate::objective::MlmBatch;

/// Tokens for the discriminator, and which of them are not the original ones.
pub(super) struct Corrupted<B: Backend> {
    /// Tokens after replacement, `[batch, seq_len]`.
    pub(super) ids: Tensor<B, 2, Int>,
    /// `true` where a real token is another than it was, `[tokens]`: sequence after sequence.
    pub(super) replaced: Tensor<B, 1, Bool>,
}

/// Puts `drawn` in the place of the masked tokens. One that is drawn as it was counts as original.
///
/// - `drawn`: a token for each masked one, `[masked]`, in the order of their labels
/// - `labels`: what the tokens were, `[masked]`
/// - `real`: places of real tokens, from [`real_places`]
pub(super) fn corrupt<B: Backend>(
    batch: &MlmBatch,
    drawn: Tensor<B, 1, Int>,
    labels: Tensor<B, 1, Int>,
    real: Option<&Tensor<B, 1, Int>>,
) -> Corrupted<B> {
    let device = drawn.device();
    let (tokens, seq_len) = (batch.input_ids.len(), batch.seq_len);
    // Where the token of each place is found: in the input, or else among what was drawn.
    let mut from: Vec<i32> = (0..tokens as i32).collect();
    // Likewise whether it was replaced: never, or as its draw says.
    let mut verdict = vec![0i32; tokens];
    let rows = batch.masked_positions.iter().enumerate();
    let places = rows.flat_map(|(row, positions)| {
        let positions = positions.iter();
        positions.map(move |position| row * seq_len + *position as usize)
    });
    for (draw, place) in places.enumerate() {
        from[place] = (tokens + draw) as i32;
        verdict[place] = 1 + draw as i32;
    }
    let ints = |values: &[i32]| Tensor::<B, 1, Int>::from_data(TensorData::from(values), &device);

    let differs = drawn.clone().not_equal(labels).int();
    let never = Tensor::<B, 1, Int>::zeros([1], &device);
    let mut verdict = ints(&verdict);
    if let Some(real) = real {
        verdict = verdict.select(0, real.clone());
    }
    let replaced = Tensor::cat(vec![never, differs], 0).select(0, verdict);
    let ids = Tensor::cat(vec![ints(&batch.input_ids), drawn], 0).select(0, ints(&from));
    Corrupted {
        ids: ids.reshape([batch.batch, seq_len]),
        replaced: replaced.equal_elem(1),
    }
}

/// Places of the real tokens among `batch * seq_len`, `[tokens]`; `None` if all are real.
pub(super) fn real_places<B: Backend>(
    batch: &MlmBatch,
    device: &B::Device,
) -> Option<Tensor<B, 1, Int>> {
    if batch.lengths.iter().all(|length| *length == batch.seq_len) {
        return None;
    }
    let rows = batch.lengths.iter().enumerate();
    let places: Vec<i32> = rows
        .flat_map(|(row, length)| (0..*length).map(move |it| (row * batch.seq_len + it) as i32))
        .collect();
    Some(Tensor::from_data(
        TensorData::from(places.as_slice()),
        device,
    ))
}
