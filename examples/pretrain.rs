//! Pre-trains a DeBERTa with the enhanced mask decoder from raw text, and fills masks with it.
//!
//! ```console
//! cargo run --release --example pretrain
//! cargo run --release --example pretrain -- --corpus texts/ --tokenizer spm.model --size mini
//! ```
//!
//! The same as `deberta pretrain`, whose source, `src/bin/deberta/pretrain.rs`, shows how the library
//! is called.

use clap::Parser;

#[path = "../src/bin/deberta/compute_type.rs"]
mod compute_type;
#[path = "../src/bin/deberta/logger.rs"]
mod logger;
#[path = "../src/bin/deberta/pretrain.rs"]
mod pretrain;
#[path = "../src/bin/deberta/stdout.rs"]
mod stdout;
#[path = "../src/bin/deberta/watch.rs"]
mod watch;

#[cfg(feature = "allocator")]
#[global_allocator]
static ALLOCATOR: deberta::allocator::Allocator = deberta::allocator::Allocator;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    pretrain: pretrain::Args,
}

fn main() -> anyhow::Result<()> {
    #[cfg(feature = "allocator")]
    deberta::allocator::keep_freed_memory();
    let program = "cargo run --release --example pretrain --";
    stdout::unless_closed(pretrain::run(&Cli::parse().pretrain, program))
}
