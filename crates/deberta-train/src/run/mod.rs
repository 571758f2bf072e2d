//! A run from its configuration to its report.

mod config;
mod data;
mod display;
mod error;
mod finetune;
mod launch;
mod lines;
mod log;
mod order;
mod pretrain;
mod repeat;
mod resume;
mod scoring;
mod session;
mod status;
mod step_loop;
mod stop;
mod window;

pub use config::{PretrainConfig, PretrainObjective, RunConfig};
pub use data::{ExampleId, ExampleSource, SourceError};
pub use display::Display;
pub use error::TrainError;
pub use finetune::{FinetuneConfig, FinetuneData, Finetuned, fine_tune, predict, steps_of_epochs};
pub use launch::RunOptions;
pub use lines::ProgressLines;
pub use log::{MetricsLine, read_metrics};
pub use pretrain::{
    PretrainData, Pretrained, RtdPretrained, pretrain, pretrain_from, pretrain_rtd,
    pretrain_rtd_from,
};
pub use repeat::{CrossValidation, OutOfFold, SeedResult, SeedSummary, cross_validate};
pub use scoring::{MetricsFn, TaskMetrics};
pub use status::RunReport;
pub use stop::{on_ctrl_c, stop_on_ctrl_c};
