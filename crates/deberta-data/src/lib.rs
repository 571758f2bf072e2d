//! Text to training examples for DeBERTa. Knows no model and no tensor library.
//!
//! ```text
//! corpus      files of text, JSON Lines, Parquet; texts in memory; the built-in language
//!   ↓         documents, streamed
//! tokenizer   SentencePiece, byte-level BPE, tokenizer.json; opened or trained
//!   ↓         ids
//! packing     [CLS] … [SEP] sequences in memory-mapped Arrow shards, written once
//!   ↓         examples by number
//! masking     what the model sees and what it has to guess, by seed, epoch and number
//! ```
//!
//! [`ngram_baseline`] scores the same masked examples by counting neighbours: what a model has to
//! beat. [`corpus::synthetic`] is the language behind the bare command, and a laboratory: it asks
//! labelled questions, one linguistic phenomenon at a time.
//!
//! Beside this path, [`task`] reads labelled examples for fine-tuning, and [`metric`] judges what a
//! model made of them; [`decoding`] finds answers and words in what heads say about tokens.
//!
//! [`batching`] groups inputs of any length for inference.
//!
//! Everything is deterministic: the same corpus, tokenizer, options and seed give the same
//! examples on any machine and any number of threads.

pub mod batching;
pub mod corpus;
pub mod decoding;
pub mod masking;
pub mod metric;
pub mod ngram_baseline;
pub mod packing;
pub mod rng;
pub mod task;
pub mod tokenizer;
