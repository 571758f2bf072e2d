//! Reading weights: memory-mapped, renamed, checked, then copied once into the network.

use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use burn::module::{Module, ParamId};
use burn::store::{ApplyError, ModuleSnapshot, PyTorchToBurnAdapter, TensorSnapshot};
use burn::tensor::backend::Backend;
use burn::tensor::{Bytes, DType, TensorData};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use super::names::{FUSED_PROJECTION, from_hub, is_tied_copy};
use super::{CONFIG_FILE, CheckpointError, WEIGHTS_FILE, io_error};
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
    let path = dir.join(WEIGHTS_FILE);
    let mut ignored = HEADS.to_vec();
    if config.absolute_positions == AbsolutePositions::None {
        ignored.push(POSITION_TABLE);
    }
    load_into::<B, _>(&mut model, &config, &path, Prefix::Removed, &ignored)?;
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
    let path = dir.join(WEIGHTS_FILE);
    if config.absolute_positions == AbsolutePositions::None && has_position_table(&path)? {
        config.absolute_positions = AbsolutePositions::Decoder;
    }
    let mut model = config
        .init_masked_lm::<B>(0, device)
        .map_err(|source| config_error(dir, source))?;
    let other_heads = &HEADS[1..];
    load_into::<B, _>(&mut model, &config, &path, Prefix::Kept, other_heads)?;
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
    let path = dir.join(WEIGHTS_FILE);
    load_into::<B, _>(&mut model, &config, &path, Prefix::Kept, &ignored)?;
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

/// A memory-mapped weights file.
struct Weights {
    map: Rc<Mmap>,
}

impl Weights {
    #[allow(
        unsafe_code,
        reason = "memory-maps the weights instead of copying them"
    )]
    fn open(path: &Path) -> Result<Self, CheckpointError> {
        let file = File::open(path).map_err(|source| io_error(path, source))?;
        // SAFETY: the map is read-only and its bytes are validated before use. As with every
        // memory-mapped reader, truncating the file while it is being loaded is not supported.
        let map = unsafe { Mmap::map(&file) }.map_err(|source| io_error(path, source))?;
        Ok(Self { map: Rc::new(map) })
    }

    fn parse(&self, path: &Path) -> Result<SafeTensors<'_>, CheckpointError> {
        SafeTensors::deserialize(&self.map).map_err(|source| CheckpointError::Safetensors {
            path: path.into(),
            source,
        })
    }
}

fn has_position_table(path: &Path) -> Result<bool, CheckpointError> {
    let weights = Weights::open(path)?;
    let tensors = weights.parse(path)?;
    Ok(tensors
        .names()
        .iter()
        .any(|name| name.contains(POSITION_TABLE)))
}

/// Copies every tensor of the file into `module`.
fn load_into<B: Backend, M: Module<B>>(
    module: &mut M,
    config: &DebertaConfig,
    path: &Path,
    prefix: Prefix,
    ignored: &[&str],
) -> Result<(), CheckpointError> {
    let weights = Weights::open(path)?;
    let tensors = weights.parse(path)?;
    let ignores = |name: &str| {
        let bare = name.strip_prefix("deberta.").unwrap_or(name);
        ignored.iter().any(|prefix| bare.starts_with(prefix))
    };

    let mut snapshots = Vec::new();
    for (hub_name, view) in tensors.iter() {
        let name = from_hub(hub_name);
        if is_tied_copy(hub_name) || ignores(&name) {
            continue;
        }
        let source = Source::new(
            &weights,
            view.dtype(),
            view.shape(),
            view.data(),
            hub_name,
            path,
        )?;
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
        path: path.into(),
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

/// One tensor of the file.
struct Source {
    map: Rc<Mmap>,
    start: usize,
    len: usize,
    dtype: DType,
    shape: Vec<usize>,
    hub_name: String,
    path: std::path::PathBuf,
}

impl Source {
    fn new(
        weights: &Weights,
        dtype: Dtype,
        shape: &[usize],
        data: &[u8],
        hub_name: &str,
        path: &Path,
    ) -> Result<Self, CheckpointError> {
        let dtype = match dtype {
            Dtype::F64 => DType::F64,
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            other => {
                return Err(CheckpointError::Tensor {
                    path: path.into(),
                    name: hub_name.into(),
                    problem: format!("has type {other:?}, expected F64, F32, F16 or BF16"),
                });
            }
        };
        Ok(Self {
            map: Rc::clone(&weights.map),
            start: data.as_ptr() as usize - weights.map.as_ptr() as usize,
            len: data.len(),
            dtype,
            shape: shape.to_vec(),
            hub_name: hub_name.into(),
            path: path.into(),
        })
    }

    fn data(&self) -> TensorData {
        let bytes = self.map[self.start..self.start + self.len].to_vec();
        TensorData::from_bytes(Bytes::from_bytes_vec(bytes), self.shape.clone(), self.dtype)
    }

    /// A lazy tensor in the backend's float type.
    fn snapshot<B: Backend>(self, name: &str) -> TensorSnapshot {
        let (dtype, shape) = (float_dtype::<B>(), self.shape.clone());
        let data = move || Ok(self.data().convert_dtype(dtype));
        TensorSnapshot::from_closure(
            Rc::new(data),
            dtype,
            shape.into(),
            name.split('.').map(str::to_owned).collect(),
            Vec::new(),
            ParamId::new(),
        )
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
        if self.shape != expected {
            return Err(CheckpointError::Tensor {
                path: self.path,
                name: self.hub_name,
                problem: format!("has shape {:?}, expected {expected:?}", self.shape),
            });
        }
        let fused = Rc::new(self);
        let block = head_size * config.hidden_size * fused.dtype.size();
        let shape = [heads * head_size, config.hidden_size];
        let dtype = float_dtype::<B>();
        let parts = ["query_proj", "key_proj", "value_proj"];
        Ok(parts
            .into_iter()
            .enumerate()
            .map(|(part, name)| {
                let fused = Rc::clone(&fused);
                let data = move || {
                    let bytes = &fused.map[fused.start..fused.start + fused.len];
                    let rows = (0..heads).flat_map(|head| {
                        let start = (3 * head + part) * block;
                        bytes[start..start + block].iter().copied()
                    });
                    let bytes = Bytes::from_bytes_vec(rows.collect());
                    let data = TensorData::from_bytes(bytes, shape, fused.dtype);
                    Ok(data.convert_dtype(dtype))
                };
                let path = format!("{attention}{name}.weight");
                TensorSnapshot::from_closure(
                    Rc::new(data),
                    dtype,
                    shape.into(),
                    path.split('.').map(str::to_owned).collect(),
                    Vec::new(),
                    ParamId::new(),
                )
            })
            .collect())
    }
}

fn float_dtype<B: Backend>() -> DType {
    <B::FloatElem as burn::tensor::Element>::dtype()
}
