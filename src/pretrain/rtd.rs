//! Replaced-token detection: the networks that a run starts from, and what it leaves behind.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};
use deberta_data::tokenizer::{Tokenize, Tokenizer};
use deberta_model::checkpoint::{
    FloatType, LoadOptions, Weights, load_masked_lm_with, load_task_model_with, save_masked_lm,
    save_task_model,
};
use deberta_model::config::AbsolutePositions;
use deberta_model::heads::HeadConfig;
use deberta_model::{DebertaAutodiffBackend, DebertaConfig, DebertaForMaskedLm};
use deberta_train::objective::{Discriminator, EmbeddingSharing, RtdNetworks};

use super::start::{HEAD, note_differences};
use super::start::{check_same_network, config_of, folder, generator_config_of, generator_part};
use super::{MODEL_DIR, PretrainError, PretrainJob, Progress};

/// Folder of the finished generator inside a run folder.
const GENERATOR_DIR: &str = "generator";

/// The head that tells replaced tokens.
const DETECTION_HEAD: &str = "mask_predictions.";

/// The table that mask decoders read.
const POSITION_TABLE: &str = "deberta.embeddings.position_embeddings.weight";

/// What the output of a discriminator is called.
const LABELS: [&str; 2] = ["original", "replaced"];

/// The networks before the first step; `has_begun` if the run has checkpoints of its own.
pub(super) fn networks<B: DebertaAutodiffBackend>(
    job: &PretrainJob,
    has_begun: bool,
    device: &B::Device,
    progress: &mut dyn Progress,
) -> Result<RtdNetworks<B>, PretrainError> {
    let (config, network) = (&job.train.rtd, &job.train.model);
    let (Some(model), false) = (&job.init, has_begun) else {
        return Ok(config.init(network, job.train.run.seed, device)?);
    };
    let dir = folder(model, &mut ())?;
    let discriminator = discriminator::<B>(job, model, &dir, device, progress)?;
    let generator = match &job.init_generator {
        Some(name) => generator(job, name, device, progress)?,
        None => fresh_generator(job, model, &dir, &discriminator, device, progress)?,
    };
    if let (EmbeddingSharing::Shared, Some(name)) = (config.sharing, &job.init_generator) {
        progress.note(&format!(
            "the embeddings are those of {name}, in place of those of {model}"
        ));
    }
    Ok(RtdNetworks::join(generator, discriminator, config, network))
}

fn discriminator<B: DebertaAutodiffBackend>(
    job: &PretrainJob,
    model: &str,
    dir: &Path,
    device: &B::Device,
    progress: &mut dyn Progress,
) -> Result<Discriminator<B>, PretrainError> {
    let (config, seed) = (&job.train.model, job.train.run.seed);
    let [asked, found] = [config.clone(), config_of(dir)?].map(without_decoder);
    check_same_network(model, &asked, &found)?;
    let options = LoadOptions::new().allow_missing(DETECTION_HEAD).seed(!seed);
    let mut loaded = load_task_model_with::<B, Discriminator<B>>(dir, &options, device)?;
    // It is for the mask decoder of a generator.
    let aside = &mut loaded.report.left_aside;
    aside.retain(|name| !name.ends_with(POSITION_TABLE));
    note_differences(model, "replaced-token", &loaded.report, progress);
    let fresh = job
        .train
        .rtd
        .init_discriminator::<B>(config, seed, device)?;
    // Dropout is that of the job; everything else is the same network.
    Ok(fresh.load_record(loaded.model.into_record()))
}

/// A discriminator has no mask decoder, whether the table that one would read is in its file or not.
fn without_decoder(config: DebertaConfig) -> DebertaConfig {
    DebertaConfig {
        absolute_positions: match config.absolute_positions {
            AbsolutePositions::Decoder => AbsolutePositions::None,
            positions => positions,
        },
        ..config
    }
}

/// The generator of a checkpoint.
fn generator<B: DebertaAutodiffBackend>(
    job: &PretrainJob,
    name: &str,
    device: &B::Device,
    progress: &mut dyn Progress,
) -> Result<DebertaForMaskedLm<B>, PretrainError> {
    let (config, seed) = (&job.train.model, job.train.run.seed);
    let dir = folder(name, &mut ())?;
    let expected = job.train.rtd.generator(config);
    check_same_network(name, &expected, &generator_config_of(&dir)?)?;
    let options = generator_part().allow_missing(HEAD).seed(seed);
    let loaded = load_masked_lm_with::<B>(&dir, &options, device)?;
    progress.note(&format!("the generator starts from {name}"));
    note_differences(name, "masked-language-model", &loaded.report, progress);
    let fresh = job.train.rtd.init_generator::<B>(config, seed, device)?;
    Ok(fresh.load_record(loaded.model.into_record()))
}

/// A generator of random weights, but with the embeddings of the discriminator in `dir`.
fn fresh_generator<B: DebertaAutodiffBackend>(
    job: &PretrainJob,
    model: &str,
    dir: &Path,
    discriminator: &Discriminator<B>,
    device: &B::Device,
    progress: &mut dyn Progress,
) -> Result<DebertaForMaskedLm<B>, PretrainError> {
    let (config, seed) = (&job.train.model, job.train.run.seed);
    let mut generator = job.train.rtd.init_generator::<B>(config, seed, device)?;
    let tables = &discriminator.deberta.embeddings;
    let words = tables.word_embeddings.weight.val();
    let positions = match config.absolute_positions {
        AbsolutePositions::Decoder => position_table::<B>(dir, device)?,
        _ => tables.position_table(),
    };
    let embeddings = generator.deberta.embeddings;
    generator.deberta.embeddings = embeddings.with_tables(words, positions);
    progress.note(&format!(
        "the generator starts from random weights and the embeddings of {model}: no other was named"
    ));
    Ok(generator)
}

/// The table that the mask decoder of a checkpoint reads.
fn position_table<B: Backend>(
    dir: &Path,
    device: &B::Device,
) -> Result<Option<Tensor<B, 2>>, PretrainError> {
    let weights = Weights::open(dir)?;
    let mut tensors = weights.tensors();
    let Some(table) = tensors.find(|it| it.hub_name.as_deref() == Some(POSITION_TABLE)) else {
        return Ok(None);
    };
    let table = weights.read(&table.name, FloatType::F32)?;
    Ok(Some(Tensor::from_data(table, device)))
}

/// Writes both networks in the Hub layout, each into a folder of its own with the tokenizer:
/// discriminator and generator.
pub(super) fn save<B: Backend>(
    networks: &RtdNetworks<B>,
    job: &PretrainJob,
    tokenizer: &Tokenizer,
    run_dir: &Path,
) -> Result<[PathBuf; 2], PretrainError> {
    let (config, network): (_, &DebertaConfig) = (&job.train.rtd, &job.train.model);
    let dirs = [MODEL_DIR, GENERATOR_DIR].map(|name| run_dir.join(name));
    let discriminator = config.discriminator(network);
    let head = HeadConfig::new(&discriminator, LABELS.map(str::to_owned).to_vec());
    save_task_model(&networks.merged(), &discriminator, &head, &dirs[0])?;
    save_masked_lm(&networks.generator, &config.generator(network), &dirs[1])?;
    for dir in &dirs {
        tokenizer.save(dir)?;
    }
    Ok(dirs)
}
