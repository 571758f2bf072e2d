//! Task heads: classification, regression, several labels, tokens, spans, multiple choice; each
//! with or without SiFT.

mod batch;
mod evaluation;
mod loss;
mod network;
mod objective;

pub use batch::{ExampleLogits, Rows, Targets, TaskBatch};
pub use evaluation::TaskEvaluation;
pub use loss::LossConfig;
pub use network::{TaskNetwork, TrainableNetwork};
pub use objective::{TaskObjective, TaskSettings};
