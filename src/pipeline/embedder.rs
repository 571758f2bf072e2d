//! Texts as vectors.

use std::path::Path;

use burn::tensor::backend::Backend;
use deberta_data::tokenizer::Truncation;
use deberta_model::checkpoint::{Compatibility, load_model};
use deberta_model::{DebertaBackend, DebertaModel};
use serde::{Deserialize, Serialize};

use super::PipelineError;
use super::base::{Base, Rows, common_methods, in_parallel};

/// How the states of all tokens become one vector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The state of `[CLS]`.
    Cls,
    /// The mean over all tokens, markers included, as sentence-transformers has it.
    #[default]
    Mean,
}

/// An encoder with its tokenizer.
///
/// A text that is too long loses its end. Heads of the checkpoint are left aside.
///
/// ```no_run
/// use deberta::backend::DefaultBackend;
/// use deberta::pipeline::Embedder;
///
/// let device = Default::default();
/// let embedder = Embedder::<DefaultBackend>::from_pretrained("microsoft/deberta-v3-small", &device)?;
/// let vectors = embedder.predict(&["A cat.", "A dog."])?;
/// let cosine: f32 = vectors[0].iter().zip(&vectors[1]).map(|(a, b)| a * b).sum();
/// # Ok::<(), deberta::pipeline::PipelineError>(())
/// ```
#[derive(Debug)]
pub struct Embedder<B: Backend> {
    base: Base<B, DebertaModel<B>>,
    pooling: Pooling,
    normalized: bool,
}

common_methods!(Embedder);

impl<B: DebertaBackend> Embedder<B> {
    /// Opens a checkpoint folder with its tokenizer.
    ///
    /// # Errors
    ///
    /// If weights, configuration or tokenizer cannot be read, or do not belong together.
    pub fn open(dir: &Path, device: &B::Device) -> Result<Self, PipelineError> {
        let (mut model, config) = load_model::<B>(dir, Compatibility::AsConfigured, device)?;
        model.prepare();
        Ok(Self {
            base: Base::new(dir, (model, config), device)?,
            pooling: Pooling::default(),
            normalized: true,
        })
    }

    /// How the states of all tokens become one vector. Default: their mean.
    pub fn with_pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = pooling;
        self
    }

    /// Whether vectors are scaled to length 1. Default: true.
    pub fn with_normalized(mut self, normalized: bool) -> Self {
        self.normalized = normalized;
        self
    }

    /// Width of the vectors.
    pub fn width(&self) -> usize {
        self.base.config.hidden_size
    }

    /// One vector per text, in the order of the texts.
    ///
    /// # Errors
    ///
    /// If a text cannot be encoded.
    pub fn predict(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, PipelineError> {
        let width = self.width();
        self.run(texts, |states| {
            let mut vector = match self.pooling {
                Pooling::Cls => states[..width].to_vec(),
                Pooling::Mean => mean(states, width),
            };
            if self.normalized {
                normalize(&mut vector);
            }
            vector
        })
    }

    /// The last hidden states of each text, token after token: `[seq_len, hidden]`.
    ///
    /// # Errors
    ///
    /// If a text cannot be encoded.
    pub fn states(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, PipelineError> {
        self.run(texts, <[f32]>::to_vec)
    }

    fn run<R>(
        &self,
        texts: &[&str],
        finish: impl Fn(&[f32]) -> R,
    ) -> Result<Vec<R>, PipelineError> {
        let config = self.base.sequences(Truncation::LongestFirst, 0);
        let sequences = in_parallel(texts, |_, text| {
            config.encode(&self.base.tokenizer, text, None)
        })?;
        let forward = |model: &DebertaModel<B>, input| model.forward(input);
        Ok(self
            .base
            .run_with(&sequences, Rows::OfTokens, forward, finish))
    }
}

/// The mean of rows of `width` values; in f64, as sums over long texts lose digits.
fn mean(states: &[f32], width: usize) -> Vec<f32> {
    let rows = (states.len() / width) as f64;
    let column = |column: usize| {
        let values = states.iter().skip(column).step_by(width);
        (values.map(|&it| f64::from(it)).sum::<f64>() / rows) as f32
    };
    (0..width).map(column).collect()
}

fn normalize(vector: &mut [f32]) {
    let squares: f64 = vector.iter().map(|&it| f64::from(it).powi(2)).sum();
    let length = squares.sqrt().max(f64::from(f32::MIN_POSITIVE));
    for value in vector {
        *value = (f64::from(*value) / length) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_run_over_tokens() {
        assert_eq!(mean(&[1.0, 2.0, 3.0, 6.0], 2), [2.0, 4.0]);
        let mut vector = [3.0, 4.0];
        normalize(&mut vector);
        assert_eq!(vector, [0.6, 0.8]);
        let mut zero = [0.0, 0.0];
        normalize(&mut zero);
        assert_eq!(zero, [0.0, 0.0]);
    }
}
