//! Mixed precision: parameters in f32, computation in half of it.

use burn::module::Module;
use burn::tensor::{DType, backend::Backend};
use serde::{Deserialize, Serialize};

/// The type that a network computes in while its parameters, their gradients and the optimiser keep
/// full precision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// The type of the parameters.
    #[default]
    Full,
    /// bf16, as wide as f32 and coarser.
    Bf16,
    /// f16, finer and narrower, with a loss scale that follows the gradients.
    F16,
}

impl Precision {
    /// Whether the device can compute so.
    pub(crate) fn is_supported<B: Backend>(self, device: &B::Device) -> bool {
        self.dtype()
            .is_none_or(|dtype| B::supports_dtype(device, dtype))
    }

    /// Whether gradients may leave the range of the type, so that the loss has to be scaled.
    pub(crate) fn needs_loss_scale(self) -> bool {
        self == Self::F16
    }

    /// The network to compute with; its parameters have the ids of the original's.
    pub(super) fn compute_copy<B: Backend, M: Module<B>>(
        self,
        module: &M,
        device: &B::Device,
    ) -> M {
        match self.dtype() {
            None => module.clone(),
            // Runs check the device before they start.
            Some(dtype) => deberta_model::precision::cast(module.clone(), dtype, device)
                .unwrap_or_else(|_| module.clone()),
        }
    }

    fn dtype(self) -> Option<DType> {
        match self {
            Self::Full => None,
            Self::Bf16 => Some(DType::BF16),
            Self::F16 => Some(DType::F16),
        }
    }
}
