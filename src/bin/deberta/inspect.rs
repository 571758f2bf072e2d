//! `deberta inspect`: what a checkpoint is, and what it lacks.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use deberta::backend::DefaultBackend as B;
use deberta::data::tokenizer::{Tokenize, Tokenizer};
use deberta::hub::Parts;
#[cfg(feature = "hub")]
use deberta::model::checkpoint::WEIGHTS_FILE;
use deberta::model::checkpoint::{Fit, Head, Weights};
use deberta::model::config::{AbsolutePositions, DebertaConfig};
use deberta::model::{HfConfig, presets};
use serde::Serialize;

use crate::source;
use crate::stdout::stdout;
use crate::watch::Watcher;

/// Say what a checkpoint is: size, parameters, float types, heads, tokenizer, and what is missing.
///
/// Reads names and shapes, not the numbers. Of a model on the Hub it downloads the configuration, the
/// tokenizer and the headers of safetensors files; PyTorch files have none, so of these only the size
/// is known.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folder of the checkpoint, or its name on the Hub
    model: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Also list every tensor
    #[arg(long)]
    tensors: bool,
}

const EXAMPLES: &str = "\
Examples:
  deberta inspect microsoft/deberta-v3-base
  deberta inspect my-model/ --tensors
  deberta inspect my-model/ --json > report.json";

/// What there is to say.
#[derive(Serialize)]
struct Report {
    path: String,
    /// The published size with the same network, whatever its vocabulary.
    published_size: Option<&'static str>,
    config: DebertaConfig,
    labels: Vec<String>,
    /// Files on the Hub that hold the weights, and their bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remote_files: Vec<(String, Option<u64>)>,
    /// Absent if only the sizes of the files are known.
    weights: Option<WeightsReport>,
    tokenizer: Result<TokenizerReport, String>,
}

#[derive(Serialize)]
struct WeightsReport {
    file: PathBuf,
    parameters: u64,
    dtypes: Vec<String>,
    encoder: FitReport,
    heads: Vec<HeadReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tensors: Vec<TensorReport>,
}

#[derive(Serialize)]
struct HeadReport {
    head: &'static str,
    #[serde(flatten)]
    fit: FitReport,
}

/// Differences to what the network expects.
#[derive(Serialize)]
struct FitReport {
    complete: bool,
    missing: Vec<String>,
    unexpected: Vec<String>,
    wrong_shape: Vec<String>,
}

#[derive(Serialize)]
struct TokenizerReport {
    ids: usize,
    mask: u32,
    fits_word_table: bool,
}

#[derive(Serialize)]
struct TensorReport {
    name: String,
    hub_name: Option<String>,
    shape: Vec<usize>,
    dtype: String,
    file: PathBuf,
}

impl From<Fit> for FitReport {
    fn from(fit: Fit) -> Self {
        Self {
            complete: fit.is_complete(),
            missing: fit.missing,
            unexpected: fit.unexpected,
            wrong_shape: fit.wrong_shape,
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let report = if Path::new(&args.model).is_dir() {
        let dir = Path::new(&args.model);
        inspect(dir, Some(Weights::open(dir)?), args.tensors)?
    } else {
        remote(args)?
    };
    let shown = match args.json {
        true => serde_json::to_string_pretty(&report)? + "\n",
        false => shown(&report),
    };
    Ok(stdout().write_all(shown.as_bytes())?)
}

/// Asks the Hub; offline, reads the cache.
#[cfg(feature = "hub")]
fn remote(args: &Args) -> Result<Report> {
    use deberta::hub::{self, HubOptions};

    let options = HubOptions::from_env();
    if options.offline {
        let dir = source::path(&args.model, Parts::All)?;
        return inspect(&dir, Some(Weights::open(&dir)?), args.tensors);
    }
    let found = hub::inspect(&args.model, &options, &mut Watcher::default())?;
    let weights = found.tensors.map(|tensors| {
        let listed = tensors.into_iter().map(|tensor| {
            let shape = tensor.shape.iter().map(|&it| it as usize).collect();
            (tensor.name, tensor.dtype, shape, tensor.file.into())
        });
        Weights::listed(found.dir.join(WEIGHTS_FILE), listed)
    });
    let mut report = inspect(&found.dir, weights, args.tensors)?;
    report.path = args.model.clone();
    let files = found.weights.into_iter().map(|file| (file.name, file.size));
    report.remote_files = files.collect();
    Ok(report)
}

/// Without network code there is nobody to ask.
#[cfg(not(feature = "hub"))]
fn remote(args: &Args) -> Result<Report> {
    let dir = source::path(&args.model, Parts::All)?;
    inspect(&dir, Some(Weights::open(&dir)?), args.tensors)
}

fn inspect(dir: &Path, weights: Option<Weights>, list_tensors: bool) -> Result<Report> {
    let file = HfConfig::of_folder(dir)?;
    let mut config = file.to_config()?;
    let decoder = |weights: &Weights| weights.heads().contains(&Head::EnhancedMaskDecoder);
    if weights.as_ref().is_some_and(decoder) {
        config.absolute_positions = AbsolutePositions::Decoder;
    }
    let weights = weights.map(|weights| describe(&weights, &file, list_tensors));
    let tokenizer = Tokenizer::open(dir).map_err(|error| error.to_string());
    Ok(Report {
        path: dir.display().to_string(),
        published_size: published_size(&config),
        labels: file.to_head_config()?.labels,
        remote_files: Vec::new(),
        weights: weights.transpose()?,
        tokenizer: tokenizer.map(|tokenizer| TokenizerReport {
            ids: tokenizer.vocab_size(),
            mask: tokenizer.special().mask,
            fits_word_table: tokenizer.vocab_size() <= config.vocab_size,
        }),
        config,
    })
}

fn describe(weights: &Weights, file: &HfConfig, list_tensors: bool) -> Result<WeightsReport> {
    let found = weights.heads();
    let device = Default::default();
    let fit = |head| weights.fit::<B>(file, head, &device).map(FitReport::from);
    let heads = found
        .iter()
        // The decoder is reported with the head that it belongs to.
        .filter(|head| **head != Head::MaskedLm || !found.contains(&Head::EnhancedMaskDecoder))
        .map(|&head| {
            Ok(HeadReport {
                head: head_name(head),
                fit: fit(Some(head))?,
            })
        });
    let tensors = weights.tensors().filter(|_| list_tensors);
    Ok(WeightsReport {
        file: weights.path().into(),
        parameters: weights.parameters(),
        dtypes: weights.dtypes().iter().map(ToString::to_string).collect(),
        heads: heads.collect::<Result<_>>()?,
        encoder: fit(None)?,
        tensors: tensors
            .map(|tensor| TensorReport {
                name: tensor.name,
                hub_name: tensor.hub_name,
                shape: tensor.shape,
                dtype: tensor.dtype.to_string(),
                file: tensor.file,
            })
            .collect(),
    })
}

/// The published size with the same layers, widths and vocabulary.
fn published_size(config: &DebertaConfig) -> Option<&'static str> {
    let size = |config: &DebertaConfig| {
        (
            config.family,
            config.num_hidden_layers,
            config.hidden_size,
            config.num_attention_heads,
            config.vocab_size,
            config.conv,
        )
    };
    presets::NAMES
        .into_iter()
        .find(|name| presets::by_name(name).is_some_and(|it| size(&it) == size(config)))
}

fn head_name(head: Head) -> &'static str {
    match head {
        Head::MaskedLm => "masked language model",
        Head::EnhancedMaskDecoder => "masked language model with the enhanced mask decoder",
        Head::ReplacedToken => "replaced-token detection",
        Head::SequenceClassification => "sequence classification",
        Head::MultipleChoice => "multiple choice",
        Head::TokenClassification => "token classification",
        Head::EntityRecognition => "entity recognition (Microsoft's)",
        Head::QuestionAnswering => "question answering",
        _ => "another head",
    }
}

