//! Rules of the repository that no other tool checks, run as tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell;

/// Crates of the workspace that each crate may use, and whether it may use Burn.
const MAY_USE: &[(&str, &[&str], bool)] = &[
    ("deberta-model", &[], true),
    ("deberta-data", &[], false),
    ("deberta-train", &["deberta-model", "deberta-data"], true),
    (
        "deberta",
        &["deberta-model", "deberta-data", "deberta-train"],
        true,
    ),
    ("xtask", &[], false),
];

/// Longest file, in lines that are neither blank, comment nor in `mod tests`.
const MAX_CODE_LINES: usize = 350;

/// The same for test programs, which are read one test at a time.
const MAX_TEST_LINES: usize = 600;

/// Longer files, with the reason; an entry that is no longer needed is reported too.
const LONG_FILES: &[(&str, &str)] = &[];

/// Where the ban on unsafe code may be lifted: kernels, memory maps, and an option in C.
const UNSAFE_FILES: &[&str] = &[
    "crates/deberta-model/src/checkpoint/files.rs",
    "crates/deberta-model/src/ops/cpu/",
    "crates/deberta-data/src/packing/",
    "src/allocator.rs",
];

/// Where libraries may name a backend: the alias of the front door, and the kernels.
const BACKEND_FILES: &[&str] = &["src/backend.rs", "crates/deberta-model/src/ops/"];

/// Files of the model crate that may read files.
const MODEL_IO: &[&str] = &[
    "crates/deberta-model/src/checkpoint/",
    "crates/deberta-model/src/hf_config/",
];

/// Spellings of unfinished or switched-off work. In pieces, so that this file does not match.
const UNFINISHED: &[&str] = &[
    concat!("#[ig", "nore"),
    concat!("#[should", "_panic"),
    concat!("to", "do!("),
    concat!("unimpl", "emented!("),
    concat!("db", "g!("),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
];

/// Largest file that may be committed, in bytes.
const MAX_FILE_BYTES: u64 = 1_000_000;

/// Licence of every package.
const LICENSE: &str = "MIT OR Apache-2.0";

/// Checks all rules.
pub(crate) fn run() -> Result<()> {
    let root = shell::root();
    let files = repository_files(&root)?;
    let mut problems = check_packages(&workspace_metadata()?);
    problems.extend(check_long_list(&root)?);
    for path in &files {
        problems.extend(check_file(&root, path)?);
    }
    problems.extend(check_code_map(
        &read(&root.join("ARCHITECTURE.md"))?,
        &files,
    ));
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        if !root.join(licence).is_file() {
            problems.push(format!("{licence} is missing"));
        }
    }
    if !problems.is_empty() {
        bail!("the repository is not tidy:\n  {}", problems.join("\n  "));
    }
    println!("{} files are tidy", files.len());
    Ok(())
}

/// A source file, as the rules see it.
struct Source<'a> {
    path: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.text.starts_with("//!") {
            problems.push("does not begin with a module comment, `//!`".to_owned());
        }
        let lines = self.code().count();
        let is_listed = LONG_FILES.iter().any(|(path, _)| *path == self.path);
        let most = match self.is_test() {
            true => MAX_TEST_LINES,
            false => MAX_CODE_LINES,
        };
        if lines > most && !is_listed {
            problems.push(format!(
                "{lines} lines of code, at most {most} fit in a head"
            ));
        }
        for spelling in UNFINISHED {
            if self.text.contains(spelling) {
                problems.push(format!("contains `{spelling}`"));
            }
        }
        // The lint only counts where it is lifted: naming it is enough to be looked at.
        let lint = concat!("unsafe", "_code");
        if self.text.contains(lint) && !self.is_below(UNSAFE_FILES) {
            problems.push(format!("lifts `{lint}` and is not in `UNSAFE_FILES`"));
        }
        problems.extend(self.layer_problems());
        problems
    }

    /// Invariants of ARCHITECTURE.md that a search can check.
    fn layer_problems(&self) -> Option<String> {
        let is_library =
            self.path.contains("src/") && !self.path.starts_with("xtask/") && !self.is_test();
        let names_backend = self.code().any(|line| line.contains("burn::backend::"));
        if is_library && names_backend && !self.is_below(BACKEND_FILES) {
            return Some("names a concrete backend".into());
        }
        let is_model = self.path.starts_with("crates/deberta-model/src/");
        let reads = self
            .code()
            .any(|line| line.contains("std::fs") || line.contains("std::net"));
        let is_pure = is_model && !self.is_below(MODEL_IO);
        (is_pure && reads).then(|| "reads files or the network".into())
    }

    /// A test program, or the tests of a module in a file of their own.
    fn is_test(&self) -> bool {
        let is_program = self.path.starts_with("tests/") || self.path.contains("/tests/");
        is_program || self.path.ends_with("/tests.rs") || self.path.ends_with("_tests.rs")
    }

    fn is_below(&self, prefixes: &[&str]) -> bool {
        prefixes.iter().any(|prefix| self.path.starts_with(prefix))
    }

    /// Lines that are neither blank nor comment, up to the tests.
    fn code(&self) -> impl Iterator<Item = &str> {
        let lines = self.text.lines().take_while(|line| *line != "#[cfg(test)]");
        lines
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with("//"))
    }
}

