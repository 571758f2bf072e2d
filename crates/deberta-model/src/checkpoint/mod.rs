//! Weights in the Hub layout: `config.json` and `model.safetensors`.
//!
//! # What is read
//!
//! Of several files, the first in this order is taken: `model.safetensors`,
//! `model.safetensors.index.json` with its parts, `pytorch_model.bin`, `pytorch_model.bin.index.json`
//! with its parts, Microsoft's `pytorch.model.bin`. Numbers are f64, f32, f16 or bf16. Files of
//! PyTorch may have the zip format or that from before 2020; their pickles are parsed, never
//! executed.
//!
//! Names may begin with `deberta.`, `bert.` or neither, within `module.` and the like. The encoder
//! of a GLiNER checkpoint and both networks of a replaced-token-detection checkpoint are found.
//!
//! Files are mapped. A parameter is converted from the map to where it stays; pages that were read
//! are given back. So loading takes the memory of the network and one tensor more.
//!
//! # What is written
//!
//! [`save_masked_lm`] and its like write what transformers reads without missing or unexpected keys.
//! [`convert`] does the same from file to file. [`Weights`] shows what is in a file.

mod check;
mod convert;
mod error;
mod files;
mod fill;
mod floats;
mod folder;
#[doc(hidden)]
pub mod fuzzing;
mod growth;
mod load;
mod names;
mod numbers;
mod options;
mod outgoing;
#[cfg(test)]
mod outgoing_tests;
mod pytorch;
mod save;
mod weights;

pub use check::Fit;
pub use convert::{ConvertOptions, ConvertReport, TASK_FILE, TOKENIZER_FILES, convert};
pub use error::CheckpointError;
pub use floats::{ElementType, FloatType, UnknownFloatType};
pub use folder::weights_path;
pub use load::{
    load_masked_lm, load_masked_lm_with, load_model, load_model_with, load_task_model,
    load_task_model_with, masked_lm_config,
};
pub use options::{Compatibility, LoadOptions, LoadReport, Loaded};
pub use outgoing::WeightsFormat;
pub use save::{
    SaveOptions, hub_tensors, save_masked_lm, save_masked_lm_with, save_model, save_task_model,
    save_task_model_with,
};
pub use weights::{Head, TensorInfo, Weights};

pub(crate) use folder::{config_path, read_text};

/// File name of the configuration.
pub const CONFIG_FILE: &str = "config.json";
/// File name of the weights.
pub const WEIGHTS_FILE: &str = "model.safetensors";
