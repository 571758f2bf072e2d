//! `deberta init`: a checkpoint with random weights.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use deberta::backend::DefaultBackend as B;
use deberta::data::tokenizer::{Tokenize, Tokenizer};
use deberta::model::DebertaConfig;
use deberta::model::checkpoint::{
    FloatType, SaveOptions, save_masked_lm_with, save_model, save_task_model_with,
};
use deberta::model::config::AbsolutePositions;
use deberta::model::heads::classification::{
    DebertaForMultipleChoice, DebertaForSequenceClassification,
};
use deberta::model::heads::question_answering::DebertaForQuestionAnswering;
use deberta::model::heads::replaced_token::DebertaForReplacedTokenDetection;
use deberta::model::heads::token_classification::{
    DebertaForEntityRecognition, DebertaForTokenClassification,
};
use deberta::model::heads::{HeadConfig, TaskModel};
use deberta::model::presets;

use crate::footprint::{Footprint, gigabytes};
use crate::head::Head;
use crate::names;
use crate::stdout::stdout;
use crate::target::check_free;

/// Write a checkpoint of a published size with random weights.
///
/// To train from, to measure with, or to check another program against. The weights depend on the
/// seed alone.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folder to write; made if it is not there
    #[arg(required_unless_present = "dry_run")]
    target: Option<PathBuf>,
    /// Write in the place of weights that the folder has
    #[arg(long)]
    force: bool,
    /// Write nothing; say how large the network is and what memory it takes
    #[arg(long)]
    dry_run: bool,
    /// Published size, such as deberta-v3-base
    #[arg(long, value_parser = size)]
    size: DebertaConfig,
    /// Layers, if not as published
    #[arg(long)]
    layers: Option<usize>,
    /// Tokenizer to put beside the weights: spm.model, tokenizer.json, or a folder
    #[arg(long, value_name = "PATH")]
    tokenizer: Option<PathBuf>,
    /// Rows of the word table, if not as published; by default those that --tokenizer needs
    #[arg(long)]
    vocab: Option<usize>,
    /// What to put on top of the encoder
    #[arg(long, default_value = "encoder")]
    head: Head,
    /// Labels of the head, separated by commas
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = names::name,
        default_value = "LABEL_0,LABEL_1"
    )]
    labels: Vec<String>,
    /// A masked language model without the enhanced mask decoder
    #[arg(long)]
    plain: bool,
    /// Standard deviation of the weights
    #[arg(long, default_value_t = 0.02)]
    std: f64,
    /// Number that the weights follow from
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Float type to write: f64, f32, f16 or bf16
    #[arg(long, default_value = "f32")]
    dtype: FloatType,
}

const EXAMPLES: &str = "\
Examples:
  deberta init tiny/ --size deberta-v3-xsmall --layers 2 --tokenizer spm.model
  deberta init tiny/ --size deberta-v3-xsmall --layers 2 --head sequence --labels bad,good
  deberta init --size deberta-v2-xxlarge --dry-run";

/// Word tables have a multiple of this many rows, which matrix products like.
const VOCAB_MULTIPLE: usize = 64;

fn size(name: &str) -> Result<DebertaConfig, String> {
    let known = || format!("expected one of {}", presets::NAMES.join(", "));
    presets::by_name(name).ok_or_else(known)
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut config = args.size.clone();
    config.num_hidden_layers = args.layers.unwrap_or(config.num_hidden_layers);
    let tokenizer = args.tokenizer.as_deref().map(Tokenizer::open).transpose()?;
    if let Some(tokenizer) = &tokenizer {
        config.vocab_size = tokenizer.vocab_size().next_multiple_of(VOCAB_MULTIPLE);
        config.pad_token_id = tokenizer.special().pad;
    }
    config.vocab_size = args.vocab.unwrap_or(config.vocab_size);
    if let Some(tokenizer) = &tokenizer {
        ensure!(
            tokenizer.vocab_size() <= config.vocab_size,
            "--vocab {}: the tokenizer has {} ids",
            config.vocab_size,
            tokenizer.vocab_size()
        );
    }
    config.initializer_range = args.std;
    ensure!(
        !args.plain || args.head == Head::MaskedLm,
        "--plain is for --head masked-lm"
    );
    if args.plain || args.head != Head::MaskedLm {
        // Without a mask decoder nothing reads the table.
        config.absolute_positions = AbsolutePositions::None;
    }
    let (Some(target), false) = (&args.target, args.dry_run) else {
        return print_footprint(&config);
    };
    check_free(target, args.force)?;
    let device = Default::default();
    let options = SaveOptions::new().dtype(args.dtype);
    match args.head {
        Head::Encoder => {
            let model = config.init::<B>(args.seed, &device)?;
            save_model(&model, &config, target, &options)?;
        }
        Head::MaskedLm => {
            let model = config.init_masked_lm::<B>(args.seed, &device)?;
            save_masked_lm_with(&model, &config, target, &options)?;
        }
        Head::ReplacedToken => save::<DebertaForReplacedTokenDetection<B>>(args, &config, target)?,
        Head::Sequence => save::<DebertaForSequenceClassification<B>>(args, &config, target)?,
        Head::Token => save::<DebertaForTokenClassification<B>>(args, &config, target)?,
        Head::Entity => save::<DebertaForEntityRecognition<B>>(args, &config, target)?,
        Head::QuestionAnswering => save::<DebertaForQuestionAnswering<B>>(args, &config, target)?,
        Head::MultipleChoice => save::<DebertaForMultipleChoice<B>>(args, &config, target)?,
    }
    if let Some(tokenizer) = &tokenizer {
        tokenizer.save(target)?;
    }
    writeln!(
        stdout(),
        "{} parameters in the encoder, {} into {}",
        config.num_parameters(),
        args.dtype,
        target.display()
    )?;
    Ok(())
}

fn print_footprint(config: &DebertaConfig) -> Result<()> {
    config.validate()?;
    let network = Footprint::new(config);
    let networks = Footprint::with_generator(config);
    let parameters = network.parameters;
    writeln!(stdout(), "{parameters} parameters in the encoder")?;
    for (what, bytes) in [
        ("to answer in bf16 or f16", network.half()),
        ("to answer in f32", network.full()),
        ("to train in f32", network.training()),
        (
            "to train with computation in bf16",
            network.mixed_training(),
        ),
        ("to train in f32 with a generator", networks.training()),
        (
            "to train with a generator and computation in bf16",
            networks.mixed_training(),
        ),
    ] {
        writeln!(stdout(), "{:>7} GB {what}", gigabytes(bytes))?;
    }
    writeln!(stdout(), "and what the tokens of a batch take")?;
    Ok(())
}

fn save<M: TaskModel<B>>(args: &Args, config: &DebertaConfig, target: &Path) -> Result<()> {
    let head = HeadConfig::new(config, args.labels.clone());
    let model = M::init(config, &head, args.seed, &Default::default())?;
    let options = SaveOptions::new().dtype(args.dtype);
    save_task_model_with(&model, config, &head, target, &options)?;
    Ok(())
}
