//! From raw text to a checkpoint that fills masks, in one call.
//!
//! [`PretrainJob`] says what to do and is written into the run folder first, so that a run can be
//! started again from one file. [`run`] trains or opens a tokenizer, packs the corpus into shards,
//! measures n-gram baselines, trains, and leaves the model in the layout of the Hub.
//!
//! With [`PretrainJob::continuing`] it starts from a checkpoint: domain adaptation. With
//! [`PretrainJob::with_objective`] it trains a generator and a discriminator, as DeBERTaV3 is trained.
//!
//! ```no_run
//! use deberta::backend::DefaultAutodiffBackend;
//! use deberta::pretrain::{self, PretrainJob, RunOptions};
//! use deberta::train::run::Display;
//!
//! let corpus = vec!["notes.jsonl".into()];
//! let job = PretrainJob::continuing(corpus, "microsoft/deberta-v3-small", &mut ())?;
//! let options = RunOptions {
//!     resume: false,
//!     display: Display::Lines,
//!     interrupter: Default::default(),
//! };
//! let device = Default::default();
//! let run_dir = "runs/notes".as_ref();
//! pretrain::run::<DefaultAutodiffBackend>(&job, run_dir, &options, &device, &mut ())?;
//! # Ok::<(), pretrain::PretrainError>(())
//! ```

mod error;
mod job;
mod networks;
mod prepare;
mod progress;
mod rtd;
mod source;
mod start;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use deberta_data::ngram_baseline::NgramBaselines;
use deberta_data::packing::PackedCorpus;
use deberta_data::tokenizer::Tokenize;
use deberta_model::DebertaAutodiffBackend;
use deberta_train::checkpoint::saved_steps;
use deberta_train::report::{Baseline, ReportFiles, write_report};
use deberta_train::run::{
    PretrainData, PretrainObjective, RunOptions as TrainingOptions, RunReport, TrainError,
};

pub use crate::run_options::RunOptions;
pub use error::PretrainError;
pub use job::{CorpusSettings, PackingSettings, PretrainJob, TokenizerSettings};
use networks::Networks;
pub use progress::{Progress, Stage};
use source::MaskedShards;

/// Folder of the finished model inside a run folder.
const MODEL_DIR: &str = "model";
/// Most tokens that n-gram predictors count; a map of pairs of all would outgrow the memory.
const MAX_BASELINE_TOKENS: u64 = 20_000_000;
/// Name of the job inside a run folder.
const JOB_FILE: &str = "job.json";

/// What a run leaves behind.
#[derive(Debug)]
pub struct PretrainOutcome {
    /// How training went.
    pub report: RunReport,
    /// Predictors that the model has to beat, on the same masked tokens.
    pub baselines: Vec<Baseline>,
    /// The model with its tokenizer: of two networks, the discriminator. `None` if the run was
    /// stopped before its last step.
    pub model_dir: Option<PathBuf>,
    /// The generator of replaced-token detection with the tokenizer.
    pub generator_dir: Option<PathBuf>,
    /// The report and the learning curve; `None` if the run was stopped.
    pub files: Option<ReportFiles>,
    /// Packed examples to train on and held out, and tokens to train on.
    pub examples: [usize; 2],
    /// Tokens to train on.
    pub train_tokens: u64,
    /// Time of tokenizer, packing and baselines.
    pub preparation: Duration,
}

