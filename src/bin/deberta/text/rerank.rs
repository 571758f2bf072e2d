//! `deberta rerank`: how well documents answer a query.

use std::process::ExitCode;

use anyhow::Result;
use deberta::backend::DefaultBackend;
use deberta::pipeline::{PipelineError, Reranker};
use serde::{Deserialize, Serialize};

use super::input::{InputArgs, Record};
use super::output::{Output, OutputArgs, Paint, Row, Shown};
use super::stream::{self, Answer};
use super::{EXIT_CODES, ModelArgs};

/// Score documents by how well they answer a query, with a cross-encoder.
///
/// Reads the column `document`; without --query also `query`, before a tab in plain lines. Scores
/// come in the order of the documents, or with --top the best first at the end.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// The query for all documents
    #[arg(long, short)]
    query: Option<String>,
    /// Print the best documents only, sorted
    #[arg(long, value_name = "DOCUMENTS")]
    top: Option<usize>,
}

const EXAMPLES: &str = "\
Examples:
  deberta rerank -m mixedbread-ai/mxbai-rerank-xsmall-v1 -q 'Where is the Louvre?' -f passages.txt --top 3
  deberta rerank -m my-reranker/ --file pairs.tsv --format csv";

struct Rerank {
    reranker: Reranker<DefaultBackend>,
    query: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Scored {
    score: f64,
    document: String,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let command = Rerank {
        reranker: args.model.open()?,
        query: args.query.clone(),
    };
    let Some(top) = args.top else {
        return stream::run(&command, &args.input, &args.output);
    };
    let mut best = Vec::new();
    let code = stream::run_with(&command, &args.input, |answers| {
        let scored = answers
            .iter()
            .filter_map(|(record, answer)| Some((record.clone(), answer.as_ref().ok()?.clone())));
        best.extend(scored);
        best.sort_by(|(_, a): &(Record, Scored), (_, b)| b.score.total_cmp(&a.score));
        best.truncate(top);
        Ok(())
    })?;
    let best: Vec<_> = best
        .into_iter()
        .map(|(it, scored)| (it, Ok(scored)))
        .collect();
    let mut output = Output::new(&args.output, args.input.names_files());
    output.write(&command, &best)?;
    output.finish()?;
    Ok(code)
}

impl Answer for Rerank {
    fn columns(&self) -> Vec<&'static str> {
        match self.query {
            Some(_) => vec!["document"],
            None => vec!["query", "document"],
        }
    }

    fn answer(&self, records: &[Record]) -> Result<Vec<Scored>, PipelineError> {
        let document = |record: &Record| record.texts.last().cloned().unwrap_or_default();
        let pairs: Vec<(&str, &str)> = records
            .iter()
            .map(|record| {
                let query = self.query.as_deref().unwrap_or(record.text());
                (query, record.texts.last().map_or("", String::as_str))
            })
            .collect();
        let scores = self.reranker.predict(&pairs)?;
        let scored = records.iter().zip(scores).map(|(record, score)| Scored {
            score,
            document: document(record),
        });
        Ok(scored.collect())
    }
}

impl Shown for Rerank {
    type Answer = Scored;

    fn header(&self) -> Vec<String> {
        vec!["score".into(), "document".into()]
    }

    fn rows(&self, answer: &Scored) -> Vec<Row> {
        vec![vec![answer.score.to_string(), answer.document.clone()]]
    }

    fn pretty(&self, _: &Record, answer: &Scored, paint: Paint) -> String {
        format!("{}  {}\n", paint.score(answer.score), answer.document)
    }
}
