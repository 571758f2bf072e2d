//! `deberta zero-shot`: labels that the network was never told.

use std::process::ExitCode;

use anyhow::Result;
use deberta::backend::DefaultBackend;
use deberta::pipeline::{DEFAULT_TEMPLATE, PipelineError, ZeroShotClassifier};

use super::classify::Labels;
use super::input::{InputArgs, Record, texts};
use super::output::{OutputArgs, Paint, Row, Shown};
use super::stream::{self, Answer};
use super::{EXIT_CODES, ModelArgs};
use crate::names;

/// Classify texts by any labels, with a checkpoint for natural-language inference.
///
/// Reads the column `text`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Labels to choose from, separated by commas
    #[arg(long, short, value_delimiter = ',', value_parser = names::name, required = true)]
    labels: Vec<String>,
    /// Sentence that a label is put into, in the place of {}
    #[arg(long, default_value = DEFAULT_TEMPLATE)]
    template: String,
    /// Each label holds or not, instead of exactly one of them
    #[arg(long)]
    multi_label: bool,
    /// How many labels to show, the best first; all by default
    #[arg(long, value_name = "LABELS")]
    top_k: Option<usize>,
    /// Show labels whose score is at least this
    #[arg(long, value_name = "SCORE")]
    threshold: Option<f64>,
}

const EXAMPLES: &str = "\
Examples:
  deberta zero-shot -m MoritzLaurer/deberta-v3-base-zeroshot-v1 -l sport,politics 'They lost.'
  deberta zero-shot -m my-nli/ -l urgent,spam --multi-label --threshold 0.5 --template 'This mail is {}.' -f mails.csv";

struct ZeroShot {
    classifier: ZeroShotClassifier<DefaultBackend>,
    labels: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let classifier: ZeroShotClassifier<DefaultBackend> = args.model.open()?;
    let mut classifier = classifier
        .with_template(&args.template)?
        .with_multi_label(args.multi_label)
        .with_top_k(args.top_k.unwrap_or(usize::MAX));
    if let Some(threshold) = args.threshold {
        classifier = classifier.with_threshold(threshold);
    }
    let command = ZeroShot {
        classifier,
        labels: args.labels.clone(),
    };
    stream::run(&command, &args.input, &args.output)
}

impl Answer for ZeroShot {
    fn columns(&self) -> Vec<&'static str> {
        vec!["text"]
    }

    fn answer(&self, records: &[Record]) -> Result<Vec<Labels>, PipelineError> {
        let labels: Vec<&str> = self.labels.iter().map(String::as_str).collect();
        let answers = self.classifier.predict(&texts(records), &labels)?;
        Ok(Labels::each(answers))
    }
}

impl Shown for ZeroShot {
    type Answer = Labels;

    fn header(&self) -> Vec<String> {
        Labels::header()
    }

    fn rows(&self, answer: &Labels) -> Vec<Row> {
        answer.rows()
    }

    fn pretty(&self, record: &Record, answer: &Labels, paint: Paint) -> String {
        answer.pretty(record, paint)
    }
}
