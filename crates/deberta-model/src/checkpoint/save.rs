//! Writing networks in the Hub layout.

use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use serde_json::{Value, json};

use super::error::{CheckpointError, io_error};
use super::fill::ModulePath;
use super::floats::FloatType;
use super::names::to_hub;
use super::numbers::Numbers;
use super::outgoing::{Outgoing, WeightsFormat, fuse_projections, write_checkpoint};
use crate::config::{DebertaConfig, Family};
use crate::heads::masked_lm::DebertaForMaskedLm;
use crate::heads::{HeadConfig, TaskModel};
use crate::hf_config::HfConfig;
use crate::model::DebertaModel;

/// How weights are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SaveOptions {
    /// Type of the numbers, f32 by default.
    pub dtype: FloatType,
    /// Format of the files, safetensors by default.
    pub format: WeightsFormat,
    /// Most bytes of tensors in one file; more are spread over several with an index. A single
    /// tensor is never split. `None`, the default, for one file whatever its size.
    pub max_part_bytes: Option<u64>,
}

impl SaveOptions {
    /// One safetensors file in f32.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes numbers of this type.
    pub fn dtype(mut self, dtype: FloatType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Writes files of this format.
    pub fn format(mut self, format: WeightsFormat) -> Self {
        self.format = format;
        self
    }

    /// Spreads the weights over files of at most this many bytes of tensors.
    pub fn max_part_bytes(mut self, bytes: u64) -> Self {
        self.max_part_bytes = Some(bytes);
        self
    }
}

/// Saves an encoder without a head as `config.json` and `model.safetensors` (f32 by default).
///
/// # Errors
///
/// If a file cannot be written, or a number is beyond the range of the type to write.
pub fn save_model<B: Backend>(
    model: &DebertaModel<B>,
    config: &DebertaConfig,
    dir: &Path,
    options: &SaveOptions,
) -> Result<(), CheckpointError> {
    let mut file = HfConfig::from_config(config);
    set_architecture(&mut file, config.family, "Model");
    save(model, config, file, dir, options)
}

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
    save_masked_lm_with(model, config, dir, &SaveOptions::new())
}

/// As [`save_masked_lm`], in another type, format or number of files.
///
/// # Errors
///
/// If a file cannot be written, or a number is beyond the range of the type to write.
pub fn save_masked_lm_with<B: Backend>(
    model: &DebertaForMaskedLm<B>,
    config: &DebertaConfig,
    dir: &Path,
    options: &SaveOptions,
) -> Result<(), CheckpointError> {
    let mut file = HfConfig::from_config(config);
    set_architecture(&mut file, config.family, "ForMaskedLM");
    file.other.insert("legacy".into(), Value::Bool(false));
    save(model, config, file, dir, options)
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
    save_task_model_with(model, config, head, dir, &SaveOptions::new())
}

/// As [`save_task_model`], in another type, format or number of files.
///
/// # Errors
///
/// If a file cannot be written, or a number is beyond the range of the type to write.
pub fn save_task_model_with<B: Backend, M: TaskModel<B>>(
    model: &M,
    config: &DebertaConfig,
    head: &HeadConfig,
    dir: &Path,
    options: &SaveOptions,
) -> Result<(), CheckpointError> {
    let mut file = HfConfig::from_config(config);
    match M::OUTPUTS {
        Some(count) => file.set_head_config(&head.with_outputs(count)),
        None => file.set_head_config(head),
    }
    if let Some(class) = M::TRANSFORMERS_CLASS {
        set_architecture(&mut file, config.family, class);
    }
    save(model, config, file, dir, options)
}

/// Names the class of transformers that reads the folder.
pub(super) fn set_architecture(file: &mut HfConfig, family: Family, class: &str) {
    let family = match family {
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
    options: &SaveOptions,
) -> Result<(), CheckpointError> {
    std::fs::create_dir_all(dir).map_err(|source| io_error(dir, source))?;
    file.set_dtype(options.dtype);
    let tensors = outgoing::<B, M>(model, config, Some(options.dtype));
    write_checkpoint(dir, options.format, options.max_part_bytes, &file, tensors).map(drop)
}

impl HfConfig {
    /// Says which type the weights beside the file have.
    pub(super) fn set_dtype(&mut self, dtype: FloatType) {
        self.other.remove("torch_dtype");
        self.other
            .insert("dtype".into(), json!(dtype.config_name()));
    }
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
    let tensors = outgoing::<B, M>(module, config, None).into_iter();
    tensors
        .map(|tensor| match tensor.bytes() {
            Ok(bytes) => {
                let dtype = tensor.dtype.to_dtype();
                Ok((
                    tensor.name,
                    TensorData::from_bytes(bytes, tensor.shape, dtype),
                ))
            }
            Err(error) => Err((tensor.name, error.to_string())),
        })
        .collect()
}

/// The parameters of a module, read from the device one at a time.
fn outgoing<B: Backend, M: Module<B>>(
    module: &M,
    config: &DebertaConfig,
    dtype: Option<FloatType>,
) -> Vec<Outgoing<'static>> {
    let mut collector = Collector {
        path: ModulePath::default(),
        dtype,
        tensors: Vec::new(),
    };
    module.visit(&mut collector);
    let mut tensors = collector.tensors;
    if config.family == Family::V1 {
        tensors = fuse_projections(tensors, config);
    }
    for tensor in &mut tensors {
        tensor.name = to_hub(&tensor.name, config.family);
    }
    tensors
}

struct Collector {
    path: ModulePath,
    /// Type to write; `None` for the module's own.
    dtype: Option<FloatType>,
    tensors: Vec<Outgoing<'static>>,
}

impl<B: Backend> ModuleVisitor<B> for Collector {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let (name, transpose) = (self.path.name(), self.path.is_transposed());
        let tensor = param.transform_for_save().val();
        let mut shape = tensor.shape().to_vec();
        if transpose {
            shape.reverse();
        }
        let own = FloatType::from_dtype(tensor.dtype()).unwrap_or_default();
        self.tensors.push(Outgoing {
            name: name.clone(),
            shape,
            dtype: self.dtype.unwrap_or(own),
            read: Box::new(move |to, rows| {
                let problem = |problem: String| CheckpointError::Tensor {
                    path: "the network".into(),
                    name: name.clone(),
                    problem,
                };
                let axis = usize::from(transpose);
                let part = match rows.len() == tensor.dims()[axis] {
                    true => tensor.clone(),
                    false => tensor.clone().slice_dim(axis, rows),
                };
                let data = part.try_into_data();
                let data = data.map_err(|it| problem(format!("could not be read: {it:?}")))?;
                let numbers = Numbers {
                    bytes: data.as_bytes(),
                    dtype: own,
                    shape: &data.shape,
                };
                match numbers.to_data(to, transpose) {
                    Some(data) => Ok(data.bytes),
                    None => Err(problem(format!("has numbers beyond the range of {to}"))),
                }
            }),
        });
    }
}