fn check_file(root: &Path, path: &Path) -> Result<Vec<String>> {
    let full = root.join(path);
    let name = path.to_string_lossy().replace('\\', "/");
    let bytes = fs::metadata(&full)?.len();
    let mut problems = Vec::new();
    if bytes > MAX_FILE_BYTES {
        problems.push(format!(
            "{bytes} bytes, at most {MAX_FILE_BYTES} may be committed"
        ));
    }
    if path.extension().is_some_and(|it| it == "rs") {
        let text = read(&full)?;
        let source = Source {
            path: &name,
            text: &text,
        };
        problems.extend(source.problems());
    }
    Ok(problems
        .into_iter()
        .map(|it| format!("{name}: {it}"))
        .collect())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Modules at the top of a crate that the code map does not mention.
fn check_code_map(map: &str, files: &[PathBuf]) -> BTreeSet<String> {
    let modules = files.iter().filter_map(|path| {
        let (_, inner) = path
            .to_str()?
            .strip_prefix("crates/")?
            .split_once("/src/")?;
        let module = inner.split('/').next()?;
        Some(module.strip_suffix(".rs").unwrap_or(module))
    });
    modules
        .filter(|module| *module != "lib" && !map.contains(&format!("`{module}`")))
        .map(|module| format!("ARCHITECTURE.md: the code map lacks `{module}`"))
        .collect()
}

/// Entries of [`LONG_FILES`] that should be taken out.
fn check_long_list(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for (path, _) in LONG_FILES {
        let text = read(&root.join(path)).context("`LONG_FILES` is out of date")?;
        if (Source { path, text: &text }).code().count() <= MAX_CODE_LINES {
            problems.push(format!("{path}: short by now, take it out of `LONG_FILES`"));
        }
    }
    Ok(problems)
}

/// Dependencies between crates, and licences.
fn check_packages(metadata: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        if package["license"].as_str() != Some(LICENSE) {
            problems.push(format!("{name}: its licence is not {LICENSE}"));
        }
        let Some((_, crates, burn)) = MAY_USE.iter().find(|(it, ..)| *it == name) else {
            problems.push(format!("{name}: not in the dependency table `MAY_USE`"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            let is_burn = used == "burn" || used.starts_with("burn-");
            // A crate names itself to test with other features.
            let is_ours = used != name && MAY_USE.iter().any(|(it, ..)| *it == used);
            if (is_burn && !burn) || (is_ours && !crates.contains(&used)) {
                problems.push(format!("{name}: must not depend on {used}"));
            }
        }
    }
    problems
}

fn workspace_metadata() -> Result<Value> {
    let arguments = ["metadata", "--format-version=1", "--no-deps", "--offline"];
    Ok(serde_json::from_str(&shell::read(&mut shell::cargo(
        &arguments,
    ))?)?)
}

/// Files that are, or by `git add --all` would be, part of the repository.
fn repository_files(root: &Path) -> Result<Vec<PathBuf>> {
    if !root.join(".git").exists() {
        // An unpacked archive: nothing but the repository and what was built.
        return files_below(root, Path::new(""));
    }
    let mut git = shell::program("git");
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let list = shell::read(&mut git)?;
    let files = list.split_terminator('\0').map(PathBuf::from);
    // What was deleted but not yet committed is listed as well.
    Ok(files.filter(|path| root.join(path).is_file()).collect())
}

fn files_below(root: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join(folder))? {
        let path = folder.join(entry?.file_name());
        if path == Path::new("target") || path == Path::new("runs") {
            continue;
        }
        if root.join(&path).is_dir() {
            files.extend(files_below(root, &path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_repository_is_tidy() {
        if let Err(problems) = run() {
            panic!("{problems}");
        }
    }

    #[track_caller]
    fn check_source(path: &str, text: &str, expected: &[&str]) {
        let source = Source { path, text };
        assert_eq!(source.problems(), expected);
    }

    #[test]
    fn a_tidy_file_has_no_problems() {
        let text = "//! Numbers.\n\nfn one() -> u32 {\n    1\n}\n";
        check_source("crates/deberta-model/src/number.rs", text, &[]);
    }

    #[test]
    fn a_file_must_say_what_it_is() {
        let problem = "does not begin with a module comment, `//!`";
        check_source("src/number.rs", "fn one() {}\n", &[problem]);
    }

    #[test]
    fn only_code_counts_as_length() {
        let comments = "// Why.\n\n".repeat(500);
        let tests = format!("#[cfg(test)]\n{}", "code;\n".repeat(500));
        let allowed = format!("//! Long.\n{comments}{}{tests}", "code;\n".repeat(350));
        check_source("src/long.rs", &allowed, &[]);

        let longer = format!("//! Long.\n{}", "code;\n".repeat(351));
        let problem = "351 lines of code, at most 350 fit in a head";
        check_source("src/long.rs", &longer, &[problem]);
    }

    #[test]
    fn unfinished_work_is_found() {
        for spelling in UNFINISHED {
            let text = format!("//! Later.\n{spelling}\n");
            check_source("src/later.rs", &text, &[&format!("contains `{spelling}`")]);
        }
    }

    #[test]
    fn tests_may_be_longer_wherever_they_are() {
        let long = format!("//! Long.\n{}", "code;\n".repeat(500));
        for path in ["tests/cli/long.rs", "src/a/tests.rs", "src/a_tests.rs"] {
            check_source(path, &long, &[]);
        }
    }

    #[test]
    fn unsafe_blocks_stay_where_they_are_needed() {
        let text = concat!("//! Raw.\n#![allow(\n    unsafe", "_code,\n)]\n");
        let problem = concat!("lifts `unsafe", "_code` and is not in `UNSAFE_FILES`");
        check_source("crates/deberta-train/src/raw.rs", text, &[problem]);
        check_source("crates/deberta-model/src/ops/cpu/raw.rs", text, &[]);
    }

    #[test]
    fn libraries_name_no_backend_outside_their_tests() {
        let text = "//! Attention.\n\nuse burn::backend::Flex;\n";
        let problem = ["names a concrete backend"];
        check_source("crates/deberta-model/src/attention.rs", text, &problem);
        check_source("crates/deberta-model/tests/it/golden.rs", text, &[]);

        let text = "//! Attention.\n\n#[cfg(test)]\nmod tests {\n    use burn::backend::Flex;\n}\n";
        check_source("crates/deberta-model/src/attention.rs", text, &[]);
    }

    #[test]
    fn the_network_reads_no_files() {
        let text = "//! Layers.\n\nuse std::fs::File;\n";
        let problem = ["reads files or the network"];
        check_source("crates/deberta-model/src/layer.rs", text, &problem);
        check_source("crates/deberta-model/src/checkpoint/files.rs", text, &[]);
        check_source("crates/deberta-data/src/corpus/text.rs", text, &[]);
    }

    #[test]
    fn the_code_map_names_every_module() {
        let files = [
            "crates/a/src/lib.rs",
            "crates/a/src/layer.rs",
            "crates/a/src/ops/mod.rs",
        ];
        let problems = check_code_map("the `layer`", &files.map(PathBuf::from));
        let expected = "ARCHITECTURE.md: the code map lacks `ops`".to_owned();
        assert_eq!(problems, BTreeSet::from([expected]));
    }

    #[test]
    fn the_dependency_table_is_kept() {
        let package = |name: &str, dependency: &str| {
            let dependencies = json!([{ "name": dependency }]);
            let package = json!({ "name": name, "license": LICENSE, "dependencies": dependencies });
            check_packages(&json!({ "packages": [package] }))
        };
        assert_eq!(package("deberta-train", "deberta-model"), [""; 0]);
        assert_eq!(
            package("deberta-model", "deberta-data"),
            ["deberta-model: must not depend on deberta-data"]
        );
        assert_eq!(
            package("deberta-data", "burn"),
            ["deberta-data: must not depend on burn"]
        );
        assert_eq!(
            package("deberta-hub", "serde"),
            ["deberta-hub: not in the dependency table `MAY_USE`"]
        );
    }
}
