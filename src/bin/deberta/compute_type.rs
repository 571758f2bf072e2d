//! The type that a network computes in while it learns.

use clap::ValueEnum;
use deberta::train::objective::Precision;

/// Type to compute in.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ComputeType {
    /// That of the parameters
    Full,
    /// As wide as f32 and coarser
    Bf16,
    /// Finer and narrower, with a loss scale that follows the gradients
    F16,
}

impl From<ComputeType> for Precision {
    fn from(given: ComputeType) -> Self {
        match given {
            ComputeType::Full => Self::Full,
            ComputeType::Bf16 => Self::Bf16,
            ComputeType::F16 => Self::F16,
        }
    }
}
