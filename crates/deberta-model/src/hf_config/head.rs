//! The head that a `config.json` describes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{HfConfig, activation, activation_name};
use crate::config::ConfigError;
use crate::heads::HeadConfig;

impl HfConfig {
    /// The head that the file describes: its labels, their meaning, its dropout.
    ///
    /// Without `id2label` the labels are `LABEL_0`, `LABEL_1`, …, two unless `num_labels` says
    /// otherwise, as in transformers.
    ///
    /// # Errors
    ///
    /// The first field with an unknown spelling or an impossible value.
    pub fn to_head_config(&self) -> Result<HeadConfig, ConfigError> {
        let mut labels = match self.field::<BTreeMap<usize, String>>("id2label")? {
            Some(names) => {
                if !names.keys().copied().eq(0..names.len()) {
                    return Err(ConfigError::OutOfRange {
                        field: "id2label",
                        value: format!("{:?}", names.keys()),
                        expected: "every number from 0 to the number of labels",
                    });
                }
                names.into_values().collect()
            }
            None => Vec::new(),
        };
        if labels.is_empty() {
            let count = self.field::<u16>("num_labels")?.unwrap_or(2);
            labels = (0..count).map(|id| format!("LABEL_{id}")).collect();
        }
        let pooler_act = self.field::<String>("pooler_hidden_act")?;
        let head = HeadConfig {
            labels,
            problem_type: self.field("problem_type")?,
            pooler_dropout: self.field("pooler_dropout")?.unwrap_or(0.0),
            pooler_hidden_act: activation(
                "pooler_hidden_act",
                pooler_act.as_deref().unwrap_or("gelu"),
            )?,
            classifier_dropout: self
                .field("cls_dropout")?
                .unwrap_or(self.hidden_dropout_prob),
        };
        head.validate()?;
        Ok(head)
    }

    /// Writes what [`to_head_config`](Self::to_head_config) reads.
    pub fn set_head_config(&mut self, head: &HeadConfig) {
        let by_id: Map<String, Value> = head
            .labels
            .iter()
            .enumerate()
            .map(|(id, label)| (id.to_string(), json!(label)))
            .collect();
        let by_label: Map<String, Value> = head
            .labels
            .iter()
            .enumerate()
            .map(|(id, label)| (label.clone(), json!(id)))
            .collect();
        let fields = [
            ("id2label", Value::Object(by_id)),
            ("label2id", Value::Object(by_label)),
            ("problem_type", json!(head.problem_type)),
            ("pooler_dropout", json!(head.pooler_dropout)),
            (
                "pooler_hidden_act",
                json!(activation_name(head.pooler_hidden_act)),
            ),
            ("pooler_hidden_size", json!(self.hidden_size)),
            ("cls_dropout", json!(head.classifier_dropout)),
        ];
        for (field, value) in fields {
            self.other.insert(field.into(), value);
        }
    }

    /// A field among the others; `null` is no value.
    fn field<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.other.get(name) else {
            return Ok(None);
        };
        Option::<T>::deserialize(value).map_err(|error| ConfigError::Json {
            message: format!("`{name}`: {error}"),
        })
    }
}
