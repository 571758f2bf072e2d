//! Sizes that are too large to be meant.

use super::{HfConfig, positive};
use crate::config::ConfigError;

/// Most rows of a word table, so that ids fit into 32 bits.
const MAX_VOCAB: usize = i32::MAX as usize;

/// Most layers; published networks have 48.
const MAX_LAYERS: usize = 1 << 12;

/// Largest of all other sizes. Products of three of them do not overflow.
const MAX_WIDTH: usize = 1 << 20;

impl HfConfig {
    /// Refuses sizes that no file could hold weights for, before memory is asked for.
    pub(super) fn check_sizes(&self) -> Result<(), ConfigError> {
        let signed = |value: i64| positive(value).unwrap_or(0);
        for (field, value, largest) in [
            ("vocab_size", self.vocab_size, MAX_VOCAB),
            ("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS),
            ("hidden_size", self.hidden_size, MAX_WIDTH),
            (
                "embedding_size",
                self.embedding_size.unwrap_or(0),
                MAX_WIDTH,
            ),
            ("num_attention_heads", self.num_attention_heads, MAX_WIDTH),
            (
                "attention_head_size",
                self.attention_head_size.map_or(0, signed),
                MAX_WIDTH,
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
                signed(self.max_relative_positions),
                MAX_WIDTH,
            ),
            ("position_buckets", signed(self.position_buckets), MAX_WIDTH),
            (
                "conv_kernel_size",
                self.conv_kernel_size.unwrap_or(0),
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
