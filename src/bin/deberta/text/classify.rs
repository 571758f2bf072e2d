//! `deberta classify`: labels of texts.

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;
use deberta::backend::DefaultBackend;
use deberta::pipeline::{
    LabelScore, LongTexts, PipelineError, ScoreFunction, TextClassifier, TextInput,
};
use serde::Serialize;

use super::input::{InputArgs, Record};
use super::output::{OutputArgs, Paint, Row, Shown};
use super::stream::{self, Answer};
use super::{EXIT_CODES, ModelArgs};

/// Classify texts, or pairs of texts, with a fine-tuned checkpoint.
///
/// Reads the column `text`; with --pair also `text_pair`, after a tab in plain lines.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Each input is two texts
    #[arg(long)]
    pair: bool,
    /// How many labels to show, the best first
    #[arg(long, default_value_t = 1, value_name = "LABELS")]
    top_k: usize,
    /// What becomes of texts that are too long
    #[arg(long, default_value = "truncate", value_name = "HOW")]
    long_texts: Long,
    /// How logits become scores; by default what the checkpoint says
    #[arg(long, value_name = "FUNCTION")]
    scores: Option<Scores>,
}

const EXAMPLES: &str = "\
Examples:
  deberta classify -m my-model/ 'I liked it.' 'Never again.'
  deberta classify -m my-model/ --file reviews.jsonl --columns review > labels.jsonl
  cat prompts.txt | deberta classify -m owner/prompt-guard --long-texts max --format csv";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Long {
    /// Their ends are cut off
    Truncate,
    /// Windows; each label gets its largest score
    Max,
    /// Windows; each label gets the mean of its scores
    Mean,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scores {
    /// Exactly one label holds
    Softmax,
    /// Each label holds or not
    Sigmoid,
    /// Values as they are
    Raw,
}

struct Classify {
    classifier: TextClassifier<DefaultBackend>,
    pair: bool,
}

/// The answer of this command and of `zero-shot`.
#[derive(Serialize)]
pub(super) struct Labels {
    labels: Vec<LabelScore>,
}

impl Labels {
    pub(super) fn each(answers: Vec<Vec<LabelScore>>) -> Vec<Self> {
        let one = |labels| Self { labels };
        answers.into_iter().map(one).collect()
    }

    pub(super) fn header() -> Vec<String> {
        vec!["label".into(), "score".into()]
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        let row = |it: &LabelScore| vec![it.label.clone(), it.score.to_string()];
        self.labels.iter().map(row).collect()
    }

    pub(super) fn pretty(&self, record: &Record, paint: Paint) -> String {
        let label = |it: &LabelScore| {
            let score = paint.score(it.score);
            format!("{} {score}", paint.strong(&it.label))
        };
        let labels: Vec<String> = self.labels.iter().map(label).collect();
        let texts = record.texts.join(" | ");
        format!("{}  {}\n", labels.join("  "), paint.faint(&texts))
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let classifier: TextClassifier<DefaultBackend> = args.model.open()?;
    let mut classifier = classifier
        .with_top_k(args.top_k)
        .with_long_texts(match args.long_texts {
            Long::Truncate => LongTexts::Truncate,
            Long::Max => LongTexts::Max,
            Long::Mean => LongTexts::Mean,
        });
    if let Some(scores) = args.scores {
        classifier = classifier.with_function(match scores {
            Scores::Softmax => ScoreFunction::Softmax,
            Scores::Sigmoid => ScoreFunction::Sigmoid,
            Scores::Raw => ScoreFunction::Raw,
        });
    }
    let command = Classify {
        classifier,
        pair: args.pair,
    };
    stream::run(&command, &args.input, &args.output)
}

impl Answer for Classify {
    fn columns(&self) -> Vec<&'static str> {
        match self.pair {
            true => vec!["text", "text_pair"],
            false => vec!["text"],
        }
    }

    fn answer(&self, records: &[Record]) -> Result<Vec<Labels>, PipelineError> {
        let inputs: Vec<TextInput<'_>> = records
            .iter()
            .map(|record| TextInput {
                text: record.text(),
                pair: record.texts.get(1).map(String::as_str),
            })
            .collect();
        Ok(Labels::each(self.classifier.predict(&inputs)?))
    }
}

impl Shown for Classify {
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
