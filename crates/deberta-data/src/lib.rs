//! Placeholder.

pub mod tokenizer;
