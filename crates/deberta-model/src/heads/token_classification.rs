//! Classification of tokens.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::{Tensor, backend::Backend};

use super::{HeadConfig, TaskModel};
use crate::config::{ConfigError, DebertaConfig};
use crate::model::{DebertaInput, DebertaModel};
use crate::ops::{self, DebertaBackend};
use crate::weight_init::WeightInit;

/// The encoder with one linear layer on every token, as in transformers.
#[derive(Module, Debug)]
pub struct DebertaForTokenClassification<B: Backend> {
    /// The encoder.
    pub deberta: DebertaModel<B>,
    dropout: Dropout,
    classifier: Linear<B>,
}

impl<B: Backend> TaskModel<B> for DebertaForTokenClassification<B> {
    const PARAMETERS: &'static [&'static str] = &["classifier."];
    const TRANSFORMERS_CLASS: Option<&'static str> = Some("ForTokenClassification");

    /// The dropout before the classifier is the head's, as in Microsoft's `ner.py`; transformers
    /// always takes the encoder's, which is also the default of [`HeadConfig`].
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
            dropout: DropoutConfig::new(head.classifier_dropout).init(),
            classifier: weights.linear(config.hidden_size, head.labels.len(), true, device),
        })
    }
}

impl<B: DebertaBackend> DebertaForTokenClassification<B> {
    /// Logits `[batch, seq_len, labels]`; rows of padding tokens are unspecified.
    pub fn forward(&self, input: DebertaInput<B>) -> Tensor<B, 3> {
        self.classify(self.deberta.forward(input))
    }

    /// Logits of the encoder's last states `[batch, seq_len, hidden]`.
    pub fn classify(&self, states: Tensor<B, 3>) -> Tensor<B, 3> {
        ops::linear(&self.classifier, self.dropout.forward(states))
    }
}

/// The encoder with Microsoft's two-layer head on every token.
///
/// ```text
/// logits = Wc dropout(gelu(Wp h + bp)) + bc
/// ```
///
/// Reference: microsoft/DeBERTa `apps/models/ner.py`, `NERModel`, commit 4d7fe0b.
#[derive(Module, Debug)]
pub struct DebertaForEntityRecognition<B: Backend> {
    /// The encoder.
    pub deberta: DebertaModel<B>,
    proj: Linear<B>,
    dropout: Dropout,
    classifier: Linear<B>,
}

impl<B: Backend> TaskModel<B> for DebertaForEntityRecognition<B> {
    const PARAMETERS: &'static [&'static str] = &["proj.", "classifier."];
    const TRANSFORMERS_CLASS: Option<&'static str> = None;

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
            proj: weights.linear(config.hidden_size, config.hidden_size, true, device),
            dropout: DropoutConfig::new(head.classifier_dropout).init(),
            classifier: weights.linear(config.hidden_size, head.labels.len(), true, device),
        })
    }
}

impl<B: DebertaBackend> DebertaForEntityRecognition<B> {
    /// Logits `[batch, seq_len, labels]`; rows of padding tokens are unspecified.
    pub fn forward(&self, input: DebertaInput<B>) -> Tensor<B, 3> {
        self.classify(self.deberta.forward(input))
    }

    /// Logits of the encoder's last states `[batch, seq_len, hidden]`.
    pub fn classify(&self, states: Tensor<B, 3>) -> Tensor<B, 3> {
        let states = ops::linear_gelu(&self.proj, states);
        ops::linear(&self.classifier, self.dropout.forward(states))
    }
}
