//! Heads on top of the encoder.

pub mod classification;
pub mod losses;
pub mod masked_lm;
mod masked_tokens;
pub mod question_answering;
pub mod replaced_token;
pub mod token_classification;

use burn::module::Module;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

use crate::config::{Activation, ConfigError, DebertaConfig};

/// What a head has to know besides the encoder's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadConfig {
    /// Names of the outputs, in the order of the logits.
    pub labels: Vec<String>,
    /// What the outputs mean; `None` leaves it to the number of labels and to the user.
    pub problem_type: Option<ProblemType>,
    /// Dropout probability of the pooler's input.
    pub pooler_dropout: f64,
    /// Nonlinearity of the pooler.
    pub pooler_hidden_act: Activation,
    /// Dropout probability before the classifier.
    pub classifier_dropout: f64,
}

/// What the logits of a sequence classifier mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemType {
    /// Values as they are.
    Regression,
    /// Exactly one of the labels holds.
    SingleLabelClassification,
    /// Each label holds or not, on its own.
    MultiLabelClassification,
}

impl HeadConfig {
    /// The same head with `count` labels, which have names only if there are as many already.
    pub fn with_outputs(&self, count: usize) -> Self {
        let mut head = self.clone();
        if head.labels.len() != count {
            head.labels = (0..count).map(|id| format!("LABEL_{id}")).collect();
        }
        head
    }

    /// A head with these labels; the rest as in the published models.
    pub fn new(config: &DebertaConfig, labels: Vec<String>) -> Self {
        Self {
            labels,
            problem_type: None,
            pooler_dropout: 0.0,
            pooler_hidden_act: Activation::Gelu,
            classifier_dropout: config.hidden_dropout_prob,
        }
    }

    /// What the logits mean; one label without a problem type is a regression.
    pub fn problem_type(&self) -> ProblemType {
        match self.problem_type {
            Some(problem_type) => problem_type,
            None if self.labels.len() == 1 => ProblemType::Regression,
            None => ProblemType::SingleLabelClassification,
        }
    }

    /// Checks that a head can be built.
    ///
    /// # Errors
    ///
    /// If there is no label, or a probability is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.labels.is_empty() {
            return Err(ConfigError::Zero {
                field: "num_labels",
            });
        }
        for (field, value) in [
            ("pooler_dropout", self.pooler_dropout),
            ("cls_dropout", self.classifier_dropout),
        ] {
            if !(0.0..1.0).contains(&value) {
                return Err(ConfigError::OutOfRange {
                    field,
                    value: value.to_string(),
                    expected: "at least 0 and below 1",
                });
            }
        }
        Ok(())
    }
}

/// A network with a head, as checkpoints hold it.
pub trait TaskModel<B: Backend>: Module<B> + Sized {
    /// First parts of the names of the head's own parameters.
    const PARAMETERS: &'static [&'static str];

    /// Ending of the class in transformers that has this head; `None` if there is none.
    const TRANSFORMERS_CLASS: Option<&'static str>;

    /// Number of outputs if the labels do not say it but transformers thinks that they do.
    const OUTPUTS: Option<usize> = None;

    /// Builds the network with random weights, the same on every backend for the same `seed`.
    ///
    /// # Errors
    ///
    /// If no such network can be built.
    fn init(
        config: &DebertaConfig,
        head: &HeadConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<Self, ConfigError>;
}
