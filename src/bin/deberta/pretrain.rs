//! `deberta pretrain`: from raw text to a model. Also the example of that name.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use deberta::backend::{DefaultAutodiffBackend, DefaultBackend};
use deberta::data::corpus::synthetic::{ProbeKind, SyntheticConfig, SyntheticLanguage};
use deberta::data::tokenizer::Tokenize;
use deberta::pipeline::FillMask;
use deberta::pretrain::{self, PretrainJob, PretrainOutcome};
use deberta::train::objective::Detection;
use deberta::train::run::PretrainObjective;

use crate::compute_type::ComputeType;
use crate::stdout::stdout;
use crate::watch::{self, Watcher};

/// Pre-train a DeBERTa with the enhanced mask decoder from raw text.
///
/// Without options: a small model on a built-in language, some minutes on two cores.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Text, JSON Lines or Parquet files, or folders of them; the built-in language by default
    #[arg(long, num_args = 1..)]
    corpus: Vec<PathBuf>,
    /// Text held out for evaluation; every 50th document of the corpus by default
    #[arg(long, num_args = 1..)]
    held_out: Vec<PathBuf>,
    /// Go on training this checkpoint, a folder or a model on the Hub, with its tokenizer
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["tokenizer", "size", "resume"])]
    init: Option<String>,
    /// What to learn: to restore masked tokens (mlm), or to tell replaced tokens from original ones
    /// (rtd, as DeBERTaV3)
    #[arg(long, value_name = "OBJECTIVE")]
    objective: Option<Objective>,
    /// With --init and --objective rtd: the generator to go on training; by default a fresh one
    #[arg(long, value_name = "MODEL", requires = "init")]
    init_generator: Option<String>,
    /// spm.model, tokenizer.json, or a folder; trained on the corpus by default
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// nano, mini, or a published size such as deberta-v3-xsmall
    #[arg(long, conflicts_with = "config")]
    size: Option<String>,
    /// Updates to make
    #[arg(long)]
    steps: Option<usize>,
    /// Type to compute in; parameters stay in f32
    #[arg(long, value_name = "TYPE")]
    precision: Option<ComputeType>,
    /// Keep only the inputs of layers and compute them again in the backward pass: less memory, more
    /// time
    #[arg(long)]
    gradient_checkpointing: bool,
    /// Start from the settings in this file, such as the job.json of an earlier run
    #[arg(long)]
    config: Option<PathBuf>,
    /// Change any setting of job.json, such as train.schedule.peak_lr=5e-4
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Folder of the run
    #[arg(long, default_value = "runs/pretrain")]
    out: PathBuf,
    /// Continue the run in that folder
    #[arg(long)]
    resume: bool,
    /// Progress lines even on a terminal
    #[arg(long)]
    plain: bool,
    /// Sentences whose [MASK] to fill at the end
    #[arg(long, num_args = 1..)]
    fill: Vec<String>,
}

/// An objective, as it is spelt on the command line.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Objective {
    Mlm,
    Rtd,
}

const EXAMPLES: &str = "\
Examples:
  deberta pretrain --size nano --steps 200
  deberta pretrain --objective rtd --out runs/rtd
  deberta pretrain --corpus texts/ --tokenizer spm.model --size mini --out runs/mine
  deberta pretrain --corpus texts/ --init microsoft/deberta-v3-small --out runs/domain
  deberta pretrain --out runs/mine --resume";

/// Pre-trains; `program` is what to type to call it again.
pub(crate) fn run(args: &Args, program: &str) -> anyhow::Result<()> {
    watch::show_warnings(args.plain);
    let job = job(args)?;
    let options = watch::training(args.resume, args.plain, &args.out)?;
    let device = Default::default();
    let outcome = pretrain::run::<DefaultAutodiffBackend>(
        &job,
        &args.out,
        &options,
        &device,
        &mut Watcher::default(),
    )?;
    summarise(&outcome, &args.out, program)?;
    if let Some(model_dir) = outcome
        .generator_dir
        .as_ref()
        .or(outcome.model_dir.as_ref())
    {
        let fill = FillMask::<DefaultBackend>::open(model_dir, &device)
            .context("the model that was just saved does not load")?;
        let texts = if args.fill.is_empty() && job.corpus.paths.is_empty() {
            probe_sentences(job.corpus.synthetic, &fill)
        } else {
            args.fill.clone()
        };
        fill_masks(&fill, &texts)?;
    }
    Ok(())
}

