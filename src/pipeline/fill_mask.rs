//! Fills `[MASK]` in texts.

use std::path::Path;

use burn::tensor::activation::softmax;
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use deberta_data::batching::{BatchLimit, LengthBatches};
use deberta_data::tokenizer::{Tokenize, Tokenizer};
use deberta_model::attention::AttentionMask;
use deberta_model::checkpoint::{Compatibility, load_masked_lm};
use deberta_model::config::AbsolutePositions;
use deberta_model::heads::masked_lm::MaskedTokens;
use deberta_model::{
    DebertaBackend, DebertaConfig, DebertaForMaskedLm, DebertaInput, MaskedLmInput,
};
use serde::Serialize;

use super::PipelineError;
use super::base::open_tokenizer;
use crate::hub::{self, HubOptions};

/// A masked language model with its tokenizer.
#[derive(Debug)]
pub struct FillMask<B: Backend> {
    tokenizer: Tokenizer,
    model: DebertaForMaskedLm<B>,
    config: DebertaConfig,
    device: B::Device,
}

/// The answer for one `[MASK]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FilledMask {
    /// Which token of the text this is, counted from 0 without markers.
    pub token_index: usize,
    /// The best pieces, most probable first.
    pub candidates: Vec<MaskCandidate>,
}

/// A piece that may stand for a `[MASK]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
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

/// An encoded text, with its markers.
struct Encoded {
    /// Position among the texts given.
    index: usize,
    ids: Vec<u32>,
    masks: Vec<u32>,
}

impl<B: DebertaBackend> FillMask<B> {
    /// Opens a model by name, such as `microsoft/deberta-v3-base`, or a checkpoint folder.
    ///
    /// A name is `owner/name` or `owner/name@revision` on the Hugging Face Hub, downloaded unless the
    /// cache has it; this takes the feature `hub`, and follows the
    /// [environment](HubOptions::from_env). Use [`hub::resolve`] and [`open`](Self::open) for other
    /// settings or to watch the download.
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
    ///
    /// # Errors
    ///
    /// If the model cannot be had, and as [`open`](Self::open).
    pub fn from_pretrained(model: &str, device: &B::Device) -> Result<Self, PipelineError> {
        let dir = hub::resolve(model, &HubOptions::from_env(), &mut ())?;
        Self::open(&dir, device)
    }

    /// Opens a checkpoint folder with its tokenizer.
    ///
    /// # Errors
    ///
    /// If weights, configuration or tokenizer cannot be read, or do not belong together.
    pub fn open(dir: &Path, device: &B::Device) -> Result<Self, PipelineError> {
        let (mut model, config) = load_masked_lm::<B>(dir, Compatibility::Microsoft, device)?;
        model.deberta.prepare();
        Ok(Self {
            tokenizer: open_tokenizer(dir, &config)?,
            model,
            config,
            device: device.clone(),
        })
    }

    /// The tokenizer of the checkpoint.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Most tokens of a text with its two markers; `None` for no limit.
    pub fn max_tokens(&self) -> Option<usize> {
        let limited = self.config.absolute_positions != AbsolutePositions::None;
        limited.then_some(self.config.max_position_embeddings)
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
        let encoded = texts
            .iter()
            .enumerate()
            .map(|(index, text)| self.encode(index, text))
            .collect::<Result<Vec<_>, _>>()?;
        let lengths: Vec<usize> = encoded.iter().map(|text| text.ids.len()).collect();

        let mut answers = vec![Vec::new(); texts.len()];
        for batch in LengthBatches::new(&lengths, BatchLimit::default()).iter() {
            let batch: Vec<&Encoded> = batch.iter().map(|&index| &encoded[index]).collect();
            let probabilities = self.probabilities(&batch);
            let mut rows = probabilities.chunks(self.config.vocab_size);
            for text in batch {
                for (&position, row) in text.masks.iter().zip(&mut rows) {
                    answers[text.index].push(FilledMask {
                        // The first marker is not part of the text.
                        token_index: position as usize - 1,
                        candidates: self.best(row, top_k),
                    });
                }
            }
        }
        Ok(answers)
    }

    fn encode(&self, index: usize, text: &str) -> Result<Encoded, PipelineError> {
        let special = self.tokenizer.special();
        let mut ids = vec![special.cls];
        ids.extend(self.tokenizer.encode_ids(text)?);
        ids.push(special.sep);

        let masks: Vec<u32> = (0_u32..)
            .zip(&ids)
            .filter(|(_, id)| **id == special.mask)
            .map(|(position, _)| position)
            .collect();
        if masks.is_empty() {
            return Err(PipelineError::NoMask {
                index,
                mask: self
                    .tokenizer
                    .token(special.mask)
                    .unwrap_or_default()
                    .into(),
                text: text.into(),
            });
        }
        match self.max_tokens() {
            Some(limit) if ids.len() > limit => Err(PipelineError::TooLong {
                index,
                tokens: ids.len(),
                limit,
            }),
            _ => Ok(Encoded { index, ids, masks }),
        }
    }

    /// Probabilities of every id at every mask of the batch, row after row.
    fn probabilities(&self, batch: &[&Encoded]) -> Vec<f32> {
        let lengths: Vec<usize> = batch.iter().map(|text| text.ids.len()).collect();
        let seq_len = lengths.iter().copied().max().unwrap_or(0);
        let pad = self.config.pad_token_id as i32;
        let ids: Vec<i32> = batch
            .iter()
            .flat_map(|text| {
                let padding = seq_len - text.ids.len();
                let ids = text.ids.iter().map(|&id| id as i32);
                ids.chain(std::iter::repeat_n(pad, padding))
            })
            .collect();
        let ids = TensorData::new(ids, [batch.len(), seq_len]);
        let ids = Tensor::<B, 2, Int>::from_data(ids, &self.device);
        let masks: Vec<Vec<u32>> = batch.iter().map(|text| text.masks.clone()).collect();

        let logits = self.model.forward(MaskedLmInput {
            tokens: DebertaInput {
                mask: AttentionMask::from_lengths(&lengths, seq_len, &self.device),
                ..DebertaInput::new(ids)
            },
            masked: MaskedTokens::new(&masks, seq_len, &self.device),
        });
        softmax(logits, 1).into_data().iter::<f32>().collect()
    }

    /// The `top_k` most probable pieces of a row, probabilities renormalised over real pieces.
    fn best(&self, row: &[f32], top_k: usize) -> Vec<MaskCandidate> {
        let real = self.tokenizer.vocab().replaceable_ids();
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
                token: self.tokenizer.token(id).unwrap_or_default().into(),
                text: self.tokenizer.decode(&[id]).trim().into(),
                probability: probability(id) / total,
            })
            .collect()
    }
}
