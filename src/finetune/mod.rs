//! From labelled examples to a model, its metrics and predictions, in one call.
//!
//! [`FinetuneJob`] says what to do and is written into the run folder first, so that a run can be
//! started again from one file. [`run`] reads the files of a task, tokenises them once, fine-tunes a
//! model per seed, and leaves the best of each in the layout of the Hub. [`Predictor`] opens such a
//! model, scores it on files and predicts.
//!
//! ```no_run
//! use burn::train::Interrupter;
//! use deberta::backend::DefaultAutodiffBackend;
//! use deberta::finetune::{self, FinetuneJob, RunOptions, TaskSettings};
//! use deberta::train::run::Display;
//!
//! let mut job = FinetuneJob::new(TaskSettings::named("sst-2"), "microsoft/deberta-v3-small");
//! job.data.folder = Some("glue/SST-2".into());
//! let options = RunOptions {
//!     resume: false,
//!     display: Display::Lines,
//!     interrupter: Interrupter::new(),
//! };
//! let device = Default::default();
//! let run_dir = "runs/sst-2".as_ref();
//! let outcome =
//!     finetune::run::<DefaultAutodiffBackend>(&job, run_dir, &options, &device, &mut ())?;
//! println!("{:?}", outcome.sets["dev"].summary.mean);
//! # Ok::<(), finetune::FinetuneError>(())
//! ```
//!
//! # How tasks become sequences
//!
//! | task | sequence | head |
//! |---|---|---|
//! | classification, regression, several labels | `[CLS] text [SEP]`, or `[CLS] text [SEP] pair [SEP]` | sequence |
//! | multiple choice | one per choice, `[CLS] context [SEP] choice [SEP]` | one score per choice |
//! | words with tags | windows over the words joined by spaces; a word's first token bears its tag | token |
//! | questions | `[CLS] question [SEP] context [SEP]`, windows over the context | start and end |
//! | gaps (ReCoRD) | one per entity, `[CLS] passage [SEP] filled query [SEP]` | right or wrong |
//!
//! # Deviation
//!
//! Microsoft's code scores the entities of ReCoRD by their tokens and tags words with a head of two
//! layers. Here the heads are those that transformers has, so that it reads what is saved.

mod baseline;
mod data;
mod decode;
mod encode;
mod error;
mod folds;
mod job;
mod metrics;
mod model;
mod predicted;
mod predictor;
mod progress;
mod report;
mod scoring;
mod train;
mod weights;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use deberta_data::task::TaskKind;
use deberta_model::DebertaAutodiffBackend;
use deberta_model::heads::classification::{
    DebertaForMultipleChoice, DebertaForSequenceClassification,
};
use deberta_model::heads::question_answering::DebertaForQuestionAnswering;
use deberta_model::heads::token_classification::DebertaForTokenClassification;
use deberta_train::run::TrainError;

use crate::files;
pub use crate::run_options::RunOptions;
pub use deberta_data::decoding::AnswerConfig;
pub use error::FinetuneError;
pub use job::{
    DataSettings, FinetuneJob, ModelSettings, TaskSettings, TextSettings, TrainingSettings,
};
pub use metrics::{FinetuneOutcome, SetOutcome};
pub use model::TaskFile;
pub use predicted::{Form, Predicted};
pub use predictor::{Files, Predictor};
pub use progress::{Progress, Stage};
use train::Training;

/// Folder of the finished model inside a run folder.
const MODEL_DIR: &str = "model";
/// Name of the job inside a run folder.
const JOB_FILE: &str = "job.json";
/// Folder of checkpoints inside a run folder.
const CHECKPOINTS_DIR: &str = "checkpoints";