/// The job that the flags start from: that of a file, of the run to resume or of a checkpoint.
fn beginning(args: &Args) -> anyhow::Result<PretrainJob> {
    let begun = if args.resume {
        PretrainJob::of_run(&args.out)?
    } else {
        None
    };
    Ok(match (&args.config, begun, &args.init, &args.size) {
        (Some(path), _, None, _) => PretrainJob::open(path)?,
        (Some(path), _, Some(model), _) => {
            PretrainJob::open(path)?.starting_from(model, &mut Watcher::default())?
        }
        (None, Some(begun), _, size) => {
            if let Some(size) = size {
                let run = args.out.display();
                // Of a size whose network was changed, the run has the changed one.
                let is_changed = args.set.iter().any(|it| it.starts_with("train.model"));
                ensure!(
                    is_changed || begun.has_size(size)?,
                    "--size {size}: the network of {run} has another"
                );
            }
            begun
        }
        (None, None, Some(model), _) => {
            let corpus = args.corpus.clone();
            ensure!(
                !corpus.is_empty(),
                "--init needs text to train on: --corpus"
            );
            PretrainJob::continuing(corpus, model, &mut Watcher::default())?
        }
        (None, None, None, None) if args.corpus.is_empty() => {
            ensure!(!args.resume, "{}: no run to resume", args.out.display());
            PretrainJob::demo()
        }
        (None, None, None, size) => {
            let size = size.as_deref().unwrap_or("nano");
            PretrainJob::on_corpus(args.corpus.clone(), size)?
        }
    })
}

/// The job that the flags ask for.
fn job(args: &Args) -> anyhow::Result<PretrainJob> {
    let mut job = beginning(args)?;
    if let Some(objective) = args.objective {
        job = job.with_objective(match objective {
            Objective::Mlm => PretrainObjective::Mlm,
            Objective::Rtd => PretrainObjective::Rtd,
        });
    }
    if let Some(model) = &args.init_generator {
        job = job.with_generator(model, &mut Watcher::default())?;
    }
    if !args.corpus.is_empty() {
        job.corpus.paths = args.corpus.clone();
    }
    if !args.held_out.is_empty() {
        job.corpus.held_out_paths = args.held_out.clone();
    }
    if args.tokenizer.is_some() {
        job.tokenizer.path = args.tokenizer.clone();
    }
    if let Some(steps) = args.steps {
        job.train.run.steps = steps;
    }
    if let Some(precision) = args.precision {
        job.train.run.precision = precision.into();
    }
    job.train.run.gradient_checkpointing |= args.gradient_checkpointing;
    for setting in &args.set {
        job = job.with_setting(setting)?;
    }
    Ok(job)
}

fn summarise(outcome: &PretrainOutcome, out: &Path, program: &str) -> anyhow::Result<()> {
    let mut stdout = stdout();
    let report = &outcome.report;
    let [train, held_out] = outcome.examples;
    writeln!(
        stdout,
        "\n{train} examples to train on ({} tokens), {held_out} held out",
        outcome.train_tokens
    )?;
    writeln!(
        stdout,
        "{:.0} tokens/s in training; waited for data {:.2} % of the time; prepared in {:.1} s",
        report.tokens_per_second(),
        100.0 * report.data_wait.as_secs_f64() / report.training_time.as_secs_f64(),
        outcome.preparation.as_secs_f64(),
    )?;
    summarise_held_out(&mut stdout, outcome)?;
    writeln!(stdout, "\ncheckpoint: {}", report.checkpoint.display())?;
    if let (Some(model), Some(files)) = (&outcome.model_dir, &outcome.files) {
        writeln!(stdout, "model:      {}", model.display())?;
        if let Some(generator) = &outcome.generator_dir {
            writeln!(stdout, "generator:  {}", generator.display())?;
        }
        writeln!(stdout, "curve:      {}", files.picture.display())?;
        writeln!(stdout, "report:     {}", files.text.display())?;
    }
    writeln!(
        stdout,
        "resume:     {program} --out {} --resume",
        out.display()
    )?;
    Ok(())
}

