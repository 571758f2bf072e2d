//! Reading weights: opened lazily, renamed, checked, then copied once into the network.

use std::path::Path;

use burn::tensor::backend::Backend;

use super::error::CheckpointError;
use super::fill::fill;
use super::folder::config_path;
use super::options::{Compatibility, LoadOptions, Loaded};
use super::weights::Weights;
use crate::config::{AbsolutePositions, ConfigError, DebertaConfig};
use crate::heads::masked_lm::DebertaForMaskedLm;
use crate::heads::{HeadConfig, TaskModel};
use crate::hf_config::HfConfig;
use crate::model::DebertaModel;
use crate::relative_position::LongDistance;

/// Loads the encoder of a checkpoint folder; heads in the file are left aside.
///
/// # Errors
///
/// If a file is missing or malformed, or names or shapes do not fit.
pub fn load_model<B: Backend>(
    dir: &Path,
    compatibility: Compatibility,
    device: &B::Device,
) -> Result<(DebertaModel<B>, DebertaConfig), CheckpointError> {
    let options = LoadOptions::new().compatibility(compatibility);
    let loaded = load_model_with(dir, &options, device)?;
    Ok((loaded.model, loaded.config))
}

/// As [`load_model`], with more choice.
///
/// # Errors
///
/// If a file is missing or malformed, or names or shapes do not fit.
pub fn load_model_with<B: Backend>(
    dir: &Path,
    options: &LoadOptions,
    device: &B::Device,
) -> Result<Loaded<DebertaModel<B>>, CheckpointError> {
    let folder = Folder::open(dir, options)?;
    let config = folder.config.clone();
    let model = config.init::<B>(options.seed, device);
    let model = model.map_err(|source| folder.config_error(source))?;
    folder.load::<B, _>(model, config, None, options)
}

/// Loads a masked language model from a checkpoint folder.
///
/// The enhanced mask decoder is used if the file has the absolute-position table that it needs:
/// Microsoft's checkpoints do, those that transformers saved do not.
///
/// # Errors
///
/// If a file is missing or malformed, or names or shapes do not fit.
pub fn load_masked_lm<B: Backend>(
    dir: &Path,
    compatibility: Compatibility,
    device: &B::Device,
) -> Result<(DebertaForMaskedLm<B>, DebertaConfig), CheckpointError> {
    let options = LoadOptions::new().compatibility(compatibility);
    let loaded = load_masked_lm_with(dir, &options, device)?;
    Ok((loaded.model, loaded.config))
}

/// As [`load_masked_lm`], with more choice.
///
/// # Errors
///
/// If a file is missing or malformed, or names or shapes do not fit; also if the file has an output
/// matrix other than the word table.
pub fn load_masked_lm_with<B: Backend>(
    dir: &Path,
    options: &LoadOptions,
    device: &B::Device,
) -> Result<Loaded<DebertaForMaskedLm<B>>, CheckpointError> {
    let folder = Folder::open(dir, options)?;
    folder.weights.check_tied_copies()?;
    let config = folder.masked_lm_config();
    let model = config.init_masked_lm::<B>(options.seed, device);
    let model = model.map_err(|source| folder.config_error(source))?;
    folder.load::<B, _>(model, config, None, options)
}

/// The configuration that [`load_masked_lm_with`] would build, without reading the numbers.
///
/// # Errors
///
/// If a file is missing or malformed.
pub fn masked_lm_config(
    dir: &Path,
    options: &LoadOptions,
) -> Result<DebertaConfig, CheckpointError> {
    Ok(Folder::open(dir, options)?.masked_lm_config())
}

