//! Logits of an evaluation, kept on the device until they are asked for.

use burn::tensor::{Tensor, backend::Backend};
use burn::train::metric::ItemLazy;

use super::ExampleLogits;
use super::batch::Layout;
use crate::objective::{EvaluationOutput, Reading, Scores, StepSums};

/// Sums and logits of an evaluation.
#[derive(Debug, Clone)]
pub struct TaskEvaluation<B: Backend> {
    sums: StepSums<B>,
    batches: Vec<(Layout, Tensor<B, 2>)>,
}

impl<B: Backend> TaskEvaluation<B> {
    pub(super) fn new(sums: StepSums<B>, layout: Layout, logits: Tensor<B, 2>) -> Self {
        Self {
            sums,
            batches: vec![(layout, logits)],
        }
    }
}

impl<B: Backend> ItemLazy for TaskEvaluation<B> {
    type ItemSync = Reading;

    fn sync(self) -> Reading {
        self.sums.sync()
    }
}

impl<B: Backend> EvaluationOutput for TaskEvaluation<B> {
    fn merge(mut self, later: Self) -> Self {
        self.batches.extend(later.batches);
        Self {
            sums: self.sums.merge(later.sums),
            batches: self.batches,
        }
    }

    fn with_scores(self, scores: Scores) -> Self {
        Self {
            sums: self.sums.with_scores(scores),
            ..self
        }
    }

    fn logits(&self) -> Vec<ExampleLogits> {
        let mut examples: Vec<ExampleLogits> = self
            .batches
            .iter()
            .flat_map(|(layout, logits)| {
                let [_, width] = logits.dims();
                let values: Vec<f32> = logits.to_data().iter::<f32>().collect();
                layout.split(&values, width)
            })
            .collect();
        examples.sort_by_key(|it| it.example);
        examples
    }
}
