//! `deberta evaluate`: the metrics of a fine-tuned model on labelled files.

use std::io::Write;

use anyhow::Result;
use deberta::backend::DefaultBackend;
use deberta::data::task::Split;

use super::predict::{FileArgs, ModelArgs, files, open};
use crate::stdout::stdout;
use crate::watch::Watcher;

/// Score a fine-tuned model on labelled files with the metrics of its task.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    files: FileArgs,
    /// Print one JSON object per set of examples
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  deberta evaluate -m runs/finetune/model --data glue/SST-2
  deberta evaluate -m runs/own/model --file labelled.csv --json
  deberta evaluate -m owner/sentiment --task classify --file labelled.csv --label-column stars
  deberta evaluate -m owner/sst2 --task sst-2 --data glue/SST-2 --labels 0,1";

pub(crate) fn run(args: &Args) -> Result<()> {
    let watcher = &mut Watcher::default();
    let predictor =
        open::<DefaultBackend>(&args.model, watcher)?.with_batch_size(args.files.batch_size);
    let mut out = stdout();
    for set in predictor.predict(&files(&args.files), Split::Dev, watcher)? {
        let scores = set.scores()?;
        if args.json {
            let line = serde_json::json!({
                "set": set.name(),
                "examples": set.examples().len(),
                "skipped_lines": set.skipped_lines(),
                "scores": scores,
            });
            writeln!(out, "{line}")?;
            continue;
        }
        writeln!(out, "{}: {} examples", set.name(), set.examples().len())?;
        if set.skipped_lines() > 0 {
            writeln!(out, "{} lines were skipped", set.skipped_lines())?;
        }
        for (name, value) in scores {
            writeln!(out, "{name:24} {value:>10.4}")?;
        }
    }
    Ok(())
}
