//! Fine-tunes a DeBERTa on a task, published or of one's own, with or without SiFT.
//!
//! ```console
//! cargo run --release --example finetune -- --task sst-2 --data glue/SST-2 --model runs/pretrain/model
//! cargo run --release --example finetune -- --task sst-2 --data glue/SST-2 --model runs/pretrain/model --sift --seeds 3
//! cargo run --release --example finetune -- --task pair --train mine.tsv --train-part 0.9 --model runs/pretrain/model
//! ```
//!
//! The same as `deberta finetune`, whose code this is; `deberta evaluate` and `deberta predict` take the
//! model from there.

#[path = "../src/bin/deberta/tasks/args.rs"]
mod args;
#[path = "../src/bin/deberta/compute_type.rs"]
mod compute_type;
#[path = "../src/bin/deberta/tasks/finetune.rs"]
mod finetune;
#[path = "../src/bin/deberta/logger.rs"]
mod logger;
#[path = "../src/bin/deberta/names.rs"]
mod names;
#[path = "../src/bin/deberta/stdout.rs"]
mod stdout;
#[path = "../src/bin/deberta/watch.rs"]
mod watch;

use clap::Parser;

#[cfg(feature = "allocator")]
#[global_allocator]
static ALLOCATOR: deberta::allocator::Allocator = deberta::allocator::Allocator;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: finetune::Args,
}

fn main() -> anyhow::Result<()> {
    #[cfg(feature = "allocator")]
    deberta::allocator::keep_freed_memory();
    stdout::unless_closed(finetune::run(&Cli::parse().args))
}
