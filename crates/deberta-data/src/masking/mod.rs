//! Which tokens are hidden from the model, and what stands in their place.
//!
//! A mask depends on (seed, epoch, example) and nothing else: not on the order of calls, the
//! number of threads or where a run was resumed.

mod microsoft;
mod ngram;
mod rng;
mod unbiased;
mod units;

use serde::{Deserialize, Serialize};

use crate::tokenizer::VocabInfo;
use ngram::NgramLengths;
use rng::Rng;

/// How positions are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskingAlgorithm {
    /// Every position is as likely as any other.
    #[default]
    Unbiased,
    /// As Microsoft's code: the end of an example is hardly ever masked, and words are kept whole
    /// only if `max_ngram` is above 1. Random replacements still avoid special and unused ids.
    Microsoft,
}

/// Settings of [`MlmMasker`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaskingConfig {
    /// Share of the tokens to predict, in (0, 1]. Default: 0.15.
    pub mask_prob: f64,
    /// Share of the predicted tokens that stay as they are. Default: 0.1.
    pub keep_prob: f64,
    /// Share of the predicted tokens that become a random piece. Default: 0.1. The rest become
    /// `[MASK]`.
    pub random_prob: f64,
    /// Longest span in words (or tokens), at least 1; a length `n` has probability ∝ 1/n.
    /// Default: 3.
    pub max_ngram: usize,
    /// Whether a word is masked whole or not at all. Default: true.
    pub whole_word: bool,
    /// Most tokens to predict per example. Default: no limit but `mask_prob`.
    pub max_predictions: Option<usize>,
    /// How positions are chosen. Default: unbiased.
    pub algorithm: MaskingAlgorithm,
}

impl Default for MaskingConfig {
    fn default() -> Self {
        Self {
            mask_prob: 0.15,
            keep_prob: 0.1,
            random_prob: 0.1,
            max_ngram: 3,
            whole_word: true,
            max_predictions: None,
            algorithm: MaskingAlgorithm::Unbiased,
        }
    }
}

/// A setting of [`MaskingConfig`] that makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskingError {
    /// A number is outside its range.
    #[error("{field} is {value}, expected {expected}")]
    OutOfRange {
        /// Field of the configuration.
        field: &'static str,
        /// Its value.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// Random replacements are asked for, but the vocabulary has no piece to draw.
    #[error("random_prob is {random_prob}, but no piece of the vocabulary is replaceable")]
    NothingToDraw {
        /// Its value.
        random_prob: f64,
    },
}

/// An example with tokens to predict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MaskedExample {
    /// What the model sees.
    pub input_ids: Vec<u32>,
    /// Positions to predict, ascending.
    pub positions: Vec<u32>,
    /// The original id at each of `positions`.
    pub labels: Vec<u32>,
}

/// Hides tokens for masked language modelling.
///
/// ```text
/// budget = max(1, round(mask_prob · maskable tokens))
/// P(span of n words) ∝ 1/n,  n <= max_ngram
/// masked token → [MASK] | itself | a random piece   with 1 - keep - random | keep | random
/// ```
///
/// Special tokens are never masked and never drawn.
///
/// Reference: BERT's 80/10/10 rule; span masking as in DeBERTa, appendix A.
#[derive(Debug, Clone)]
pub struct MlmMasker {
    config: MaskingConfig,
    vocab: VocabInfo,
    lengths: NgramLengths,
}

