//! Which files of a folder hold the weights.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::{CheckpointError, io_error};
use super::files::{Blob, StoredTensor, read_safetensors};
use super::pytorch::read_pytorch;
use super::{CONFIG_FILE, WEIGHTS_FILE};
use crate::hf_config::RtdPart;

/// Names that a folder is searched for, in this order. An index names the parts of a large model.
const CANDIDATES: [&str; 5] = [
    WEIGHTS_FILE,
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    // Microsoft's own releases.
    "pytorch.model.bin",
];

/// Where Microsoft puts the generator of a discriminator on the Hub.
const GENERATOR_WEIGHTS: &str = "pytorch_model.generator.bin";

/// Names of the configuration, in the order of preference: the Hub's, Microsoft's and GLiNER's.
const CONFIGS: [&str; 3] = [CONFIG_FILE, "model_config.json", "gliner_config.json"];

/// Configuration beside [`GENERATOR_WEIGHTS`].
const GENERATOR_CONFIG: &str = "generator_config.json";

/// Longest JSON file that is read, in bytes.
const MAX_JSON_BYTES: u64 = 64 << 20;

/// Part of an index that matters: which file holds which tensor.
#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

/// The first of `names` that the folder has, or else the first of all, whose absence shows when it
/// is read.
fn first_existing(dir: &Path, names: impl Iterator<Item = &'static str>) -> PathBuf {
    let mut names = names.map(|name| dir.join(name)).peekable();
    let first = names.peek().cloned();
    let found = names.find(|path| path.exists());
    found.or(first).unwrap_or_else(|| dir.into())
}

/// The configuration of a folder, whether it exists or not.
pub(crate) fn config_path(dir: &Path, part: RtdPart) -> PathBuf {
    let generator = dir.join(GENERATOR_CONFIG);
    if part == RtdPart::Generator && generator.exists() {
        return generator;
    }
    first_existing(dir, CONFIGS.into_iter())
}

/// The file from which the weights of a folder are read, if it has any: weights, or the index of their
/// parts.
pub fn weights_path(dir: &Path) -> Option<PathBuf> {
    let mut paths = CANDIDATES.into_iter().map(|name| dir.join(name));
    paths.find(|path| path.exists())
}

/// The file to name in messages about the whole, and every tensor of the folder.
pub(super) fn open_weights(
    dir: &Path,
    part: RtdPart,
) -> Result<(PathBuf, Vec<StoredTensor>), CheckpointError> {
    let generator = dir.join(GENERATOR_WEIGHTS);
    let main = match part {
        RtdPart::Generator if generator.exists() => generator,
        _ => first_existing(dir, CANDIDATES.into_iter()),
    };
    let files = if main.extension().is_some_and(|it| it == "json") {
        let text = read_text(&main)?;
        let parts = parse_index(&main, &text)?;
        parts.into_iter().map(|name| dir.join(name)).collect()
    } else {
        vec![main.clone()]
    };
    let mut tensors = Vec::new();
    for path in files {
        let blob = Blob::open(&path)?;
        if path.extension().is_some_and(|it| it == "bin") {
            read_pytorch(&path, &blob, &mut tensors)?;
        } else {
            read_safetensors(&path, &blob, &mut tensors)?;
        }
    }
    Ok((main, tensors))
}

/// The whole of a JSON file.
pub(crate) fn read_text(path: &Path) -> Result<String, CheckpointError> {
    let metadata = std::fs::metadata(path).map_err(|source| io_error(path, source))?;
    if metadata.len() > MAX_JSON_BYTES {
        let problem = format!("{} bytes, expected a small JSON file", metadata.len());
        return Err(io_error(path, std::io::Error::other(problem)));
    }
    std::fs::read_to_string(path).map_err(|source| io_error(path, source))
}

/// Names of the files that an index lists.
pub(super) fn parse_index(path: &Path, text: &str) -> Result<BTreeSet<String>, CheckpointError> {
    let malformed = |problem: String| CheckpointError::Index {
        path: path.into(),
        problem,
    };
    let parsed: ShardIndex =
        serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    if names.is_empty() {
        return Err(malformed("`weight_map` names no file".into()));
    }
    for name in &names {
        // Parts lie beside their index; anything else is not for us to open.
        let plain = Path::new(name).file_name();
        if plain.is_none_or(|it| it != name.as_str()) {
            return Err(malformed(format!(
                "`weight_map` has `{name}`, expected the name of a file in the same folder"
            )));
        }
    }
    Ok(names)
}
