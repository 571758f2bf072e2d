//! Folders that checkpoints are written into.

use std::path::Path;

use anyhow::{Result, bail};
use deberta::model::checkpoint::weights_path;

/// Refuses a folder that has weights already, which may be those of days of training.
pub(crate) fn check_free(dir: &Path, force: bool) -> Result<()> {
    match weights_path(dir) {
        Some(weights) if !force => bail!(
            "{} is there already; --force writes in its place",
            weights.display()
        ),
        _ => Ok(()),
    }
}
