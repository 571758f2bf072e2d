//! `config.json` as published: the only place that knows its spellings and sentinels.

mod head;
mod nested;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::checkpoint::{CheckpointError, config_path, read_text};
use crate::config::{
    AbsolutePositions, Activation, ConfigError, ConvConfig, DebertaConfig, Family, PositionTerms,
};
use crate::relative_position::{LongDistance, RelativePositionConfig};

pub use nested::RtdPart;

const DEFAULT_CONV_ACT: &str = "tanh";

/// A Hub or Microsoft `config.json`.
///
/// Fields that the network does not need (`id2label`, `architectures`, …) are kept in
/// [`other`](Self::other), so that a checkpoint saved again still has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HfConfig {
    /// `deberta` or `deberta-v2`; Microsoft's own files often lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_type: Option<String>,
    /// Rows of the word table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of attention heads.
    pub num_attention_heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Width of one head; unset or −1 means hidden size over heads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_head_size: Option<i64>,
    /// Width of the word table; unset means the hidden size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_size: Option<usize>,
    /// Nonlinearity of the feed-forward layer.
    #[serde(default = "default_act")]
    pub hidden_act: String,
    /// Dropout probability of hidden states.
    #[serde(default = "default_dropout")]
    pub hidden_dropout_prob: f64,
    /// Dropout probability of attention probabilities.
    #[serde(default = "default_dropout")]
    pub attention_probs_dropout_prob: f64,
    /// Rows of the absolute-position table.
    #[serde(default = "default_max_positions")]
    pub max_position_embeddings: usize,
    /// Rows of the token-type table.
    #[serde(default)]
    pub type_vocab_size: usize,
    /// Added to the variance by every layer norm.
    #[serde(default = "default_eps")]
    pub layer_norm_eps: f64,
    /// Standard deviation of the initial weights.
    #[serde(default = "default_initializer_range")]
    pub initializer_range: f64,
    /// Whether there is a relative-position table.
    #[serde(default)]
    pub relative_attention: bool,
    /// Largest distance; below 1 means `max_position_embeddings`.
    #[serde(default = "minus_one")]
    pub max_relative_positions: i64,
    /// Logarithmic buckets; below 1 means none.
    #[serde(default = "minus_one")]
    pub position_buckets: i64,
    /// `c2p` and `p2c` as a list, or joined by `|`.
    #[serde(default)]
    pub pos_att_type: PosAttType,
    /// Project positions with the content's matrices.
    #[serde(default)]
    pub share_att_key: bool,
    /// `layer_norm` to normalise the table, `none` otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm_rel_ebd: Option<String>,
    /// Whether absolute positions are added to the word embeddings.
    #[serde(default = "default_true")]
    pub position_biased_input: bool,
    /// Id of the padding token.
    #[serde(default, alias = "padding_idx")]
    pub pad_token_id: u32,
    /// Width of the convolution beside the first layer; 0 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conv_kernel_size: Option<usize>,
    /// Channel groups of the convolution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conv_groups: Option<usize>,
    /// Nonlinearity of the convolution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conv_act: Option<String>,
    /// What becomes of distances beyond the table's reach; not a key of the Hub, so only files whose
    /// network does not do as Microsoft's code have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_distance: Option<LongDistance>,
    /// Everything else in the file.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// `pos_att_type` as found in files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PosAttType {
    /// `"c2p|p2c"`.
    Joined(String),
    /// `["c2p", "p2c"]`.
    List(Vec<String>),
    /// `null`.
    Null(()),
}

