//! Packed examples, masked anew on every visit.

use std::sync::Arc;

use deberta_data::masking::{MaskedExample, MlmMasker};
use deberta_data::packing::PackedCorpus;
use deberta_data::tokenizer::VocabInfo;
use deberta_train::objective::MlmBatch;
use deberta_train::run::{ExampleId, ExampleSource, SourceError};

/// The first examples of a packed corpus, masked as a function of seed, epoch and index.
pub(super) struct MaskedShards {
    corpus: Arc<PackedCorpus>,
    masker: Arc<MlmMasker>,
    vocab: VocabInfo,
    seed: u64,
    len: usize,
}

impl MaskedShards {
    pub(super) fn new(
        corpus: Arc<PackedCorpus>,
        masker: Arc<MlmMasker>,
        seed: u64,
        limit: usize,
    ) -> Self {
        let len = corpus.len().min(limit);
        let vocab = masker.vocab().clone();
        Self {
            corpus,
            masker,
            vocab,
            seed,
            len,
        }
    }

    pub(super) fn vocab(&self) -> &VocabInfo {
        &self.vocab
    }

    /// Every example as masked in `epoch`.
    pub(super) fn masked_examples(&self, epoch: u64) -> impl Iterator<Item = MaskedExample> {
        (0..self.len).map(move |index| self.masked(ExampleId { epoch, index }))
    }

    fn masked(&self, example: ExampleId) -> MaskedExample {
        let ids = self.corpus.example(example.index);
        self.masker
            .mask(ids, self.seed, example.epoch, example.index as u64)
    }
}

impl ExampleSource<MlmBatch> for MaskedShards {
    fn len(&self) -> usize {
        self.len
    }

    fn batch(&self, examples: &[ExampleId]) -> Result<MlmBatch, SourceError> {
        let masked: Vec<MaskedExample> = examples.iter().map(|it| self.masked(*it)).collect();
        let lengths: Vec<usize> = masked.iter().map(|it| it.input_ids.len()).collect();
        let seq_len = lengths.iter().copied().max().unwrap_or(0);
        let pad = self.vocab.special().pad as i32;
        let mut batch = MlmBatch {
            batch: masked.len(),
            seq_len,
            input_ids: Vec::with_capacity(masked.len() * seq_len),
            lengths,
            masked_positions: Vec::with_capacity(masked.len()),
            labels: Vec::with_capacity(masked.len()),
        };
        for example in masked {
            let padding = seq_len - example.input_ids.len();
            let ids = example.input_ids.into_iter().map(|id| id as i32);
            batch
                .input_ids
                .extend(ids.chain(std::iter::repeat_n(pad, padding)));
            batch.masked_positions.push(example.positions);
            batch.labels.push(example.labels);
        }
        Ok(batch)
    }
}
