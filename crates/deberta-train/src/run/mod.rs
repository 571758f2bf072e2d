//! A run from its configuration to its report.

mod config;
mod data;
mod display;
mod error;
mod lines;
mod log;
mod order;
mod pretrain;
mod resume;
mod session;
mod status;
mod step_loop;
mod stop;
mod window;

pub use config::{PretrainConfig, RunConfig};
pub use data::{ExampleId, MlmSource, SourceError};
pub use display::Display;
pub use error::TrainError;
pub use lines::ProgressLines;
pub use log::{MetricsLine, read_metrics};
pub use pretrain::{PretrainData, PretrainOptions, Pretrained, pretrain};
pub use status::RunReport;
pub use stop::stop_on_ctrl_c;
