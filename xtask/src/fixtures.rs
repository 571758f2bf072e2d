//! Golden files, written again by the scripts that made them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;

/// A folder of golden files and how to make it.
struct Fixture {
    /// Name on the command line.
    name: &'static str,
    /// Where the files are committed.
    folder: &'static str,
    /// Folders in it, if there are others that another script writes; empty for all.
    parts: &'static [&'static str],
    /// Python script that writes all of them.
    script: &'static str,
    /// Whether it writes below `$GOLDEN_OUT`, and more than is committed; otherwise in place.
    writes_elsewhere: bool,
    /// What the script needs.
    needs: &'static str,
    /// Variables that must be set, with their meaning.
    variables: &'static [(&'static str, &'static str)],
}

const FIXTURES: &[Fixture] = &[
    Fixture {
        name: "model",
        folder: "crates/deberta-model/tests/fixtures",
        parts: &["buckets", "hf", "ms"],
        script: "scripts/golden/make_golden.py",
        writes_elsewhere: true,
        needs: "pip install torch==2.15.0 transformers==5.23.0 safetensors",
        variables: &[(
            "MS_DEBERTA",
            "a folder with a clone of microsoft/DeBERTa at commit 4d7fe0b, see the folder's README",
        )],
    },
    Fixture {
        name: "optimiser",
        folder: "crates/deberta-train/tests/fixtures",
        parts: &[],
        script: "scripts/golden/make_golden_optim.py",
        writes_elsewhere: false,
        needs: "pip install torch==2.15.0",
        variables: &[(
            "MS_DEBERTA",
            "a folder with a clone of microsoft/DeBERTa at commit 4d7fe0b, see the README of the \
             network's fixtures",
        )],
    },
    Fixture {
        name: "fine-tuning",
        folder: "crates/deberta-train/tests/fixtures",
        parts: &[],
        script: "scripts/golden/make_golden_finetune.py",
        writes_elsewhere: false,
        needs: "pip install torch==2.15.0 transformers==5.23.0 safetensors",
        variables: &[],
    },
    Fixture {
        name: "tokenizer",
        folder: "crates/deberta-data/tests/fixtures/tokenizer",
        parts: &[],
        script: "scripts/make_tokenizer_golden.py",
        writes_elsewhere: false,
        needs: "pip install sentencepiece==0.2.3 tokenizers==0.23.3 regex",
        variables: &[],
    },
    Fixture {
        name: "pytorch",
        folder: "crates/deberta-model/tests/fixtures/pytorch",
        parts: &[],
        script: "scripts/golden/make_pytorch_files.py",
        writes_elsewhere: false,
        needs: "pip install torch==2.15.0 safetensors==0.8.0",
        variables: &[],
    },
    Fixture {
        name: "bad",
        folder: "crates/deberta-model/tests/fixtures/bad",
        parts: &[],
        script: "scripts/golden/make_bad_files.py",
        writes_elsewhere: false,
        needs: "nothing but Python",
        variables: &[],
    },
    Fixture {
        name: "tokenizer-torture",
        folder: "crates/deberta-data/tests/fixtures/tokenizer",
        parts: &[],
        script: "scripts/make_tokenizer_torture.py",
        writes_elsewhere: false,
        needs: "pip install sentencepiece==0.2.3 tokenizers==0.23.3 regex",
        variables: &[(
            "DEBERTA_DATA",
            "the folder with the published vocabularies, see the script",
        )],
    },
    Fixture {
        name: "pipelines",
        folder: "tests/fixtures/pipelines",
        parts: &[],
        script: "scripts/pipelines.py",
        writes_elsewhere: true,
        needs: "pip install torch==2.15.0 transformers==5.23.0 safetensors numpy",
        variables: &[
            ("DEBERTA_BIN", "the program, such as target/release/deberta"),
            (
                "TRANSFORMERS_4",
                "a folder with the older release that has question answering, see the script",
            ),
        ],
    },
    Fixture {
        name: "metric",
        folder: "crates/deberta-data/tests/fixtures/metric",
        parts: &[],
        script: "scripts/make_metric_golden.py",
        writes_elsewhere: false,
        needs: "pip install numpy scikit-learn==1.9.1 scipy==1.17.1 seqeval==1.2.2, \
                pip install --no-deps farm==0.8.0 jiant==2.2.0",
        variables: &[],
    },
];

/// Writes the fixture of that name again, or all.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let names: Vec<&str> = FIXTURES.iter().map(|it| it.name).collect();
    if let Some(unknown) = arguments.iter().find(|it| !names.contains(&it.as_str())) {
        bail!(
            "unknown fixture `{unknown}`, expected one of: {}",
            names.join(", ")
        );
    }
    for fixture in FIXTURES {
        if arguments.is_empty() || arguments.iter().any(|it| it == fixture.name) {
            fixture.write()?;
        }
    }
    println!("look at `git diff --stat` before committing");
    Ok(())
}

impl Fixture {
    fn write(&self) -> Result<()> {
        println!("{}: needs {}", self.name, self.needs);
        for (variable, meaning) in self.variables {
            if std::env::var_os(variable).is_none() {
                bail!("{}: set {variable} to {meaning}", self.name);
            }
        }
        let out = shell::root().join("target/fixtures").join(self.name);
        let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
        let mut script = shell::program(python);
        shell::run(script.arg(self.script).env("GOLDEN_OUT", &out))?;
        if self.writes_elsewhere {
            self.replace_committed(&out)?;
        }
        Ok(())
    }

    /// Copies what was made over what is committed.
    fn replace_committed(&self, out: &Path) -> Result<()> {
        let committed = shell::root().join(self.folder);
        let is_made = |relative: &Path| {
            let in_part =
                self.parts.is_empty() || self.parts.iter().any(|it| relative.starts_with(it));
            in_part && relative.extension().is_none_or(|it| it != "md")
        };
        for file in files_below(&committed)? {
            let relative = file.strip_prefix(&committed)?;
            if !is_made(relative) {
                continue;
            }
            let made = out.join(relative);
            fs::copy(&made, &file)
                .with_context(|| format!("the script did not make {}", relative.display()))?;
        }
        Ok(())
    }
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_and_folder_exists() {
        for fixture in FIXTURES {
            for path in [fixture.script, fixture.folder] {
                assert!(shell::root().join(path).exists(), "{path}");
            }
        }
    }
}
