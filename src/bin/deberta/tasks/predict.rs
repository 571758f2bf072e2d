//! `deberta predict`: what a fine-tuned model says about files.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use deberta::backend::DefaultBackend;
use deberta::data::task::Split;
use deberta::finetune::{Files, Form, Predicted, Predictor, TaskFile};
use deberta::hub::{self, HubOptions};
use deberta::model::DebertaBackend;

use super::args::TaskArgs;
use crate::stdout::stdout;
use crate::watch::Watcher;

/// Predict with a fine-tuned model, in the form that the benchmark of the task takes.
///
/// Labels may be missing. Without --file, the test files of the folder are predicted.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    files: FileArgs,
    /// How to write predictions
    #[arg(long, default_value = "submission")]
    format: Format,
    /// Folder for the files of predictions; standard output if not given
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  deberta predict -m runs/finetune/model --data glue/SST-2 --out submission/
  deberta predict -m runs/own/model --file unlabelled.csv > predictions.tsv";

/// The model, and what it is asked about otherwise than in training.
#[derive(clap::Args)]
pub(crate) struct ModelArgs {
    /// Model folder of a fine-tuning run, or a model on the Hub with --task
    #[arg(long, short)]
    model: String,
    #[command(flatten)]
    task: TaskArgs,
    /// Most tokens of a sequence [default: as in training, or as the files of the model say]
    #[arg(long)]
    max_length: Option<usize>,
    /// Probability above which a label of a multi-label task holds [default: 0.5]
    #[arg(long, value_name = "P")]
    threshold: Option<f64>,
}

/// Files, or the folder that has them.
#[derive(clap::Args)]
pub(crate) struct FileArgs {
    /// Folder of the task or of the whole benchmark
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Files, in place of those of the folder
    #[arg(long, num_args = 1.., value_name = "FILE")]
    pub(crate) file: Vec<PathBuf>,
    /// Leave out and count lines that are not examples
    #[arg(long)]
    pub(crate) skip_bad: bool,
    /// Sequences that go through the network at once
    #[arg(long, default_value_t = 32)]
    pub(crate) batch_size: usize,
}

/// How predictions are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// As the benchmark takes them; for your own tasks a table of index and prediction
    Submission,
    /// A JSON object per example, with probabilities
    Jsonl,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let watcher = &mut Watcher::default();
    let predictor =
        open::<DefaultBackend>(&args.model, watcher)?.with_batch_size(args.files.batch_size);
    let form = match args.format {
        Format::Submission => Form::Submission,
        Format::Jsonl => Form::JsonLines,
    };
    for set in predictor.predict(&files(&args.files), Split::Test, watcher)? {
        match &args.out {
            None => {
                let mut out = BufWriter::new(stdout());
                set.write(form, &mut out)?;
                out.flush()?;
            }
            Some(dir) => write(&set, form, dir)?,
        }
        if set.skipped_lines() > 0 {
            eprintln!("{} lines were skipped", set.skipped_lines());
        }
    }
    Ok(())
}

fn write(set: &Predicted, form: Form, dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let path = dir.join(set.file_name(form));
    let write = || -> Result<()> {
        let mut out = BufWriter::new(File::create(&path)?);
        set.write(form, &mut out)?;
        out.flush()?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!(
        "{} predictions in {}",
        set.predictions().len(),
        path.display()
    );
    Ok(())
}

/// Opens a model for its own task, or for the one that the flags describe.
pub(super) fn open<B: DebertaBackend>(
    args: &ModelArgs,
    watcher: &mut Watcher,
) -> Result<Predictor<B>> {
    let dir = hub::resolve(&args.model, &HubOptions::from_env(), watcher)?;
    let known = TaskFile::of_model(&dir)?.map(|it| it.task);
    // They name the outputs of a model that is there, also for published tasks.
    let mut task = args.task.clone();
    let labels = std::mem::take(&mut task.labels);
    let settings = task.settings(known)?.with_context(|| {
        format!(
            "{} does not say what it was trained for: name a task, --task",
            dir.display()
        )
    })?;
    let device = Default::default();
    let mut predictor = Predictor::open(&args.model, Some(settings), &device, watcher)?;
    if !labels.is_empty() {
        predictor = predictor.with_labels(labels)?;
    }
    if let Some(threshold) = args.threshold {
        predictor = predictor.with_threshold(threshold)?;
    }
    if let Some(max_length) = args.max_length {
        predictor = predictor.with_max_length(max_length)?;
    }
    Ok(predictor)
}

pub(super) fn files(args: &FileArgs) -> Files {
    Files {
        paths: args.file.clone(),
        folder: args.data.clone(),
        skip_bad_lines: args.skip_bad,
    }
}
