//! A collated batch on the host.

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
