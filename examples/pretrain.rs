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

#[path = "../src/bin/deberta/pretrain.rs"]
mod pretrain;

/// Keeps freed memory for the next step; the system's allocator would return and fault it in anew.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    pretrain: pretrain::Args,
}

fn main() -> anyhow::Result<()> {
    let program = "cargo run --release --example pretrain --";
    pretrain::run(&Cli::parse().pretrain, program)
}
