//! The network that a run starts from: random, or that of a checkpoint.

use std::path::{Path, PathBuf};

use burn::module::Module;
use deberta_model::checkpoint::{LoadOptions, LoadReport, load_masked_lm_with, masked_lm_config};
use deberta_model::config::AbsolutePositions;
use deberta_model::hf_config::RtdPart;
use deberta_model::{DebertaAutodiffBackend, DebertaConfig, DebertaForMaskedLm};
use deberta_train::run::PretrainObjective;
use serde_json::Value;

use super::{PretrainError, PretrainJob, Progress};
use crate::hub::{self, DownloadProgress, HubOptions};

/// The head for masked tokens, which an encoder or a fine-tuned model lacks.
pub(super) const HEAD: &str = "lm_predictions.";

/// Settings of the network that leave its weights as they are.
const FREE: [&str; 2] = ["hidden_dropout_prob", "attention_probs_dropout_prob"];

/// The folder of a checkpoint, downloaded unless the cache has it.
pub(super) fn folder(
    model: &str,
    progress: &mut dyn DownloadProgress,
) -> Result<PathBuf, PretrainError> {
    Ok(hub::resolve(model, &HubOptions::from_env(), progress)?)
}

/// The network of a checkpoint, as the job describes it.
pub(super) fn config_of(dir: &Path) -> Result<DebertaConfig, PretrainError> {
    Ok(masked_lm_config(dir, &LoadOptions::new())?)
}

/// The generator of a checkpoint.
pub(super) fn generator_config_of(dir: &Path) -> Result<DebertaConfig, PretrainError> {
    Ok(masked_lm_config(dir, &generator_part())?)
}

/// Of a folder with two networks, the generator; of any other, what is there.
pub(super) fn generator_part() -> LoadOptions {
    LoadOptions::new().part(RtdPart::Generator)
}

/// Checks that tokenizer and examples fit the network of the checkpoint that the job goes on from.
pub(super) fn check(job: &PretrainJob, tokens: usize) -> Result<(), PretrainError> {
    let setting = |setting: &str, found: String, expected: String| {
        Err(PretrainError::Setting {
            setting: setting.into(),
            found,
            expected,
        })
    };
    let is_rtd = job.train.objective == PretrainObjective::Rtd;
    if let Some(generator) = &job.init_generator
        && !(is_rtd && job.init.is_some())
    {
        let expected = "nothing without `init` and the objective `rtd`".to_owned();
        return setting("init_generator", generator.clone(), expected);
    }
    let Some(model) = &job.init else {
        return Ok(());
    };
    let network = &job.train.model;
    if let Some(path) = &job.tokenizer.path {
        let expected = format!("nothing, as {model} has a tokenizer of its own");
        return setting("tokenizer.path", path.display().to_string(), expected);
    }
    if tokens > network.vocab_size {
        let expected = format!("a tokenizer of at most {} ids", network.vocab_size);
        return setting("init", format!("{model} with {tokens} ids"), expected);
    }
    let positions = network.max_position_embeddings;
    let is_limited = network.absolute_positions != AbsolutePositions::None;
    if is_limited && job.packing.seq_len > positions {
        let expected = format!("at most {positions}, the positions that {model} has");
        return setting("packing.seq_len", job.packing.seq_len.to_string(), expected);
    }
    Ok(())
}

/// The network before the first step; `has_begun` if the run has checkpoints of its own.
pub(super) fn network<B: DebertaAutodiffBackend>(
    job: &PretrainJob,
    has_begun: bool,
    device: &B::Device,
    progress: &mut dyn Progress,
) -> Result<DebertaForMaskedLm<B>, PretrainError> {
    let fresh = job
        .train
        .model
        .init_masked_lm::<B>(job.train.run.seed, device)?;
    let (Some(model), false) = (&job.init, has_begun) else {
        return Ok(fresh);
    };
    let dir = folder(model, &mut ())?;
    let options = LoadOptions::new()
        .allow_missing(HEAD)
        .seed(job.train.run.seed);
    let loaded = load_masked_lm_with::<B>(&dir, &options, device)?;
    check_same_network(model, &job.train.model, &loaded.config)?;
    note_differences(model, "masked-language-model", &loaded.report, progress);
    // Dropout is that of the job; everything else is the same network.
    Ok(fresh.load_record(loaded.model.into_record()))
}

/// Says what was not in a checkpoint, and what was not used of it.
pub(super) fn note_differences(
    model: &str,
    head: &str,
    report: &LoadReport,
    progress: &mut dyn Progress,
) {
    if !report.fresh.is_empty() {
        progress.note(&format!(
            "{model} has no {head} head: {} start from random weights",
            report.fresh.join(", ")
        ));
    }
    if !report.left_aside.is_empty() {
        progress.note(&format!(
            "{model}: {} are of no use here and left aside",
            report.left_aside.join(", ")
        ));
    }
}

/// The job may only change what does not concern the weights.
pub(super) fn check_same_network(
    model: &str,
    job: &DebertaConfig,
    checkpoint: &DebertaConfig,
) -> Result<(), PretrainError> {
    let fields = |config: &DebertaConfig| serde_json::to_value(config).unwrap_or_default();
    let (job, checkpoint) = (fields(job), fields(checkpoint));
    let empty = serde_json::Map::new();
    let changed = checkpoint
        .as_object()
        .unwrap_or(&empty)
        .iter()
        .find(|(name, value)| !FREE.contains(&name.as_str()) && job.get(*name) != Some(*value));
    match changed {
        None => Ok(()),
        Some((name, value)) => Err(PretrainError::Setting {
            setting: format!("train.model.{name}"),
            found: job.get(name).map_or("nothing".into(), Value::to_string),
            expected: format!("{value}, as in {model}"),
        }),
    }
}
