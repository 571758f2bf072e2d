//! A collated batch of masked sequences on the host, and how sequences get to the device.

use burn::tensor::{Tensor, TensorData, backend::Backend};
use deberta_model::DebertaInput;
use deberta_model::attention::AttentionMask;

/// Masked sequences of one micro-batch.
#[derive(Debug, Clone)]
pub struct MlmBatch {
    /// Sequences.
    pub batch: usize,
    /// Tokens of the longest sequence.
    pub seq_len: usize,
    /// Token ids after masking, row by row, padded.
    pub input_ids: Vec<i32>,
    /// Real tokens of each sequence.
    pub lengths: Vec<usize>,
    /// Positions of the tokens to predict.
    pub masked_positions: Vec<Vec<u32>>,
    /// Their ids before masking.
    pub labels: Vec<Vec<u32>>,
}

/// Copies padded sequences to the device; without padding there is no mask.
///
/// - `input_ids`: ids, row by row, each row `seq_len` long
/// - `lengths`: real tokens of each sequence
pub(super) fn sequences<B: Backend>(
    input_ids: &[i32],
    lengths: &[usize],
    seq_len: usize,
    device: &B::Device,
) -> DebertaInput<B> {
    let shape = [lengths.len(), seq_len];
    let input_ids = TensorData::new(input_ids.to_vec(), shape);
    DebertaInput {
        mask: AttentionMask::from_lengths(lengths, seq_len, device),
        ..DebertaInput::new(Tensor::from_data(input_ids, device))
    }
}
