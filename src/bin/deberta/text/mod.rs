//! Commands that take texts and give answers.

pub(crate) mod classify;
pub(crate) mod embed;
pub(crate) mod fill_mask;
pub(crate) mod ner;
pub(crate) mod qa;
pub(crate) mod replaced_tokens;
pub(crate) mod rerank;
pub(crate) mod zero_shot;

mod elements;
mod input;
mod output;
mod reader;
mod stream;

use anyhow::Result;
use deberta::backend::DefaultBackend;
use deberta::data::batching::BatchLimit;
use deberta::hub::Parts;
use deberta::pipeline::PipelineError;

use crate::source;

/// Which model, and how it is run.
#[derive(clap::Args)]
pub(crate) struct ModelArgs {
    /// Folder of the checkpoint, or its name on the Hub
    #[arg(long, short)]
    model: String,
    /// Most tokens of a sequence, markers included; by default what the checkpoint says
    #[arg(long, value_name = "TOKENS")]
    max_length: Option<usize>,
    /// Most tokens of a batch, padding included
    #[arg(long, value_name = "TOKENS")]
    batch_tokens: Option<usize>,
}

impl ModelArgs {
    /// Opens the pipeline, which is downloaded if it has to be.
    fn open<P: Pipeline>(&self) -> Result<P> {
        let dir = source::path(&self.model, Parts::All)?;
        let mut pipeline = P::open(&dir)?;
        if let Some(max_length) = self.max_length {
            pipeline = pipeline.max_length(max_length)?;
        }
        if let Some(tokens) = self.batch_tokens {
            pipeline = pipeline.batches(BatchLimit {
                tokens,
                ..BatchLimit::default()
            });
        }
        Ok(pipeline)
    }
}

/// What all pipelines have in common.
trait Pipeline: Sized {
    fn open(dir: &std::path::Path) -> Result<Self, PipelineError>;
    fn max_length(self, tokens: usize) -> Result<Self, PipelineError>;
    fn batches(self, limit: BatchLimit) -> Self;
}

macro_rules! pipelines {
    ($($pipeline:ident),*) => {$(
        impl Pipeline for deberta::pipeline::$pipeline<DefaultBackend> {
            fn open(dir: &std::path::Path) -> Result<Self, PipelineError> {
                Self::open(dir, &Default::default())
            }

            fn max_length(self, tokens: usize) -> Result<Self, PipelineError> {
                self.with_max_length(tokens)
            }

            fn batches(self, limit: BatchLimit) -> Self {
                self.with_batches(limit)
            }
        }
    )*};
}

pipelines!(
    TextClassifier,
    ZeroShotClassifier,
    Reranker,
    TokenClassifier,
    QuestionAnswerer,
    FillMask,
    ReplacedTokens,
    Embedder
);

/// Exit codes, for the help of each command.
const EXIT_CODES: &str = "\
Exit codes:
  0  all lines were answered
  1  nothing more could be done; standard error says why
  2  wrong usage
  3  some lines were left out; standard error names each
  130  stopped by Ctrl-C, after complete lines";
