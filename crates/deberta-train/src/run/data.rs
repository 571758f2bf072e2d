//! Examples by index, and the loaders that feed them to Burn.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::objective::MlmBatch;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::tensor::backend::Backend;

use super::order::EpochOrder;
use crate::checkpoint::Cursor;
use crate::objective::MlmStep;

/// Any error of a data source.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Steps that are prepared ahead of the training thread.
const STEPS_AHEAD: usize = 2;

/// Masked examples, addressed by index.
///
/// The same epoch and index must give the same tokens and the same mask in every process: that
/// is what lets a run continue where it was killed.
pub trait MlmSource: Send + Sync + 'static {
    /// Number of examples in an epoch.
    fn len(&self) -> usize;

    /// Whether there are no examples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Collates `examples` as masked in `epoch`; each comes with its epoch.
    ///
    /// # Errors
    ///
    /// Whatever keeps the examples from being read.
    fn batch(&self, examples: &[ExampleId]) -> Result<MlmBatch, SourceError>;
}

/// An example in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExampleId {
    /// Pass over the data, which chooses the mask.
    pub epoch: u64,
    /// Index of the example.
    pub index: usize,
}

/// What is shared between a loader, the thread behind it and the loop.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoaderStatus {
    error: Arc<Mutex<Option<SourceError>>>,
    busy_nanos: Arc<AtomicU64>,
}

impl LoaderStatus {
    /// Takes the error that ended the loader, if one did.
    pub(crate) fn take_error(&self) -> Option<SourceError> {
        self.error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Time spent preparing batches, on whatever thread.
    pub(crate) fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy_nanos.load(Ordering::Relaxed))
    }

    /// Runs `work`, noting its time and its error.
    fn watch<T>(&self, work: impl FnOnce() -> Result<T, SourceError>) -> Option<T> {
        let start = Instant::now();
        let result = work();
        self.busy_nanos
            .fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
            .map_err(|error| {
                *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            })
            .ok()
    }
}

/// The steps of a run from a cursor on, in the order of each epoch.
///
/// Batches run across the ends of epochs, so all have the same size.
#[derive(Clone)]
pub(crate) struct StepLoader {
    pub(crate) source: Arc<dyn MlmSource>,
    pub(crate) seed: u64,
    pub(crate) batch_size: usize,
    pub(crate) grad_accumulation: usize,
    pub(crate) start: Cursor,
    pub(crate) steps: usize,
    pub(crate) status: LoaderStatus,
}

impl StepLoader {
    fn examples_per_step(&self) -> usize {
        self.batch_size * self.grad_accumulation
    }

    fn step(&self, step: usize) -> Result<MlmStep, SourceError> {
        let len = self.source.len();
        let first = self.start.advance(step * self.examples_per_step(), len);
        let examples: Vec<ExampleId> = (0..self.examples_per_step())
            .map(|offset| {
                let Cursor { epoch, position } = first.advance(offset, len);
                let index = EpochOrder::new(len, self.seed, epoch).example(position);
                ExampleId { epoch, index }
            })
            .collect();
        let micro_batches: Result<Vec<_>, _> = examples
            .chunks(self.batch_size)
            .map(|examples| self.source.batch(examples))
            .collect();
        Ok(MlmStep {
            micro_batches: micro_batches?,
        })
    }

    /// Prepares all steps until nobody wants them any more.
    fn prepare(&self, sender: &SyncSender<MlmStep>) {
        for step in 0..self.steps {
            let Some(step) = self.status.watch(|| self.step(step)) else {
                return;
            };
            if sender.send(step).is_err() {
                return;
            }
        }
    }
}

impl<B: Backend> DataLoader<B, MlmStep> for StepLoader {
    /// Starts a thread that prepares steps ahead; it ends with the iterator.
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<MlmStep> + 'a> {
        let (sender, receiver) = sync_channel(STEPS_AHEAD);
        let loader = self.clone();
        std::thread::spawn(move || loader.prepare(&sender));
        Box::new(StepIterator {
            receiver,
            done: 0,
            total: self.steps,
        })
    }

    fn num_items(&self) -> usize {
        self.steps
    }

    /// Steps are on the host, so any device will do.
    fn to_device(&self, _device: &B::Device) -> Arc<dyn DataLoader<B, MlmStep>> {
        Arc::new(self.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B, MlmStep>> {
        let examples = start * self.examples_per_step();
        Arc::new(Self {
            start: self.start.advance(examples, self.source.len()),
            steps: end.min(self.steps).saturating_sub(start),
            ..self.clone()
        })
    }
}

struct StepIterator {
    receiver: Receiver<MlmStep>,
    done: usize,
    total: usize,
}

impl Iterator for StepIterator {
    type Item = MlmStep;

    fn next(&mut self) -> Option<MlmStep> {
        let step = self.receiver.recv().ok()?;
        self.done += 1;
        Some(step)
    }
}

impl DataLoaderIterator<MlmStep> for StepIterator {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.total)
    }
}

/// All held-out examples once, in their own order and always with the same masks.
#[derive(Clone)]
pub(crate) struct EvaluationLoader {
    pub(crate) source: Arc<dyn MlmSource>,
    pub(crate) batch_size: usize,
    pub(crate) range: std::ops::Range<usize>,
    pub(crate) status: LoaderStatus,
}

impl<B: Backend> DataLoader<B, MlmBatch> for EvaluationLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<MlmBatch> + 'a> {
        Box::new(EvaluationIterator {
            loader: self,
            next: self.range.start,
        })
    }

    fn num_items(&self) -> usize {
        self.range.len()
    }

    fn to_device(&self, _device: &B::Device) -> Arc<dyn DataLoader<B, MlmBatch>> {
        Arc::new(self.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B, MlmBatch>> {
        let range = self.range.start + start..self.range.end.min(self.range.start + end);
        Arc::new(Self {
            range,
            ..self.clone()
        })
    }
}

struct EvaluationIterator<'a> {
    loader: &'a EvaluationLoader,
    next: usize,
}

impl Iterator for EvaluationIterator<'_> {
    type Item = MlmBatch;

    fn next(&mut self) -> Option<MlmBatch> {
        let end = (self.next + self.loader.batch_size).min(self.loader.range.end);
        if self.next >= end {
            return None;
        }
        let examples: Vec<ExampleId> = (self.next..end)
            .map(|index| ExampleId { epoch: 0, index })
            .collect();
        self.next = end;
        self.loader
            .status
            .watch(|| self.loader.source.batch(&examples))
    }
}

impl DataLoaderIterator<MlmBatch> for EvaluationIterator<'_> {
    fn progress(&self) -> Progress {
        let range = &self.loader.range;
        Progress::new(self.next - range.start, range.len())
    }
}
