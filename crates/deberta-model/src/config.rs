//! Typed configuration of the network.
//!
//! The Hub's spellings (`-1` for "unset", `"c2p|p2c"`) live in [`hf_config`](crate::hf_config).

use serde::{Deserialize, Serialize};

use crate::relative_position::{LongDistance, RelativePositionConfig};

/// A configuration that no network can be built from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A size that must be positive is zero.
    #[error("`{field}` is 0, expected a positive number")]
    Zero {
        /// Name of the field.
        field: &'static str,
    },
    /// One size must divide another.
    #[error("`{field}` = {value} is not a multiple of `{divisor_field}` = {divisor}")]
    NotDivisible {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: usize,
        /// Name of the field that must divide it.
        divisor_field: &'static str,
        /// Its value.
        divisor: usize,
    },
    /// A number outside its range.
    #[error("`{field}` = {value}, expected {expected}")]
    OutOfRange {
        /// Name of the field.
        field: &'static str,
        /// Its value as text.
        value: String,
        /// The values that are allowed.
        expected: &'static str,
    },
    /// A text that is none of the known spellings.
    #[error("unknown {field} `{value}`, expected {expected}")]
    Unknown {
        /// Name of the field.
        field: &'static str,
        /// The value found.
        value: String,
        /// The values that are known.
        expected: &'static str,
    },
    /// The JSON text does not describe a configuration.
    #[error("{message}")]
    Json {
        /// What the parser said, with line and column.
        message: String,
    },
}

/// Which family's parameters the network has.
///
/// The two differ in which projections carry a bias and in the names of their parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// DeBERTa v1: keys and position keys have no bias; Q, K and V are one matrix on disk.
    V1,
    /// DeBERTa v2, v3 and mDeBERTa.
    V2,
}

/// Relative-position terms that enter the attention score besides content-to-content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionTerms {
    /// Content-to-position, term (b) of Eq. (4).
    pub c2p: bool,
    /// Position-to-content, term (c) of Eq. (4).
    pub p2c: bool,
}

impl PositionTerms {
    /// Both terms: DeBERTa.
    pub const BOTH: Self = Self {
        c2p: true,
        p2c: true,
    };
    /// Content-to-position only: Shaw et al. (2018).
    pub const C2P: Self = Self {
        c2p: true,
        p2c: false,
    };
    /// Position-to-content only.
    pub const P2C: Self = Self {
        c2p: false,
        p2c: true,
    };
    /// Neither: plain attention.
    pub const NONE: Self = Self {
        c2p: false,
        p2c: false,
    };

    /// Number of summed score terms: the 3 in the paper's `sqrt(3 d)` when both are on.
    pub fn scale_factor(self) -> usize {
        1 + usize::from(self.c2p) + usize::from(self.p2c)
    }

    /// Whether the relative-position table is used at all.
    pub fn any(self) -> bool {
        self.c2p || self.p2c
    }
}

/// Where absolute positions enter the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AbsolutePositions {
    /// Nowhere: a bare encoder.
    None,
    /// In the enhanced mask decoder only (Section 3.2 of the paper).
    Decoder,
    /// Added to the word embeddings, as in BERT.
    Input,
}

/// Nonlinearity of the feed-forward and convolution layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x Φ(x)` with the exact error function; every published model uses it.
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
}

/// Convolution beside the first layer (v2-xlarge and v2-xxlarge).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConvConfig {
    /// Width of the kernel in tokens, odd.
    pub kernel_size: usize,
    /// Groups of channels.
    pub groups: usize,
    /// Nonlinearity after the convolution.
    pub activation: Activation,
}

/// Configuration of a DeBERTa encoder.
///
/// [`presets`](crate::presets) has the published sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebertaConfig {
    /// Names and biases of the parameters.
    pub family: Family,
    /// Rows of the word table.
    pub vocab_size: usize,
    /// Width of the word table.
    pub embedding_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of attention heads.
    pub num_attention_heads: usize,
    /// Width of one attention head; heads times this need not equal `hidden_size`.
    pub attention_head_size: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Nonlinearity of the feed-forward layer.
    pub hidden_act: Activation,
    /// Dropout probability of embeddings, layer outputs and the relative-position table.
    pub hidden_dropout_prob: f64,
    /// Dropout probability of attention probabilities.
    pub attention_probs_dropout_prob: f64,
    /// Rows of the absolute-position table.
    pub max_position_embeddings: usize,
    /// Rows of the token-type table; 0 for none.
    pub type_vocab_size: usize,
    /// Added to the variance by every layer norm.
    pub layer_norm_eps: f64,
    /// Standard deviation of the initial weights.
    pub initializer_range: f64,
    /// Id of the padding token.
    pub pad_token_id: u32,
    /// Score terms in use. They count in the scale even if `relative_positions` is `None`.
    pub position_terms: PositionTerms,
    /// The relative-position table; `None` for an encoder without one.
    pub relative_positions: Option<RelativePositionConfig>,
    /// Project positions with the content's key and query matrices (v2, v3).
    pub share_att_key: bool,
    /// Layer-normalise the relative-position table (v2, v3).
    pub norm_rel_embeddings: bool,
    /// Where absolute positions enter.
    pub absolute_positions: AbsolutePositions,
    /// Convolution beside the first layer.
    pub conv: Option<ConvConfig>,
}

