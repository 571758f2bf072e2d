//! Everything that must pass before a merge, cheapest first, each stage timed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::docs::TINY_NETWORK;
use crate::machine::Backend;
use crate::{docs, msrv, shell, tidy};

/// One stage: a name for the command line and what to do.
struct Stage {
    name: &'static str,
    run: fn() -> Result<Outcome>,
}

/// What came of a stage that did not fail.
enum Outcome {
    Passed,
    /// Not run, with the reason.
    Skipped(String),
}

const STAGES: &[Stage] = &[
    Stage {
        name: "fmt",
        run: || cargo(&["fmt", "--all", "--check"]),
    },
    Stage {
        name: "tidy",
        run: || tidy::run().map(|()| Outcome::Passed),
    },
    Stage {
        name: "msrv",
        run: check_msrv,
    },
    Stage {
        name: "deny",
        run: check_dependencies,
    },
    Stage {
        name: "clippy",
        run: || {
            let lints = ["--", "-D", "warnings"];
            cargo(&[&["clippy", "--workspace", "--all-targets"], &lints[..]].concat())
        },
    },
    Stage {
        name: "doc",
        run: || {
            let mut doc = shell::cargo(&["doc", "--workspace", "--no-deps"]);
            passed(doc.env("RUSTDOCFLAGS", "-D warnings"))
        },
    },
    Stage {
        name: "test",
        run: || cargo(&["test", "--workspace"]),
    },
    Stage {
        // Every command of the README and the guide.
        name: "docs",
        run: run_documentation,
    },
    Stage {
        name: "pretrain-flex",
        // The program that the tests have built.
        run: || pretrain("flex", WORKSPACE),
    },
    Stage {
        name: "pretrain-ndarray",
        run: || pretrain("ndarray", &only("deberta/ndarray")),
    },
    Stage {
        name: "pretrain-wgpu",
        run: || pretrain("wgpu", WITH_WGPU),
    },
    Stage {
        // Golden files through the whole network, and the attention kernel by itself.
        name: "test-wgpu",
        run: test_on_wgpu,
    },
    Stage {
        // One backend, no command line, a workspace of its own.
        name: "library-user",
        run: check_library_user,
    },
    Stage {
        // The network knows no backend: it compiles without any.
        name: "check-no-backend",
        run: || {
            cargo(&[
                "check",
                "--package",
                "deberta-model",
                "--no-default-features",
            ])
        },
    },
    Stage {
        name: "check-vulkan",
        run: || check_backend("deberta/vulkan"),
    },
    Stage {
        // Type-checks anywhere: what only macOS has is behind `cfg(target_os)` in the dependencies.
        name: "check-metal",
        run: || check_backend("deberta/metal"),
    },
    Stage {
        // CUDA is loaded at run time, so neither a GPU nor the toolkit is needed here.
        name: "check-cuda",
        run: || check_backend("deberta/cuda"),
    },
];

/// The workspace as its tests take it. Every stage selects the whole of it and not one package: cargo
/// takes the features of dependencies from what is selected, and compiles anew what differs in them.
const WORKSPACE: &[&str] = &["--workspace"];

/// The same with everything that runs on a GPU.
const WITH_WGPU: &[&str] = &[
    "--workspace",
    "--features",
    "deberta/wgpu,deberta-model/test-wgpu",
];

/// The same with `feature` and no other of the front door.
fn only(feature: &str) -> [&str; 4] {
    [
        "--workspace",
        "--no-default-features",
        "--features",
        feature,
    ]
}

/// Runs the stages named, or all, and stops at the first failure.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let stages = select(names)?;
    let start = Instant::now();
    let mut summary = Vec::new();
    for stage in stages {
        println!("\n=== {} ===", stage.name);
        let stage_start = Instant::now();
        let result = (stage.run)();
        let time = clock(stage_start.elapsed());
        let note = match &result {
            Ok(Outcome::Passed) => "passed".to_owned(),
            Ok(Outcome::Skipped(reason)) => format!("skipped: {reason}"),
            Err(_) => "FAILED".to_owned(),
        };
        println!("--- {} {note} ({time})", stage.name);
        summary.push(format!("{time:>7}  {:<18}{note}", stage.name));
        if let Err(error) = result {
            println!("\n{}", summary.join("\n"));
            return Err(error.context(format!("ci: stage {} failed", stage.name)));
        }
    }
    println!("\n{}", summary.join("\n"));
    println!("ci: {} stages in {}", summary.len(), clock(start.elapsed()));
    Ok(())
}

fn select(names: &[String]) -> Result<Vec<&'static Stage>> {
    let known = |name: &String| STAGES.iter().any(|stage| stage.name == name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let all: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
        bail!(
            "unknown stage `{unknown}`, expected one of: {}",
            all.join(", ")
        );
    }
    let wanted = |stage: &&Stage| names.is_empty() || names.iter().any(|it| it == stage.name);
    Ok(STAGES.iter().filter(wanted).collect())
}

fn cargo(arguments: &[&str]) -> Result<Outcome> {
    passed(&mut shell::cargo(arguments))
}

fn passed(command: &mut Command) -> Result<Outcome> {
    shell::run(command).map(|()| Outcome::Passed)
}

