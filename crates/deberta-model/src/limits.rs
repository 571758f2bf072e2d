//! Sizes that are too large to be meant.

use crate::config::{ConfigError, DebertaConfig};

/// Most rows of a word table, so that ids fit into 32 bits.
const MAX_VOCAB: usize = i32::MAX as usize;

/// Most layers; published networks have 48.
const MAX_LAYERS: usize = 1 << 12;

/// Largest of all other sizes. A count of parameters does not overflow.
const MAX_WIDTH: usize = 1 << 20;

impl DebertaConfig {
    /// Refuses sizes that no memory holds weights for, before it is asked for.
    pub(crate) fn check_sizes(&self) -> Result<(), ConfigError> {
        let relative = self.relative_positions.as_ref();
        let heads = self.num_attention_heads;
        for (field, value, largest) in [
            ("vocab_size", self.vocab_size, MAX_VOCAB),
            ("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS),
            ("hidden_size", self.hidden_size, MAX_WIDTH),
            ("embedding_size", self.embedding_size, MAX_WIDTH),
            ("num_attention_heads", heads, MAX_WIDTH),
            (
                "attention_head_size",
                self.attention_head_size,
                MAX_WIDTH / heads.max(1),
            ),
            ("intermediate_size", self.intermediate_size, MAX_WIDTH),
            ("type_vocab_size", self.type_vocab_size, MAX_WIDTH),
            (
                "max_position_embeddings",
                self.max_position_embeddings,
                MAX_WIDTH,
            ),
            (
                "max_relative_positions",
                relative.map_or(0, |it| it.max_distance),
                MAX_WIDTH,
            ),
            (
                "position_buckets",
                relative.and_then(|it| it.buckets).unwrap_or(0),
                MAX_WIDTH,
            ),
            (
                "conv_kernel_size",
                self.conv.map_or(0, |conv| conv.kernel_size),
                MAX_WIDTH,
            ),
        ] {
            if value > largest {
                return Err(ConfigError::OutOfRange {
                    field,
                    value: value.to_string(),
                    expected: "a size that networks have",
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_network_can_be_counted() {
        let largest = DebertaConfig {
            num_attention_heads: 1 << 10,
            attention_head_size: 1 << 10,
            intermediate_size: MAX_WIDTH,
            ..DebertaConfig::v1(MAX_VOCAB, MAX_WIDTH, MAX_LAYERS, 1)
        };
        largest.validate().unwrap();
        assert!(largest.num_parameters() > 1 << 53);
    }

    #[test]
    fn what_no_memory_holds_is_named() {
        let mut config = DebertaConfig::v3(100, 32, 2, 2);
        config.vocab_size = 10_000_000_000_000;
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains("vocab_size"), "{error}");
        // Each of the two would do.
        config = DebertaConfig::v3(100, 32, 2, 2);
        config.num_attention_heads = 1 << 11;
        config.attention_head_size = 1 << 11;
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains("attention_head_size"), "{error}");
    }
}
