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
use crate::names;

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
    /// How many labels to show, the best first; by default one, or all with --flag, --threshold or
    /// --long-texts max
    #[arg(long, value_name = "COUNT")]
    top_k: Option<usize>,
    /// Labels to look for, separated by commas; others are not shown
    #[arg(long, value_delimiter = ',', value_parser = names::name, value_name = "LABELS")]
    flag: Vec<String>,
    /// Show labels whose score is at least this
    #[arg(long, value_name = "SCORE")]
    threshold: Option<f64>,
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
  cat prompts.txt | deberta classify -m owner/prompt-guard --long-texts max --flag INJECTION --threshold 0.5";

impl Args {
    /// How many labels to show. One label is no answer if it can be another than the one that is
    /// looked for.
    fn top_k(&self) -> usize {
        let is_search = !self.flag.is_empty() || self.threshold.is_some();
        let usual = match is_search || self.long_texts == Long::Max {
            true => usize::MAX,
            false => 1,
        };
        self.top_k.unwrap_or(usual)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Long {
    /// Their ends are cut off
    Truncate,
    /// Windows; each label gets its largest score, so the highest need not be the verdict: see --flag
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
        let mut labels: Vec<String> = self.labels.iter().map(label).collect();
        if labels.is_empty() {
            labels.push(paint.faint("none"));
        }
        let texts = record.texts.join(" | ");
        format!("{}  {}\n", labels.join("  "), paint.faint(&texts))
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let classifier: TextClassifier<DefaultBackend> = args.model.open()?;
    let mut classifier =
        classifier
            .with_top_k(args.top_k())
            .with_long_texts(match args.long_texts {
                Long::Truncate => LongTexts::Truncate,
                Long::Max => LongTexts::Max,
                Long::Mean => LongTexts::Mean,
            });
    if !args.flag.is_empty() {
        let labels: Vec<&str> = args.flag.iter().map(String::as_str).collect();
        classifier = classifier.with_labels(&labels)?;
    }
    if let Some(threshold) = args.threshold {
        classifier = classifier.with_threshold(threshold);
    }
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
