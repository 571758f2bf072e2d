//! DeBERTa objectives and how they are optimised, on Burn's Learner.

pub mod checkpoint;
pub mod optim;
pub mod schedule;
