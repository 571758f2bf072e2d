//! Examples by index, and the loaders that feed them to Burn.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::tensor::backend::Backend;

use super::order::{Buckets, EpochOrder};
use crate::checkpoint::Cursor;
use crate::objective::Step;

/// Any error of a data source.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Steps that are prepared ahead of the training thread.
const STEPS_AHEAD: usize = 2;

/// Examples, addressed by index and collated into batches of type `T`.
///
/// The same epoch and index must give the same tokens (and the same mask) in every process: that
/// is what lets a run continue where it was killed.
pub trait ExampleSource<T>: Send + Sync + 'static {
    /// Number of examples in an epoch.
    fn len(&self) -> usize;

    /// Whether there are no examples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens of an example, by which examples are put into batches of similar length; only asked
    /// if the run is configured so. 0 if it is not known.
    fn tokens(&self, _index: usize) -> usize {
        0
    }

    /// Collates `examples`; each comes with its epoch.
    ///
    /// # Errors
    ///
    /// Whatever keeps the examples from being read.
    fn batch(&self, examples: &[ExampleId]) -> Result<T, SourceError>;
}

/// An example in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExampleId {
    /// Pass over the data, which chooses the mask.
    pub epoch: u64,
    /// Index of the example.
    pub index: usize,
}

/// The loaders of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loaders {
    pub(crate) train: LoaderStatus,
    pub(crate) held_out: LoaderStatus,
}

impl Loaders {
    /// Time spent preparing batches, on whatever thread.
    pub(crate) fn busy(&self) -> Duration {
        self.train.busy() + self.held_out.busy()
    }
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

    fn busy(&self) -> Duration {
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
pub(crate) struct StepLoader<T> {
    pub(crate) source: Arc<dyn ExampleSource<T>>,
    pub(crate) seed: u64,
    pub(crate) batch_size: usize,
    pub(crate) grad_accumulation: usize,
    /// Batches among which examples are exchanged so that each has similar lengths; 0 for none.
    pub(crate) bucket_batches: usize,
    pub(crate) start: Cursor,
    pub(crate) steps: usize,
    pub(crate) status: LoaderStatus,
}

impl<T> Clone for StepLoader<T> {
    fn clone(&self) -> Self {
        Self {
            source: Arc::clone(&self.source),
            status: self.status.clone(),
            ..*self
        }
    }
}

impl<T: Send + 'static> StepLoader<T> {
    fn examples_per_step(&self) -> usize {
        self.batch_size * self.grad_accumulation
    }

    /// - `buckets`: order of the epoch that was asked for last
    fn step(&self, step: usize, buckets: &mut Option<Buckets>) -> Result<Step<T>, SourceError> {
        let len = self.source.len();
        let first = self.start.advance(step * self.examples_per_step(), len);
        let examples: Vec<ExampleId> = (0..self.examples_per_step())
            .map(|offset| self.example(first.advance(offset, len), buckets))
            .collect();
        let micro_batches: Result<Vec<_>, _> = examples
            .chunks(self.batch_size)
            .map(|examples| self.source.batch(examples))
            .collect();
        Ok(Step::new(micro_batches?))
    }

    fn example(&self, cursor: Cursor, buckets: &mut Option<Buckets>) -> ExampleId {
        let Cursor { epoch, position } = cursor;
        let order = EpochOrder::new(self.source.len(), self.seed, epoch);
        if self.bucket_batches == 0 {
            let index = order.example(position);
            return ExampleId { epoch, index };
        }
        let known = buckets.take().filter(|it| it.epoch() == epoch);
        let sorted = known.unwrap_or_else(|| {
            let tokens = |index| self.source.tokens(index);
            Buckets::new(&order, epoch, self.batch_size, self.bucket_batches, tokens)
        });
        let index = sorted.example(position);
        *buckets = Some(sorted);
        ExampleId { epoch, index }
    }

    /// Prepares all steps until nobody wants them any more.
    fn prepare(&self, sender: &SyncSender<Step<T>>) {
        let mut buckets = None;
        for step in 0..self.steps {
            let Some(step) = self.status.watch(|| self.step(step, &mut buckets)) else {
                return;
            };
            if sender.send(step).is_err() {
                return;
            }
        }
    }
}

impl<B: Backend, T: Send + 'static> DataLoader<B, Step<T>> for StepLoader<T> {
    /// Starts a thread that prepares steps ahead; it ends with the iterator.
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Step<T>> + 'a> {
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
    fn to_device(&self, _device: &B::Device) -> Arc<dyn DataLoader<B, Step<T>>> {
        Arc::new(self.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B, Step<T>>> {
        let examples = start * self.examples_per_step();
        Arc::new(Self {
            start: self.start.advance(examples, self.source.len()),
            steps: end.min(self.steps).saturating_sub(start),
            ..self.clone()
        })
    }
}

struct StepIterator<T> {
    receiver: Receiver<Step<T>>,
    done: usize,
    total: usize,
}

impl<T> Iterator for StepIterator<T> {
    type Item = Step<T>;

    fn next(&mut self) -> Option<Step<T>> {
        let step = self.receiver.recv().ok()?;
        self.done += 1;
        Some(step)
    }
}

impl<T> DataLoaderIterator<Step<T>> for StepIterator<T> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.total)
    }
}

