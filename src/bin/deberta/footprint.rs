//! What a network of a size takes in memory, apart from what its batches take.

use deberta::model::DebertaConfig;
use deberta::train::objective::RtdConfig;

/// Bytes of a parameter in f32, and of each of its gradient and two moments.
const FULL: u64 = 4;
/// Bytes of a parameter in bf16 or f16.
const HALF: u64 = 2;

/// Memory of a network, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// Numbers in the network.
    pub(crate) parameters: u64,
}

impl Footprint {
    /// A network.
    pub(crate) fn new(config: &DebertaConfig) -> Self {
        Self {
            parameters: config.num_parameters() as u64,
        }
    }

    /// A discriminator with its generator, each with embeddings of its own: `E_Δ` is as large.
    pub(crate) fn with_generator(config: &DebertaConfig) -> Self {
        let generator = RtdConfig::default().generator(config);
        Self {
            parameters: Self::new(config).parameters + Self::new(&generator).parameters,
        }
    }

    /// Answering in f32.
    pub(crate) fn full(self) -> u64 {
        FULL * self.parameters
    }

    /// Answering in bf16 or f16.
    pub(crate) fn half(self) -> u64 {
        HALF * self.parameters
    }

    /// Training in f32: weights, gradients and the two moments of AdamW.
    pub(crate) fn training(self) -> u64 {
        4 * FULL * self.parameters
    }

    /// Training with computation in bf16 or f16: beside these a copy of the weights to compute with,
    /// and its gradients.
    pub(crate) fn mixed_training(self) -> u64 {
        self.training() + 2 * HALF * self.parameters
    }
}

/// Bytes in GB, with one digit.
pub(crate) fn gigabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use deberta::model::presets;

    use super::*;

    #[test]
    fn a_parameter_takes_2_to_20_bytes() {
        let network = Footprint { parameters: 10 };
        let bytes = [
            network.half(),
            network.full(),
            network.training(),
            network.mixed_training(),
        ];
        assert_eq!(bytes, [20, 40, 160, 200]);
    }

    #[test]
    fn the_table_of_the_guide_is_what_the_program_computes() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/scaling.md");
        let page = std::fs::read_to_string(page).unwrap();
        for name in presets::NAMES {
            let network = Footprint::new(&presets::by_name(name).unwrap());
            let row = format!(
                "| `{name}` | {:.0} M | {} | {} | {} | {} |",
                network.parameters as f64 / 1e6,
                gigabytes(network.half()),
                gigabytes(network.full()),
                gigabytes(network.training()),
                gigabytes(network.mixed_training()),
            );
            assert!(page.contains(&row), "docs/scaling.md lacks\n{row}");
        }
        for name in presets::NAMES.iter().filter(|it| it.contains("v3")) {
            let networks = Footprint::with_generator(&presets::by_name(name).unwrap());
            let row = format!(
                "| `{name}` | {:.0} M | {} | {} |",
                networks.parameters as f64 / 1e6,
                gigabytes(networks.training()),
                gigabytes(networks.mixed_training()),
            );
            assert!(page.contains(&row), "docs/scaling.md lacks\n{row}");
        }
    }
}
