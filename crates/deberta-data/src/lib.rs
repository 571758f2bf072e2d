//! Text to batches for DeBERTa.

pub mod corpus;
pub mod masking;
pub mod ngram_baseline;
pub mod packing;
pub mod tokenizer;

mod rng;
