//! Golden and invariance tests of the network against the reference implementations.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod bad_files;
mod checkpoint;
mod conversion;
mod golden;
mod heads;
mod inputs;
mod invariance;
mod padding;
mod partial_loading;
mod precision;
mod prepared;
mod pytorch_files;
mod support;
mod transformers;
mod vocabulary;
