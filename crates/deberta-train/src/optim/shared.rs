//! An optimiser whose clones share one state.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::module::AutodiffModule;
use burn::optim::{GradientsParams, LearningRate, MultiGradientsParams, Optimizer};
use burn::tensor::backend::AutodiffBackend;
use deberta_model::DebertaAutodiffBackend;

use super::AdamW;

/// A handle to an optimiser; clones share its state.
///
/// Burn's `Learner` owns its optimiser and does not hand it out, but the loop updates with it and
/// writes its state into checkpoints. So the learner gets one handle and the loop another.
#[derive(Debug)]
pub struct SharedOptimizer<O>(Arc<Mutex<O>>);

impl<O> SharedOptimizer<O> {
    /// Wraps an optimiser.
    pub fn new(optimizer: O) -> Self {
        Self(Arc::new(Mutex::new(optimizer)))
    }

    /// A panic while the lock is held ends the run, so a poisoned state is never trained on.
    fn lock(&self) -> MutexGuard<'_, O> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: AutodiffModule<B>, B: DebertaAutodiffBackend> SharedOptimizer<AdamW<M, B>> {
    /// Writes the state, see [`AdamW::write_record`].
    pub(crate) fn write_record(&self, file: &mut dyn Write) -> io::Result<()> {
        self.lock().write_record(file)
    }
}

impl<O> Clone for SharedOptimizer<O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B, M, O> Optimizer<M, B> for SharedOptimizer<O>
where
    B: AutodiffBackend,
    M: AutodiffModule<B>,
    O: Optimizer<M, B>,
{
    type Record = O::Record;

    fn step(&mut self, lr: LearningRate, module: M, grads: GradientsParams) -> M {
        self.lock().step(lr, module, grads)
    }

    fn step_multi(&mut self, lr: LearningRate, module: M, grads: MultiGradientsParams) -> M {
        self.lock().step_multi(lr, module, grads)
    }

    fn to_record(&self) -> Self::Record {
        self.lock().to_record()
    }

    /// Replaces the state behind every handle.
    fn load_record(self, record: Self::Record) -> Self {
        {
            let mut optimizer = self.lock();
            *optimizer = optimizer.clone().load_record(record);
        }
        self
    }
}