impl Default for PosAttType {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

fn default_act() -> String {
    "gelu".into()
}
fn default_dropout() -> f64 {
    0.1
}
fn default_max_positions() -> usize {
    512
}
fn default_eps() -> f64 {
    1e-7
}
fn default_initializer_range() -> f64 {
    0.02
}
fn minus_one() -> i64 {
    -1
}
fn default_true() -> bool {
    true
}

impl HfConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is not a DeBERTa configuration; the path is in the message.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        Self::open_part(path, RtdPart::default())
    }

    /// Reads the configuration of a checkpoint folder: `config.json`, or Microsoft's
    /// `model_config.json` or GLiNER's `gliner_config.json`.
    ///
    /// # Errors
    ///
    /// If there is none, it cannot be read, or it is not a DeBERTa configuration; the path is in the
    /// message.
    pub fn of_folder(dir: &Path) -> Result<Self, CheckpointError> {
        let part = RtdPart::default();
        Self::open_part(&config_path(dir, part), part)
    }

    /// As [`open`](Self::open), where `part` is meant if the file has a generator and a
    /// discriminator.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is not a DeBERTa configuration; the path is in the message.
    pub fn open_part(path: &Path, part: RtdPart) -> Result<Self, CheckpointError> {
        let text = read_text(path)?;
        Self::parse_part(&text, part).map_err(|source| CheckpointError::Config {
            path: path.into(),
            source,
        })
    }

    /// Parses the text of a `config.json`.
    ///
    /// # Errors
    ///
    /// If it is not JSON or lacks a required field.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::parse_part(text, RtdPart::default())
    }

    /// The typed configuration of the encoder.
    ///
    /// Absolute positions are [`AbsolutePositions::Input`] or [`AbsolutePositions::None`]: whether
    /// a mask decoder follows is a property of the head, not of this file.
    ///
    /// # Errors
    ///
    /// The first field with an unknown spelling or an impossible value.
    pub fn to_config(&self) -> Result<DebertaConfig, ConfigError> {
        let config = DebertaConfig {
            family: self.family()?,
            vocab_size: self.vocab_size,
            embedding_size: self.embedding_size.unwrap_or(self.hidden_size),
            hidden_size: self.hidden_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            attention_head_size: self.head_size()?,
            intermediate_size: self.intermediate_size,
            hidden_act: activation("hidden_act", &self.hidden_act)?,
            hidden_dropout_prob: self.hidden_dropout_prob,
            attention_probs_dropout_prob: self.attention_probs_dropout_prob,
            max_position_embeddings: self.max_position_embeddings,
            type_vocab_size: self.type_vocab_size,
            layer_norm_eps: self.layer_norm_eps,
            initializer_range: self.initializer_range,
            pad_token_id: self.pad_token_id,
            position_terms: self.position_terms()?,
            relative_positions: self.relative_attention.then(|| self.relative_positions()),
            share_att_key: self.share_att_key,
            norm_rel_embeddings: self.relative_attention && self.norm_rel_embeddings()?,
            absolute_positions: if self.position_biased_input {
                AbsolutePositions::Input
            } else {
                AbsolutePositions::None
            },
            conv: self.conv()?,
        };
        config.validate()?;
        Ok(config)
    }

    /// The `config.json` of a typed configuration.
    pub fn from_config(config: &DebertaConfig) -> Self {
        let relative = config.relative_positions.as_ref();
        let mut terms = Vec::new();
        if config.position_terms.p2c {
            terms.push("p2c".to_string());
        }
        if config.position_terms.c2p {
            terms.push("c2p".to_string());
        }
        Self {
            model_type: Some(
                match config.family {
                    Family::V1 => "deberta",
                    Family::V2 => "deberta-v2",
                }
                .into(),
            ),
            vocab_size: config.vocab_size,
            hidden_size: config.hidden_size,
            num_hidden_layers: config.num_hidden_layers,
            num_attention_heads: config.num_attention_heads,
            intermediate_size: config.intermediate_size,
            attention_head_size: (config.all_head_size() != config.hidden_size)
                .then_some(config.attention_head_size as i64),
            embedding_size: (config.embedding_size != config.hidden_size)
                .then_some(config.embedding_size),
            hidden_act: activation_name(config.hidden_act).into(),
            hidden_dropout_prob: config.hidden_dropout_prob,
            attention_probs_dropout_prob: config.attention_probs_dropout_prob,
            max_position_embeddings: config.max_position_embeddings,
            type_vocab_size: config.type_vocab_size,
            layer_norm_eps: config.layer_norm_eps,
            initializer_range: config.initializer_range,
            relative_attention: relative.is_some(),
            max_relative_positions: relative.map_or(-1, |it| it.max_distance as i64),
            position_buckets: relative
                .and_then(|it| it.buckets)
                .map_or(-1, |buckets| buckets as i64),
            pos_att_type: PosAttType::List(terms),
            share_att_key: config.share_att_key,
            norm_rel_ebd: Some(
                if config.norm_rel_embeddings {
                    "layer_norm"
                } else {
                    "none"
                }
                .into(),
            ),
            position_biased_input: config.absolute_positions == AbsolutePositions::Input,
            pad_token_id: config.pad_token_id,
            conv_kernel_size: config.conv.map(|conv| conv.kernel_size),
            conv_groups: config.conv.map(|conv| conv.groups),
            conv_act: config
                .conv
                .map(|conv| activation_name(conv.activation).into()),
            long_distance: relative
                .map(|it| it.long_distance)
                .filter(|it| *it != LongDistance::Clamp),
            other: Map::new(),
        }
    }

    fn family(&self) -> Result<Family, ConfigError> {
        match self.model_type.as_deref() {
            Some("deberta") => Ok(Family::V1),
            Some("deberta-v2") => Ok(Family::V2),
            // Microsoft's files have no model type; only v1 lacks shared keys and buckets.
            None if self.share_att_key || self.position_buckets > 0 => Ok(Family::V2),
            None => Ok(Family::V1),
            Some(other) => Err(ConfigError::Unknown {
                field: "model_type",
                value: other.into(),
                expected: "`deberta` or `deberta-v2`",
            }),
        }
    }

    fn head_size(&self) -> Result<usize, ConfigError> {
        if let Some(size) = self.attention_head_size.and_then(positive) {
            return Ok(size);
        }
        if self.num_attention_heads == 0 {
            return Err(ConfigError::Zero {
                field: "num_attention_heads",
            });
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(ConfigError::NotDivisible {
                field: "hidden_size",
                value: self.hidden_size,
                divisor_field: "num_attention_heads",
                divisor: self.num_attention_heads,
            });
        }
        Ok(self.hidden_size / self.num_attention_heads)
    }

    fn relative_positions(&self) -> RelativePositionConfig {
        RelativePositionConfig {
            max_distance: positive(self.max_relative_positions)
                .unwrap_or(self.max_position_embeddings),
            buckets: positive(self.position_buckets),
            long_distance: self.long_distance.unwrap_or(LongDistance::Clamp),
        }
    }

    fn position_terms(&self) -> Result<PositionTerms, ConfigError> {
        let names: Vec<&str> = match &self.pos_att_type {
            PosAttType::Joined(text) => text.split('|').map(str::trim).collect(),
            PosAttType::List(names) => names.iter().map(String::as_str).collect(),
            PosAttType::Null(()) => Vec::new(),
        };
        let mut terms = PositionTerms::NONE;
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            match name {
                "c2p" => terms.c2p = true,
                "p2c" => terms.p2c = true,
                other => {
                    return Err(ConfigError::Unknown {
                        field: "position term",
                        value: other.into(),
                        expected: "`c2p` or `p2c`",
                    });
                }
            }
        }
        Ok(terms)
    }

    fn norm_rel_embeddings(&self) -> Result<bool, ConfigError> {
        let mut normalised = false;
        for name in self.norm_rel_ebd.as_deref().unwrap_or("none").split('|') {
            match name.trim() {
                "layer_norm" => normalised = true,
                "none" | "" => {}
                other => {
                    return Err(ConfigError::Unknown {
                        field: "norm_rel_ebd",
                        value: other.into(),
                        expected: "`layer_norm` or `none`",
                    });
                }
            }
        }
        Ok(normalised)
    }

    fn conv(&self) -> Result<Option<ConvConfig>, ConfigError> {
        let Some(kernel_size) = self.conv_kernel_size.filter(|size| *size > 0) else {
            return Ok(None);
        };
        let name = self.conv_act.as_deref().unwrap_or(DEFAULT_CONV_ACT);
        Ok(Some(ConvConfig {
            kernel_size,
            groups: self.conv_groups.unwrap_or(1),
            activation: activation("conv_act", name)?,
        }))
    }
}

