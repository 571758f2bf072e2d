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
    /// Tokens that two windows of a long text have in common; a quarter of a window by default
    #[arg(long, value_name = "TOKENS")]
    stride: Option<usize>,
}

const EXAMPLES: &str = "\
Examples:
  deberta ner -m my-ner/ 'Ada Lovelace lived in London.'
  deberta ner -m my-ner/ --aggregate max --file letters.txt --format csv > entities.csv";

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
}

#[derive(Serialize)]
struct Entities {
    entities: Vec<Entity>,
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
    stream::run(&Ner { classifier }, &args.input, &args.output)
}

impl Answer for Ner {
    fn columns(&self) -> Vec<&'static str> {
        vec!["text"]
    }

    fn answer(&self, records: &[Record]) -> Result<Vec<Entities>, PipelineError> {
        let answers = self.classifier.predict(&texts(records))?;
        let named = |entities| Entities { entities };
        Ok(answers.into_iter().map(named).collect())
    }
}

impl Shown for Ner {
    type Answer = Entities;

    fn header(&self) -> Vec<String> {
        [vec!["label".into()], output::span_header()].concat()
    }

    fn rows(&self, answer: &Entities) -> Vec<Row> {
        let row = |it: &Entity| {
            let span = output::span(&it.text, it.score, it.start, it.end);
            [vec![it.label.clone()], span].concat()
        };
        answer.entities.iter().map(row).collect()
    }

    /// The text with its entities marked.
    fn pretty(&self, record: &Record, answer: &Entities, paint: Paint) -> String {
        let characters: Vec<char> = record.text().chars().collect();
        let slice = |start: usize, end: usize| -> String {
            let end = end.min(characters.len());
            characters[start.min(end)..end].iter().collect()
        };
        let mut shown = String::new();
        let mut at = 0;
        for entity in &answer.entities {
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
