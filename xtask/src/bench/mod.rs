//! The benchmarks on every backend of this machine, in one table.

mod chart;
mod estimates;
mod peers;
mod table;

use std::fs;

use anyhow::{Context, Result, bail};

use crate::machine::{BACKENDS, Backend};
use crate::shell;
use estimates::Measurement;

/// Benchmarks of the front door, each its own program.
const BENCHES: [&str; 5] = ["attention", "layer", "forward", "train_step", "data"];

/// Benchmarks that no backend has a part in.
const HOST_BENCHES: [&str; 1] = ["data"];

/// Results of one backend.
struct BackendResults {
    backend: &'static str,
    measurements: Vec<Measurement>,
}

/// Runs the benchmarks on the backends named, or on all that this machine can run.
///
/// What follows `--` goes to criterion: a filter, `--quick`, `--save-baseline NAME`, …
/// `--peers` compares with other programs instead; what follows it goes to `compare.py`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if let [first, rest @ ..] = arguments
        && first == "--peers"
    {
        return peers::run(rest);
    }
    let mut parts = arguments.splitn(2, |it| it == "--");
    let names = parts.next().unwrap_or_default();
    let backends = select(names)?;
    let criterion = parts.next().unwrap_or_default();

    let mut results = Vec::new();
    for backend in backends {
        let unasked = || names.is_empty().then(|| backend.not_worth_measuring())?;
        if let Some(reason) = backend.missing().or_else(unasked) {
            println!("skipping {}: {reason}", backend.feature);
            continue;
        }
        let measurements = measure(backend, results.is_empty(), criterion)?;
        results.push(BackendResults {
            backend: backend.feature,
            measurements,
        });
    }
    report(&results)
}

fn select(names: &[String]) -> Result<Vec<Backend>> {
    if names.is_empty() {
        return Ok(BACKENDS.to_vec());
    }
    let backend = |name: &String| {
        Backend::by_feature(name).with_context(|| {
            let known = BACKENDS.map(|it| it.feature).join(", ");
            format!("unknown backend `{name}`, expected one of: {known}")
        })
    };
    names.iter().map(backend).collect()
}

/// Builds and runs the benchmarks on one backend; those of the host run on the first only.
fn measure(backend: Backend, is_first: bool, criterion: &[String]) -> Result<Vec<Measurement>> {
    let home = shell::root().join("target/bench").join(backend.feature);
    if home.exists() {
        // Only this run's results are to be reported.
        fs::remove_dir_all(&home).with_context(|| format!("cannot empty {}", home.display()))?;
    }
    // Of the whole workspace: dependencies have the same features for every backend then.
    let mut bench = shell::cargo(&["bench", "--workspace", "--no-default-features"]);
    bench.args(["--features", &format!("deberta/{}", backend.feature)]);
    for name in BENCHES {
        if is_first || !HOST_BENCHES.contains(&name) {
            bench.args(["--bench", name]);
        }
    }
    bench.arg("--").args(criterion);
    shell::run(bench.env("CRITERION_HOME", &home))?;
    estimates::read(&home)
}

/// Prints the table and writes it beside the numbers.
fn report(results: &[BackendResults]) -> Result<()> {
    if results.iter().all(|it| it.measurements.is_empty()) {
        bail!("nothing was measured: no backend can run here, or no benchmark fits the filter");
    }
    let folder = shell::root().join("target/bench");
    let markdown = table::markdown(results);
    println!("\n{markdown}");
    for (name, text) in [
        ("results.md", markdown),
        ("results.json", table::json(results)?),
        ("results.svg", table::chart(results)),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_chosen_by_name() {
        let chosen = select(&["ndarray".to_owned()]).unwrap();
        assert_eq!(chosen.len(), 1);
        assert_eq!(chosen[0].feature, "ndarray");
        assert_eq!(select(&[]).unwrap().len(), BACKENDS.len());

        let error = select(&["tpu".to_owned()]).unwrap_err();
        let expected = "unknown backend `tpu`, expected one of: flex, ndarray, wgpu, cuda";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn every_benchmark_of_the_folder_is_run() {
        let mut files: Vec<String> = fs::read_dir(shell::root().join("benches"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|it| it == "rs"))
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        files.sort();
        let mut benches = BENCHES.to_vec();
        benches.sort_unstable();
        assert_eq!(files, benches);
    }
}