/// Held-out masked tokens, beside predictors that count n-grams.
fn summarise_held_out(stdout: &mut impl Write, outcome: &PretrainOutcome) -> anyhow::Result<()> {
    let report = &outcome.report;
    writeln!(
        stdout,
        "\n{:24} {:>10} {:>12}",
        "held-out masked tokens", "accuracy", "perplexity"
    )?;
    for baseline in &outcome.baselines {
        let perplexity = baseline.loss_nats.exp();
        writeln!(
            stdout,
            "{:24} {:>9.1}% {perplexity:>12.1}",
            baseline.name,
            100.0 * baseline.accuracy
        )?;
    }
    match &report.evaluation {
        Some(model) => {
            let name = match model.detection.tokens {
                0 => "this DeBERTa",
                _ => "this generator",
            };
            writeln!(
                stdout,
                "{name:24} {:>9.1}% {:>12.1}",
                100.0 * model.accuracy(),
                model.perplexity()
            )?;
            if model.detection.tokens > 0 {
                summarise_detection(stdout, &model.detection)?;
            }
        }
        None => writeln!(
            stdout,
            "stopped at step {}: continue with --resume",
            report.state.step
        )?,
    }
    Ok(())
}

/// The discriminator beside one that takes every token for original.
fn summarise_detection(stdout: &mut impl Write, detection: &Detection) -> anyhow::Result<()> {
    writeln!(
        stdout,
        "\n{:24} {:>10} {:>12} {:>10} {:>8}",
        "held-out tokens", "accuracy", "loss (nats)", "precision", "recall"
    )?;
    writeln!(
        stdout,
        "{:24} {:>9.2}% {:>12.4} {:>10} {:>7.1}%",
        "always \"original\"",
        100.0 * detection.majority_accuracy(),
        detection.majority_loss_nats(),
        "",
        0.0,
    )?;
    let precision = match detection.flagged {
        0 => String::new(),
        _ => format!("{:.1}%", 100.0 * detection.precision()),
    };
    writeln!(
        stdout,
        "{:24} {:>9.2}% {:>12.4} {precision:>10} {:>7.1}%",
        "this discriminator",
        100.0 * detection.accuracy(),
        detection.loss_nats(),
        100.0 * detection.recall(),
    )?;
    Ok(())
}

/// One sentence per phenomenon of the built-in language, never trained on, that the model can take.
fn probe_sentences(config: SyntheticConfig, fill: &FillMask<DefaultBackend>) -> Vec<String> {
    let language = SyntheticLanguage::new(config);
    let fits = |text: &String| {
        let ids = fill.tokenizer().encode_ids(text);
        ids.is_ok_and(|ids| ids.len() + 2 <= fill.max_length())
    };
    ProbeKind::ALL
        .into_iter()
        .filter_map(|kind| {
            let probes = language.probes(kind, 1).take(50).map(|probe| probe.text);
            probes.filter(fits).min_by_key(String::len)
        })
        .take(5)
        .collect()
}

fn fill_masks(fill: &FillMask<DefaultBackend>, texts: &[String]) -> anyhow::Result<()> {
    if texts.is_empty() {
        return Ok(());
    }
    let mut stdout = stdout();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    writeln!(stdout)?;
    for (text, masks) in texts.iter().zip(fill.predict(&texts, 3)?) {
        writeln!(stdout, "{text}")?;
        for mask in masks {
            let candidates: Vec<String> = mask
                .candidates
                .iter()
                .map(|it| format!("{} {:.0}%", it.text, 100.0 * it.probability))
                .collect();
            writeln!(stdout, "    {}", candidates.join(", "))?;
        }
    }
    Ok(())
}
