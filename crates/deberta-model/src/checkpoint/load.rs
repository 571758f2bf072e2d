//! Reading weights: opened lazily, renamed, checked, then copied once into the network.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use burn::module::{Module, ParamId};
use burn::store::{
    ApplyError, ModuleSnapshot, PyTorchToBurnAdapter, TensorSnapshot, TensorSnapshotError,
};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, TensorData};

use super::files::{StoredTensor, open_weights};
use super::names::{FUSED_PROJECTION, from_hub, is_tied_copy};
use super::{CONFIG_FILE, CheckpointError};
use crate::config::{AbsolutePositions, DebertaConfig};
use crate::heads::masked_lm::DebertaForMaskedLm;
use crate::heads::{HeadConfig, TaskModel};
use crate::hf_config::HfConfig;
use crate::model::DebertaModel;
use crate::relative_position::LongDistance;

/// Whose behaviour to follow where Microsoft's code and transformers differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compatibility {
    /// microsoft/DeBERTa, whose code trained the published checkpoints.
    #[default]
    Microsoft,
    /// transformers: distances beyond the table's reach are not clamped before bucketing.
    HuggingFace,
}

/// Tensors of heads, which a bare encoder leaves aside.
const HEADS: [&str; 6] = [
    "lm_head.",
    "mask_predictions.",
    "pooler.",
    "classifier.",
    "qa_outputs.",
    "proj.",
];

/// The table that only the mask decoder reads, unless positions are added to the input.
const POSITION_TABLE: &str = "embeddings.position_embeddings.";

/// Loads the encoder of a checkpoint folder; heads in the file are left aside.
///
/// # Errors
///
/// If a file is missing or malformed, or names or shapes do not fit.
pub fn load_model<B: Backend>(
    dir: &Path,
    compatibility: Compatibility,
    device: &B::Device,
) -> Result<(DebertaModel<B>, DebertaConfig), CheckpointError> {
    let config = open_config(dir, compatibility)?;
    let mut model = config
        .init::<B>(0, device)
        .map_err(|source| config_error(dir, source))?;
    let weights = open_weights(dir)?;
    let mut ignored = HEADS.to_vec();
    if config.absolute_positions == AbsolutePositions::None {
        ignored.push(POSITION_TABLE);
    }
    load_into::<B, _>(&mut model, &config, weights, Prefix::Removed, &ignored)?;
    Ok((model, config))
}

/// Loads a masked language model from a checkpoint folder.
///
/// The enhanced mask decoder is used if the file has the absolute-position table that it needs:
/// Microsoft's checkpoints do, those that transformers saved do not.
///
/// # Errors
///
/// If a file is missing or malformed, or names or shapes do not fit.
pub fn load_masked_lm<B: Backend>(
    dir: &Path,
    compatibility: Compatibility,
    device: &B::Device,
) -> Result<(DebertaForMaskedLm<B>, DebertaConfig), CheckpointError> {
    let mut config = open_config(dir, compatibility)?;
    let weights = open_weights(dir)?;
    if config.absolute_positions == AbsolutePositions::None && has_position_table(&weights.1) {
        config.absolute_positions = AbsolutePositions::Decoder;
    }
    let mut model = config
        .init_masked_lm::<B>(0, device)
        .map_err(|source| config_error(dir, source))?;
    let other_heads = &HEADS[1..];
    load_into::<B, _>(&mut model, &config, weights, Prefix::Kept, other_heads)?;
    Ok((model, config))
}

/// Loads a network with a task head from a checkpoint folder.
///
/// Other heads in the file are left aside. A position table that only the mask decoder reads is
/// left aside too.
///
/// # Errors
///
/// If a file is missing or malformed, or names or shapes do not fit; a folder without this head
/// lists its parameters as missing.
pub fn load_task_model<B: Backend, M: TaskModel<B>>(
    dir: &Path,
    compatibility: Compatibility,
    device: &B::Device,
) -> Result<(M, DebertaConfig, HeadConfig), CheckpointError> {
    let file = HfConfig::open(&dir.join(CONFIG_FILE))?;
    let config = typed_config(&file, dir, compatibility)?;
    let head = file
        .to_head_config()
        .map_err(|source| config_error(dir, source))?;
    let mut model =
        M::init(&config, &head, 0, device).map_err(|source| config_error(dir, source))?;
    let mut ignored: Vec<&str> = HEADS.to_vec();
    ignored.retain(|name| !M::PARAMETERS.contains(name));
    if config.absolute_positions == AbsolutePositions::None {
        ignored.push(POSITION_TABLE);
    }
    let weights = open_weights(dir)?;
    load_into::<B, _>(&mut model, &config, weights, Prefix::Kept, &ignored)?;
    Ok((model, config, head))
}

fn open_config(dir: &Path, compatibility: Compatibility) -> Result<DebertaConfig, CheckpointError> {
    let file = HfConfig::open(&dir.join(CONFIG_FILE))?;
    typed_config(&file, dir, compatibility)
}

fn typed_config(
    file: &HfConfig,
    dir: &Path,
    compatibility: Compatibility,
) -> Result<DebertaConfig, CheckpointError> {
    let mut config = file
        .to_config()
        .map_err(|source| config_error(dir, source))?;
    if let Some(relative) = &mut config.relative_positions {
        relative.long_distance = match compatibility {
            Compatibility::Microsoft => LongDistance::Clamp,
            Compatibility::HuggingFace => LongDistance::Extrapolate,
        };
    }
    Ok(config)
}

