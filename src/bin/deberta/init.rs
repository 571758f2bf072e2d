//! `deberta init`: a checkpoint with random weights.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use deberta::backend::DefaultBackend as B;
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

use crate::head::Head;

/// Write a checkpoint of a published size with random weights.
///
/// To train from, to measure with, or to check another program against. The weights depend on the
/// seed alone.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder to write; made if it is not there
    target: PathBuf,
    /// Published size, such as deberta-v3-base
    #[arg(long, value_parser = size)]
    size: DebertaConfig,
    /// Layers, if not as published
    #[arg(long)]
    layers: Option<usize>,
    /// Rows of the word table, if not as published
    #[arg(long)]
    vocab: Option<usize>,
    /// What to put on top of the encoder
    #[arg(long, default_value = "encoder")]
    head: Head,
    /// Labels of the head, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "LABEL_0,LABEL_1")]
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

fn size(name: &str) -> Result<DebertaConfig, String> {
    let known = || format!("expected one of {}", presets::NAMES.join(", "));
    presets::by_name(name).ok_or_else(known)
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut config = args.size.clone();
    config.num_hidden_layers = args.layers.unwrap_or(config.num_hidden_layers);
    config.vocab_size = args.vocab.unwrap_or(config.vocab_size);
    config.initializer_range = args.std;
    ensure!(
        !args.plain || args.head == Head::MaskedLm,
        "--plain is for --head masked-lm"
    );
    if args.plain || args.head != Head::MaskedLm {
        // Without a mask decoder nothing reads the table.
        config.absolute_positions = AbsolutePositions::None;
    }
    let device = Default::default();
    let options = SaveOptions::new().dtype(args.dtype);
    match args.head {
        Head::Encoder => {
            let model = config.init::<B>(args.seed, &device)?;
            save_model(&model, &config, &args.target, &options)?;
        }
        Head::MaskedLm => {
            let model = config.init_masked_lm::<B>(args.seed, &device)?;
            save_masked_lm_with(&model, &config, &args.target, &options)?;
        }
        Head::ReplacedToken => save::<DebertaForReplacedTokenDetection<B>>(args, &config)?,
        Head::Sequence => save::<DebertaForSequenceClassification<B>>(args, &config)?,
        Head::Token => save::<DebertaForTokenClassification<B>>(args, &config)?,
        Head::Entity => save::<DebertaForEntityRecognition<B>>(args, &config)?,
        Head::QuestionAnswering => save::<DebertaForQuestionAnswering<B>>(args, &config)?,
        Head::MultipleChoice => save::<DebertaForMultipleChoice<B>>(args, &config)?,
    }
    println!(
        "{} parameters in the encoder, {} into {}",
        config.num_parameters(),
        args.dtype,
        args.target.display()
    );
    Ok(())
}

fn save<M: TaskModel<B>>(args: &Args, config: &DebertaConfig) -> Result<()> {
    let head = HeadConfig::new(config, args.labels.clone());
    let model = M::init(config, &head, args.seed, &Default::default())?;
    let options = SaveOptions::new().dtype(args.dtype);
    save_task_model_with(&model, config, &head, &args.target, &options)?;
    Ok(())
}
