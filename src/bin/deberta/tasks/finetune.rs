//! `deberta finetune`: from labelled examples to a model.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use deberta::backend::DefaultAutodiffBackend;
use deberta::finetune::{self, FinetuneJob, FinetuneOutcome, SetOutcome};

use super::args::TaskArgs;
use crate::compute_type::ComputeType;
use crate::stdout::stdout;
use crate::watch::{self, Watcher};

/// Fine-tune a model on a task, published or your own.
///
/// Writes the best model in the layout of the Hub, the metrics of the task, a report with pictures,
/// and predictions for the held-out examples. Ctrl-C saves; --resume goes on.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    task: TaskArgs,
    /// Folder of the task or of the whole benchmark
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Files to learn from, in place of those of the folder
    #[arg(long, num_args = 1.., value_name = "FILE")]
    train: Vec<PathBuf>,
    /// Files to choose checkpoints by, in place of those of the folder
    #[arg(long, num_args = 1.., value_name = "FILE")]
    dev: Vec<PathBuf>,
    /// Learn from this part of the training examples, such as 0.8, and hold the rest out
    #[arg(long, value_name = "PART")]
    train_part: Option<f64>,
    /// Learn from so many of the training examples, chosen at random
    #[arg(long, value_name = "N")]
    max_train: Option<usize>,
    /// Leave out and count lines that are not examples
    #[arg(long)]
    skip_bad: bool,
    /// Checkpoint folder, or a model on the Hub
    #[arg(long, short)]
    model: Option<String>,
    /// Keep configuration and tokenizer, but draw all weights at random
    #[arg(long)]
    random_encoder: bool,
    /// Published settings, such as v3-base-mnli
    #[arg(long)]
    recipe: Option<String>,
    /// Adversarial training on normalised embeddings
    #[arg(long)]
    sift: bool,
    /// Runs with the seeds 1, 2, …
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// Train on all but one of so many parts of the training examples, in turn, and predict the part
    /// left out: metrics and predictions of all examples, no model
    #[arg(long, value_name = "K")]
    folds: Option<usize>,
    /// `balanced` to weigh classes by how rare they are in training, or a weight for each label
    #[arg(long, value_name = "WEIGHTS", value_parser = ClassWeights::parse)]
    class_weights: Option<ClassWeights>,
    /// Part of each target that is spread over all classes, such as 0.1
    #[arg(long, value_name = "PART")]
    label_smoothing: Option<f64>,
    /// Type to compute in; parameters stay in f32
    #[arg(long, value_name = "TYPE")]
    precision: Option<ComputeType>,
    /// Keep only the inputs of layers and compute them again in the backward pass: less memory, more
    /// time
    #[arg(long)]
    gradient_checkpointing: bool,
    /// Passes over the training examples
    #[arg(long)]
    epochs: Option<f64>,
    /// Updates to make, in place of --epochs
    #[arg(long)]
    steps: Option<usize>,
    /// Highest learning rate
    #[arg(long)]
    lr: Option<f64>,
    /// Sequences per update
    #[arg(long)]
    batch_size: Option<usize>,
    /// Most tokens of a sequence
    #[arg(long)]
    max_length: Option<usize>,
    /// Start from the settings in this file, such as the job.json of an earlier run
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Change any setting of job.json, such as train.loss.label_smoothing=0.1
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Folder of the run
    #[arg(long, default_value = "runs/finetune")]
    out: PathBuf,
    /// Continue the run in that folder
    #[arg(long)]
    resume: bool,
    /// Progress lines even on a terminal
    #[arg(long)]
    plain: bool,
}

const EXAMPLES: &str = "\
Examples:
  deberta finetune --task sst-2 --data glue/SST-2 -m microsoft/deberta-v3-small --out runs/sst-2
  deberta finetune --task classify --train mine.csv --train-part 0.9 -m my-model/ --out runs/own
  deberta finetune --task cola --data glue/CoLA -m my-model/ --sift --seeds 3 --out runs/cola
  deberta finetune --resume --out runs/cola";

/// How classes are weighed.
#[derive(Debug, Clone, PartialEq)]
enum ClassWeights {
    Balanced,
    Each(Vec<f64>),
}

impl ClassWeights {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "balanced" {
            return Ok(Self::Balanced);
        }
        let weights = text.split(',').map(|it| it.trim().parse());
        let weights: Result<Vec<f64>, _> = weights.collect();
        let expected = "expected `balanced` or numbers with commas between them";
        weights.map(Self::Each).map_err(|_| expected.to_owned())
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    watch::show_warnings(args.plain);
    let job = job(args)?;
    let options = watch::training(args.resume, args.plain, &args.out)?;
    let device = Default::default();
    let outcome = finetune::run::<DefaultAutodiffBackend>(
        &job,
        &args.out,
        &options,
        &device,
        &mut Watcher::default(),
    )?;
    summarise(&outcome, &args.out)
}

/// Settings from the file or the run to resume, then from the flags.
fn job(args: &Args) -> Result<FinetuneJob> {
    let begun = match (&args.config, args.resume) {
        (Some(path), _) => Some(FinetuneJob::open(path)?),
        (None, true) => FinetuneJob::of_run(&args.out)?,
        (None, false) => None,
    };
    ensure!(
        begun.is_some() || !args.resume,
        "{}: no run to resume",
        args.out.display()
    );
    let known = begun.as_ref().map(|job| job.task.clone());
    let task = args.task.settings(known)?.context("name a task: --task")?;
    let mut job = match begun {
        Some(job) => FinetuneJob { task, ..job },
        None => {
            let model = args.model.as_ref().context("name a model: --model")?;
            FinetuneJob::new(task, model)
        }
    };
    if let Some(recipe) = &args.recipe {
        job = job.with_recipe(recipe)?;
    }
    apply_data(args, &mut job);
    apply_training(args, &mut job);
    for setting in &args.set {
        job = job.with_setting(setting)?;
    }
    // The settings say of how many parts an update is made.
    if let Some(batch_size) = args.batch_size {
        let run = &mut job.train.run;
        let parts = run.grad_accumulation.max(1);
        ensure!(
            batch_size > 0 && batch_size.is_multiple_of(parts),
            "--batch-size is {batch_size}, expected a multiple of train.run.grad_accumulation, {parts}"
        );
        run.batch_size = batch_size / parts;
    }
    Ok(job)
}

