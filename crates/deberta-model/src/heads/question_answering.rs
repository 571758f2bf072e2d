//! Extractive question answering: where an answer starts and ends.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Int, Tensor, backend::Backend};

use super::losses::classification_loss;
use super::{HeadConfig, TaskModel};
use crate::config::{ConfigError, DebertaConfig};
use crate::model::{DebertaInput, DebertaModel};
use crate::ops::{self, DebertaBackend};
use crate::weight_init::WeightInit;

/// The encoder with a start and an end score on every token.
#[derive(Module, Debug)]
pub struct DebertaForQuestionAnswering<B: Backend> {
    /// The encoder.
    pub deberta: DebertaModel<B>,
    qa_outputs: Linear<B>,
}

/// Scores of each token, `[batch, seq_len]`.
#[derive(Debug, Clone)]
pub struct SpanLogits<B: Backend> {
    /// That the answer starts there.
    pub start: Tensor<B, 2>,
    /// That the answer ends there.
    pub end: Tensor<B, 2>,
}

impl<B: Backend> TaskModel<B> for DebertaForQuestionAnswering<B> {
    const PARAMETERS: &'static [&'static str] = &["qa_outputs."];
    const TRANSFORMERS_CLASS: Option<&'static str> = Some("ForQuestionAnswering");
    const OUTPUTS: Option<usize> = Some(2);

    /// The labels of `head` are not used: there are always two outputs.
    fn init(
        config: &DebertaConfig,
        _: &HeadConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let weights = &mut WeightInit::new(seed, config.initializer_range);
        Ok(Self {
            deberta: DebertaModel::new(config, weights, device),
            qa_outputs: weights.linear(config.hidden_size, 2, true, device),
        })
    }
}

impl<B: DebertaBackend> DebertaForQuestionAnswering<B> {
    /// Start and end scores.
    pub fn forward(&self, input: DebertaInput<B>) -> SpanLogits<B> {
        self.score(self.deberta.forward(input))
    }

    /// Start and end scores of the encoder's last states `[batch, seq_len, hidden]`.
    pub fn score(&self, states: Tensor<B, 3>) -> SpanLogits<B> {
        let logits = ops::linear(&self.qa_outputs, states);
        SpanLogits {
            start: logits.clone().slice_dim(2, 0..1).squeeze_dim(2),
            end: logits.slice_dim(2, 1..2).squeeze_dim(2),
        }
    }
}

impl<B: DebertaBackend> SpanLogits<B> {
    /// Half the sum of the cross-entropies of start and end, `[1]`.
    ///
    /// `start` and `end` are `[batch]`; a position outside the sequence is left out. As in the
    /// reference, the softmax runs over all tokens of the padded sequence; for the reference's loss
    /// they must not be skipped (see [`AttentionMask::as_tensors`]).
    ///
    /// [`AttentionMask::as_tensors`]: crate::attention::AttentionMask::as_tensors
    pub fn loss(&self, start: Tensor<B, 1, Int>, end: Tensor<B, 1, Int>) -> Tensor<B, 1> {
        let [_, seq_len] = self.start.dims();
        let inside = |positions: Tensor<B, 1, Int>| {
            let outside = positions.clone().greater_equal_elem(seq_len as i64);
            positions.mask_fill(outside, -1)
        };
        let start = classification_loss(self.start.clone(), inside(start));
        let end = classification_loss(self.end.clone(), inside(end));
        (start + end) / 2.0
    }
}
