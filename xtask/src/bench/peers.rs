//! This program beside PyTorch, ONNX Runtime and candle, in one run.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::chart::{self, Group};
use crate::shell;

/// Python packages of the peers. `onnxscript` is what PyTorch exports with.
const PACKAGES: [&str; 6] = [
    "numpy",
    "safetensors",
    "torch",
    "transformers",
    "onnxruntime",
    "onnxscript",
];

/// Networks whose forward pass and whose training step are compared.
const FORWARD: [&str; 1] = ["v3-base"];
const TRAIN: [&str; 2] = ["v3-base", "v3-small"];

/// Builds all programs, runs `benches/peers/compare.py`, and reports.
///
/// `arguments` go to that script: `--rounds 3`, `--workloads 1x128`, `--compile`, …
/// `PEERS_PYTHON` names an interpreter that has the packages, `python3` by default.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let python = std::env::var("PEERS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    check_packages(&python)?;
    let work = shell::root().join("target/bench/peers");
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;

    let ours = build(
        "Cargo.toml",
        &["--workspace", "--example", "peer_worker"],
        "peer_worker",
    )?;
    let candle = build("benches/peers/candle/Cargo.toml", &[], "candle-worker")?;
    let scripts = shell::root().join("benches/peers");
    let mut models = shell::program(&python);
    models.arg(scripts.join("models.py")).arg(&work);
    models.arg("--onnx").args(FORWARD.iter().chain(&TRAIN[1..]));
    shell::run(&mut models)?;

    let out = work.join("results.json");
    let mut compare = shell::program(&python);
    compare.arg(scripts.join("compare.py")).arg(&work);
    compare.arg("--ours").arg(ours).arg("--candle").arg(candle);
    compare.arg("--out").arg(&out).arg("--models").args(FORWARD);
    compare.arg("--train").args(TRAIN).args(arguments);
    shell::run(&mut compare)?;
    report(&out)
}

fn check_packages(python: &str) -> Result<()> {
    let missing = PACKAGES.iter().filter(|package| {
        let mut import = shell::program(python);
        !shell::succeeds(import.args(["-c", &format!("import {package}")]))
    });
    let missing: Vec<&str> = missing.copied().collect();
    if !missing.is_empty() {
        bail!(
            "`{python}` lacks packages of the peers; `{python} -m pip install {}`, or name another \
             interpreter in PEERS_PYTHON",
            missing.join(" ")
        );
    }
    Ok(())
}

/// Builds a release binary; cargo says where it lies.
fn build(manifest: &str, arguments: &[&str], name: &str) -> Result<PathBuf> {
    let mut cargo = shell::cargo(&["build", "--release", "--manifest-path", manifest]);
    cargo.args(arguments);
    shell::run(&mut cargo)?;
    let messages = shell::read(with_messages(&mut cargo))?;
    let mut executables = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let path = message["executable"].as_str()?;
        (message["target"]["name"] == name).then(|| PathBuf::from(path))
    });
    let message = || format!("cargo named no executable `{name}`");
    executables.next_back().with_context(message)
}

fn with_messages(cargo: &mut Command) -> &mut Command {
    cargo.args(["--quiet", "--message-format", "json"])
}

