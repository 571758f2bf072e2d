//! What happens before training, for whoever watches.

use crate::hub::DownloadProgress;

/// What a run is doing besides training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Finding or downloading the model.
    OpenModel,
    /// Reading the files of the task.
    Read,
    /// Tokenising.
    Encode,
    /// Predicting with the finished model.
    Predict,
}

impl Stage {
    /// A few words for a progress bar.
    pub fn describe(self) -> &'static str {
        match self {
            Self::OpenModel => "opening the model",
            Self::Read => "reading the examples",
            Self::Encode => "tokenising",
            Self::Predict => "predicting",
        }
    }
}

/// Receives the progress of a run outside training, and that of downloads.
pub trait Progress: DownloadProgress {
    /// A stage begins.
    fn stage(&mut self, stage: Stage);

    /// A remark that whoever watches should read, such as how many lines were skipped.
    fn note(&mut self, note: &str);
}

impl Progress for () {
    fn stage(&mut self, _stage: Stage) {}
    fn note(&mut self, _note: &str) {}
}
