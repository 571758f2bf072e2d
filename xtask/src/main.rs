//! Repository tasks, run as `cargo xtask COMMAND`.

#![allow(clippy::print_stdout, reason = "prints for whoever runs it")]

mod bench;
mod ci;
mod docs;
mod fixtures;
mod machine;
mod msrv;
mod shell;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  ci [STAGE ...]    everything that must pass before a merge, or the stages named
  tidy              rules of the repository that no other tool checks
  msrv              no dependency asks for a newer compiler than the workspace does
  fixtures [NAME]   writes the golden files again from the reference implementations
  bench [BACKEND ...] [-- CRITERION ARGUMENTS]
                    runs the benchmarks on every backend of this machine, or those named
  bench --peers [ARGUMENTS OF compare.py]
                    measures this program beside PyTorch, ONNX Runtime and candle";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let Some((command, rest)) = arguments.split_first() else {
        bail!("{USAGE}");
    };
    match command.as_str() {
        "ci" => ci::run(rest),
        "tidy" => tidy::run(),
        "msrv" => msrv::run(),
        "fixtures" => fixtures::run(rest),
        "bench" => bench::run(rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        unknown => bail!("unknown command `{unknown}`\n\n{USAGE}"),
    }
}