/// What the flags say about the files and the model.
fn apply_data(args: &Args, job: &mut FinetuneJob) {
    let data = &mut job.data;
    if args.data.is_some() {
        data.folder.clone_from(&args.data);
    }
    if !args.train.is_empty() {
        data.train.clone_from(&args.train);
    }
    if !args.dev.is_empty() {
        data.dev.clone_from(&args.dev);
    }
    data.train_part = args.train_part.or(data.train_part);
    data.max_train_examples = args.max_train.or(data.max_train_examples);
    data.skip_bad_lines |= args.skip_bad;
    if let Some(model) = &args.model {
        job.model.path.clone_from(model);
    }
    job.model.random_encoder |= args.random_encoder;
}

/// What the flags say about training.
fn apply_training(args: &Args, job: &mut FinetuneJob) {
    if let Some(seeds) = args.seeds {
        job.seeds = (1..=seeds).collect();
    }
    if args.folds.is_some() {
        job.folds = args.folds;
    }
    if let Some(max_length) = args.max_length {
        job.text.max_length = max_length;
    }
    let train = &mut job.train;
    if args.sift {
        train.sift.get_or_insert_default();
    }
    match &args.class_weights {
        None => {}
        Some(ClassWeights::Balanced) => train.balanced_classes = true,
        Some(ClassWeights::Each(weights)) => train.loss.class_weights = Some(weights.clone()),
    }
    if let Some(part) = args.label_smoothing {
        train.loss.label_smoothing = part;
    }
    if let Some(precision) = args.precision {
        train.run.precision = precision.into();
    }
    train.run.gradient_checkpointing |= args.gradient_checkpointing;
    if args.epochs.is_some() {
        train.epochs = args.epochs;
    }
    if let Some(steps) = args.steps {
        train.epochs = None;
        train.run.steps = steps;
    }
    if let Some(lr) = args.lr {
        train.schedule.peak_lr = lr;
    }
}

fn summarise(outcome: &FinetuneOutcome, out: &Path) -> Result<()> {
    let mut stdout = stdout();
    writeln!(stdout, "\n{} examples to train on", outcome.train_examples)?;
    let [train, held_out] = outcome.skipped_lines;
    if train + held_out > 0 {
        writeln!(
            stdout,
            "{train} lines of the training files and {held_out} of the others were skipped"
        )?;
    }
    for (name, set) in &outcome.sets {
        writeln!(stdout, "\n{name}: {} examples", set.examples)?;
        print_table(&mut stdout, set)?;
    }
    if let (Some(model), Some(report)) = (&outcome.model_dir, &outcome.report_file) {
        writeln!(stdout, "\nmodel:   {}", model.display())?;
        writeln!(stdout, "report:  {}", report.display())?;
    }
    for (fold, scores) in outcome.folds.iter().enumerate() {
        let scores = scores
            .iter()
            .map(|(name, value)| format!("{name} {value:.4}"));
        writeln!(
            stdout,
            "fold {fold}: {}",
            scores.collect::<Vec<_>>().join(", ")
        )?;
    }
    if !outcome.completed {
        let step = outcome.reports.last().map(|it| it.state.step);
        let place = step.map_or_else(String::new, |step| format!(" at step {step}"));
        writeln!(
            stdout,
            "\nstopped{place}: continue with --out {} --resume",
            out.display()
        )?;
    }
    Ok(())
}

/// A line per metric: always saying the most frequent, then the model.
fn print_table(stdout: &mut impl Write, set: &SetOutcome) -> Result<()> {
    writeln!(stdout, "{:24} {:>10} {:>10}", "", "majority", "model")?;
    for (name, mean) in &set.summary.mean {
        let majority = set.majority.get(name).copied().unwrap_or(f64::NAN);
        let deviation = match set.summary.runs.len() {
            0 | 1 => String::new(),
            runs => format!(" ± {:.4} ({runs} seeds)", set.summary.deviation[name]),
        };
        writeln!(stdout, "{name:24} {majority:>10.4} {mean:>10.4}{deviation}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn job_of(flags: &[&str]) -> Result<FinetuneJob> {
        let base = ["finetune", "--task", "classify", "--model", "m"];
        job(&Cli::try_parse_from([&base[..], flags].concat())?.args)
    }

    #[test]
    fn there_has_to_be_a_run_to_resume() {
        let error = job_of(&["--resume", "--out", "runs/mistyped"]).unwrap_err();
        assert_eq!(error.to_string(), "runs/mistyped: no run to resume");
    }

    #[test]
    fn a_batch_is_all_sequences_of_an_update() {
        let in_parts = ["--set", "train.run.grad_accumulation=8", "--batch-size"];
        let with = |batch_size| job_of(&[&in_parts[..], &[batch_size]].concat());
        assert_eq!(with("32").unwrap().train.run.batch_size, 4);
        assert_eq!(
            with("3").unwrap_err().to_string(),
            "--batch-size is 3, expected a multiple of train.run.grad_accumulation, 8"
        );
    }
}
