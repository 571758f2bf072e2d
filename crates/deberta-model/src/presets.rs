//! The published sizes.
//!
//! Parameter counts of the encoders equal those of the released checkpoints (see the tests).

use crate::config::{Activation, ConvConfig, DebertaConfig};

/// Names that [`by_name`] knows, in order of publication and size.
pub const NAMES: [&str; 10] = [
    "deberta-base",
    "deberta-large",
    "deberta-xlarge",
    "deberta-v2-xlarge",
    "deberta-v2-xxlarge",
    "deberta-v3-xsmall",
    "deberta-v3-small",
    "deberta-v3-base",
    "deberta-v3-large",
    "mdeberta-v3-base",
];

/// Rows of the v1 word table: GPT-2's byte-level BPE in fairseq order.
const V1_VOCAB: usize = 50_265;
/// Rows of the v2 and v3 word tables: 128,000 pieces, `[MASK]`, and unused rows up to a round number.
const V3_VOCAB: usize = 128_100;
/// Rows of the multilingual word table.
const MULTILINGUAL_VOCAB: usize = 251_000;

/// The published configuration of that name, with or without the organisation in front
/// (`deberta-v3-base` or `microsoft/deberta-v3-base`).
pub fn by_name(name: &str) -> Option<DebertaConfig> {
    let short = name.strip_prefix("microsoft/").unwrap_or(name);
    let config = match short {
        "deberta-base" => DebertaConfig::v1(V1_VOCAB, 768, 12, 12),
        "deberta-large" => DebertaConfig::v1(V1_VOCAB, 1024, 24, 16),
        "deberta-xlarge" => DebertaConfig::v1(V1_VOCAB, 1024, 48, 16),
        "deberta-v2-xlarge" => with_conv(DebertaConfig::v3(V3_VOCAB, 1536, 24, 24)),
        "deberta-v2-xxlarge" => with_conv(DebertaConfig::v3(V3_VOCAB, 1536, 48, 24)),
        "deberta-v3-xsmall" => DebertaConfig::v3(V3_VOCAB, 384, 12, 6),
        "deberta-v3-small" => DebertaConfig::v3(V3_VOCAB, 768, 6, 12),
        "deberta-v3-base" => DebertaConfig::v3(V3_VOCAB, 768, 12, 12),
        "deberta-v3-large" => DebertaConfig::v3(V3_VOCAB, 1024, 24, 16),
        "mdeberta-v3-base" => DebertaConfig::v3(MULTILINGUAL_VOCAB, 768, 12, 12),
        _ => return None,
    };
    Some(config)
}

fn with_conv(config: DebertaConfig) -> DebertaConfig {
    DebertaConfig {
        conv: Some(ConvConfig {
            kernel_size: 3,
            groups: 1,
            activation: Activation::Gelu,
        }),
        ..config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_counts_equal_the_published_checkpoints() {
        let published = [
            138_601_728,
            405_163_008,
            757_804_032,
            884_593_152,
            1_564_549_632,
            70_682_112,
            141_304_320,
            183_831_552,
            434_012_160,
            278_218_752,
        ];
        for (name, parameters) in NAMES.iter().zip(published) {
            let config = by_name(name).unwrap();
            config.validate().unwrap();
            assert_eq!(config.num_parameters(), parameters, "{name}");
        }
    }

    #[test]
    fn the_organisation_is_optional() {
        assert_eq!(
            by_name("microsoft/deberta-v3-small"),
            by_name("deberta-v3-small")
        );
        assert_eq!(by_name("bert-base-uncased"), None);
    }
}
