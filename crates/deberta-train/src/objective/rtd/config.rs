//! Settings of replaced-token detection, and the two networks that they describe.

use burn::tensor::backend::Backend;
use deberta_model::config::{AbsolutePositions, ConfigError};
use deberta_model::heads::{HeadConfig, TaskModel};
use deberta_model::{DebertaConfig, DebertaForMaskedLm};
use serde::{Deserialize, Serialize};

use super::{Discriminator, RtdNetworks};

/// What word and position tables of generator and discriminator have in common: `E_G` and `E_D`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmbeddingSharing {
    /// Gradient-disentangled embedding sharing (GDES): `E_D = stop_gradient(E_G) + E_Δ`, where only
    /// `E_Δ` learns from the discriminator.
    #[default]
    Gdes,
    /// Embedding sharing (ES): `E_D = E_G`, which learns from both.
    #[serde(alias = "es")]
    Shared,
    /// No embedding sharing (NES): each network has its own.
    #[serde(alias = "nes")]
    None,
}

/// Settings of replaced-token detection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RtdConfig {
    /// Layers of the generator; `null` for half of the discriminator's, as in the published models.
    /// Default: `null`
    pub generator_layers: Option<usize>,
    /// Which embeddings the networks share. Default: gdes
    pub sharing: EmbeddingSharing,
    /// Weight λ of the discriminator's loss. Default: 50, as in the paper; Microsoft's program has 10
    pub lambda: f64,
    /// Temperature of the softmax that replacements are drawn from. Default: 1
    pub temperature: f64,
}

impl Default for RtdConfig {
    fn default() -> Self {
        Self {
            generator_layers: None,
            sharing: EmbeddingSharing::Gdes,
            lambda: 50.0,
            temperature: 1.0,
        }
    }
}

impl RtdConfig {
    /// The generator beside a discriminator like `model`: as wide, and half as deep unless it is said
    /// otherwise.
    pub fn generator(&self, model: &DebertaConfig) -> DebertaConfig {
        let half = model.num_hidden_layers.div_ceil(2);
        DebertaConfig {
            num_hidden_layers: self.generator_layers.unwrap_or(half),
            ..model.clone()
        }
    }

    /// The discriminator on its own, as [`RtdNetworks::merged`] gives it.
    ///
    /// The table of absolute positions is its own only if it is added to its input; otherwise it is
    /// that of the generator, whose mask decoder reads it.
    pub fn discriminator(&self, model: &DebertaConfig) -> DebertaConfig {
        match self.sharing {
            EmbeddingSharing::None => without_unread_positions(model),
            EmbeddingSharing::Gdes | EmbeddingSharing::Shared => model.clone(),
        }
    }

    /// Both networks with random weights; with [`EmbeddingSharing::Gdes`], `E_Δ` is 0.
    ///
    /// # Errors
    ///
    /// If a network cannot be built.
    pub fn init<B: Backend>(
        &self,
        model: &DebertaConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<RtdNetworks<B>, ConfigError> {
        let generator = self.init_generator::<B>(model, seed, device)?;
        let tables = &generator.deberta.embeddings;
        let words = tables.word_embeddings.weight.val();
        let (words, positions) = (words, tables.position_table());
        let mut discriminator = self.init_discriminator::<B>(model, seed, device)?;
        if self.sharing != EmbeddingSharing::None {
            // So that their difference is 0.
            let embeddings = discriminator.deberta.embeddings;
            discriminator.deberta.embeddings = embeddings.with_tables(words, positions);
        }
        Ok(RtdNetworks::join(generator, discriminator, self, model))
    }

    /// The generator with random weights.
    ///
    /// # Errors
    ///
    /// If it cannot be built.
    pub fn init_generator<B: Backend>(
        &self,
        model: &DebertaConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<DebertaForMaskedLm<B>, ConfigError> {
        self.generator(model).init_masked_lm(seed, device)
    }

    /// The discriminator on its own with random weights, other than those of the generator of this
    /// seed.
    ///
    /// # Errors
    ///
    /// If it cannot be built.
    pub fn init_discriminator<B: Backend>(
        &self,
        model: &DebertaConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<Discriminator<B>, ConfigError> {
        let config = without_unread_positions(model);
        let head = HeadConfig::new(&config, Vec::new());
        Discriminator::init(&config, &head, !seed, device)
    }
}

/// A discriminator has no mask decoder.
fn without_unread_positions(model: &DebertaConfig) -> DebertaConfig {
    let absolute_positions = match model.absolute_positions {
        AbsolutePositions::Decoder => AbsolutePositions::None,
        positions => positions,
    };
    DebertaConfig {
        absolute_positions,
        ..model.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deberta_model::presets;

    #[test]
    fn generators_are_half_as_deep_as_published() {
        for (name, layers) in [
            ("deberta-v3-xsmall", 6),
            ("deberta-v3-small", 3),
            ("deberta-v3-base", 6),
            ("deberta-v3-large", 12),
        ] {
            let model = presets::by_name(name).unwrap();
            let generator = RtdConfig::default().generator(&model);
            assert_eq!(generator.num_hidden_layers, layers, "{name}");
            let expected = DebertaConfig {
                num_hidden_layers: layers,
                ..model
            };
            assert_eq!(generator, expected);
        }
        let config = RtdConfig {
            generator_layers: Some(2),
            ..RtdConfig::default()
        };
        let generator = config.generator(&DebertaConfig::v3(9, 8, 3, 2));
        assert_eq!(generator.num_hidden_layers, 2);
    }
}
