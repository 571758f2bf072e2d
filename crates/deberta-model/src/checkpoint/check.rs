//! Whether weights fit a network with a head, without reading them.

use burn::module::Module;
use burn::tensor::backend::Backend;

use super::error::CheckpointError;
use super::fill::{Expected, Plan};
use super::folder::config_path;
use super::options::LoadOptions;
use super::weights::{Head, Weights};
use crate::config::{AbsolutePositions, ConfigError, DebertaConfig};
use crate::heads::classification::{DebertaForMultipleChoice, DebertaForSequenceClassification};
use crate::heads::question_answering::DebertaForQuestionAnswering;
use crate::heads::replaced_token::DebertaForReplacedTokenDetection;
use crate::heads::token_classification::{
    DebertaForEntityRecognition, DebertaForTokenClassification,
};
use crate::heads::{HeadConfig, TaskModel};
use crate::hf_config::{HfConfig, RtdPart};

/// How weights fit a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fit {
    /// Parameters that the network has and the file lacks, in the Hub's names.
    pub missing: Vec<String>,
    /// Tensors that the file has and the network lacks, in the file's names. Other heads do not
    /// count.
    pub unexpected: Vec<String>,
    /// Tensors of another shape or type than expected, described.
    pub wrong_shape: Vec<String>,
}

impl Fit {
    /// Whether loading succeeds.
    pub fn is_complete(&self) -> bool {
        let lists = [&self.missing, &self.unexpected, &self.wrong_shape];
        lists.iter().all(|list| list.is_empty())
    }
}

impl Weights {
    /// Compares the weights with a network of this configuration; `None` is a bare encoder. No
    /// number is read.
    ///
    /// # Errors
    ///
    /// If no such network can be built, or two tensors are the same parameter.
    pub fn fit<B: Backend>(
        &self,
        file: &HfConfig,
        head: Option<Head>,
        device: &B::Device,
    ) -> Result<Fit, CheckpointError> {
        let invalid = |source: ConfigError| CheckpointError::Config {
            path: config_path(
                self.path().parent().unwrap_or(self.path()),
                RtdPart::default(),
            ),
            source,
        };
        let mut file = file.clone();
        self.complete(&mut file);
        let config = file.to_config().map_err(invalid)?;
        let labels = || file.to_head_config();
        let expected = match head {
            None => config
                .init::<B>(0, device)
                .map(|it| Expected::of::<B, _>(&it)),
            Some(Head::MaskedLm) => masked_lm::<B>(&config, device),
            Some(Head::EnhancedMaskDecoder) => {
                let config = with_decoder(&config);
                let expected = masked_lm::<B>(&config, device).map_err(invalid)?;
                return self.compare(&expected, &config);
            }
            Some(Head::ReplacedToken) => {
                task::<B, DebertaForReplacedTokenDetection<B>>(&config, labels(), device)
            }
            Some(Head::SequenceClassification) => {
                task::<B, DebertaForSequenceClassification<B>>(&config, labels(), device)
            }
            Some(Head::MultipleChoice) => {
                task::<B, DebertaForMultipleChoice<B>>(&config, labels(), device)
            }
            Some(Head::TokenClassification) => {
                task::<B, DebertaForTokenClassification<B>>(&config, labels(), device)
            }
            Some(Head::EntityRecognition) => {
                task::<B, DebertaForEntityRecognition<B>>(&config, labels(), device)
            }
            Some(Head::QuestionAnswering) => {
                task::<B, DebertaForQuestionAnswering<B>>(&config, labels(), device)
            }
        };
        self.compare(&expected.map_err(invalid)?, &config)
    }

    fn compare(&self, expected: &Expected, config: &DebertaConfig) -> Result<Fit, CheckpointError> {
        let plan = Plan::new(expected, config, self, &LoadOptions::new())?;
        Ok(Fit {
            missing: plan.missing,
            unexpected: plan.unexpected,
            wrong_shape: plan.wrong_shape,
        })
    }
}

fn with_decoder(config: &DebertaConfig) -> DebertaConfig {
    DebertaConfig {
        absolute_positions: AbsolutePositions::Decoder,
        ..config.clone()
    }
}

fn masked_lm<B: Backend>(
    config: &DebertaConfig,
    device: &B::Device,
) -> Result<Expected, ConfigError> {
    let model = config.init_masked_lm::<B>(0, device)?;
    Ok(Expected::of::<B, _>(&model))
}

fn task<B: Backend, M: TaskModel<B> + Module<B>>(
    config: &DebertaConfig,
    labels: Result<HeadConfig, ConfigError>,
    device: &B::Device,
) -> Result<Expected, ConfigError> {
    let model = M::init(config, &labels?, 0, device)?;
    Ok(Expected::of::<B, _>(&model))
}