impl DebertaConfig {
    /// A v3-style encoder of the given size; the other fields as in the published v3 models.
    pub fn v3(vocab_size: usize, hidden_size: usize, num_layers: usize, num_heads: usize) -> Self {
        Self {
            family: Family::V2,
            vocab_size,
            embedding_size: hidden_size,
            hidden_size,
            num_hidden_layers: num_layers,
            num_attention_heads: num_heads,
            attention_head_size: hidden_size / num_heads.max(1),
            intermediate_size: 4 * hidden_size,
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            max_position_embeddings: 512,
            type_vocab_size: 0,
            layer_norm_eps: 1e-7,
            initializer_range: 0.02,
            pad_token_id: 0,
            position_terms: PositionTerms::BOTH,
            relative_positions: Some(RelativePositionConfig {
                max_distance: 512,
                buckets: Some(256),
                long_distance: LongDistance::Clamp,
            }),
            share_att_key: true,
            norm_rel_embeddings: true,
            absolute_positions: AbsolutePositions::Decoder,
            conv: None,
        }
    }

    /// A v1-style encoder of the given size; the other fields as in the published v1 models.
    pub fn v1(vocab_size: usize, hidden_size: usize, num_layers: usize, num_heads: usize) -> Self {
        Self {
            family: Family::V1,
            relative_positions: Some(RelativePositionConfig {
                max_distance: 512,
                buckets: None,
                long_distance: LongDistance::Clamp,
            }),
            share_att_key: false,
            norm_rel_embeddings: false,
            ..Self::v3(vocab_size, hidden_size, num_layers, num_heads)
        }
    }

    /// Sets every dropout probability to zero.
    pub fn without_dropout(self) -> Self {
        Self {
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            ..self
        }
    }

    /// Width of all heads together: columns of the query, key and value projections.
    pub fn all_head_size(&self) -> usize {
        self.num_attention_heads * self.attention_head_size
    }

    /// Checks that a network can be built.
    ///
    /// # Errors
    ///
    /// The first field that is zero, does not divide, is out of range or larger than any network's.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let positive = [
            ("vocab_size", self.vocab_size),
            ("embedding_size", self.embedding_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("attention_head_size", self.attention_head_size),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        for (field, value) in positive {
            if value == 0 {
                return Err(ConfigError::Zero { field });
            }
        }
        for (field, value) in [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            (
                "attention_probs_dropout_prob",
                self.attention_probs_dropout_prob,
            ),
        ] {
            if !(0.0..1.0).contains(&value) {
                return Err(out_of_range(field, value, "at least 0 and below 1"));
            }
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps.is_finite()) {
            return Err(out_of_range(
                "layer_norm_eps",
                self.layer_norm_eps,
                "a positive number",
            ));
        }
        if !(self.initializer_range >= 0.0 && self.initializer_range.is_finite()) {
            return Err(out_of_range(
                "initializer_range",
                self.initializer_range,
                "a number of at least 0",
            ));
        }
        self.check_sizes()?;
        self.validate_positions()?;
        self.validate_conv()
    }

    fn validate_positions(&self) -> Result<(), ConfigError> {
        if let Some(relative) = &self.relative_positions {
            relative.validate()?;
        }
        if self.absolute_positions == AbsolutePositions::Decoder
            && self.embedding_size != self.hidden_size
        {
            return Err(out_of_range(
                "embedding_size",
                self.embedding_size,
                "hidden_size, since the mask decoder adds position embeddings to hidden states",
            ));
        }
        Ok(())
    }

    fn validate_conv(&self) -> Result<(), ConfigError> {
        let Some(conv) = &self.conv else {
            return Ok(());
        };
        if conv.kernel_size.is_multiple_of(2) {
            return Err(out_of_range(
                "conv_kernel_size",
                conv.kernel_size,
                "an odd number",
            ));
        }
        if conv.groups == 0 {
            return Err(ConfigError::Zero {
                field: "conv_groups",
            });
        }
        if !self.hidden_size.is_multiple_of(conv.groups) {
            return Err(ConfigError::NotDivisible {
                field: "hidden_size",
                value: self.hidden_size,
                divisor_field: "conv_groups",
                divisor: conv.groups,
            });
        }
        Ok(())
    }

    /// Number of parameters of the encoder with its embeddings, without any head.
    ///
    /// Absolute positions that only the mask decoder reads are not counted, as in the published
    /// figures.
    pub fn num_parameters(&self) -> usize {
        let (hidden, heads) = (self.hidden_size, self.all_head_size());
        let linear = |rows: usize, columns: usize| rows * columns + columns;
        let layer_norm = 2 * hidden;

        let mut embeddings = self.vocab_size * self.embedding_size + layer_norm;
        embeddings += self.type_vocab_size * self.embedding_size;
        if self.absolute_positions == AbsolutePositions::Input {
            embeddings += self.max_position_embeddings * self.embedding_size;
        }
        if self.embedding_size != hidden {
            embeddings += self.embedding_size * hidden;
        }

        let key_bias = if self.family == Family::V1 { 0 } else { heads };
        let mut attention = 2 * linear(hidden, heads) + hidden * heads + key_bias;
        attention += linear(heads, hidden) + layer_norm;
        if self.relative_positions.is_some() && !self.share_att_key {
            if self.position_terms.c2p {
                attention += hidden * heads + key_bias;
            }
            if self.position_terms.p2c {
                attention += linear(hidden, heads);
            }
        }
        let feed_forward = linear(hidden, self.intermediate_size)
            + linear(self.intermediate_size, hidden)
            + layer_norm;

        let mut encoder = self.num_hidden_layers * (attention + feed_forward);
        if let Some(relative) = &self.relative_positions {
            encoder += 2 * relative.span() * hidden;
            encoder += usize::from(self.norm_rel_embeddings) * layer_norm;
        }
        if let Some(conv) = &self.conv {
            encoder += hidden * hidden / conv.groups * conv.kernel_size + hidden + layer_norm;
        }
        embeddings + encoder
    }
}

fn out_of_range(field: &'static str, value: impl ToString, expected: &'static str) -> ConfigError {
    ConfigError::OutOfRange {
        field,
        value: value.to_string(),
        expected,
    }
}
