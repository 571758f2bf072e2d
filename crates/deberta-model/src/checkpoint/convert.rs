//! From one format of checkpoint to another, tensor by tensor, without building a network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::error::{CheckpointError, io_error};
use super::floats::FloatType;
use super::growth::grow;
use super::load::Folder;
use super::names::to_hub;
use super::options::LoadOptions;
use super::outgoing::{Outgoing, WeightsFormat, fuse_projections, write_checkpoint};
use super::save::set_architecture;
use super::weights::{Head, Source};
use crate::config::{DebertaConfig, Family};
use crate::hf_config::RtdPart;
use crate::vocabulary::VocabularyGrowth;

/// Files of a tokenizer, which [`convert`] copies.
pub const TOKENIZER_FILES: [&str; 9] = [
    "spm.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "bpe_encoder.bin",
];

/// File beside the weights that says what they were fine-tuned for, which [`convert`] copies.
pub const TASK_FILE: &str = "task.json";

/// Ending of the class of transformers that reads a head, the most special first.
const CLASSES: [(Head, &str); 4] = [
    (Head::QuestionAnswering, "ForQuestionAnswering"),
    (Head::SequenceClassification, "ForSequenceClassification"),
    (Head::TokenClassification, "ForTokenClassification"),
    (Head::MaskedLm, "ForMaskedLM"),
];

/// What [`convert`] writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConvertOptions {
    /// Type of the numbers; `None`, the default, keeps that of each tensor.
    pub dtype: Option<FloatType>,
    /// Format of the files, safetensors by default.
    pub format: WeightsFormat,
    /// Most bytes of tensors in one file; `None`, the default, for one file whatever its size.
    pub max_part_bytes: Option<u64>,
    /// Which network of a replaced-token-detection checkpoint; the discriminator by default.
    pub part: RtdPart,
    /// Rows of the word table; `None`, the default, for those that are there. There can only be more:
    /// see [`VocabularyGrowth`](crate::vocabulary::VocabularyGrowth) for what they hold.
    pub vocab_size: Option<usize>,
    /// Number that new rows of the word table follow from.
    pub seed: u64,
}

impl ConvertOptions {
    /// One safetensors file with the numbers as they are.
    pub fn new() -> Self {
        Self::default()
    }

    /// Converts all numbers to this type.
    pub fn dtype(mut self, dtype: FloatType) -> Self {
        self.dtype = Some(dtype);
        self
    }

    /// Writes files of this format.
    pub fn format(mut self, format: WeightsFormat) -> Self {
        self.format = format;
        self
    }

    /// Spreads the weights over files of at most this many bytes of tensors.
    pub fn max_part_bytes(mut self, bytes: u64) -> Self {
        self.max_part_bytes = Some(bytes);
        self
    }

    /// Gives the word table this many rows.
    pub fn vocab_size(mut self, rows: usize) -> Self {
        self.vocab_size = Some(rows);
        self
    }

    /// Number that new rows of the word table follow from.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Which network of a replaced-token-detection checkpoint to take.
    pub fn part(mut self, part: RtdPart) -> Self {
        self.part = part;
        self
    }
}

/// What [`convert`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConvertReport {
    /// Names of the files that were written.
    pub files: Vec<String>,
    /// Tensors written.
    pub tensors: usize,
    /// Numbers written.
    pub parameters: u64,
    /// Tensors that were not written, in the file's names: copies of the word table, constant
    /// buffers, leftovers of training, integers, and tensors of another network in the same file.
    pub left_aside: Vec<String>,
}