/// Prints the tables and writes them beside the numbers, with a chart.
fn report(results: &Path) -> Result<()> {
    let context = || format!("cannot read {}", results.display());
    let text = fs::read_to_string(results).with_context(context)?;
    let results_json: Value = serde_json::from_str(&text).with_context(context)?;
    let markdown = markdown(&results_json);
    println!("\n{markdown}");
    let chart = chart::bars("DeBERTa on this CPU", "tokens/s", &groups(&results_json));
    for (path, content) in [
        (results.with_extension("md"), &markdown),
        (results.with_extension("svg"), &chart),
    ] {
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Every network, workload and worker with its numbers, in the order of the file.
fn entries(results: &Value) -> impl Iterator<Item = (String, &String, &Value)> {
    let networks = ["forward", "train"]
        .into_iter()
        .flat_map(|kind| results[kind].as_array());
    networks.flatten().flat_map(|network| {
        let model = network["model"].as_str().unwrap_or_default();
        let workloads = network["workloads"].as_object();
        workloads
            .into_iter()
            .flatten()
            .flat_map(move |(workload, workers)| {
                let title = format!("{model} {workload}");
                let workers = workers.as_object().into_iter().flatten();
                workers.map(move |(name, numbers)| (title.clone(), name, numbers))
            })
    })
}

fn groups(results: &Value) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (title, name, numbers) in entries(results) {
        let bar = (
            name.clone(),
            numbers["tokens_per_s"].as_f64().unwrap_or(0.0),
        );
        match groups.last_mut().filter(|it| it.title == title) {
            Some(group) => group.bars.push(bar),
            None => groups.push(Group {
                title,
                bars: vec![bar],
            }),
        }
    }
    groups
}

fn markdown(results: &Value) -> String {
    let mut text = String::from(
        "| workload | program | tokens/s | ours is faster by (lowest to highest) | GFLOP/s | peak memory |\n\
         | --- | --- | ---: | ---: | ---: | ---: |\n",
    );
    for (title, name, numbers) in entries(results) {
        let number = |key: &str, digits: usize, unit: &str| {
            let value = numbers[key].as_f64();
            value.map_or("–".to_owned(), |it| format!("{it:.digits$}{unit}"))
        };
        let ratio = numbers["ours_is_faster"]
            .as_array()
            .map_or("–".to_owned(), |it| {
                let it: Vec<f64> = it.iter().filter_map(Value::as_f64).collect();
                format!("{:.2} × ({:.2} to {:.2})", it[0], it[1], it[2])
            });
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| {title} | {name} | {} | {ratio} | {} | {} |",
            number("tokens_per_s", 0, ""),
            number("gflop_per_s", 0, ""),
            number("peak_gb", 2, " GB"),
        );
    }
    text.push_str(
        "\nMedians over rounds in which all programs take turns, ratios within a round.\n",
    );
    if let Some(shapes) = results["sgemm"].as_object() {
        text.push_str("\n| matrix product, GFLOP/s |");
        let columns = shapes.values().next().and_then(Value::as_object);
        let columns: Vec<&String> = columns.into_iter().flatten().map(|it| it.0).collect();
        columns
            .iter()
            .for_each(|name| text.push_str(&format!(" {name} |")));
        text.push_str(&format!("\n| --- |{}\n", " ---: |".repeat(columns.len())));
        for (shape, rates) in shapes {
            text.push_str(&format!("| {shape} |"));
            for name in &columns {
                let rate = rates[name.as_str()].as_f64().unwrap_or(f64::NAN);
                text.push_str(&format!(" {rate:.0} |"));
            }
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn results() -> Value {
        json!({
            "sgemm": { "1024x768x768": { "burn": 180.4, "torch": 171.2 } },
            "forward": [{ "model": "v3-base", "workloads": { "1x128": {
                "ours": { "tokens_per_s": 1000.4, "gflop_per_s": 184.0, "peak_gb": 0.9 },
                "torch": { "tokens_per_s": 500.2, "ours_is_faster": [2.0, 1.9, 2.1] },
            } } }],
            "train": [],
        })
    }

    #[test]
    fn a_row_per_program_and_the_products_below() {
        let text = markdown(&results());
        for row in [
            "| v3-base 1x128 | ours | 1000 | – | 184 | 0.90 GB |",
            "| v3-base 1x128 | torch | 500 | 2.00 × (1.90 to 2.10) | – | – |",
            "| 1024x768x768 | 180 | 171 |",
        ] {
            assert!(text.contains(row), "{row} is not in\n{text}");
        }
    }

    #[test]
    fn programs_of_one_workload_share_a_group_of_bars() {
        let groups = groups(&results());
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].title, "v3-base 1x128");
        assert_eq!(groups[0].bars[1], ("torch".to_owned(), 500.2));
    }

    #[test]
    fn missing_packages_are_named_with_the_way_to_get_them() {
        let error = check_packages("no-such-python").unwrap_err().to_string();
        assert!(
            error.contains("no-such-python -m pip install numpy safetensors torch"),
            "{error}"
        );
    }
}
