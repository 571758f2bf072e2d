//! What is trained on: losses, and what they report.

mod batch;
mod mlm;
mod tally;

pub use batch::MlmBatch;
pub use mlm::{MlmObjective, MlmOutput, MlmStep};
pub use tally::Tally;

use burn::tensor::{Tensor, backend::Backend};
use burn::train::metric::ItemLazy;

/// Output of a training or evaluation step, as the loop sees it.
///
/// It stays on the device; the loop adds up outputs and reads the sum every now and then.
pub trait StepOutput<B: Backend>: ItemLazy<ItemSync = Tally> + Clone {
    /// Adds the output of a later step or batch.
    fn merge(self, later: Self) -> Self;

    /// Attaches what only the loop can know.
    ///
    /// - `seconds`: training time that this output covers
    /// - `grad_norm`: mean norm of its gradients before clipping, of shape `[1]`
    fn with_pace(self, seconds: f64, grad_norm: Tensor<B, 1>) -> Self;
}