/// All held-out examples once, always with the same masks.
pub(crate) struct EvaluationLoader<T> {
    source: Arc<dyn ExampleSource<T>>,
    batch_size: usize,
    order: Arc<[usize]>,
    range: std::ops::Range<usize>,
    status: LoaderStatus,
}

impl<T: 'static> EvaluationLoader<T> {
    /// - `by_length`: sort the examples, so that batches have little padding
    pub(crate) fn new(
        source: &Arc<dyn ExampleSource<T>>,
        batch_size: usize,
        by_length: bool,
        status: &LoaderStatus,
    ) -> Self {
        let mut order: Vec<usize> = (0..source.len()).collect();
        if by_length {
            order.sort_by_key(|index| source.tokens(*index));
        }
        Self {
            source: Arc::clone(source),
            batch_size,
            range: 0..order.len(),
            order: order.into(),
            status: status.clone(),
        }
    }
}

impl<T: 'static> EvaluationLoader<T> {
    /// All batches; ends early if one cannot be read.
    pub(crate) fn batches(&self) -> impl DataLoaderIterator<T> {
        EvaluationIterator {
            loader: self,
            next: self.range.start,
        }
    }
}

impl<T> Clone for EvaluationLoader<T> {
    fn clone(&self) -> Self {
        Self {
            source: Arc::clone(&self.source),
            batch_size: self.batch_size,
            order: Arc::clone(&self.order),
            range: self.range.clone(),
            status: self.status.clone(),
        }
    }
}

impl<B: Backend, T: 'static> DataLoader<B, T> for EvaluationLoader<T> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<T> + 'a> {
        Box::new(self.batches())
    }

    fn num_items(&self) -> usize {
        self.range.len()
    }

    fn to_device(&self, _device: &B::Device) -> Arc<dyn DataLoader<B, T>> {
        Arc::new(self.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B, T>> {
        let range = self.range.start + start..self.range.end.min(self.range.start + end);
        Arc::new(Self {
            range,
            ..self.clone()
        })
    }
}

struct EvaluationIterator<'a, T> {
    loader: &'a EvaluationLoader<T>,
    next: usize,
}

impl<T: 'static> Iterator for EvaluationIterator<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let end = (self.next + self.loader.batch_size).min(self.loader.range.end);
        if self.next >= end {
            return None;
        }
        let examples: Vec<ExampleId> = self.loader.order[self.next..end]
            .iter()
            .map(|&index| ExampleId { epoch: 0, index })
            .collect();
        self.next = end;
        self.loader
            .status
            .watch(|| self.loader.source.batch(&examples))
    }
}

impl<T: 'static> DataLoaderIterator<T> for EvaluationIterator<'_, T> {
    fn progress(&self) -> Progress {
        let range = &self.loader.range;
        Progress::new(self.next - range.start, range.len())
    }
}
