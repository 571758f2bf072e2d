//! Classification and regression of sequences, and multiple choice.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::{Tensor, backend::Backend};

use super::{HeadConfig, TaskModel};
use crate::config::{Activation, ConfigError, DebertaConfig};
use crate::layer::linear_activation;
use crate::model::{DebertaInput, DebertaModel};
use crate::ops::{self, DebertaBackend};
use crate::weight_init::WeightInit;

/// Turns the first token's state into one vector for the sequence: `act(W dropout(h_0) + b)`.
///
/// Reference: microsoft/DeBERTa `pooling.py`, `ContextPooler`, commit 4d7fe0b.
#[derive(Module, Debug)]
pub struct ContextPooler<B: Backend> {
    dense: Linear<B>,
    dropout: Dropout,
    #[module(skip)]
    activation: Activation,
}

impl<B: Backend> ContextPooler<B> {
    fn new(
        config: &DebertaConfig,
        head: &HeadConfig,
        weights: &mut WeightInit,
        device: &B::Device,
    ) -> Self {
        Self {
            dense: weights.linear(config.hidden_size, config.hidden_size, true, device),
            dropout: DropoutConfig::new(head.pooler_dropout).init(),
            activation: head.pooler_hidden_act,
        }
    }
}

impl<B: DebertaBackend> ContextPooler<B> {
    /// Pooled states `[batch, hidden]` of states `[batch, seq_len, hidden]`.
    pub fn forward(&self, states: Tensor<B, 3>) -> Tensor<B, 2> {
        let first: Tensor<B, 2> = states.slice_dim(1, 0..1).squeeze_dim(1);
        linear_activation(&self.dense, self.activation, self.dropout.forward(first))
    }
}

/// The encoder with a pooler and one linear layer.
#[derive(Module, Debug)]
pub struct DebertaForSequenceClassification<B: Backend> {
    /// The encoder.
    pub deberta: DebertaModel<B>,
    pooler: ContextPooler<B>,
    dropout: Dropout,
    classifier: Linear<B>,
}

impl<B: Backend> TaskModel<B> for DebertaForSequenceClassification<B> {
    const PARAMETERS: &'static [&'static str] = &["pooler.", "classifier."];
    const TRANSFORMERS_CLASS: Option<&'static str> = Some("ForSequenceClassification");

    fn init(
        config: &DebertaConfig,
        head: &HeadConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        head.validate()?;
        let weights = &mut WeightInit::new(seed, config.initializer_range);
        Ok(Self {
            deberta: DebertaModel::new(config, weights, device),
            pooler: ContextPooler::new(config, head, weights, device),
            dropout: DropoutConfig::new(head.classifier_dropout).init(),
            classifier: weights.linear(config.hidden_size, head.labels.len(), true, device),
        })
    }
}

impl<B: DebertaBackend> DebertaForSequenceClassification<B> {
    /// Logits `[batch, labels]`.
    pub fn forward(&self, input: DebertaInput<B>) -> Tensor<B, 2> {
        self.classify(self.deberta.forward(input))
    }

    /// Logits `[batch, labels]` of the encoder's last states `[batch, seq_len, hidden]`.
    pub fn classify(&self, states: Tensor<B, 3>) -> Tensor<B, 2> {
        let pooled = self.dropout.forward(self.pooler.forward(states));
        ops::linear(&self.classifier, pooled)
    }
}

/// Scores the choices of a question, each a sequence of its own, with one shared output.
#[derive(Module, Debug)]
pub struct DebertaForMultipleChoice<B: Backend> {
    /// The encoder.
    pub deberta: DebertaModel<B>,
    pooler: ContextPooler<B>,
    dropout: Dropout,
    classifier: Linear<B>,
}

impl<B: Backend> TaskModel<B> for DebertaForMultipleChoice<B> {
    const PARAMETERS: &'static [&'static str] = &["pooler.", "classifier."];
    const TRANSFORMERS_CLASS: Option<&'static str> = Some("ForMultipleChoice");

    /// The labels of `head` are not used: there is one output, whatever the number of choices.
    fn init(
        config: &DebertaConfig,
        head: &HeadConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        head.validate()?;
        let weights = &mut WeightInit::new(seed, config.initializer_range);
        Ok(Self {
            deberta: DebertaModel::new(config, weights, device),
            pooler: ContextPooler::new(config, head, weights, device),
            dropout: DropoutConfig::new(head.classifier_dropout).init(),
            classifier: weights.linear(config.hidden_size, 1, true, device),
        })
    }
}

impl<B: DebertaBackend> DebertaForMultipleChoice<B> {
    /// Logits `[questions, choices]` of `questions * choices` sequences, the choices of one
    /// question side by side.
    ///
    /// # Panics
    ///
    /// If the batch is not a multiple of `choices`.
    pub fn forward(&self, input: DebertaInput<B>, choices: usize) -> Tensor<B, 2> {
        self.choose(self.deberta.forward(input), choices)
    }

    /// Logits `[questions, choices]` of the encoder's last states
    /// `[questions * choices, seq_len, hidden]`.
    ///
    /// # Panics
    ///
    /// If the batch is not a multiple of `choices`.
    pub fn choose(&self, states: Tensor<B, 3>, choices: usize) -> Tensor<B, 2> {
        let [batch, _, _] = states.dims();
        assert!(
            choices > 0 && batch.is_multiple_of(choices),
            "{batch} sequences are not questions of {choices} choices"
        );
        let pooled = self.dropout.forward(self.pooler.forward(states));
        ops::linear(&self.classifier, pooled).reshape([batch / choices, choices])
    }
}
