//! `deberta ner`: entities of texts.

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;
use deberta::backend::DefaultBackend;
use deberta::pipeline::{Aggregation, Entity, PipelineError, TokenClassifier};
use serde::Serialize;

use super::input::{InputArgs, Record, texts};
use super::output::{self, OutputArgs, Paint, Row, Shown};
use super::stream::{self, Answer};
use super::{EXIT_CODES, ModelArgs};
use crate::names;

/// Find entities, with a checkpoint for token classification.
///
/// Reads the column `text`. Offsets count characters.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// How the labels of tokens become entities
    #[arg(long, short, default_value = "first", value_name = "HOW")]
    aggregate: Aggregate,
    /// Labels that are no entities, separated by commas
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = names::name,
        default_value = "O",
        value_name = "LABELS"
    )]
    ignore: Vec<String>,
    /// Show entities whose score is at least this
    #[arg(long, value_name = "SCORE")]
    threshold: Option<f64>,
    /// Write each text with its entities replaced by their labels, and nothing of what they were
    #[arg(long)]
    redact: bool,
    /// Tokens that two windows of a long text have in common; a quarter of a window by default
    #[arg(long, value_name = "TOKENS")]
    stride: Option<usize>,
}

const EXAMPLES: &str = "\
Examples:
  deberta ner -m my-ner/ 'Ada Lovelace lived in London.'
  deberta ner -m my-ner/ --aggregate max --file letters.txt --format csv > entities.csv
  deberta ner -m my-pii/ --redact --file letters.txt --format pretty > public.txt";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Aggregate {
    /// One entity per token
    None,
    /// Neighbouring tokens whose labels continue each other
    Simple,
    /// As simple, of words with the label of their first token
    First,
    /// As simple, of words with the label of their surest token
    Max,
    /// As simple, of words with the mean of their tokens
    #[value(alias = "avg")]
    Average,
}

struct Ner {
    classifier: TokenClassifier<DefaultBackend>,
    redact: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Found {
    Entities(Vec<Entity>),
    /// The text without them.
    Redacted(String),
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let classifier: TokenClassifier<DefaultBackend> = args.model.open()?;
    let mut classifier = classifier
        .with_ignored_labels(args.ignore.clone())
        .with_aggregation(match args.aggregate {
            Aggregate::None => Aggregation::None,
            Aggregate::Simple => Aggregation::Simple,
            Aggregate::First => Aggregation::First,
            Aggregate::Max => Aggregation::Max,
            Aggregate::Average => Aggregation::Average,
        });
    if let Some(stride) = args.stride {
        classifier = classifier.with_stride(stride)?;
    }
    if let Some(threshold) = args.threshold {
        classifier = classifier.with_threshold(threshold);
    }
    let command = Ner {
        classifier,
        redact: args.redact,
    };
    stream::run(&command, &args.input, &args.output)
}

impl Answer for Ner {
    fn columns(&self) -> Vec<&'static str> {
        vec!["text"]
    }

    fn answer(&self, records: &[Record]) -> Result<Vec<Found>, PipelineError> {
        let texts = texts(records);
        if self.redact {
            let answers = self.classifier.redact(&texts)?.into_iter();
            return Ok(answers.map(Found::Redacted).collect());
        }
        let answers = self.classifier.predict(&texts)?.into_iter();
        Ok(answers.map(Found::Entities).collect())
    }
}

impl Shown for Ner {
    type Answer = Found;

    fn header(&self) -> Vec<String> {
        match self.redact {
            true => vec!["redacted".into()],
            false => [vec!["label".into()], output::span_header()].concat(),
        }
    }

    fn rows(&self, answer: &Found) -> Vec<Row> {
        let row = |it: &Entity| {
            let span = output::span(&it.text, it.score, it.start, it.end);
            [vec![it.label.clone()], span].concat()
        };
        match answer {
            Found::Entities(entities) => entities.iter().map(row).collect(),
            Found::Redacted(text) => vec![vec![text.clone()]],
        }
    }

    /// The text with its entities marked, or without them.
    fn pretty(&self, record: &Record, answer: &Found, paint: Paint) -> String {
        let entities = match answer {
            Found::Entities(entities) => entities,
            Found::Redacted(text) => return format!("{text}\n"),
        };
        let characters: Vec<char> = record.text().chars().collect();
        let slice = |start: usize, end: usize| -> String {
            let end = end.min(characters.len());
            characters[start.min(end)..end].iter().collect()
        };
        let mut shown = String::new();
        let mut at = 0;
        for entity in entities {
            let whole = slice(entity.start, entity.end);
            let spaces = whole.len() - whole.trim_start().len();
            shown.push_str(&slice(at, entity.start));
            shown.push_str(&whole[..spaces]);
            let label = paint.faint(&format!("/{}", entity.label));
            shown.push_str(&format!("[{}{label}]", paint.strong(&whole[spaces..])));
            at = entity.end.max(at);
        }
        format!("{shown}{}\n", slice(at, characters.len()))
    }
}
