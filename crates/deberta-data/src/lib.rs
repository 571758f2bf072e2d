//! Text to batches for DeBERTa.

pub mod corpus;
pub mod masking;
pub mod tokenizer;

mod rng;