/// Compares versions, and compiles with the promised toolchain if it is installed.
fn check_msrv() -> Result<Outcome> {
    msrv::run()?;
    let version = msrv::workspace_rust_version()?;
    let toolchain_works = ["rustup", "run", &version, "rustc", "--version"];
    let toolchain_works =
        shell::succeeds(shell::program(toolchain_works[0]).args(&toolchain_works[1..]));
    if !toolchain_works {
        println!("Rust {version} is not installed here, so nothing was compiled with it");
        return Ok(Outcome::Passed);
    }
    let mut check = shell::program("rustup");
    check.args(["run", &version, "cargo", "check", "--workspace"]);
    passed(
        check
            .env("CARGO_TARGET_DIR", "target/msrv")
            .env_remove("CARGO"),
    )
}

/// Licences, sources and duplicates of all dependencies, by `deny.toml`.
fn check_dependencies() -> Result<Outcome> {
    if !shell::succeeds(&mut shell::cargo(&["deny", "--version"])) {
        let reason = "needs `cargo install cargo-deny`";
        return Ok(Outcome::Skipped(reason.into()));
    }
    cargo(&[
        "deny",
        "--all-features",
        "check",
        "bans",
        "licenses",
        "sources",
    ])
}

fn run_documentation() -> Result<Outcome> {
    let skipped = docs::run(&shell::root().join("target/ci/docs"))?;
    if let Some(reason) = skipped {
        println!("not run: {reason}");
    }
    Ok(Outcome::Passed)
}

/// Lints the front door with one backend and nothing else.
fn check_backend(feature: &str) -> Result<Outcome> {
    let check = ["clippy", "--lib", "--examples"];
    cargo(&[&check, &only(feature)[..], &["--", "-D", "warnings"]].concat())
}

/// Pre-trains a nano model for a few steps, then resumes it for a few more.
fn pretrain(feature: &str, selection: &[&str]) -> Result<Outcome> {
    // Not `--release`: the dependencies are optimised in the dev profile too, and already built.
    cargo(&[&["build", "--example", "pretrain"], selection].concat())?;
    if let Some(reason) = Backend::by_feature(feature).and_then(|it| it.missing()) {
        return Ok(Outcome::Skipped(format!("compiled but not run, {reason}")));
    }
    let program = shell::target().join("debug/examples/pretrain");
    let out = empty_folder(&format!("target/ci/pretrain-{feature}"))?;
    let run = |steps: &[&str]| {
        let mut run = shell::program(&program);
        run.arg("--out").arg(&out).args(["--plain", "--size=nano"]);
        // A GPU in software gains nothing by optimising kernels that run a few times.
        run.env("GALLIVM_PERF", "nopt");
        passed(run.args(TINY_NETWORK).args(steps))
    };
    run(&["--steps", "3"])?;
    if feature == "wgpu" {
        // A GPU in software compiles every kernel anew in each process, for minutes.
        return Ok(Outcome::Passed);
    }
    run(&["--steps", "5", "--resume"])
}

/// A program outside the workspace that depends on the library. It gets the workspace's versions of
/// all dependencies, and its target folder, so that little is compiled anew.
fn check_library_user() -> Result<Outcome> {
    let folder = shell::root().join("examples/library_user");
    std::fs::copy(shell::root().join("Cargo.lock"), folder.join("Cargo.lock"))
        .context("cannot copy Cargo.lock")?;
    let manifest = folder.join("Cargo.toml").display().to_string();
    let mut check = shell::cargo(&["check", "--manifest-path", &manifest]);
    passed(check.env("CARGO_TARGET_DIR", shell::target()))
}

/// A part of the golden tests that has every operation, on a GPU or one in software.
fn test_on_wgpu() -> Result<Outcome> {
    if let Some(reason) = Backend::by_feature("wgpu").and_then(|it| it.missing()) {
        return Ok(Outcome::Skipped(reason));
    }
    let tests = |name| [&["test", "--test", name], WITH_WGPU].concat();
    let names = [
        "v2_encoder_with_convolution",
        "v3_enhanced_mask_decoder",
        "v1_sequence_classification",
    ];
    cargo(&[&["test", "--lib"], WITH_WGPU, &["--", "ops::cube"]].concat())?;
    cargo(&tests("gpu"))?;
    cargo(&[&tests("model")[..], &["--"], &names].concat())
}

fn empty_folder(path: &str) -> Result<PathBuf> {
    let path = shell::root().join(path);
    remove(&path).with_context(|| format!("cannot empty {}", path.display()))?;
    Ok(path)
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Minutes and seconds.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}m{:02}s", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_chosen_by_name_in_their_own_order() {
        let names = ["test".to_owned(), "fmt".to_owned()];
        let chosen = select(&names).unwrap();
        let chosen: Vec<&str> = chosen.iter().map(|stage| stage.name).collect();
        assert_eq!(chosen, ["fmt", "test"]);
        assert_eq!(select(&[]).unwrap().len(), STAGES.len());
    }

    #[test]
    fn an_unknown_stage_is_an_error() {
        let error = select(&["tests".to_owned()]).err().unwrap().to_string();
        assert!(
            error.starts_with("unknown stage `tests`, expected one of: fmt, "),
            "{error}"
        );
    }

    #[test]
    fn times_are_minutes_and_seconds() {
        assert_eq!(clock(Duration::from_secs(125)), "2m05s");
    }
}
