//! Which files make a checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::error::io_error;
use super::model_id::is_plain;
use super::{HubError, Parts};

/// The configuration: the Hub's name, that of Microsoft's own releases, and GLiNER's.
pub(super) const CONFIGS: [&str; 3] = ["config.json", "model_config.json", "gliner_config.json"];

/// Weights in the order in which the checkpoint reader looks for them.
pub(super) const WEIGHTS: [&str; 5] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "pytorch.model.bin",
];

/// What tokenizers are read from, whichever of it a model has.
pub(super) const TOKENIZER: [&str; 7] = [
    "spm.model",
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];

/// Files of which one set suffices for a tokenizer.
const TOKENIZER_SETS: [&[&str]; 3] = [
    &["spm.model"],
    &["vocab.json", "merges.txt"],
    &["tokenizer.json"],
];

/// Largest list of weights files that is read, in bytes; one of a million tensors is smaller.
const MAX_INDEX_BYTES: u64 = 64 << 20;

impl Parts {
    pub(super) fn network(self) -> bool {
        self != Self::Metadata
    }

    pub(super) fn tokenizer(self) -> bool {
        self != Self::Network
    }
}

/// Whether this names weights in parts rather than weights.
pub(super) fn is_index(name: &str) -> bool {
    name.ends_with(".index.json")
}

/// Part of an index that matters: which file holds which tensor.
#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

/// The files that an index names, each in the same folder.
pub(super) fn shards(index: &Path) -> Result<BTreeSet<String>, HubError> {
    let malformed = |problem: String| HubError::Malformed {
        origin: index.display().to_string(),
        problem,
    };
    let size = fs::metadata(index).map_err(io_error(index))?.len();
    if size > MAX_INDEX_BYTES {
        return Err(malformed(format!(
            "{size} bytes are no list of weights files"
        )));
    }
    let text = fs::read(index).map_err(io_error(index))?;
    let parsed: ShardIndex =
        serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    let is_name = |name: &String| name.chars().all(is_plain) && !name.starts_with('.');
    match names.iter().find(|name| name.is_empty() || !is_name(name)) {
        Some(name) => Err(malformed(format!(
            "`weight_map` has `{name}`, expected the name of a file in the same folder"
        ))),
        None if names.is_empty() => Err(malformed("`weight_map` names no file".into())),
        None => Ok(names),
    }
}

/// What a snapshot lacks of the parts, or nothing.
///
/// `is_absent` knows files that the model itself does not have.
pub(super) fn missing(
    snapshot: &Path,
    parts: Parts,
    is_absent: impl Fn(&str) -> bool,
) -> Result<Option<String>, HubError> {
    let has = |name: &str| snapshot.join(name).exists();
    if !CONFIGS.iter().any(|name| has(name)) {
        return Ok(Some(CONFIGS[0].into()));
    }
    if parts.tokenizer()
        && !TOKENIZER_SETS
            .iter()
            .any(|set| set.iter().all(|it| has(it)))
    {
        let begun = TOKENIZER_SETS.iter().find(|set| has(set[0]));
        if let Some(name) = begun.and_then(|set| set.iter().find(|name| !has(name))) {
            return Ok(Some((*name).into()));
        }
        if !TOKENIZER_SETS.iter().all(|set| is_absent(set[0])) {
            return Ok(Some(
                "a tokenizer (spm.model, vocab.json or tokenizer.json)".into(),
            ));
        }
    }
    if !parts.network() {
        return Ok(None);
    }
    match WEIGHTS.iter().find(|name| has(name)) {
        None => Ok(Some("weights (model.safetensors or another format)".into())),
        Some(name) if is_index(name) => Ok(shards(&snapshot.join(name))?
            .into_iter()
            .find(|it| !has(it))),
        Some(_) => Ok(None),
    }
}
