//! Every command of the README and the guide, run as it is written.
//!
//! Models of the Hub are small random ones in a cache of the Hub's layout, files are small ones of the
//! same names, and training stops after two steps. Each page has a folder of its own, in which its
//! commands run in their order.

mod page;
mod small;
mod world;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::shell;
use page::Page;
pub(crate) use small::TINY_NETWORK;
use world::World;

/// Commands that are not run, with the reason; an entry that no page has any more is reported.
const NOT_RUN: &[(&str, &str)] = &[
    (
        "cargo install --locked --path .",
        "installs into the home folder; the program built for this stage stands for it, and the stages \
         check-* compile the other backends",
    ),
    ("cargo test --workspace", "is the stage `test`"),
    ("cargo xtask bench", "takes an hour and a quiet machine"),
    ("scripts/gpu_check", "needs an NVIDIA GPU and PyTorch"),
];

/// Examples that pages call.
const EXAMPLES: &[&str] = &[
    "pretrain",
    "finetune",
    "fill_mask",
    "zero_shot",
    "rerank",
    "ner",
    "embed",
];

/// Largest difference that the comparison with Python may show.
const TOLERANCE: f64 = 1e-4;

/// What stands before the Python code of the README, which shows only what is special in it.
const PYTHON_BEFORE: &str = r#"
import subprocess, torch, transformers
from safetensors.torch import load_file, save_file as save
torch.set_grad_enabled(False)
model = transformers.AutoModel.from_pretrained("deberta-v3-base/").eval()
ids = torch.arange(5, 29).reshape(2, 12)
mask = torch.ones_like(ids)
mask[1, 8:] = 0
def save_file(tensors, path):
    save(tensors, path)
    command = "deberta forward --model deberta-v3-base/ --head encoder --inputs in.safetensors --out out.safetensors"
    subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL)
"#;

/// Runs everything in `folder`, which is emptied; says why Python code was left out, if it was.
pub(crate) fn run(folder: &Path) -> Result<Option<String>> {
    let programs = build()?;
    let world = World::make(folder, &programs)?;
    let pages = Page::of_guide(&shell::root())?;
    check_not_run(&pages)?;
    let python = python();
    let (mut commands, mut left_out) = (0, 0);
    for page in &pages {
        let place = world.place(&page.name)?;
        for command in &page.commands {
            if let Some((_, reason)) = not_run(&command.text) {
                println!("{}: not run: {} ({reason})", command.at, command.text);
                left_out += 1;
                continue;
            }
            let start = Instant::now();
            let line = small::line(&command.text);
            let mut bash = world.command("bash", &place);
            bash.args(["-e", "-o", "pipefail", "-c", &line]);
            quietly(&mut bash).with_context(|| format!("{}: {line}", command.at))?;
            let seconds = start.elapsed().as_secs_f64();
            println!("{}: {seconds:.1} s: {line}", command.at);
            commands += 1;
        }
        if let Some(python) = &python {
            for code in &page.python {
                compare(python, &world, &place, &code.text).with_context(|| code.at.clone())?;
                println!("{}: Python agrees", code.at);
            }
        }
    }
    println!("{commands} commands ran, {left_out} were left out");
    Ok(match python {
        Some(_) => None,
        None => {
            Some("Python code needs torch, transformers and safetensors; `PYTHON` names one".into())
        }
    })
}

/// Programs that pages call.
struct Programs {
    /// `deberta`
    main: PathBuf,
    /// Folder of the examples.
    examples: PathBuf,
}

/// Builds what the pages call, without `--release`, as the other stages do.
fn build() -> Result<Programs> {
    // The whole workspace, as the tests take it: everything is built then.
    let what = ["build", "--workspace", "--bin", "deberta", "--examples"];
    shell::run(&mut shell::cargo(&what))?;
    let target = shell::target();
    Ok(Programs {
        main: target.join("debug/deberta"),
        examples: target.join("debug/examples"),
    })
}

fn not_run(command: &str) -> Option<&'static (&'static str, &'static str)> {
    NOT_RUN.iter().find(|(it, _)| command.starts_with(it))
}

fn check_not_run(pages: &[Page]) -> Result<()> {
    let all = || pages.iter().flat_map(|it| &it.commands);
    for (name, _) in NOT_RUN {
        let is_there = all().any(|it| it.text.starts_with(name));
        ensure!(is_there, "no page has `{name}`: take it out of `NOT_RUN`");
    }
    Ok(())
}

/// Runs a command whose output matters only if it fails.
fn quietly(command: &mut Command) -> Result<String> {
    let output = command.output().context("cannot run it")?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{}\n{stdout}{stderr}", output.status);
    }
    Ok(stdout.into_owned())
}

/// An interpreter that has what the README's comparison needs.
fn python() -> Option<String> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut import = shell::program(&python);
    import.args(["-c", "import torch, transformers, safetensors"]);
    shell::succeeds(&mut import).then_some(python)
}

/// Runs Python code that ends by printing a difference.
fn compare(python: &str, world: &World, place: &Path, code: &str) -> Result<()> {
    let mut command = world.command(python, place);
    let printed = quietly(command.args(["-c", &format!("{PYTHON_BEFORE}{code}")]))?;
    let number = printed
        .trim()
        .trim_start_matches("tensor(")
        .trim_end_matches(')');
    let difference: f64 = number
        .parse()
        .with_context(|| format!("expected a difference, found {printed}"))?;
    ensure!(difference < TOLERANCE, "a difference of {difference}");
    Ok(())
}
