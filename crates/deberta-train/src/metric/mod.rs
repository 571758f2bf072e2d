//! Metrics of the training loop, for Burn's dashboard and for the log.

mod position;
mod quantity;
mod score;

pub use position::StepMetric;
pub use quantity::{Quantity, TallyMetric};
pub use score::ScoreMetric;
