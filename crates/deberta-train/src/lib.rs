//! DeBERTa objectives and how they are optimised, on Burn's Learner.

pub mod checkpoint;
pub mod metric;
pub mod objective;
pub mod optim;
pub mod report;
pub mod run;
pub mod schedule;
