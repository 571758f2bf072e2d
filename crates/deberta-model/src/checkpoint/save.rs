//! Writing weights in the Hub layout.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, TensorData};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use super::names::{FUSED_PROJECTION, to_hub};
use super::{CONFIG_FILE, CheckpointError, WEIGHTS_FILE, io_error};
use crate::config::{DebertaConfig, Family};
use crate::heads::masked_lm::DebertaForMaskedLm;
use crate::hf_config::HfConfig;

/// Saves a masked language model as `config.json` and `model.safetensors` (f32).
///
/// transformers reads the folder with its newer head (`legacy: false`), without the mask decoder,
/// which it does not have. Both files are written beside their names and renamed when complete.
///
/// # Errors
///
/// If a file cannot be written.
pub fn save_masked_lm<B: Backend>(
    model: &DebertaForMaskedLm<B>,
    config: &DebertaConfig,
    dir: &Path,
) -> Result<(), CheckpointError> {
    std::fs::create_dir_all(dir).map_err(|source| io_error(dir, source))?;
    let mut file = HfConfig::from_config(config);
    let architecture = match config.family {
        Family::V1 => "DebertaForMaskedLM",
        Family::V2 => "DebertaV2ForMaskedLM",
    };
    file.other.insert("architectures".into(), json!([architecture]));
    file.other.insert("legacy".into(), Value::Bool(false));
    file.other.insert("dtype".into(), json!("float32"));

    let mut tensors = Vec::new();
    for snapshot in model.collect(None, Some(Box::new(BurnToPyTorchAdapter)), true) {
        let name = snapshot.full_path();
        let data = snapshot.to_data().map_err(|error| CheckpointError::Tensor {
            path: dir.join(WEIGHTS_FILE),
            name: name.clone(),
            problem: format!("could not be read from the device: {error}"),
        })?;
        tensors.push((name, data.convert_dtype(DType::F32)));
    }
    if config.family == Family::V1 {
        tensors = fuse_projections(tensors, config);
    }
    let tensors = tensors
        .into_iter()
        .map(|(name, data)| (to_hub(&name, config.family), data))
        .collect();

    write_safetensors(tensors, &dir.join(WEIGHTS_FILE))?;
    let text = serde_json::to_string_pretty(&file).map_err(|source| {
        io_error(&dir.join(CONFIG_FILE), std::io::Error::other(source))
    })?;
    write_atomically(&dir.join(CONFIG_FILE), |out| out.write_all(text.as_bytes()))
}

/// Joins query, key and value matrices into v1's `in_proj`, head by head.
fn fuse_projections(
    tensors: Vec<(String, TensorData)>,
    config: &DebertaConfig,
) -> Vec<(String, TensorData)> {
    let block = config.attention_head_size * config.hidden_size * DType::F32.size();
    let rows = 3 * config.all_head_size();
    let mut fused: HashMap<String, Vec<u8>> = HashMap::new();
    let mut rest = Vec::new();
    for (name, data) in tensors {
        let part = ["query_proj.weight", "key_proj.weight", "value_proj.weight"]
            .iter()
            .enumerate()
            .find_map(|(part, suffix)| Some((part, name.strip_suffix(suffix)?)))
            // `pos_query_proj.weight` ends alike but is a matrix of its own.
            .filter(|(_, attention)| attention.ends_with('.'));
        let Some((part, attention)) = part else {
            rest.push((name, data));
            continue;
        };
        let all = fused
            .entry(format!("{attention}{FUSED_PROJECTION}"))
            .or_insert_with(|| vec![0; rows * config.hidden_size * DType::F32.size()]);
        for (head, source) in data.as_bytes().chunks_exact(block).enumerate() {
            let start = (3 * head + part) * block;
            all[start..start + block].copy_from_slice(source);
        }
    }
    let shape = [rows, config.hidden_size];
    rest.extend(fused.into_iter().map(|(name, bytes)| {
        (name, TensorData::from_bytes_vec(bytes, shape, DType::F32))
    }));
    rest
}

fn write_safetensors(
    mut tensors: Vec<(String, TensorData)>,
    path: &Path,
) -> Result<(), CheckpointError> {
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let mut views = Vec::with_capacity(tensors.len());
    for (name, data) in &tensors {
        let view = TensorView::new(Dtype::F32, data.shape.to_vec(), data.as_bytes());
        let view = view.map_err(|source| safetensors_error(path, source))?;
        views.push((name.as_str(), view));
    }
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(views, Some(metadata))
        .map_err(|source| safetensors_error(path, source))?;
    write_atomically(path, |out| out.write_all(&bytes))
}

fn safetensors_error(path: &Path, source: safetensors::SafeTensorError) -> CheckpointError {
    CheckpointError::Safetensors {
        path: path.into(),
        source,
    }
}

/// Writes beside `path`, flushes to disk, then renames: the file is complete or as it was.
fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut std::fs::File) -> std::io::Result<()>,
) -> Result<(), CheckpointError> {
    let partial = path.with_extension("partial");
    let result = std::fs::File::create(&partial).and_then(|mut file| {
        write(&mut file)?;
        file.sync_all()?;
        std::fs::rename(&partial, path)
    });
    result.map_err(|source| {
        // Best effort: the error to report is the one that happened first.
        let _ = std::fs::remove_file(&partial);
        io_error(path, source)
    })
}
