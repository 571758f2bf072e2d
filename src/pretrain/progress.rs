//! What happens before training, for whoever watches.

/// What a run is doing before the first step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Learning a vocabulary from the corpus.
    TrainTokenizer,
    /// Tokenising and packing the text to train on.
    PackTraining,
    /// Tokenising and packing the held-out text.
    PackHeldOut,
    /// Fitting the n-gram baselines.
    Baselines,
}

impl Stage {
    /// A few words for a progress bar.
    pub fn describe(self) -> &'static str {
        match self {
            Self::TrainTokenizer => "training the tokenizer",
            Self::PackTraining => "packing the corpus",
            Self::PackHeldOut => "packing held-out text",
            Self::Baselines => "fitting n-gram baselines",
        }
    }
}

/// Receives the progress of a run before training.
pub trait Progress {
    /// A stage begins.
    fn stage(&mut self, stage: Stage);

    /// Bytes of text read so far in this stage, of about so many.
    fn bytes(&mut self, done: u64, total: u64);

    /// A remark that whoever watches should read, such as why shards are made anew.
    fn note(&mut self, note: &str);
}

impl Progress for () {
    fn stage(&mut self, _stage: Stage) {}
    fn bytes(&mut self, _done: u64, _total: u64) {}
    fn note(&mut self, _note: &str) {}
}
