//! `deberta fill-mask`: what may stand in the place of `[MASK]`.

use std::process::ExitCode;

use anyhow::Result;
use deberta::backend::DefaultBackend;
use deberta::pipeline::{FillMask, FilledMask, PipelineError};
use serde::Serialize;

use super::input::{InputArgs, Record, texts};
use super::output::{OutputArgs, Paint, Row, Shown};
use super::stream::{self, Answer};
use super::{EXIT_CODES, ModelArgs};

/// Fill every [MASK] of each text, with a masked language model.
///
/// Reads the column `text`. Uses the enhanced mask decoder if the checkpoint has its positions.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// How many pieces to show, the most probable first
    #[arg(long, default_value_t = 5, value_name = "PIECES")]
    top_k: usize,
}

const EXAMPLES: &str = "\
Examples:
  deberta fill-mask -m microsoft/deberta-v3-base 'Paris is the [MASK] of France.'
  deberta fill-mask -m runs/pretrain/model --top-k 3 --file sentences.txt > filled.jsonl";

struct Fill {
    fill: FillMask<DefaultBackend>,
    top_k: usize,
}

#[derive(Serialize)]
struct Masks {
    masks: Vec<FilledMask>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let command = Fill {
        fill: args.model.open()?,
        top_k: args.top_k,
    };
    stream::run(&command, &args.input, &args.output)
}

impl Answer for Fill {
    fn columns(&self) -> Vec<&'static str> {
        vec!["text"]
    }

    fn answer(&self, records: &[Record]) -> Result<Vec<Masks>, PipelineError> {
        let answers = self.fill.predict(&texts(records), self.top_k)?;
        let named = |masks| Masks { masks };
        Ok(answers.into_iter().map(named).collect())
    }
}

impl Shown for Fill {
    type Answer = Masks;

    fn header(&self) -> Vec<String> {
        ["mask", "id", "token", "text", "probability"]
            .map(Into::into)
            .into()
    }

    fn rows(&self, answer: &Masks) -> Vec<Row> {
        let of_mask = |(number, mask): (usize, &FilledMask)| {
            let row = |it: &deberta::pipeline::MaskCandidate| {
                vec![
                    (number + 1).to_string(),
                    it.id.to_string(),
                    it.token.clone(),
                    it.text.clone(),
                    it.probability.to_string(),
                ]
            };
            mask.candidates.iter().map(row).collect::<Vec<Row>>()
        };
        answer.masks.iter().enumerate().flat_map(of_mask).collect()
    }

    fn pretty(&self, record: &Record, answer: &Masks, paint: Paint) -> String {
        let mut shown = format!("{}\n", paint.faint(record.text()));
        for mask in &answer.masks {
            let candidates: Vec<String> = mask
                .candidates
                .iter()
                .map(|it| format!("{} {}", paint.strong(&it.text), paint.score(it.probability)))
                .collect();
            shown.push_str(&format!("    {}\n", candidates.join("  ")));
        }
        shown
    }
}
