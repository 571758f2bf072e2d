//! Fills `[MASK]` in texts.

use std::path::Path;

use burn::tensor::activation::softmax;
use burn::tensor::backend::Backend;
use deberta_data::batching::LengthBatches;
use deberta_data::tokenizer::{Sequence, SequenceConfig, Tokenize};
use deberta_model::checkpoint::{Compatibility, load_masked_lm};
use deberta_model::config::AbsolutePositions;
use deberta_model::heads::masked_lm::MaskedTokens;
use deberta_model::{DebertaBackend, DebertaConfig, DebertaForMaskedLm, MaskedLmInput};
use serde::{Deserialize, Serialize};

use super::PipelineError;
use super::base::{Base, common_methods, in_parallel};

/// A masked language model with its tokenizer.
///
/// ```no_run
/// use deberta::backend::DefaultBackend;
/// use deberta::pipeline::FillMask;
///
/// let device = Default::default();
/// let fill = FillMask::<DefaultBackend>::from_pretrained("microsoft/deberta-v3-base", &device)?;
/// let answers = fill.predict(&["Paris is the [MASK] of France."], 5)?;
/// # Ok::<(), deberta::pipeline::PipelineError>(())
/// ```
#[derive(Debug)]
pub struct FillMask<B: Backend> {
    base: Base<B, DebertaForMaskedLm<B>>,
}

/// The answer for one `[MASK]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilledMask {
    /// Which token of the text this is, counted from 0 without markers.
    pub token_index: usize,
    /// The best pieces, most probable first.
    pub candidates: Vec<MaskCandidate>,
}

/// A piece that may stand for a `[MASK]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MaskCandidate {
    /// Id of the piece.
    pub id: u32,
    /// The piece as the vocabulary spells it.
    pub token: String,
    /// The piece as text.
    pub text: String,
    /// Probability in [0, 1] among all pieces that can stand in a text.
    pub probability: f64,
}

common_methods!(FillMask);

impl<B: DebertaBackend> FillMask<B> {
    /// Opens a checkpoint folder with its tokenizer.
    ///
    /// # Errors
    ///
    /// If weights, configuration or tokenizer cannot be read, or do not belong together.
    pub fn open(dir: &Path, device: &B::Device) -> Result<Self, PipelineError> {
        let (mut model, config) = load_masked_lm::<B>(dir, Compatibility::AsConfigured, device)?;
        model.deberta.prepare();
        let mut base = Base::new(dir, (model, config), device)?;
        base.max_length = base.max_length.min(most_positions(&base.config));
        Ok(Self { base })
    }

    /// Fills every `[MASK]` of every text with its `top_k` most probable pieces.
    ///
    /// Answers are in the order of the texts. Pieces that no text contains (special, unused, single
    /// bytes) are never proposed.
    ///
    /// # Errors
    ///
    /// If a text has no `[MASK]` or too many tokens.
    pub fn predict(
        &self,
        texts: &[&str],
        top_k: usize,
    ) -> Result<Vec<Vec<FilledMask>>, PipelineError> {
        let sequences = in_parallel(texts, |_, text| {
            SequenceConfig::default().encode(&self.base.tokenizer, text, None)
        })?;
        let masks = (0..).zip(texts).zip(&sequences);
        let masks = masks.map(|((index, text), sequence)| self.masks(index, text, sequence));
        let masks: Vec<Vec<u32>> = masks.collect::<Result<_, _>>()?;
        let lengths: Vec<usize> = sequences.iter().map(Sequence::len).collect();

        let batches = LengthBatches::new(&lengths, self.base.limit);
        let mut answers = Vec::with_capacity(texts.len());
        for batch in batches.iter() {
            let probabilities = self.probabilities(&sequences, &masks, batch);
            let mut rows = probabilities.chunks(self.base.config.vocab_size);
            for &index in batch {
                let filled = masks[index]
                    .iter()
                    .zip(&mut rows)
                    .map(|(&at, row)| FilledMask {
                        // The first marker is not part of the text.
                        token_index: at as usize - 1,
                        candidates: self.best(row, top_k),
                    });
                answers.push(filled.collect());
            }
        }
        Ok(batches.restore(answers))
    }

    /// Positions of the masks of a text, markers counted.
    fn masks(
        &self,
        index: usize,
        text: &str,
        sequence: &Sequence,
    ) -> Result<Vec<u32>, PipelineError> {
        let Base {
            tokenizer, config, ..
        } = &self.base;
        let mask = tokenizer.special().mask;
        let positions = (0_u32..).zip(&sequence.ids);
        let masks: Vec<u32> = positions
            .filter(|(_, id)| **id == mask)
            .map(|(at, _)| at)
            .collect();
        if masks.is_empty() {
            return Err(PipelineError::NoMask {
                index,
                mask: tokenizer.token(mask).unwrap_or_default().into(),
                text: text.into(),
            });
        }
        let limit = self.base.max_length.min(most_positions(config));
        match sequence.len() > limit {
            true => Err(PipelineError::TooLong {
                index,
                tokens: sequence.len(),
                limit,
            }),
            false => Ok(masks),
        }
    }

    /// Probabilities of every id at every mask of the batch, row after row.
    fn probabilities(
        &self,
        sequences: &[Sequence],
        masks: &[Vec<u32>],
        batch: &[usize],
    ) -> Vec<f32> {
        let lengths = batch.iter().map(|&index| sequences[index].len());
        let seq_len = lengths.max().unwrap_or(0);
        let masks: Vec<Vec<u32>> = batch.iter().map(|&index| masks[index].clone()).collect();
        let logits = self.base.model.forward(MaskedLmInput {
            tokens: self.base.input(sequences, batch, seq_len),
            masked: MaskedTokens::new(&masks, seq_len, &self.base.device),
        });
        softmax(logits, 1).into_data().iter::<f32>().collect()
    }

    /// The `top_k` most probable pieces of a row, probabilities renormalised over real pieces.
    fn best(&self, row: &[f32], top_k: usize) -> Vec<MaskCandidate> {
        let real = self.base.tokenizer.vocab().replaceable_ids();
        let probability = |id: u32| row.get(id as usize).map_or(0.0, |&it| f64::from(it));
        let total: f64 = real.iter().map(|&id| probability(id)).sum();
        let mut ids = real.to_vec();
        let descending = |a: &u32, b: &u32| probability(*b).total_cmp(&probability(*a));
        if top_k < ids.len() {
            ids.select_nth_unstable_by(top_k, descending);
            ids.truncate(top_k);
        }
        ids.sort_by(|a, b| descending(a, b).then(a.cmp(b)));
        ids.into_iter()
            .map(|id| MaskCandidate {
                id,
                token: self.base.tokenizer.token(id).unwrap_or_default().into(),
                text: self.base.tokenizer.decode(&[id]).trim().into(),
                probability: probability(id) / total,
            })
            .collect()
    }
}

/// Most tokens that the network has positions for; the mask decoder reads absolute ones, too.
fn most_positions(config: &DebertaConfig) -> usize {
    match config.absolute_positions {
        AbsolutePositions::None => usize::MAX,
        AbsolutePositions::Input | AbsolutePositions::Decoder => config.max_position_embeddings,
    }
}
