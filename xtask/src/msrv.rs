//! The compiler that the workspace promises must be new enough for every dependency.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell;

/// Checks the `rust-version` of every package, with all features on.
pub(crate) fn run() -> Result<()> {
    let ours = workspace_rust_version()?;
    let arguments = [
        "metadata",
        "--format-version=1",
        "--locked",
        "--all-features",
    ];
    let metadata = shell::read(&mut shell::cargo(&arguments))?;
    let metadata: Value = serde_json::from_str(&metadata)?;

    let newer = newer_than(&metadata, &ours)?;
    if !newer.is_empty() {
        bail!(
            "the workspace promises Rust {ours}, but\n  {}",
            newer.join("\n  ")
        );
    }
    let packages = metadata["packages"].as_array().map_or(0, Vec::len);
    println!("none of {packages} packages asks for a newer compiler than {ours}");
    Ok(())
}

/// The `rust-version` that the members of the workspace promise.
pub(crate) fn workspace_rust_version() -> Result<String> {
    let metadata = shell::read(&mut shell::cargo(&[
        "metadata",
        "--format-version=1",
        "--no-deps",
    ]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let front_door = packages(&metadata).find(|it| it["name"] == "deberta");
    let version = front_door.and_then(|it| it["rust_version"].as_str());
    Ok(version
        .context("package `deberta` has no `rust-version`")?
        .to_owned())
}

/// Packages that need a newer compiler than `ours`, as lines of text.
fn newer_than(metadata: &Value, ours: &str) -> Result<Vec<String>> {
    let limit = parse(ours)?;
    let mut lines = Vec::new();
    for package in packages(metadata) {
        let Some(theirs) = package["rust_version"].as_str() else {
            continue;
        };
        if parse(theirs)? > limit {
            let name = package["name"].as_str().unwrap_or_default();
            let version = package["version"].as_str().unwrap_or_default();
            lines.push(format!("{name} {version} needs Rust {theirs}"));
        }
    }
    Ok(lines)
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten()
}

/// Major, minor and patch number; parts that are not given are 0.
fn parse(version: &str) -> Result<[u32; 3]> {
    let mut numbers = [0; 3];
    for (number, text) in numbers.iter_mut().zip(version.split('.')) {
        *number = text
            .parse()
            .with_context(|| format!("`{version}` is not a version of Rust"))?;
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_newer_compilers_are_reported() {
        let metadata = json!({ "packages": [
            { "name": "same", "version": "1.0.0", "rust_version": "1.92.0" },
            { "name": "old", "version": "1.0.0", "rust_version": "1.9" },
            { "name": "silent", "version": "1.0.0", "rust_version": null },
            { "name": "new", "version": "2.1.0", "rust_version": "1.93" },
        ]});
        let newer = newer_than(&metadata, "1.92").unwrap();
        assert_eq!(newer, ["new 2.1.0 needs Rust 1.93"]);
    }

    #[test]
    fn a_strange_version_is_an_error() {
        let error = parse("stable").unwrap_err();
        assert_eq!(error.to_string(), "`stable` is not a version of Rust");
    }
}