/// The report for people.
fn shown(report: &Report) -> String {
    let config = &report.config;
    let mut shown = String::new();
    let mut line = |what: &str, text: String| shown.push_str(&format!("{what:<14}{text}\n"));
    line("checkpoint", report.path.clone());
    line(
        "size",
        report
            .published_size
            .unwrap_or("none of the published ones")
            .into(),
    );
    line(
        "network",
        format!(
            "{:?} family, {} layers, {} wide, {} heads of {}, feed-forward {}",
            config.family,
            config.num_hidden_layers,
            config.hidden_size,
            config.num_attention_heads,
            config.attention_head_size,
            config.intermediate_size,
        ),
    );
    line("word table", format!("{} rows", config.vocab_size));
    line("positions", positions(config));
    for (name, bytes) in &report.remote_files {
        let size = bytes.map_or("of unknown size".into(), |it| format!("{it} bytes"));
        line("file", format!("{name}, {size}"));
    }
    match &report.weights {
        Some(weights) => weight_lines(weights, &mut line),
        None => line("weights", "only the sizes of the files are known".into()),
    }
    line(
        "tokenizer",
        match &report.tokenizer {
            Ok(it) if it.fits_word_table => format!("{} ids, [MASK] is {}", it.ids, it.mask),
            Ok(it) => format!("{} ids, more than the word table has rows", it.ids),
            Err(problem) => problem.clone(),
        },
    );
    let tensors = report.weights.iter().flat_map(|it| &it.tensors);
    for tensor in tensors {
        let hub_name = tensor.hub_name.as_deref().unwrap_or("(left aside)");
        shown.push_str(&format!(
            "  {} {:?} {} -> {hub_name}\n",
            tensor.name, tensor.shape, tensor.dtype
        ));
    }
    shown
}

fn weight_lines(weights: &WeightsReport, mut line: impl FnMut(&str, String)) {
    let dtypes = weights.dtypes.join(" and ");
    let file = weights.file.display();
    line(
        "weights",
        format!("{} parameters in {dtypes}, {file}", weights.parameters),
    );
    line("encoder", fit_text(&weights.encoder));
    for head in &weights.heads {
        line("head", format!("{}: {}", head.head, fit_text(&head.fit)));
    }
    if weights.heads.is_empty() {
        line("head", "none".into());
    }
}

fn positions(config: &DebertaConfig) -> String {
    let relative = match &config.relative_positions {
        None => "no relative ones".to_owned(),
        Some(table) => match table.buckets {
            Some(buckets) => format!("relative up to {} in {buckets} buckets", table.max_distance),
            None => format!("relative up to {}", table.max_distance),
        },
    };
    let absolute = match config.absolute_positions {
        AbsolutePositions::None => "no absolute ones",
        AbsolutePositions::Decoder => "absolute ones in the mask decoder",
        AbsolutePositions::Input => "absolute ones in the input",
    };
    format!("{relative}, {absolute}")
}

fn fit_text(fit: &FitReport) -> String {
    if fit.complete {
        return "complete".into();
    }
    let lists = [
        ("missing", &fit.missing),
        ("unexpected", &fit.unexpected),
        ("of another shape", &fit.wrong_shape),
    ];
    let parts = lists.into_iter().filter(|(_, names)| !names.is_empty());
    let parts: Vec<String> = parts
        .map(|(what, names)| format!("{} {what} ({})", names.len(), names.join(", ")))
        .collect();
    parts.join("; ")
}
