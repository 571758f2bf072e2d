//! The numbers behind the picture.

use std::path::Path;

use anyhow::Result;
use burn::tensor::{Int, Tensor, TensorData};
use deberta::VocabularyMismatch;
use deberta::data::tokenizer::{SequenceConfig, Tokenizer, Truncation};
use deberta::model::checkpoint::{Compatibility, load_model};
use deberta::model::encoder::{Observation, Observe};
use deberta::model::{DebertaBackend, DebertaInput};

/// The attention of one text.
pub(super) struct Maps {
    /// Pieces as the vocabulary spells them, markers included, but with `_` for SentencePiece's mark of
    /// a space, which most fonts draw as a block.
    pub(super) tokens: Vec<String>,
    /// Per layer, the heads.
    pub(super) layers: Vec<Vec<Head>>,
}

/// The maps of one head.
pub(super) struct Head {
    /// Probabilities first, then the terms of the scores that the network has.
    pub(super) parts: Vec<Part>,
}

/// One map.
pub(super) struct Part {
    /// What it shows.
    pub(super) name: &'static str,
    /// Query after query, `tokens * tokens`.
    pub(super) values: Vec<f32>,
    /// Whether the values are probabilities; else they may be negative.
    pub(super) is_probability: bool,
}

impl Head {
    /// The value of the darkest cell of a map: its largest probability; for a term of the scores the
    /// largest absolute value of all terms, so that they share one scale.
    pub(super) fn largest_of(&self, part: &Part) -> f32 {
        let alike = self
            .parts
            .iter()
            .filter(|it| it.is_probability == part.is_probability);
        let values = alike.flat_map(|it| &it.values);
        values.fold(0.0, |most: f32, it| most.max(it.abs()))
    }
}

impl Maps {
    pub(super) fn of_text<B: DebertaBackend>(
        dir: &Path,
        text: &str,
        max_tokens: usize,
    ) -> Result<Self> {
        let device = B::Device::default();
        let tokenizer = Tokenizer::open(dir)?;
        let (model, config) = load_model::<B>(dir, Compatibility::AsConfigured, &device)?;
        VocabularyMismatch::check(dir, &tokenizer, &config)?;
        let sequence = SequenceConfig {
            max_length: Some(max_tokens),
            truncation: Truncation::Never,
            ..SequenceConfig::default()
        };
        let sequence = sequence.encode(&tokenizer, text, None)?;
        let ids: Vec<i32> = sequence.ids.iter().map(|&id| id as i32).collect();
        let ids = TensorData::new(ids, [1, sequence.len()]);
        let input = DebertaInput::new(Tensor::<B, 2, Int>::from_data(ids, &device));
        let observe = Observe {
            attentions: true,
            score_terms: true,
            ..Observe::default()
        };
        let mut layers: Vec<Vec<Head>> = Vec::new();
        model.forward_observed(input, observe, |observation| match observation {
            Observation::Attention(probs) => {
                let heads = parts("attention", probs, true).into_iter();
                layers.push(heads.map(|part| Head { parts: vec![part] }).collect());
            }
            Observation::ScoreTerms(terms) => {
                let terms = [
                    ("content to content", Some(terms.content)),
                    ("content to position", terms.c2p),
                    ("position to content", terms.p2c),
                ];
                let heads = layers.last_mut().into_iter().flatten();
                let mut heads: Vec<&mut Head> = heads.collect();
                for (name, term) in terms {
                    let of_heads = term.map(|it| parts(name, it, false)).unwrap_or_default();
                    for (head, part) in heads.iter_mut().zip(of_heads) {
                        head.parts.push(part);
                    }
                }
            }
            Observation::HiddenStates(_) => {}
        });
        Ok(Self {
            tokens: sequence
                .tokens
                .iter()
                .map(|it| it.replace('\u{2581}', "_"))
                .collect(),
            layers,
        })
    }
}

/// One map per head of `[1, heads, q_len, k_len]`.
fn parts<B: DebertaBackend>(
    name: &'static str,
    maps: Tensor<B, 4>,
    is_probability: bool,
) -> Vec<Part> {
    let [_, _, q_len, k_len] = maps.dims();
    let values: Vec<f32> = maps.into_data().iter::<f32>().collect();
    let of_head = |values: &[f32]| Part {
        name,
        values: values.to_vec(),
        is_probability,
    };
    values.chunks(q_len * k_len).map(of_head).collect()
}
