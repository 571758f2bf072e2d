//! What the next line of the log will report.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::objective::StepSums;

/// Steps since the last line of the log, summed up on the device.
pub(super) struct Window<B: Backend> {
    output: Option<StepSums<B>>,
    grad_norms: Option<Tensor<B, 1>>,
    steps: usize,
}

impl<B: Backend> Window<B> {
    pub(super) fn add(&mut self, output: StepSums<B>, grad_norm: Tensor<B, 1>) {
        self.output = Some(match self.output.take() {
            None => output,
            Some(sum) => sum.merge(output),
        });
        self.grad_norms = Some(match self.grad_norms.take() {
            None => grad_norm,
            Some(sum) => sum + grad_norm,
        });
        self.steps += 1;
    }

    /// The sum of all steps; `None` without any.
    pub(super) fn close(&mut self, seconds: f64) -> Option<StepSums<B>> {
        let window = std::mem::replace(self, Self::new());
        let grad_norm = window.grad_norms?.div_scalar(window.steps as f64);
        Some(window.output?.with_pace(seconds, grad_norm))
    }
}

impl<B: Backend> Window<B> {
    pub(super) fn new() -> Self {
        Self {
            output: None,
            grad_norms: None,
            steps: 0,
        }
    }
}
