//! What criterion leaves on the disk.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Time of one benchmark.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measurement {
    /// Name, as criterion prints it.
    pub(crate) name: String,
    /// Median time of one iteration, in nanoseconds.
    pub(crate) median_ns: f64,
    /// Median distance of a sample from that median, in nanoseconds.
    pub(crate) spread_ns: f64,
    /// Elements that one iteration works through, if the benchmark says.
    pub(crate) elements: Option<u64>,
}

impl Measurement {
    /// Elements per second.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.elements.map(|it| it as f64 * 1e9 / self.median_ns)
    }
}

/// All measurements below criterion's folder, by name.
pub(crate) fn read(home: &Path) -> Result<Vec<Measurement>> {
    let mut found = Vec::new();
    if home.is_dir() {
        collect(home, &mut found)?;
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn collect(folder: &Path, found: &mut Vec<Measurement>) -> Result<()> {
    let context = || format!("cannot read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(context)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        let is_latest = path.file_name().is_some_and(|it| it == "new");
        if is_latest && path.join("estimates.json").is_file() {
            let benchmark = read_json(&path.join("benchmark.json"))?;
            let estimates = read_json(&path.join("estimates.json"))?;
            let measurement = measurement(&benchmark, &estimates);
            found.push(measurement.with_context(|| format!("cannot read {}", path.display()))?);
        } else {
            collect(&path, found)?;
        }
    }
    Ok(())
}

fn read_json(path: &Path) -> Result<Value> {
    let context = || format!("cannot read {}", path.display());
    let text = fs::read_to_string(path).with_context(context)?;
    serde_json::from_str(&text).with_context(context)
}

fn measurement(benchmark: &Value, estimates: &Value) -> Result<Measurement> {
    let name = benchmark["full_id"].as_str();
    let estimate = |kind: &str| {
        let value = estimates[kind]["point_estimate"].as_f64();
        value.with_context(|| format!("no `{kind}` in estimates.json"))
    };
    Ok(Measurement {
        name: name.context("no `full_id` in benchmark.json")?.to_owned(),
        median_ns: estimate("median")?,
        spread_ns: estimate("median_abs_dev")?,
        elements: benchmark["throughput"]["Elements"].as_u64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn medians_are_found_wherever_they_lie() {
        let home = temp_folder("estimates");
        let new = home.join("group/case/new");
        fs::create_dir_all(&new).unwrap();
        let benchmark = json!({ "full_id": "group/case", "throughput": { "Elements": 1024 } });
        let estimate = |value: f64| json!({ "point_estimate": value });
        let estimates = json!({ "median": estimate(2e6), "median_abs_dev": estimate(5e4) });
        fs::write(new.join("benchmark.json"), benchmark.to_string()).unwrap();
        fs::write(new.join("estimates.json"), estimates.to_string()).unwrap();

        let found = read(&home).unwrap();
        fs::remove_dir_all(&home).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "group/case");
        assert_eq!((found[0].median_ns, found[0].spread_ns), (2e6, 5e4));
        assert_eq!(found[0].rate(), Some(512_000.0));
    }

    #[test]
    fn a_missing_estimate_is_named() {
        let error = measurement(&json!({ "full_id": "case" }), &json!({})).unwrap_err();
        assert_eq!(error.to_string(), "no `median` in estimates.json");
    }

    fn temp_folder(name: &str) -> std::path::PathBuf {
        let id = std::process::id();
        std::env::temp_dir().join(format!("xtask-{name}-{id}"))
    }
}
