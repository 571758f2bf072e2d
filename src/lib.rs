//! Pre-train, fine-tune and run DeBERTa v1, v2 and v3 on any hardware, on the Burn framework.
//!
//! This package is the front door. It re-exports the three crates behind it and picks a backend by
//! feature flag:
//!
//! - [`model`]: the network and its weights
//! - [`data`]: tokenizers, corpora, packing, masking
//! - [`train`]: objectives and how they are optimised
//! - [`pretrain`]: from raw text to a model, in one call
//! - [`finetune`]: from labelled examples to a model, its metrics and predictions
//! - [`add_tokens`]: more tokens for a checkpoint
//! - [`hub`]: models by name, from the Hugging Face Hub
//! - [`pipeline`]: text in, answers out
//! - [`backend`]: the compute backend that the feature flags chose
//! - `allocator`: the memory allocator for programs that train (feature `allocator`)

#[cfg(feature = "allocator")]
pub mod allocator;
pub mod backend;
pub mod finetune;
pub mod hub;
pub mod pipeline;
pub mod pretrain;

mod add_tokens;
mod files;
mod run_options;
mod sequence_length;
mod settings;
mod vocabulary;

pub use add_tokens::{AddTokensError, AddTokensReport, add_tokens};
pub use deberta_data as data;
pub use deberta_model as model;
pub use deberta_train as train;
pub use vocabulary::VocabularyMismatch;

/// Compiles the program in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
