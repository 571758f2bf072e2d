//! Rows of a table whose gradients go into the one that is there already.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::{FloatTensor, IntTensor};

use crate::ops::DebertaBackend;

/// Backward step of a lookup.
#[derive(Debug)]
struct LookupStep;

/// Table and ids.
#[derive(Debug, Clone)]
struct State<B: DebertaBackend> {
    table: FloatTensor<B>,
    ids: IntTensor<B>,
}

impl<B: DebertaBackend> Backward<B, 1> for LookupStep {
    type State = State<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let State { table, ids } = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let [Some(parent)] = ops.parents else {
            return;
        };
        let id = parent.id;
        // Of this tensor only the node counts.
        let mut place = Autodiff::<B>::from_inner(grad.clone());
        place.node = parent;
        let sum = grads.remove::<B>(&place);
        drop(place);
        let gradient = B::lookup_backward(table, ids, grad, sum);
        grads.register::<B>(id, gradient);
    }
}

/// Rows `ids` `[batch, seq_len]` of `table`.
pub(super) fn track<B: DebertaBackend, C: CheckpointStrategy>(
    table: FloatTensor<Autodiff<B, C>>,
    ids: IntTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    // Until the step is registered: a backward pass on another thread frees what nothing refers to.
    let _alive = table.rc.clone();
    let rows = B::lookup(table.primitive.clone(), ids.clone());
    match LookupStep
        .prepare::<C>([table.node])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(step) => {
            let table = table.primitive;
            step.finish(State { table, ids }, rows)
        }
        OpsKind::UnTracked(step) => step.finish(rows),
    }
}