impl MlmMasker {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`MaskingError`] with the first setting that makes no sense.
    pub fn new(config: MaskingConfig, vocab: VocabInfo) -> Result<Self, MaskingError> {
        config.check()?;
        if config.random_prob > 0.0 && vocab.replaceable_ids().is_empty() {
            return Err(MaskingError::NothingToDraw {
                random_prob: config.random_prob,
            });
        }
        let lengths = NgramLengths::new(config.max_ngram);
        Ok(Self {
            config,
            vocab,
            lengths,
        })
    }

    /// The vocabulary.
    pub fn vocab(&self) -> &VocabInfo {
        &self.vocab
    }

    /// The settings.
    pub fn config(&self) -> &MaskingConfig {
        &self.config
    }

    /// Masks one example for one visit.
    ///
    /// At least one token is masked, unless all are special. With whole words the budget is met as
    /// closely as whole words allow and never exceeded; Microsoft's algorithm finishes its last
    /// word.
    pub fn mask(&self, ids: &[u32], seed: u64, epoch: u64, example: u64) -> MaskedExample {
        let mut rng = Rng::keyed(seed, epoch, example);
        let positions = match self.config.algorithm {
            MaskingAlgorithm::Unbiased => self.choose_unbiased(ids, &mut rng),
            MaskingAlgorithm::Microsoft => self.choose_microsoft(ids, &mut rng),
        };
        let mut masked = MaskedExample {
            input_ids: ids.to_vec(),
            positions: Vec::with_capacity(positions.len()),
            labels: Vec::with_capacity(positions.len()),
        };
        for position in positions {
            let label = ids[position];
            masked.input_ids[position] = self.replace(label, &mut rng);
            masked.labels.push(label);
            masked.positions.push(position as u32);
        }
        masked
    }

    fn choose_unbiased(&self, ids: &[u32], rng: &mut Rng) -> Vec<usize> {
        let maskable = ids.iter().filter(|id| !self.vocab.is_special(**id)).count();
        if maskable == 0 {
            return Vec::new();
        }
        let budget = self.budget((maskable as f64 * self.config.mask_prob).round());
        let units = units::split(ids, &self.vocab, self.config.whole_word, budget);
        let chosen = unbiased::choose(&units, budget, &self.lengths, rng);
        let chosen = units.into_iter().zip(chosen).filter(|(_, chosen)| *chosen);
        chosen.flat_map(|(unit, _)| unit).collect()
    }

    fn choose_microsoft(&self, ids: &[u32], rng: &mut Rng) -> Vec<usize> {
        // Python's `round`, and special tokens count.
        let budget = self.budget((ids.len() as f64 * self.config.mask_prob).round_ties_even());
        let window = (1.0 / self.config.mask_prob) as usize;
        let words = self.config.whole_word && self.config.max_ngram > 1;
        microsoft::choose(ids, &self.vocab, words, budget, window, &self.lengths, rng)
    }

    fn budget(&self, tokens: f64) -> usize {
        (tokens as usize)
            .max(1)
            .min(self.config.max_predictions.unwrap_or(usize::MAX))
    }

    fn replace(&self, label: u32, rng: &mut Rng) -> u32 {
        let draw = rng.unit();
        if draw < self.config.keep_prob {
            label
        } else if draw < self.config.keep_prob + self.config.random_prob {
            let drawable = self.vocab.replaceable_ids();
            drawable[rng.below(drawable.len())]
        } else {
            self.vocab.special().mask
        }
    }
}

impl MaskingConfig {
    fn check(&self) -> Result<(), MaskingError> {
        let fail = |field, value: &dyn ToString, expected| {
            Err(MaskingError::OutOfRange {
                field,
                value: value.to_string(),
                expected,
            })
        };
        if !(self.mask_prob > 0.0 && self.mask_prob <= 1.0) {
            return fail("mask_prob", &self.mask_prob, "a share in (0, 1]");
        }
        for (field, value) in [
            ("keep_prob", self.keep_prob),
            ("random_prob", self.random_prob),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return fail(field, &value, "a share in [0, 1]");
            }
        }
        let unmasked = self.keep_prob + self.random_prob;
        if unmasked > 1.0 {
            return fail("keep_prob + random_prob", &unmasked, "at most 1");
        }
        if self.max_ngram == 0 || self.max_ngram > 64 {
            return fail("max_ngram", &self.max_ngram, "1 to 64");
        }
        if self.max_predictions == Some(0) {
            return fail("max_predictions", &0, "at least 1");
        }
        Ok(())
    }
}
