//! `deberta replaced-tokens`: which words look wrong.

use std::process::ExitCode;

use anyhow::Result;
use deberta::backend::DefaultBackend;
use deberta::pipeline::{PipelineError, ReplacedTokens, WordScore};
use serde::Serialize;

use super::input::{InputArgs, Record, texts};
use super::output::{self, OutputArgs, Paint, Row, Shown};
use super::stream::{self, Answer};
use super::{EXIT_CODES, ModelArgs};

/// Find words that do not belong where they stand, with a discriminator of DeBERTaV3.
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
    /// Show words whose probability of being wrong is at least this
    #[arg(long, default_value_t = 0.5)]
    threshold: f64,
}

const EXAMPLES: &str = "\
Examples:
  deberta replaced-tokens -m microsoft/deberta-v3-base 'Paris is the capital of Tuesday.'
  deberta replaced-tokens -m microsoft/deberta-v3-base --threshold 0 --file texts.txt";

struct Replaced {
    detector: ReplacedTokens<DefaultBackend>,
    threshold: f64,
}

#[derive(Serialize)]
struct Words {
    words: Vec<WordScore>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let command = Replaced {
        detector: args.model.open()?,
        threshold: args.threshold,
    };
    stream::run(&command, &args.input, &args.output)
}

impl Answer for Replaced {
    fn columns(&self) -> Vec<&'static str> {
        vec!["text"]
    }

    fn answer(&self, records: &[Record]) -> Result<Vec<Words>, PipelineError> {
        let answers = self.detector.predict(&texts(records))?;
        let suspicious = |mut words: Vec<WordScore>| {
            words.retain(|it| it.score >= self.threshold);
            Words { words }
        };
        Ok(answers.into_iter().map(suspicious).collect())
    }
}

impl Shown for Replaced {
    type Answer = Words;

    fn header(&self) -> Vec<String> {
        output::span_header()
    }

    fn rows(&self, answer: &Words) -> Vec<Row> {
        let row = |it: &WordScore| output::span(&it.text, it.score, it.start, it.end);
        answer.words.iter().map(row).collect()
    }

    fn pretty(&self, record: &Record, answer: &Words, paint: Paint) -> String {
        let mut shown = format!("{}\n", paint.faint(record.text()));
        for it in &answer.words {
            shown.push_str(&format!("    {:.4} {}\n", it.score, paint.alarm(&it.text)));
        }
        shown
    }
}
