//! The command line of DeBERTa: `deberta COMMAND --help` says what each command takes.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "prints results and errors"
)]

mod attention;
mod completions;
mod convert;
mod forward;
mod head;
mod init;
mod inspect;
mod lines;
mod pretrain;
mod source;
mod tasks;
mod text;
mod tokenize;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use tasks::{evaluate, finetune, predict};
use text::{classify, embed, fill_mask, ner, qa, replaced_tokens, rerank, zero_shot};

/// Keeps freed memory for the next batch; the system's allocator would return and fault it in anew.
#[global_allocator]
static ALLOCATOR: deberta::allocator::Allocator = deberta::allocator::Allocator;

/// DeBERTa v1, v2 and v3: answers for texts, training, and checkpoints.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Classify(classify::Args),
    ZeroShot(zero_shot::Args),
    Rerank(rerank::Args),
    Ner(ner::Args),
    Qa(qa::Args),
    FillMask(fill_mask::Args),
    ReplacedTokens(replaced_tokens::Args),
    Embed(embed::Args),
    Attention(attention::Args),
    Pretrain(pretrain::Args),
    Finetune(Box<finetune::Args>),
    Evaluate(evaluate::Args),
    Predict(predict::Args),
    Inspect(inspect::Args),
    Convert(convert::Args),
    Init(init::Args),
    Tokenize(tokenize::Args),
    Forward(forward::Args),
    Completions(completions::Args),
}

fn main() -> ExitCode {
    deberta::allocator::keep_freed_memory();
    let result = match Cli::parse().command {
        Command::Classify(args) => classify::run(&args),
        Command::ZeroShot(args) => zero_shot::run(&args),
        Command::Rerank(args) => rerank::run(&args),
        Command::Ner(args) => ner::run(&args),
        Command::Qa(args) => qa::run(&args),
        Command::FillMask(args) => fill_mask::run(&args),
        Command::ReplacedTokens(args) => replaced_tokens::run(&args),
        Command::Embed(args) => embed::run(&args),
        Command::Attention(args) => done(attention::run(&args)),
        Command::Pretrain(args) => done(pretrain::run(&args, "deberta pretrain")),
        Command::Finetune(args) => done(finetune::run(&args)),
        Command::Evaluate(args) => done(evaluate::run(&args)),
        Command::Predict(args) => done(predict::run(&args)),
        Command::Inspect(args) => done(inspect::run(&args)),
        Command::Convert(args) => done(convert::run(&args)),
        Command::Init(args) => done(init::run(&args)),
        Command::Tokenize(args) => done(tokenize::run(&args)),
        Command::Forward(args) => done(forward::run(&args)),
        Command::Completions(args) => done(completions::run(&args, Cli::command())),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// For commands that either do everything or fail.
fn done(result: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    result.map(|()| ExitCode::SUCCESS)
}
