//! `deberta inspect`: what a checkpoint is, and what it lacks.

use std::path::{Path, PathBuf};

use anyhow::Result;
use deberta::backend::DefaultBackend as B;
use deberta::data::tokenizer::{Tokenize, Tokenizer};
use deberta::model::checkpoint::{CONFIG_FILE, Fit, Head, Weights};
use deberta::model::config::{AbsolutePositions, DebertaConfig};
use deberta::model::{HfConfig, presets};
use serde::Serialize;

/// Say what a checkpoint is: size, parameters, float types, heads, tokenizer, and what is missing.
///
/// Reads names and shapes, not the numbers.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the checkpoint
    model: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Also list every tensor
    #[arg(long)]
    tensors: bool,
}

/// What there is to say.
#[derive(Serialize)]
struct Report {
    path: PathBuf,
    /// The published size with the same network, whatever its vocabulary.
    published_size: Option<&'static str>,
    config: DebertaConfig,
    labels: Vec<String>,
    weights_file: PathBuf,
    parameters: u64,
    dtypes: Vec<String>,
    encoder: FitReport,
    heads: Vec<HeadReport>,
    tokenizer: Result<TokenizerReport, String>,
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
    let report = inspect(&args.model, args.tensors)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

fn inspect(dir: &Path, list_tensors: bool) -> Result<Report> {
    let file = HfConfig::open(&dir.join(CONFIG_FILE))?;
    let weights = Weights::open(dir)?;
    let mut config = file.to_config()?;
    let found = weights.heads();
    if found.contains(&Head::EnhancedMaskDecoder) {
        config.absolute_positions = AbsolutePositions::Decoder;
    }
    let device = Default::default();
    let fit = |head| weights.fit::<B>(&file, head, &device).map(FitReport::from);
    let heads = found
        .iter()
        // The decoder is reported with the head that it belongs to.
        .filter(|head| **head != Head::MaskedLm || !found.contains(&Head::EnhancedMaskDecoder))
        .map(|&head| {
            Ok(HeadReport {
                head: head_name(head),
                fit: fit(Some(head))?,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let tokenizer = Tokenizer::open(dir).map_err(|error| error.to_string());
    Ok(Report {
        path: dir.into(),
        published_size: published_size(&config),
        labels: file.to_head_config()?.labels,
        weights_file: weights.path().into(),
        parameters: weights.parameters(),
        dtypes: weights.dtypes().iter().map(ToString::to_string).collect(),
        encoder: fit(None)?,
        heads,
        tokenizer: tokenizer.map(|tokenizer| TokenizerReport {
            ids: tokenizer.vocab_size(),
            mask: tokenizer.special().mask,
            fits_word_table: tokenizer.vocab_size() <= config.vocab_size,
        }),
        tensors: weights
            .tensors()
            .filter(|_| list_tensors)
            .map(|tensor| TensorReport {
                name: tensor.name,
                hub_name: tensor.hub_name,
                shape: tensor.shape,
                dtype: tensor.dtype.to_string(),
                file: tensor.file,
            })
            .collect(),
        config,
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

fn print(report: &Report) {
    let config = &report.config;
    let line = |what: &str, text: String| println!("{what:<14}{text}");
    line("checkpoint", report.path.display().to_string());
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
    line(
        "weights",
        format!(
            "{} parameters in {}, {}",
            report.parameters,
            report.dtypes.join(" and "),
            report.weights_file.display()
        ),
    );
    line("encoder", fit_text(&report.encoder));
    for head in &report.heads {
        line("head", format!("{}: {}", head.head, fit_text(&head.fit)));
    }
    if report.heads.is_empty() {
        line("head", "none".into());
    }
    line(
        "tokenizer",
        match &report.tokenizer {
            Ok(it) if it.fits_word_table => format!("{} ids, [MASK] is {}", it.ids, it.mask),
            Ok(it) => format!("{} ids, more than the word table has rows", it.ids),
            Err(problem) => problem.clone(),
        },
    );
    for tensor in &report.tensors {
        let hub_name = tensor.hub_name.as_deref().unwrap_or("(left aside)");
        println!(
            "  {} {:?} {} -> {hub_name}",
            tensor.name, tensor.shape, tensor.dtype
        );
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
