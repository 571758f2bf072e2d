//! DeBERTa objectives and how they are optimised, on Burn's Learner.
//!
//! ```text
//! config ─► pretrain ─► Burn's SupervisedTraining ─► step loop ─► Learner ─► objective ─► model
//!                            │                         │
//!                            ├ metrics, displays       ├ checkpoints, every byte verified
//!                            └ metrics.jsonl           └ clipping, evaluation, interruption
//! ```
//!
//! [`run::pretrain`] is the way in. A run folder holds all of a run: `config.json`,
//! `metrics.jsonl`, [`checkpoints`](checkpoint), and after [`report::write_report`] also
//! `report.md` and `curve.svg`.

pub mod checkpoint;
pub mod metric;
pub mod objective;
pub mod optim;
pub mod report;
pub mod run;
pub mod schedule;