/// Fine-tunes a model on a task, once per seed, into `run_dir`.
///
/// | file | content |
/// |---|---|
/// | `job.json` | the job |
/// | `metrics.json` | metrics of every set and seed, and of always saying the most frequent label |
/// | `report.md` | the same as a page, with learning curve and confusion matrix |
/// | `model/` | the best model in the layout of the Hub, with `task.json` for [`Predictor`] |
/// | `predictions/` | what it says about held-out examples, in the form of the benchmark |
/// | `config.json`, `metrics.jsonl`, `checkpoints/` | the training run; with several seeds in `seed-…/`, with folds in `fold-…/` |
///
/// With [`folds`](FinetuneJob::folds) there is no model and no report, and `predictions/` and metrics
/// are those of the training examples, each by the model that was not trained on it.
///
/// # Errors
///
/// See [`FinetuneError`]. Nothing that was written before is lost: the next call with `resume` goes
/// on where this one ended.
pub fn run<B: DebertaAutodiffBackend>(
    job: &FinetuneJob,
    run_dir: &Path,
    options: &RunOptions,
    device: &B::Device,
    progress: &mut dyn Progress,
) -> Result<FinetuneOutcome, FinetuneError> {
    let start = Instant::now();
    job.validate()?;
    fs::create_dir_all(run_dir).map_err(FinetuneError::io(run_dir))?;
    match options.resume {
        true => check_same_start(job, run_dir)?,
        false => check_free(run_dir)?,
    }
    job.write(&run_dir.join(JOB_FILE))?;
    let training = Training::prepare(job, run_dir, options, progress)?;
    let preparation = start.elapsed();
    let mut outcome = match training.kind() {
        TaskKind::MultipleChoice => {
            training.run::<B, DebertaForMultipleChoice<B>>(device, progress)
        }
        TaskKind::TokenClassification => {
            training.run::<B, DebertaForTokenClassification<B>>(device, progress)
        }
        TaskKind::QuestionAnswering => {
            training.run::<B, DebertaForQuestionAnswering<B>>(device, progress)
        }
        _ => training.run::<B, DebertaForSequenceClassification<B>>(device, progress),
    }?;
    outcome.preparation = preparation;
    Ok(outcome)
}

/// Folder of the training run of a seed: the run folder itself if there is only one.
fn seed_dir(job: &FinetuneJob, run_dir: &Path, seed: u64) -> PathBuf {
    match job.seeds.len() {
        1 => run_dir.into(),
        _ => run_dir.join(format!("seed-{seed}")),
    }
}

/// A resumed run must go on with the examples and the model it began with; what else may not
/// change, training checks.
fn check_same_start(job: &FinetuneJob, run_dir: &Path) -> Result<(), FinetuneError> {
    let path = run_dir.join(JOB_FILE);
    let Some(begun) = FinetuneJob::of_run(run_dir)? else {
        return Ok(());
    };
    let setting = if job.task != begun.task {
        "task"
    } else if job.data != begun.data {
        "data"
    } else if job.model != begun.model {
        "model"
    } else if job.text != begun.text {
        "text"
    } else if job.folds != begun.folds {
        "folds"
    } else if (job.seeds.len() == 1) != (begun.seeds.len() == 1) {
        "seeds"
    } else {
        return Ok(());
    };
    Err(FinetuneError::Changed { path, setting })
}

/// A new run must not overwrite what another left, whatever its number of seeds and folds.
fn check_free(run_dir: &Path) -> Result<(), FinetuneError> {
    let has_files = |dir: &Path| fs::read_dir(dir).is_ok_and(|mut it| it.next().is_some());
    let entries = fs::read_dir(run_dir).map_err(FinetuneError::io(run_dir))?;
    for entry in entries {
        let path = entry.map_err(FinetuneError::io(run_dir))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_taken = match &*name {
            CHECKPOINTS_DIR | MODEL_DIR => has_files(&path),
            name if name.starts_with("seed-") || name.starts_with("fold-") => {
                has_files(&path.join(CHECKPOINTS_DIR))
            }
            _ => false,
        };
        if is_taken {
            return Err(TrainError::RunExists {
                path: run_dir.into(),
            }
            .into());
        }
    }
    Ok(())
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), FinetuneError> {
    files::replace(path, bytes).map_err(FinetuneError::io(path))
}
