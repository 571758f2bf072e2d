//! Placeholder.

pub mod masking;
pub mod tokenizer;
