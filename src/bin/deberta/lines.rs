//! Text that comes line by line, from files or standard input.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use anyhow::{Context, Result};

/// One file, or standard input.
pub(crate) struct Source {
    /// How messages call it.
    pub(crate) name: String,
    pub(crate) reader: Box<dyn BufRead>,
}

/// The files, opened; standard input if there are none. `-` is standard input too.
pub(crate) fn sources(files: &[PathBuf]) -> Result<Vec<Source>> {
    let standard_input = || Source {
        name: "standard input".into(),
        reader: Box::new(std::io::stdin().lock()),
    };
    if files.is_empty() {
        return Ok(vec![standard_input()]);
    }
    let open = |path: &PathBuf| {
        if path.as_os_str() == "-" {
            return Ok(standard_input());
        }
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Source {
            name: path.display().to_string(),
            reader: Box::new(BufReader::new(file)),
        })
    };
    files.iter().map(open).collect()
}
