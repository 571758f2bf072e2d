//! The task heads as one kind of network: from states to rows of logits.

use burn::module::{AutodiffModule, Module, ModuleDisplay};
use burn::tensor::Tensor;
use deberta_model::heads::classification::{
    DebertaForMultipleChoice, DebertaForSequenceClassification,
};
use deberta_model::heads::question_answering::DebertaForQuestionAnswering;
use deberta_model::heads::token_classification::{
    DebertaForEntityRecognition, DebertaForTokenClassification,
};
use deberta_model::{DebertaAutodiffBackend, DebertaBackend, DebertaModel};

use super::{Rows, TaskBatch};

/// A network that a [`TaskObjective`](super::TaskObjective) can train.
pub trait TaskNetwork<B: DebertaBackend>: Module<B> + ModuleDisplay {
    /// What its rows of logits belong to.
    const ROWS: Rows;

    /// The encoder.
    fn encoder(&self) -> &DebertaModel<B>;

    /// The encoder, to be changed.
    fn encoder_mut(&mut self) -> &mut DebertaModel<B>;

    /// Rows of logits for the encoder's last states `[batch, seq_len, hidden]`.
    fn logits(&self, states: Tensor<B, 3>, batch: &TaskBatch) -> Tensor<B, 2>;
}

/// A [`TaskNetwork`] with and without autodiff.
pub trait TrainableNetwork<B: DebertaAutodiffBackend>:
    TaskNetwork<B> + AutodiffModule<B, InnerModule: TaskNetwork<B::InnerBackend>> + 'static
{
}

impl<B, M> TrainableNetwork<B> for M
where
    B: DebertaAutodiffBackend,
    M: TaskNetwork<B> + AutodiffModule<B, InnerModule: TaskNetwork<B::InnerBackend>> + 'static,
{
}

impl<B: DebertaBackend> TaskNetwork<B> for DebertaForSequenceClassification<B> {
    const ROWS: Rows = Rows::Sequences;

    fn encoder(&self) -> &DebertaModel<B> {
        &self.deberta
    }

    fn encoder_mut(&mut self) -> &mut DebertaModel<B> {
        &mut self.deberta
    }

    fn logits(&self, states: Tensor<B, 3>, _: &TaskBatch) -> Tensor<B, 2> {
        self.classify(states)
    }
}

impl<B: DebertaBackend> TaskNetwork<B> for DebertaForMultipleChoice<B> {
    const ROWS: Rows = Rows::Examples;

    fn encoder(&self) -> &DebertaModel<B> {
        &self.deberta
    }

    fn encoder_mut(&mut self) -> &mut DebertaModel<B> {
        &mut self.deberta
    }

    fn logits(&self, states: Tensor<B, 3>, batch: &TaskBatch) -> Tensor<B, 2> {
        self.choose(states, batch.choices)
    }
}

impl<B: DebertaBackend> TaskNetwork<B> for DebertaForTokenClassification<B> {
    const ROWS: Rows = Rows::Tokens;

    fn encoder(&self) -> &DebertaModel<B> {
        &self.deberta
    }

    fn encoder_mut(&mut self) -> &mut DebertaModel<B> {
        &mut self.deberta
    }

    fn logits(&self, states: Tensor<B, 3>, _: &TaskBatch) -> Tensor<B, 2> {
        self.classify(states).flatten(0, 1)
    }
}

impl<B: DebertaBackend> TaskNetwork<B> for DebertaForEntityRecognition<B> {
    const ROWS: Rows = Rows::Tokens;

    fn encoder(&self) -> &DebertaModel<B> {
        &self.deberta
    }

    fn encoder_mut(&mut self) -> &mut DebertaModel<B> {
        &mut self.deberta
    }

    fn logits(&self, states: Tensor<B, 3>, _: &TaskBatch) -> Tensor<B, 2> {
        self.classify(states).flatten(0, 1)
    }
}

/// The softmax over tokens runs over padding, too, as in both references.
impl<B: DebertaBackend> TaskNetwork<B> for DebertaForQuestionAnswering<B> {
    const ROWS: Rows = Rows::Spans;

    fn encoder(&self) -> &DebertaModel<B> {
        &self.deberta
    }

    fn encoder_mut(&mut self) -> &mut DebertaModel<B> {
        &mut self.deberta
    }

    fn logits(&self, states: Tensor<B, 3>, _: &TaskBatch) -> Tensor<B, 2> {
        let spans = self.score(states);
        Tensor::cat(vec![spans.start, spans.end], 0)
    }
}