fn config_error(dir: &Path, source: crate::config::ConfigError) -> CheckpointError {
    CheckpointError::Config {
        path: dir.join(CONFIG_FILE),
        source,
    }
}

/// Whether the network's names begin with `deberta.`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prefix {
    Kept,
    Removed,
}

fn has_position_table(tensors: &[StoredTensor]) -> bool {
    tensors.iter().any(|it| it.name.contains(POSITION_TABLE))
}

/// Copies every tensor of the folder's weights into `module`.
fn load_into<B: Backend, M: Module<B>>(
    module: &mut M,
    config: &DebertaConfig,
    (path, tensors): (PathBuf, Vec<StoredTensor>),
    prefix: Prefix,
    ignored: &[&str],
) -> Result<(), CheckpointError> {
    let ignores = |name: &str| {
        let bare = name.strip_prefix("deberta.").unwrap_or(name);
        ignored.iter().any(|prefix| bare.starts_with(prefix))
    };

    let mut snapshots = Vec::new();
    for tensor in tensors {
        let name = from_hub(&tensor.name);
        if is_tied_copy(&tensor.name) || ignores(&name) {
            continue;
        }
        let source = Source::new(tensor)?;
        let name = match prefix {
            Prefix::Kept => name,
            Prefix::Removed => name
                .strip_prefix("deberta.")
                .map_or(name.clone(), str::to_owned),
        };
        match name.strip_suffix(FUSED_PROJECTION) {
            Some(attention) => snapshots.extend(source.split_heads::<B>(attention, config)?),
            None => snapshots.push(source.snapshot::<B>(&name)),
        }
    }

    let result = module.apply(snapshots, None, Some(Box::new(PyTorchToBurnAdapter)), true);
    let wrong_shape: Vec<String> = result.errors.iter().map(describe).collect();
    let missing: Vec<String> = result.missing.into_iter().map(|(name, _)| name).collect();
    if missing.is_empty() && result.unused.is_empty() && wrong_shape.is_empty() {
        return Ok(());
    }
    Err(CheckpointError::Mismatch {
        path,
        missing,
        unexpected: result.unused,
        wrong_shape,
    })
}

fn describe(error: &ApplyError) -> String {
    match error {
        ApplyError::ShapeMismatch {
            path,
            expected,
            found,
        } => format!("{path} (expected {expected:?}, found {found:?})"),
        other => other.to_string(),
    }
}

/// A tensor of a type that parameters have.
struct Source {
    tensor: StoredTensor,
    dtype: DType,
}

impl Source {
    fn new(tensor: StoredTensor) -> Result<Self, CheckpointError> {
        match tensor.dtype {
            Some(dtype) => Ok(Self { tensor, dtype }),
            None => Err(tensor.error("has a type other than F64, F32, F16 or BF16".into())),
        }
    }

    /// A lazy tensor in the backend's float type.
    fn snapshot<B: Backend>(self, name: &str) -> TensorSnapshot {
        let (dtype, shape) = (float_dtype::<B>(), self.tensor.shape.clone());
        lazy(name, dtype, shape, move || {
            Ok(read(&self.tensor)?.convert_dtype(dtype))
        })
    }

    /// v1's `in_proj` `[3 * heads * head_dim, hidden]`: query, key and value rows of each head in
    /// turn, as three matrices.
    fn split_heads<B: Backend>(
        self,
        attention: &str,
        config: &DebertaConfig,
    ) -> Result<Vec<TensorSnapshot>, CheckpointError> {
        let (heads, head_size) = (config.num_attention_heads, config.attention_head_size);
        let expected = [3 * heads * head_size, config.hidden_size];
        if self.tensor.shape != expected {
            let found = &self.tensor.shape;
            let problem = format!("has shape {found:?}, expected {expected:?}");
            return Err(self.tensor.error(problem));
        }
        let block = head_size * config.hidden_size * self.dtype.size();
        let shape = [heads * head_size, config.hidden_size];
        let (from, to) = (self.dtype, float_dtype::<B>());
        let fused = Rc::new(self.tensor);
        let parts = ["query_proj", "key_proj", "value_proj"];
        Ok(parts
            .into_iter()
            .enumerate()
            .map(|(part, name)| {
                let fused = Rc::clone(&fused);
                let data = move || {
                    let all = read(&fused)?;
                    let mut rows = Vec::with_capacity(heads * block);
                    for head in all.as_bytes().chunks_exact(3 * block) {
                        rows.extend_from_slice(&head[part * block..(part + 1) * block]);
                    }
                    let data = TensorData::from_bytes_vec(rows, shape, from);
                    Ok(data.convert_dtype(to))
                };
                lazy(
                    &format!("{attention}{name}.weight"),
                    to,
                    shape.to_vec(),
                    data,
                )
            })
            .collect())
    }
}

fn read(tensor: &StoredTensor) -> Result<TensorData, TensorSnapshotError> {
    let error = |error: CheckpointError| TensorSnapshotError::DataError(error.to_string());
    tensor.data().map_err(error)
}

fn lazy(
    name: &str,
    dtype: DType,
    shape: Vec<usize>,
    data: impl Fn() -> Result<TensorData, TensorSnapshotError> + 'static,
) -> TensorSnapshot {
    TensorSnapshot::from_closure(
        Rc::new(data),
        dtype,
        shape.into(),
        name.split('.').map(str::to_owned).collect(),
        Vec::new(),
        ParamId::new(),
    )
}

fn float_dtype<B: Backend>() -> DType {
    <B::FloatElem as burn::tensor::Element>::dtype()
}
