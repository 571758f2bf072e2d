//! Heads on top of the encoder.

pub mod masked_lm;
