//! Configurations inside a larger file: a generator beside a discriminator, or a GLiNER's encoder.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::HfConfig;
use crate::config::ConfigError;

/// The two networks of replaced-token detection, which Microsoft keeps in one configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RtdPart {
    /// The network that tells original tokens from replaced ones: the published model.
    #[default]
    Discriminator,
    /// The smaller masked language model that replaces them.
    Generator,
}

/// The fields of a file that has configurations inside.
#[derive(Deserialize)]
struct Nested {
    generator: Option<Map<String, Value>>,
    discriminator: Option<Map<String, Value>>,
    /// GLiNER's.
    encoder_config: Option<Map<String, Value>>,
}

impl HfConfig {
    /// As [`parse`](Self::parse), where `part` is meant if the file has a generator and a
    /// discriminator.
    ///
    /// # Errors
    ///
    /// If it is not JSON or lacks a required field.
    pub fn parse_part(text: &str, part: RtdPart) -> Result<Self, ConfigError> {
        let json_error = |error: serde_json::Error| ConfigError::Json {
            message: error.to_string(),
        };
        // A file that is malformed, or has other things of these names, fails below with a better
        // message.
        if let Ok(nested) = serde_json::from_str::<Nested>(text) {
            let chosen = match part {
                RtdPart::Discriminator => nested.discriminator,
                RtdPart::Generator => nested.generator,
            };
            if let Some(inner) = chosen.or(nested.encoder_config) {
                return serde_json::from_value(Value::Object(inner)).map_err(json_error);
            }
        }
        serde_json::from_str(text).map_err(json_error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(layers: usize) -> String {
        format!(
            r#"{{"vocab_size": 100, "hidden_size": 8, "num_hidden_layers": {layers},
            "num_attention_heads": 2, "intermediate_size": 16}}"#
        )
    }

    #[test]
    fn the_discriminator_is_chosen_unless_told_otherwise() {
        let text = format!(
            r#"{{"embedding_sharing": "gdes", "generator": {}, "discriminator": {}}}"#,
            network(1),
            network(2)
        );
        assert_eq!(HfConfig::parse(&text).unwrap().num_hidden_layers, 2);
        let generator = HfConfig::parse_part(&text, RtdPart::Generator).unwrap();
        assert_eq!(generator.num_hidden_layers, 1);
        // A file of one network is that network.
        let alone = HfConfig::parse_part(&network(3), RtdPart::Generator).unwrap();
        assert_eq!(alone.num_hidden_layers, 3);
    }

    #[test]
    fn the_encoder_of_a_larger_model_is_found() {
        let text = format!(r#"{{"max_width": 12, "encoder_config": {}}}"#, network(4));
        assert_eq!(HfConfig::parse(&text).unwrap().num_hidden_layers, 4);
    }
}