/// Reads the "below 1 means unset" convention.
fn positive(value: i64) -> Option<usize> {
    usize::try_from(value).ok().filter(|it| *it > 0)
}

fn activation(field: &'static str, name: &str) -> Result<Activation, ConfigError> {
    match name {
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        "tanh" => Ok(Activation::Tanh),
        other => Err(ConfigError::Unknown {
            field,
            value: other.into(),
            expected: "`gelu`, `gelu_new`, `gelu_pytorch_tanh`, `relu` or `tanh`",
        }),
    }
}

fn activation_name(activation: Activation) -> &'static str {
    match activation {
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_new",
        Activation::Relu => "relu",
        Activation::Tanh => "tanh",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets;

    #[test]
    fn every_preset_survives_the_round_trip() {
        for name in presets::NAMES {
            let config = DebertaConfig {
                absolute_positions: AbsolutePositions::None,
                ..presets::by_name(name).unwrap()
            };
            let json = serde_json::to_string(&HfConfig::from_config(&config)).unwrap();
            assert_eq!(
                HfConfig::parse(&json).unwrap().to_config().unwrap(),
                config,
                "{name}"
            );
        }
    }

    #[test]
    fn microsoft_spellings_are_read() {
        let text = r#"{"vocab_size": 100, "hidden_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 16, "relative_attention": true,
            "pos_att_type": "p2c|c2p", "max_relative_positions": -1, "position_buckets": 8,
            "max_position_embeddings": 32, "share_att_key": true, "norm_rel_ebd": "layer_norm",
            "position_biased_input": false, "padding_idx": 3, "id2label": {"0": "no"}}"#;
        let file = HfConfig::parse(text).unwrap();
        let config = file.to_config().unwrap();
        assert_eq!(config.family, Family::V2);
        assert_eq!(config.position_terms, PositionTerms::BOTH);
        assert_eq!(config.pad_token_id, 3);
        assert_eq!(config.attention_head_size, 4);
        let relative = config.relative_positions.unwrap();
        assert_eq!((relative.max_distance, relative.span()), (32, 8));
        assert!(file.other.contains_key("id2label"));
    }

    #[test]
    fn a_network_that_follows_transformers_says_so() {
        let mut config = DebertaConfig::v3(100, 32, 2, 2);
        config.absolute_positions = AbsolutePositions::None;
        let json = serde_json::to_string(&HfConfig::from_config(&config)).unwrap();
        assert!(!json.contains("long_distance"), "{json}");
        let relative = config.relative_positions.as_mut().unwrap();
        relative.long_distance = LongDistance::Extrapolate;
        let json = serde_json::to_string(&HfConfig::from_config(&config)).unwrap();
        assert_eq!(HfConfig::parse(&json).unwrap().to_config().unwrap(), config);
        let error = HfConfig::parse(&json.replace("extrapolate", "wrap")).unwrap_err();
        assert!(error.to_string().contains("`wrap`"), "{error}");
    }

    #[test]
    fn unknown_terms_are_named() {
        let mut file = HfConfig::from_config(&presets::by_name("deberta-base").unwrap());
        file.pos_att_type = PosAttType::Joined("c2p|p2q".into());
        assert_eq!(
            file.to_config().unwrap_err().to_string(),
            "unknown position term `p2q`, expected `c2p` or `p2c`"
        );
    }
}
