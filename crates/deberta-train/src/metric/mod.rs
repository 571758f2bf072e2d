//! Metrics of the training loop, for Burn's dashboard and for the log.

mod position;
mod quantity;

pub use position::StepMetric;
pub use quantity::{Quantity, TallyMetric};
