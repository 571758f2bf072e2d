//! `deberta evaluate`: the metrics of a fine-tuned model on labelled files.

use anyhow::Result;
use deberta::backend::DefaultBackend;
use deberta::data::task::Split;

use super::args::{TaskArgs, Watcher};
use super::predict::{FileArgs, files, open};

/// Score a fine-tuned model on labelled files with the metrics of its task.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Model folder of a fine-tuning run, or a model on the Hub with --task
    #[arg(long)]
    model: String,
    #[command(flatten)]
    task: TaskArgs,
    #[command(flatten)]
    files: FileArgs,
    /// Most tokens of a sequence, if not as in training
    #[arg(long)]
    max_length: Option<usize>,
    /// Print one JSON object per set of examples
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let watcher = &mut Watcher::default();
    let predictor = open::<DefaultBackend>(&args.model, &args.task, args.max_length, watcher)?
        .with_batch_size(args.files.batch_size);
    for set in predictor.predict(&files(&args.files), Split::Dev, watcher)? {
        let scores = set.scores()?;
        if args.json {
            let line = serde_json::json!({
                "set": set.name(),
                "examples": set.examples().len(),
                "skipped_lines": set.skipped_lines(),
                "scores": scores,
            });
            println!("{line}");
            continue;
        }
        println!("{}: {} examples", set.name(), set.examples().len());
        if set.skipped_lines() > 0 {
            println!("{} lines were skipped", set.skipped_lines());
        }
        for (name, value) in scores {
            println!("{name:24} {value:>10.4}");
        }
    }
    Ok(())
}
