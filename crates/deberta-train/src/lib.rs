//! DeBERTa objectives and how they are optimised, on Burn's Learner.
//!
//! ```text
//! config ─► pretrain  ─┐
//! config ─► fine_tune ─┴► Burn's SupervisedTraining ─► step loop ─► Learner ─► objective ─► model
//!                            │                         │
//!                            ├ metrics, displays       ├ checkpoints, every byte verified
//!                            └ metrics.jsonl           └ clipping, evaluation, interruption
//! ```
//!
//! [`run::pretrain`] and [`run::fine_tune`] are the ways in; [`run::cross_validate`] makes a run per fold,
//! and [`run::SeedSummary`] sums up those of several seeds. A run folder holds all of a run: `config.json`,
//! `metrics.jsonl`, [`checkpoints`](checkpoint), and after [`report::write_report`] also
//! `report.md` and `curve.svg`.

pub mod checkpoint;
pub mod metric;
pub mod objective;
pub mod optim;
pub mod recipe;
pub mod report;
pub mod run;
pub mod schedule;

#[cfg(test)]
#[path = "../../deberta-model/tests/it/support.rs"]
#[allow(
    dead_code,
    unused_imports,
    unexpected_cfgs,
    unused_macros,
    clippy::unwrap_used,
    reason = "written for the network's own tests"
)]
mod support;
