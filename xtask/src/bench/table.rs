//! Measurements as Markdown and JSON.

use anyhow::Result;
use serde_json::json;

use super::BackendResults;
use super::chart::{self, Group};
use super::estimates::Measurement;

/// One row per benchmark, one column per backend.
pub(crate) fn markdown(results: &[BackendResults]) -> String {
    let header = results.iter().map(|it| it.backend.to_owned());
    let mut lines = vec![row("benchmark".to_owned(), header)];
    lines.push(row(
        "---".to_owned(),
        results.iter().map(|_| "---:".to_owned()),
    ));
    for name in names(results) {
        let cells = results.iter().map(|it| {
            let measurement = it.measurements.iter().find(|it| it.name == name);
            measurement.map_or("–".to_owned(), cell)
        });
        lines.push(row(name.to_owned(), cells));
    }
    lines.push(String::new());
    lines.push("Median ± median absolute deviation; tokens per second in parentheses.".to_owned());
    lines.join("\n") + "\n"
}

/// The numbers behind the table.
pub(crate) fn json(results: &[BackendResults]) -> Result<String> {
    let measurements = results.iter().flat_map(|backend| {
        backend.measurements.iter().map(|it| {
            json!({
                "backend": backend.backend,
                "benchmark": it.name,
                "median_ns": it.median_ns,
                "median_abs_dev_ns": it.spread_ns,
                "tokens_per_sec": it.rate(),
            })
        })
    });
    let measurements: Vec<_> = measurements.collect();
    Ok(serde_json::to_string_pretty(&measurements)? + "\n")
}

/// Bars of all benchmarks that count elements, a bar per backend.
pub(crate) fn chart(results: &[BackendResults]) -> String {
    let groups = names(results).into_iter().filter_map(|name| {
        let bars = results.iter().filter_map(|backend| {
            let measurement = backend.measurements.iter().find(|it| it.name == name)?;
            Some((backend.backend.to_owned(), measurement.rate()?))
        });
        let bars: Vec<_> = bars.collect();
        let title = name.to_owned();
        (!bars.is_empty()).then_some(Group { title, bars })
    });
    let groups: Vec<Group> = groups.collect();
    chart::bars("Benchmarks", "per second", &groups)
}

/// All benchmarks, in the order in which they first occur.
fn names(results: &[BackendResults]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for measurement in results.iter().flat_map(|it| &it.measurements) {
        if !names.contains(&measurement.name.as_str()) {
            names.push(&measurement.name);
        }
    }
    names
}

fn row(first: String, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = std::iter::once(first).chain(cells).collect();
    format!("| {} |", cells.join(" | "))
}

fn cell(measurement: &Measurement) -> String {
    let (unit, nanos) = match measurement.median_ns {
        it if it < 1e6 => ("µs", 1e3),
        it if it < 1e9 => ("ms", 1e6),
        _ => ("s", 1e9),
    };
    let median = measurement.median_ns / nanos;
    let spread = measurement.spread_ns / nanos;
    let time = format!("{median:.2} ± {spread:.2} {unit}");
    match measurement.rate() {
        Some(rate) => format!("{time} ({rate:.0}/s)"),
        None => time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> [BackendResults; 2] {
        let measurement = |name: &str, median_ns: f64, elements| Measurement {
            name: name.into(),
            median_ns,
            spread_ns: median_ns / 20.0,
            elements,
        };
        [
            BackendResults {
                backend: "flex",
                measurements: vec![
                    measurement("forward/8x128", 2e6, Some(1024)),
                    measurement("mask", 3e3, None),
                ],
            },
            BackendResults {
                backend: "ndarray",
                measurements: vec![measurement("forward/8x128", 4e9, Some(1024))],
            },
        ]
    }

    #[test]
    fn a_row_per_benchmark_and_a_column_per_backend() {
        let expected = "\
| benchmark | flex | ndarray |
| --- | ---: | ---: |
| forward/8x128 | 2.00 ± 0.10 ms (512000/s) | 4.00 ± 0.20 s (256/s) |
| mask | 3.00 ± 0.15 µs | – |

Median ± median absolute deviation; tokens per second in parentheses.
";
        assert_eq!(markdown(&results()), expected);
    }

    #[test]
    fn the_chart_has_the_benchmarks_that_count_something() {
        let svg = chart(&results());
        assert!(svg.contains("forward/8x128") && !svg.contains("mask"));
        assert!(svg.contains("512000 per second") && svg.contains("256 per second"));
    }

    #[test]
    fn numbers_keep_their_precision_in_json() {
        let text = json(&results()).unwrap();
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed[2]["backend"], "ndarray");
        assert_eq!(parsed[2]["median_ns"], 4e9);
        assert_eq!(parsed[1]["tokens_per_sec"], serde_json::Value::Null);
    }
}