/// Writes the checkpoint of `source` into `target` in the Hub layout: names as transformers has them
/// today, `config.json` of one network, tokenizer files and [`TASK_FILE`] beside it.
///
/// Numbers are copied bit by bit unless another type is asked for. Tensors of heads that transformers
/// does not know are kept. A few rows are in memory at a time.
///
/// # Errors
///
/// If a file is missing, malformed or not to be written, two tensors are the same parameter, an
/// output matrix is not the word table, `target` is `source`, a number is beyond the range of the
/// type to write, or the word table would lose rows.
pub fn convert(
    source: &Path,
    target: &Path,
    options: &ConvertOptions,
) -> Result<ConvertReport, CheckpointError> {
    let load = LoadOptions::new().part(options.part);
    let mut folder = Folder::open(source, &load)?;
    let growth = options
        .vocab_size
        .map(|rows| folder.growth(rows, options.seed));
    let growth = growth.transpose()?;
    folder.weights.check_tied_copies()?;
    std::fs::create_dir_all(target).map_err(|error| io_error(target, error))?;
    refuse_same_folder(source, target)?;

    let (sources, mut left_aside) = folder.weights.sources(&folder.config, |_| true)?;
    let (floats, others): (BTreeMap<_, _>, BTreeMap<_, _>) = sources
        .into_iter()
        .partition(|(_, source)| source.tensor.float().is_ok());
    left_aside.extend(others.into_values().map(|it| it.tensor.name.clone()));
    let tensors = outgoing(floats, &folder.config, options.dtype, growth)?;
    if let Some(growth) = growth {
        folder.file.vocab_size = growth.rows;
    }
    let mut report = ConvertReport {
        files: Vec::new(),
        tensors: tensors.len(),
        parameters: tensors.iter().map(|it| it.len() as u64).sum(),
        left_aside,
    };
    let dtypes: BTreeSet<FloatType> = tensors.iter().map(|it| it.dtype).collect();
    let config = normalised(&folder, &dtypes);
    let (format, max_part_bytes) = (options.format, options.max_part_bytes);
    report.files = write_checkpoint(target, format, max_part_bytes, &config, tensors)?;
    for name in TOKENIZER_FILES.into_iter().chain([TASK_FILE]) {
        let (from, to) = (source.join(name), target.join(name));
        if from.is_file() {
            std::fs::copy(&from, &to).map_err(|error| io_error(&to, error))?;
            report.files.push(name.into());
        }
    }
    Ok(report)
}

/// Writing over files that are mapped would pull the numbers from under our feet.
fn refuse_same_folder(source: &Path, target: &Path) -> Result<(), CheckpointError> {
    let real = |path: &Path| std::fs::canonicalize(path).map_err(|error| io_error(path, error));
    if real(source)? == real(target)? {
        let error = std::io::Error::other("source and target are the same folder");
        return Err(io_error(target, error));
    }
    Ok(())
}

fn outgoing(
    sources: BTreeMap<String, Source>,
    config: &DebertaConfig,
    dtype: Option<FloatType>,
    growth: Option<VocabularyGrowth>,
) -> Result<Vec<Outgoing<'static>>, CheckpointError> {
    let mut tensors = Vec::with_capacity(sources.len());
    for (name, source) in sources {
        let shape = source.shape().ok_or_else(|| {
            let shape = &source.tensor.shape;
            source.tensor.error(format!(
                "has shape {shape:?}, which is not three matrices for {} heads of width {}",
                config.num_attention_heads, config.attention_head_size
            ))
        })?;
        tensors.push(Outgoing {
            name,
            shape,
            dtype: dtype.unwrap_or(source.tensor.float()?),
            read: Box::new(move |to, rows| source.rows(to, rows)),
        });
    }
    if let Some(growth) = growth {
        tensors = grow(tensors, config, growth);
    }
    if config.family == Family::V1 {
        tensors = fuse_projections(tensors, config);
    }
    for tensor in &mut tensors {
        tensor.name = to_hub(&tensor.name, config.family);
    }
    Ok(tensors)
}

/// The configuration with everything said that the Hub's files say.
fn normalised(folder: &Folder, dtypes: &BTreeSet<FloatType>) -> crate::HfConfig {
    let mut file = folder.file.clone();
    // The widest, if there are several.
    if let Some(widest) = dtypes.first() {
        file.set_dtype(*widest);
    }
    let heads = folder.weights.heads();
    if heads.contains(&Head::MaskedLm) {
        // The spelling of the head that is written, whichever was read.
        file.other.insert("legacy".into(), Value::Bool(false));
    }
    if !file.other.contains_key("architectures") {
        let class = CLASSES.iter().find(|(head, _)| heads.contains(head));
        let class = class.map_or("Model", |(_, class)| class);
        set_architecture(&mut file, folder.config.family, class);
    }
    file
}
