//! `deberta completions`: for shells.

use std::io::Write;

use anyhow::Result;
use clap::{Command, ValueEnum};
use clap_complete::Shell;

use crate::stdout::stdout;

/// Print completions for a shell.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The shell
    shell: Kind,
}

const EXAMPLES: &str = "\
Examples:
  deberta completions bash > ~/.local/share/bash-completion/completions/deberta
  deberta completions zsh > ~/.zfunc/_deberta
  deberta completions fish > ~/.config/fish/completions/deberta.fish";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn run(args: &Args, mut command: Command) -> Result<()> {
    let shell = match args.shell {
        Kind::Bash => Shell::Bash,
        Kind::Zsh => Shell::Zsh,
        Kind::Fish => Shell::Fish,
    };
    // The generator panics if it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "deberta", &mut script);
    Ok(stdout().write_all(&script)?)
}
