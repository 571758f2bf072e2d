//! What a run trains, from its first network to the folders that it leaves.

use std::path::{Path, PathBuf};

use burn::tensor::backend::Backend;
use deberta_data::tokenizer::{Tokenize, Tokenizer};
use deberta_model::checkpoint::save_masked_lm;
use deberta_model::{DebertaAutodiffBackend, DebertaForMaskedLm};
use deberta_train::objective::RtdNetworks;
use deberta_train::run::{
    PretrainData, PretrainObjective, RunOptions, RunReport, TrainError, pretrain_from,
    pretrain_rtd_from,
};

use super::{MODEL_DIR, PretrainError, PretrainJob, Progress, rtd, start};

/// The networks of an objective.
pub(super) enum Networks<B: Backend> {
    Mlm(Box<DebertaForMaskedLm<B>>),
    Rtd(Box<RtdNetworks<B>>),
}

impl<B: DebertaAutodiffBackend> Networks<B> {
    /// Before the first step; `has_begun` if the run has checkpoints of its own.
    pub(super) fn start(
        job: &PretrainJob,
        has_begun: bool,
        device: &B::Device,
        progress: &mut dyn Progress,
    ) -> Result<Self, PretrainError> {
        Ok(match job.train.objective {
            PretrainObjective::Mlm => {
                let model = start::network::<B>(job, has_begun, device, progress)?;
                Self::Mlm(Box::new(model))
            }
            PretrainObjective::Rtd => {
                let networks = rtd::networks::<B>(job, has_begun, device, progress)?;
                Self::Rtd(Box::new(networks))
            }
        })
    }

    /// After the last step, or where the run was stopped.
    ///
    /// - `tokenizer`: has the pieces that a generator may put in
    pub(super) fn train(
        self,
        job: &PretrainJob,
        data: &PretrainData,
        tokenizer: &Tokenizer,
        options: &RunOptions,
        device: &B::Device,
    ) -> Result<(Networks<B::InnerBackend>, RunReport), TrainError> {
        let config = &job.train;
        Ok(match self {
            Self::Mlm(model) => {
                let trained = pretrain_from(*model, config, data, options, device)?;
                (Networks::Mlm(Box::new(trained.model)), trained.report)
            }
            Self::Rtd(networks) => {
                let pieces = tokenizer.vocab().replaceable_ids();
                let trained = pretrain_rtd_from(*networks, config, data, pieces, options, device)?;
                (Networks::Rtd(Box::new(trained.networks)), trained.report)
            }
        })
    }
}

impl<B: Backend> Networks<B> {
    /// Writes the model, and the generator if there is one, with the tokenizer.
    pub(super) fn save(
        &self,
        job: &PretrainJob,
        tokenizer: &Tokenizer,
        run_dir: &Path,
    ) -> Result<(PathBuf, Option<PathBuf>), PretrainError> {
        match self {
            Self::Mlm(model) => {
                let dir = run_dir.join(MODEL_DIR);
                save_masked_lm(model, &job.train.model, &dir)?;
                tokenizer.save(&dir)?;
                Ok((dir, None))
            }
            Self::Rtd(networks) => {
                let [model, generator] = rtd::save(networks, job, tokenizer, run_dir)?;
                Ok((model, Some(generator)))
            }
        }
    }
}
