//! The command line of DeBERTa: `deberta COMMAND --help` says what each command takes.
#![allow(clippy::print_stderr, reason = "prints errors and remarks")]

mod add_tokens;
mod attention;
mod completions;
mod compute_type;
mod convert;
mod footprint;
mod forward;
mod head;
mod init;
mod inspect;
mod lines;
mod logger;
mod names;
mod pretrain;
mod source;
mod stdout;
mod target;
mod tasks;
mod text;
mod tokenize;
mod watch;

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
    AddTokens(add_tokens::Args),
    Init(init::Args),
    Tokenize(tokenize::Args),
    Forward(forward::Args),
    Completions(completions::Args),
}

fn main() -> ExitCode {
    deberta::allocator::keep_freed_memory();
    let command = Cli::parse().command;
    // Training decides by itself, see `watch::show_warnings`.
    if !matches!(command, Command::Pretrain(_) | Command::Finetune(_)) {
        logger::install();
    }
    let result = match command {
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
        Command::AddTokens(args) => done(add_tokens::run(&args)),
        Command::Init(args) => done(init::run(&args)),
        Command::Tokenize(args) => done(tokenize::run(&args)),
        Command::Forward(args) => done(forward::run(&args)),
        Command::Completions(args) => done(completions::run(&args, Cli::command())),
    };
    match stdout::unless_closed(result) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a command as a shell would take them, up to a pipe, a redirection or a comment.
    fn words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        let mut word = None::<String>;
        let mut quote = None;
        for character in line.chars() {
            match (quote, character) {
                (Some(open), it) if it == open => quote = None,
                (None, '"' | '\'') => {
                    quote = Some(character);
                    word.get_or_insert_default();
                }
                (None, '|' | '>' | '#') => break,
                (None, ' ') => words.extend(word.take()),
                (_, it) => word.get_or_insert_default().push(it),
            }
        }
        words.extend(word);
        words
    }

    /// The lines that call this program.
    fn calls(text: &str) -> impl Iterator<Item = &str> {
        text.lines().filter_map(|line| {
            let at = line.find("deberta ")?;
            let before = &line[..at];
            let is_call = before.trim().is_empty() || before.ends_with("| ");
            is_call.then_some(&line[at..])
        })
    }

    #[track_caller]
    fn assert_accepted(text: &str) -> usize {
        let mut count = 0;
        for line in calls(text) {
            if let Err(error) = Cli::try_parse_from(words(line)) {
                assert!(!error.use_stderr(), "{line}\n{error}");
            }
            count += 1;
        }
        count
    }

    #[test]
    fn commands_in_the_documentation_are_accepted() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let pages = std::fs::read_dir(root.join("docs")).unwrap();
        let pages = pages.map(|page| page.unwrap().path());
        let mut count = 0;
        for page in pages.chain([root.join("README.md")]) {
            let page = std::fs::read_to_string(page).unwrap();
            // Blocks of commands stand between fences.
            for block in page.split("```console\n").skip(1) {
                count += assert_accepted(block.split("```").next().unwrap());
            }
        }
        assert!(count > 20, "only {count}");
    }

    #[test]
    fn examples_in_the_help_are_accepted() {
        let command = Cli::command();
        let mut count = 0;
        for command in command.get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string);
            let examples = assert_accepted(&help.unwrap_or_default());
            assert!(examples > 0, "{} has no examples", command.get_name());
            count += examples;
        }
        assert!(count > 20, "only {count}");
    }

    #[test]
    fn options_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }
}
