//! Where a checkpoint is: a folder, or the cache of what the Hub has.

use std::path::{Path, PathBuf};

use anyhow::Result;
use deberta::hub::{self, HubOptions, Parts};

use crate::watch::Watcher;

/// The folder of a checkpoint, or the file of a tokenizer, that `model` names; what is on the Hub is
/// downloaded.
pub(crate) fn path(model: &str, parts: Parts) -> Result<PathBuf> {
    if Path::new(model).is_file() {
        return Ok(model.into());
    }
    let options = HubOptions {
        parts,
        ..HubOptions::from_env()
    };
    Ok(hub::resolve(model, &options, &mut Watcher::default())?)
}