/// Pre-trains into `run_dir`, by masked language modelling or replaced-token detection.
///
/// # Errors
///
/// See [`PretrainError`]. Nothing that was written before is lost: the next call with
/// `resume` goes on where this one ended.
pub fn run<B: DebertaAutodiffBackend>(
    job: &PretrainJob,
    run_dir: &Path,
    options: &RunOptions,
    device: &B::Device,
    progress: &mut dyn Progress,
) -> Result<PretrainOutcome, PretrainError> {
    let start = Instant::now();
    fs::create_dir_all(run_dir).map_err(PretrainError::io(run_dir))?;
    if !options.resume {
        check_free(run_dir)?;
    }
    let tokenizer = Arc::new(prepare::tokenizer(job, run_dir, options.resume, progress)?);
    let job = job.resolved(tokenizer.as_ref());
    start::check(&job, tokenizer.vocab_size())?;
    if options.resume {
        check_same_beginning(&job, run_dir)?;
    }
    let saved = saved_steps(run_dir).map_err(TrainError::from)?;
    let has_begun = options.resume && !saved.is_empty();
    let networks = Networks::<B>::start(&job, has_begun, device, progress)?;
    job.write(&run_dir.join(JOB_FILE))?;

    let [train, held_out] = prepare::shards(&job, run_dir, tokenizer.as_ref(), progress)?;
    let (train, held_out) = (Arc::new(train), Arc::new(held_out));
    let masker = Arc::new(job.masker(tokenizer.as_ref())?);
    let shards = |corpus: &Arc<PackedCorpus>, seed, limit| {
        let vocab = Arc::clone(&masker);
        Arc::new(MaskedShards::new(Arc::clone(corpus), vocab, seed, limit))
    };
    let seed = job.train.run.seed;
    let evaluated = shards(&held_out, seed, job.corpus.max_held_out_examples);
    let baselines = measure_baselines(&train, &evaluated, progress);
    let preparation = start.elapsed();

    let data = PretrainData {
        train: shards(&train, seed, usize::MAX),
        held_out: evaluated,
    };
    let training_options = TrainingOptions {
        run_dir: run_dir.into(),
        resume: options.resume,
        display: options.display,
        interrupter: options.interrupter.clone(),
    };
    let (networks, report) =
        networks.train(&job, &data, tokenizer.as_ref(), &training_options, device)?;

    let mut outcome = PretrainOutcome {
        examples: [train.len(), held_out.len()],
        train_tokens: train.stats().tokens,
        report,
        baselines,
        model_dir: None,
        generator_dir: None,
        files: None,
        preparation,
    };
    if outcome.report.completed {
        let (model, generator) = networks.save(&job, tokenizer.as_ref(), run_dir)?;
        outcome.model_dir = Some(model);
        outcome.generator_dir = generator;
        let title = match job.train.objective {
            PretrainObjective::Mlm => "Masked language modelling",
            PretrainObjective::Rtd => "Replaced-token detection",
        };
        let files = write_report(run_dir, title, &outcome.report, &outcome.baselines)?;
        outcome.files = Some(files);
    }
    Ok(outcome)
}

/// A run is not started over another: its job and its shards are still needed.
fn check_free(run_dir: &Path) -> Result<(), PretrainError> {
    match saved_steps(run_dir) {
        Ok(steps) if steps.is_empty() => Ok(()),
        Ok(_) => Err(TrainError::RunExists {
            path: run_dir.into(),
        }
        .into()),
        Err(error) => Err(TrainError::from(error).into()),
    }
}

/// A resumed run must go on with the text and the checkpoint it began with; what else may not change,
/// training checks.
fn check_same_beginning(job: &PretrainJob, run_dir: &Path) -> Result<(), PretrainError> {
    let path = run_dir.join(JOB_FILE);
    if !path.exists() {
        return Ok(());
    }
    let begun = PretrainJob::open(&path)?;
    let setting = if job.init != begun.init {
        "init"
    } else if job.init_generator != begun.init_generator {
        "init_generator"
    } else if job.corpus != begun.corpus {
        "corpus"
    } else if job.tokenizer != begun.tokenizer {
        "tokenizer"
    } else if job.packing != begun.packing {
        "packing"
    } else {
        return Ok(());
    };
    Err(PretrainError::Changed { path, setting })
}

/// Fits n-gram predictors on the training examples, or on a part of many, and asks them for the masked
/// held-out tokens.
fn measure_baselines(
    train: &PackedCorpus,
    held_out: &MaskedShards,
    progress: &mut dyn Progress,
) -> Vec<Baseline> {
    progress.stage(Stage::Baselines);
    let every = (train.stats().tokens / MAX_BASELINE_TOKENS + 1) as usize;
    let examples = (0..train.len()).step_by(every);
    let examples = examples.map(|index| train.example(index));
    let baselines = NgramBaselines::fit(examples, held_out.vocab());
    let masked: Vec<_> = held_out.masked_examples(0).collect();
    baselines
        .evaluate(masked.iter())
        .into_iter()
        .map(|score| Baseline {
            name: score.name.to_owned(),
            loss_nats: score.loss_nats,
            accuracy: score.accuracy,
        })
        .collect()
}
