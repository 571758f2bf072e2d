//! Writing weights in the Hub layout.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use burn::module::Module;
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
use crate::heads::{HeadConfig, TaskModel};
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
    let mut file = HfConfig::from_config(config);
    set_architecture(&mut file, config, "ForMaskedLM");
    file.other.insert("legacy".into(), Value::Bool(false));
    save(model, config, file, dir)
}

/// Saves a network with a task head as `config.json` and `model.safetensors` (f32).
///
/// transformers reads the folder if it has the head; see
/// [`TRANSFORMERS_CLASS`](TaskModel::TRANSFORMERS_CLASS). Both files are written beside their names
/// and renamed when complete.
///
/// # Errors
///
/// If a file cannot be written.
pub fn save_task_model<B: Backend, M: TaskModel<B>>(
    model: &M,
    config: &DebertaConfig,
    head: &HeadConfig,
    dir: &Path,
) -> Result<(), CheckpointError> {
    let mut file = HfConfig::from_config(config);
    file.set_head_config(head);
    if let Some(class) = M::TRANSFORMERS_CLASS {
        set_architecture(&mut file, config, class);
    }
    save(model, config, file, dir)
}

fn set_architecture(file: &mut HfConfig, config: &DebertaConfig, class: &str) {
    let family = match config.family {
        Family::V1 => "Deberta",
        Family::V2 => "DebertaV2",
    };
    file.other
        .insert("architectures".into(), json!([format!("{family}{class}")]));
}

fn save<B: Backend, M: Module<B>>(
    model: &M,
    config: &DebertaConfig,
    mut file: HfConfig,
    dir: &Path,
) -> Result<(), CheckpointError> {
    std::fs::create_dir_all(dir).map_err(|source| io_error(dir, source))?;
    file.other.insert("dtype".into(), json!("float32"));
    let path = dir.join(WEIGHTS_FILE);
    let tensors = hub_tensors::<B, _>(model, config)
        .map_err(|(name, problem)| CheckpointError::Tensor {
            path: path.clone(),
            name,
            problem,
        })?
        .into_iter()
        .map(|(name, data)| (name, data.convert_dtype(DType::F32)))
        .collect();
    write_safetensors(tensors, &path)?;
    let text = serde_json::to_string_pretty(&file)
        .map_err(|source| io_error(&dir.join(CONFIG_FILE), std::io::Error::other(source)))?;
    write_atomically(&dir.join(CONFIG_FILE), |out| out.write_all(text.as_bytes()))
}

/// The parameters of `module` under the Hub's names and in its layout, in the module's float type.
///
/// # Errors
///
/// The name of a parameter that could not be read from the device, and why.
pub fn hub_tensors<B: Backend, M: Module<B>>(
    module: &M,
    config: &DebertaConfig,
) -> Result<Vec<(String, TensorData)>, (String, String)> {
    let mut tensors = Vec::new();
    for snapshot in module.collect(None, Some(Box::new(BurnToPyTorchAdapter)), true) {
        let name = snapshot.full_path();
        match snapshot.to_data() {
            Ok(data) => tensors.push((name, data)),
            Err(error) => return Err((name, format!("could not be read: {error}"))),
        }
    }
    if config.family == Family::V1 {
        tensors = fuse_projections(tensors, config);
    }
    Ok(tensors
        .into_iter()
        .map(|(name, data)| (to_hub(&name, config.family), data))
        .collect())
}

/// Joins query, key and value matrices into v1's `in_proj`, head by head.
fn fuse_projections(
    tensors: Vec<(String, TensorData)>,
    config: &DebertaConfig,
) -> Vec<(String, TensorData)> {
    let parts = ["query_proj.weight", "key_proj.weight", "value_proj.weight"];
    let shape = [3 * config.all_head_size(), config.hidden_size];
    let mut fused: HashMap<String, (DType, Vec<u8>)> = HashMap::new();
    let mut rest = Vec::new();
    for (name, data) in tensors {
        let part = parts
            .iter()
            .enumerate()
            .find_map(|(part, suffix)| Some((part, name.strip_suffix(suffix)?)))
            // `pos_query_proj.weight` ends alike but is a matrix of its own.
            .filter(|(_, attention)| attention.ends_with('.'));
        let Some((part, attention)) = part else {
            rest.push((name, data));
            continue;
        };
        let block = config.attention_head_size * config.hidden_size * data.dtype.size();
        let (_, all) = fused
            .entry(format!("{attention}{FUSED_PROJECTION}"))
            .or_insert_with(|| (data.dtype, vec![0; 3 * data.as_bytes().len()]));
        for (head, source) in data.as_bytes().chunks_exact(block).enumerate() {
            let start = (3 * head + part) * block;
            all[start..start + block].copy_from_slice(source);
        }
    }
    rest.extend(
        fused
            .into_iter()
            .map(|(name, (dtype, bytes))| (name, TensorData::from_bytes_vec(bytes, shape, dtype))),
    );
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
