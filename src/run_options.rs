//! What [`pretrain`](crate::pretrain) and [`finetune`](crate::finetune) are told besides the job.

use burn::train::Interrupter;
use deberta_train::run::Display;

/// How a run is watched and stopped.
#[derive(Clone)]
pub struct RunOptions {
    /// Continue the run in the folder instead of starting one.
    pub resume: bool,
    /// What to show during training.
    pub display: Display,
    /// Stops the run.
    pub interrupter: Interrupter,
}
