//! The command line of DeBERTa: `deberta COMMAND --help` says what each command takes.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "prints results and errors"
)]

mod convert;
mod forward;
mod head;
mod init;
mod inspect;
mod lines;
mod source;
mod tasks;
mod tokenize;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tasks::{evaluate, finetune, predict};

/// Keeps freed memory for the next batch; the system's allocator would return and fault it in anew.
#[global_allocator]
static ALLOCATOR: deberta::allocator::Allocator = deberta::allocator::Allocator;

/// DeBERTa v1, v2 and v3: look at checkpoints, convert them, compute with them, and fine-tune them.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Inspect(inspect::Args),
    Convert(convert::Args),
    Init(init::Args),
    Tokenize(tokenize::Args),
    Forward(forward::Args),
    Finetune(Box<finetune::Args>),
    Evaluate(evaluate::Args),
    Predict(predict::Args),
}

fn main() -> ExitCode {
    deberta::allocator::keep_freed_memory();
    let result = match Cli::parse().command {
        Command::Inspect(args) => inspect::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Tokenize(args) => tokenize::run(&args),
        Command::Forward(args) => forward::run(&args),
        Command::Finetune(args) => finetune::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Predict(args) => predict::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
