//! `deberta rerank`: how well documents answer a query.

use std::collections::HashMap;
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
/// come in the order of the documents, or with --top at the end, the best first, query by query.
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
    /// Print this many documents of each query, the best first
    #[arg(long, value_name = "DOCUMENTS")]
    top: Option<usize>,
}

const EXAMPLES: &str = "\
Examples:
  deberta rerank -m mixedbread-ai/mxbai-rerank-xsmall-v1 -q 'Where is the Louvre?' -f passages.txt --top 3
  deberta rerank -m my-reranker/ --file pairs.tsv --top 10 --format csv";

struct Rerank {
    reranker: Reranker<DefaultBackend>,
    query: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Scored {
    query: String,
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
    let mut best = Best::default();
    let code = stream::run_with(&command, &args.input, |answers| {
        for (record, answer) in answers {
            if let Ok(scored) = answer {
                best.add(record, scored, top);
            }
        }
        Ok(())
    })?;
    let mut output = Output::new(&args.output, args.input.names_files());
    for ranking in best.rankings {
        let ranking = ranking.into_iter();
        let ranking: Vec<_> = ranking.map(|(it, scored)| (it, Ok(scored))).collect();
        output.write(&command, &ranking)?;
    }
    output.finish()?;
    Ok(code)
}

/// The best documents of each query, queries in the order in which they appear.
#[derive(Default)]
struct Best {
    /// Place of each query among the rankings.
    places: HashMap<String, usize>,
    rankings: Vec<Vec<(Record, Scored)>>,
}

impl Best {
    /// Adds a document unless `top` are as good; of equal ones the first stays before the others.
    fn add(&mut self, record: &Record, scored: &Scored, top: usize) {
        let new = self.rankings.len();
        let place = *self.places.entry(scored.query.clone()).or_insert(new);
        if place == new {
            self.rankings.push(Vec::new());
        }
        let ranking = &mut self.rankings[place];
        let at = ranking.partition_point(|(_, it)| it.score.total_cmp(&scored.score).is_ge());
        if at < top {
            ranking.insert(at, (record.clone(), scored.clone()));
            ranking.truncate(top);
        }
    }
}

impl Answer for Rerank {
    fn columns(&self) -> Vec<&'static str> {
        match self.query {
            Some(_) => vec!["document"],
            None => vec!["query", "document"],
        }
    }

    fn answer(&self, records: &[Record]) -> Result<Vec<Scored>, PipelineError> {
        let pairs: Vec<(&str, &str)> = records
            .iter()
            .map(|record| {
                let query = self.query.as_deref().unwrap_or(record.text());
                (query, record.texts.last().map_or("", String::as_str))
            })
            .collect();
        let scores = self.reranker.predict(&pairs)?;
        let scored = pairs
            .iter()
            .zip(scores)
            .map(|((query, document), score)| Scored {
                query: (*query).into(),
                score,
                document: (*document).into(),
            });
        Ok(scored.collect())
    }
}

impl Shown for Rerank {
    type Answer = Scored;

    fn header(&self) -> Vec<String> {
        ["query", "score", "document"].map(Into::into).into()
    }

    fn rows(&self, answer: &Scored) -> Vec<Row> {
        let score = answer.score.to_string();
        vec![vec![answer.query.clone(), score, answer.document.clone()]]
    }

    fn pretty(&self, _: &Record, answer: &Scored, paint: Paint) -> String {
        let query = match self.query {
            Some(_) => String::new(),
            None => format!("{}  ", paint.faint(&answer.query)),
        };
        let score = paint.score(answer.score);
        format!("{score}  {query}{}\n", answer.document)
    }
}
