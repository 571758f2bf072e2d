//! `deberta embed`: texts as vectors.

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;
use deberta::backend::DefaultBackend;
use deberta::pipeline::{Embedder, PipelineError, Pooling};
use serde::Serialize;

use super::input::{InputArgs, Record, texts};
use super::output::{OutputArgs, Paint, Row, Shown};
use super::stream::{self, Answer};
use super::{EXIT_CODES, ModelArgs};

/// Turn texts into vectors of length 1, with the encoder of a checkpoint.
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
    /// How the states of all tokens become one vector
    #[arg(long, default_value = "mean")]
    pool: Pool,
    /// Leave vectors as long as they are
    #[arg(long)]
    raw: bool,
}

const EXAMPLES: &str = "\
Examples:
  deberta embed -m microsoft/deberta-v3-small 'A cat.' 'A dog.'
  deberta embed -m my-model/ --pool cls --file texts.txt --format csv > vectors.csv";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Pool {
    /// The state of [CLS]
    Cls,
    /// The mean over all tokens
    Mean,
}

struct Embed {
    embedder: Embedder<DefaultBackend>,
}

#[derive(Serialize)]
struct Vector {
    embedding: Vec<f32>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let embedder: Embedder<DefaultBackend> = args.model.open()?;
    let embedder = embedder
        .with_normalized(!args.raw)
        .with_pooling(match args.pool {
            Pool::Cls => Pooling::Cls,
            Pool::Mean => Pooling::Mean,
        });
    stream::run(&Embed { embedder }, &args.input, &args.output)
}

impl Answer for Embed {
    fn columns(&self) -> Vec<&'static str> {
        vec!["text"]
    }

    fn answer(&self, records: &[Record]) -> Result<Vec<Vector>, PipelineError> {
        let vectors = self.embedder.predict(&texts(records))?;
        Ok(vectors
            .into_iter()
            .map(|embedding| Vector { embedding })
            .collect())
    }
}

impl Shown for Embed {
    type Answer = Vector;

    fn header(&self) -> Vec<String> {
        (0..self.embedder.width())
            .map(|it| format!("x{it}"))
            .collect()
    }

    fn rows(&self, answer: &Vector) -> Vec<Row> {
        vec![answer.embedding.iter().map(ToString::to_string).collect()]
    }

    fn pretty(&self, record: &Record, answer: &Vector, paint: Paint) -> String {
        let first: Vec<String> = answer
            .embedding
            .iter()
            .take(8)
            .map(|it| format!("{it:+.4}"))
            .collect();
        let more = if answer.embedding.len() > 8 {
            " …"
        } else {
            ""
        };
        format!(
            "{}{more}  {}\n",
            first.join(" "),
            paint.faint(record.text())
        )
    }
}
