//! What is trained on: losses, and what they report.

mod accumulate;
mod batch;
mod mlm;
mod precision;
mod rtd;
mod sift;
mod sums;
mod tally;
mod task;

pub use batch::MlmBatch;
pub use mlm::{MlmObjective, MlmStep};
pub use precision::Precision;
pub use rtd::{Discriminator, EmbeddingSharing, RtdConfig, RtdNetworks, RtdObjective};
pub use sift::{Ascent, Ball, BallNorm, Divergence, Perturbed, SiftConfig};
pub use sums::StepSums;
pub(crate) use tally::entropy_nats;
pub use tally::{Detection, Reading, Scores, Tally};
pub use task::{
    ExampleLogits, LossConfig, Rows, Targets, TaskBatch, TaskEvaluation, TaskNetwork,
    TaskObjective, TaskSettings, TrainableNetwork,
};

use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;
use burn::train::metric::ItemLazy;
use burn::train::{InferenceStep, TrainStep};

/// The micro-batches of one update.
#[derive(Debug, Clone)]
pub struct Step<T> {
    /// Each goes forward and backward on its own.
    pub micro_batches: Vec<T>,
    /// Multiplies the loss before the backward pass and divides the gradients after it, so that
    /// small gradients survive in f16.
    pub loss_scale: f64,
    /// Where layers that are computed again draw their dropout from; without one the device is waited
    /// for to give it.
    pub seed: Option<u64>,
}

impl<T> Step<T> {
    /// A step whose loss is not scaled.
    pub fn new(micro_batches: Vec<T>) -> Self {
        Self {
            micro_batches,
            loss_scale: 1.0,
            seed: None,
        }
    }
}

/// What the step loop trains.
pub trait Objective<B: AutodiffBackend>:
    TrainStep<Input = Step<Self::Batch>, Output = StepSums<B::InnerBackend>>
    + AutodiffModule<B, InnerModule: InferenceStep<Input = Self::Batch, Output = Self::Evaluation>>
    + core::fmt::Display
    + 'static
{
    /// A collated batch on the host.
    type Batch: Clone + Send + 'static;

    /// Output of an evaluation.
    type Evaluation: EvaluationOutput + 'static;
}

/// Output of an evaluation, batch by batch, as the loop sees it.
pub trait EvaluationOutput: ItemLazy<ItemSync = Reading> + Clone {
    /// Adds the output of a later batch.
    fn merge(self, later: Self) -> Self;

    /// Attaches metrics, to be shown.
    fn with_scores(self, scores: Scores) -> Self;

    /// What the head says about each example, in the order of the examples; empty if the objective
    /// keeps no logits.
    fn logits(&self) -> Vec<ExampleLogits>;
}