/// Loads a network with a task head from a checkpoint folder.
///
/// Other heads in the file are left aside. A position table that only the mask decoder reads is
/// left aside too.
///
/// # Errors
///
/// If a file is missing or malformed, or names or shapes do not fit; a folder without this head
/// lists its parameters as missing.
pub fn load_task_model<B: Backend, M: TaskModel<B>>(
    dir: &Path,
    compatibility: Compatibility,
    device: &B::Device,
) -> Result<(M, DebertaConfig, HeadConfig), CheckpointError> {
    let options = LoadOptions::new().compatibility(compatibility);
    let folder = Folder::open(dir, &options)?;
    let head = folder.head(&options)?;
    let loaded = folder.load_task::<B, M>(head.clone(), &options, device)?;
    Ok((loaded.model, loaded.config, head))
}

/// As [`load_task_model`], with more choice: for fine-tuning, the head may start from random
/// weights.
///
/// # Errors
///
/// If a file is missing or malformed, or names or shapes do not fit.
pub fn load_task_model_with<B: Backend, M: TaskModel<B>>(
    dir: &Path,
    options: &LoadOptions,
    device: &B::Device,
) -> Result<Loaded<M>, CheckpointError> {
    let folder = Folder::open(dir, options)?;
    let head = folder.head(options)?;
    folder.load_task(head, options, device)
}

/// Configuration and weights of a folder.
pub(super) struct Folder {
    config_path: std::path::PathBuf,
    pub(super) file: HfConfig,
    pub(super) config: DebertaConfig,
    pub(super) weights: Weights,
}

impl Folder {
    pub(super) fn open(dir: &Path, options: &LoadOptions) -> Result<Self, CheckpointError> {
        let config_path = config_path(dir, options.part);
        let mut file = HfConfig::open_part(&config_path, options.part)?;
        let weights = Weights::open_part(dir, options.part)?;
        weights.complete(&mut file);
        let config = file.to_config().map_err(|source| CheckpointError::Config {
            path: config_path.clone(),
            source,
        })?;
        let mut folder = Self {
            config_path,
            file,
            config,
            weights,
        };
        if let Some(relative) = &mut folder.config.relative_positions {
            match options.compatibility {
                Compatibility::AsConfigured => {}
                Compatibility::Microsoft => relative.long_distance = LongDistance::Clamp,
                Compatibility::HuggingFace => relative.long_distance = LongDistance::Extrapolate,
            }
        }
        let config = &mut folder.config;
        if let Some(prob) = options.hidden_dropout {
            config.hidden_dropout_prob = prob;
        }
        if let Some(prob) = options.attention_dropout {
            config.attention_probs_dropout_prob = prob;
        }
        Ok(folder)
    }

    /// With the enhanced mask decoder if the table that it needs is there.
    fn masked_lm_config(&self) -> DebertaConfig {
        let mut config = self.config.clone();
        let has_table = self.weights.has_position_table();
        if config.absolute_positions == AbsolutePositions::None && has_table {
            config.absolute_positions = AbsolutePositions::Decoder;
        }
        config
    }

    fn head(&self, options: &LoadOptions) -> Result<HeadConfig, CheckpointError> {
        match &options.head {
            Some(head) => Ok(head.clone()),
            None => {
                let head = self.file.to_head_config();
                head.map_err(|source| self.config_error(source))
            }
        }
    }

    fn load_task<B: Backend, M: TaskModel<B>>(
        self,
        head: HeadConfig,
        options: &LoadOptions,
        device: &B::Device,
    ) -> Result<Loaded<M>, CheckpointError> {
        let model = M::init(&self.config, &head, options.seed, device);
        let model = model.map_err(|source| self.config_error(source))?;
        let config = self.config.clone();
        self.load::<B, M>(model, config, Some(head), options)
    }

    fn load<B: Backend, M: burn::module::Module<B>>(
        self,
        model: M,
        config: DebertaConfig,
        head: Option<HeadConfig>,
        options: &LoadOptions,
    ) -> Result<Loaded<M>, CheckpointError> {
        let (model, report) = fill::<B, M>(model, &config, &self.weights, options)?;
        Ok(Loaded {
            model,
            config,
            head,
            report,
        })
    }

    pub(super) fn config_error(&self, source: ConfigError) -> CheckpointError {
        CheckpointError::Config {
            path: self.config_path.clone(),
            source,
        }
    }
}
