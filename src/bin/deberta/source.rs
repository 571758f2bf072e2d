//! Where a checkpoint is: a folder, or the cache of what the Hub has.

use std::path::{Path, PathBuf};

use anyhow::Result;
use deberta::hub::{self, DownloadProgress, HubOptions, Parts};
use indicatif::{ProgressBar, ProgressStyle};

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
    Ok(hub::resolve(model, &options, &mut Bar::default())?)
}

/// Downloads on standard error; nothing unless it is a terminal.
#[derive(Default)]
pub(crate) struct Bar(Option<ProgressBar>);

impl DownloadProgress for Bar {
    fn start(&mut self, file: &str, size: u64, received: u64) {
        let template = "{msg} {bytes}/{total_bytes} {wide_bar} {bytes_per_sec} {eta}";
        let style = ProgressStyle::with_template(template);
        let bar = ProgressBar::new(size)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
            .with_message(file.to_owned())
            .with_position(received);
        self.0 = Some(bar);
    }

    fn advance(&mut self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }

    fn finish(&mut self, _file: &str) {
        if let Some(bar) = self.0.take() {
            bar.finish();
        }
    }
}
