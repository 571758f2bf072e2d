//! How well documents answer a query.

use std::path::Path;

use burn::tensor::backend::Backend;
use deberta_data::tokenizer::{Encoding, Sequence, TokenizerError, Truncation};
use deberta_model::DebertaBackend;
use serde::{Deserialize, Serialize};

use super::PipelineError;
use super::base::{Rows, common_methods, in_parallel};
use super::score::{sigmoid, softmax};
use super::text_classifier::{SequenceBase, open_sequence_model, sort_by_score};

/// A cross-encoder: scores of pairs of a query and a document.
///
/// One label gives the sigmoid of its logit, two give the probability of the second. A pair that is
/// too long loses the end of its document; a query that takes more than half of the room is cut to
/// that half.
///
/// ```no_run
/// use deberta::backend::DefaultBackend;
/// use deberta::pipeline::Reranker;
///
/// let device = Default::default();
/// let model = "mixedbread-ai/mxbai-rerank-xsmall-v1";
/// let reranker = Reranker::<DefaultBackend>::from_pretrained(model, &device)?;
/// let documents = ["Paris is the capital of France.", "Bees make honey."];
/// let ranking = reranker.rank("Where is the Louvre?", &documents)?;
/// println!("{}", documents[ranking[0].index]);
/// # Ok::<(), deberta::pipeline::PipelineError>(())
/// ```
#[derive(Debug)]
pub struct Reranker<B: Backend> {
    base: SequenceBase<B>,
}

/// A document with its score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RankedDocument {
    /// Position of the document among those given.
    pub index: usize,
    /// In [0, 1], higher is better.
    pub score: f64,
}

common_methods!(Reranker);

impl<B: DebertaBackend> Reranker<B> {
    /// Opens a checkpoint folder with its tokenizer.
    ///
    /// # Errors
    ///
    /// If weights, configuration or tokenizer cannot be read, do not belong together, or there are
    /// more than two labels.
    pub fn open(dir: &Path, device: &B::Device) -> Result<Self, PipelineError> {
        let (base, head) = open_sequence_model(dir, device)?;
        match head.labels.len() {
            1 | 2 => Ok(Self { base }),
            _ => Err(PipelineError::NotAReranker {
                dir: dir.into(),
                labels: head.labels,
            }),
        }
    }

    /// The score of each pair of a query and a document, in the order of the pairs.
    ///
    /// # Errors
    ///
    /// If a text cannot be encoded.
    pub fn predict(&self, pairs: &[(&str, &str)]) -> Result<Vec<f64>, PipelineError> {
        let queries: Vec<&str> = pairs.iter().map(|(query, _)| *query).collect();
        let documents: Vec<&str> = pairs.iter().map(|(_, document)| *document).collect();
        let queries = self.base.encode(&queries)?;
        let documents = self.base.encode(&documents)?;
        let sequences = in_parallel(&queries, |index, query| {
            self.sequence(query, &documents[index])
        })?;
        Ok(self.scores(&sequences))
    }

    /// The documents by how well they answer the query, the best first.
    ///
    /// # Errors
    ///
    /// If a text cannot be encoded.
    pub fn rank(
        &self,
        query: &str,
        documents: &[&str],
    ) -> Result<Vec<RankedDocument>, PipelineError> {
        let pairs: Vec<(&str, &str)> = documents.iter().map(|it| (query, *it)).collect();
        let scores = self.predict(&pairs)?.into_iter().enumerate();
        let mut ranking: Vec<RankedDocument> = scores
            .map(|(index, score)| RankedDocument { index, score })
            .collect();
        sort_by_score(&mut ranking, |it| it.score);
        Ok(ranking)
    }

    fn sequence(&self, query: &Encoding, document: &Encoding) -> Result<Sequence, TokenizerError> {
        // Three markers.
        let room = self.base.max_length.saturating_sub(3);
        let left = room.saturating_sub(document.ids.len());
        let kept = query.ids.len().min(left.max(room / 2));
        let query = Encoding {
            ids: query.ids[..kept].to_vec(),
            tokens: query.tokens[..kept].to_vec(),
            offsets: query.offsets[..kept].to_vec(),
        };
        let config = self.base.sequences(Truncation::OnlySecond, 0);
        config.assemble(&self.base.tokenizer, &query, Some(document))
    }

    fn scores(&self, sequences: &[Sequence]) -> Vec<f64> {
        let logits = self.base.run(sequences, Rows::OfSequences, |model, input| {
            model.forward(input)
        });
        let score = |logits: &Vec<f32>| match logits.as_slice() {
            [logit] => sigmoid(*logit),
            logits => softmax(logits)[1],
        };
        logits.iter().map(score).collect()
    }
}
