//! How a command that takes long is watched and stopped.
#![allow(clippy::print_stderr, reason = "prints progress")]

use std::path::Path;

use anyhow::Result;
use burn::train::Interrupter;
use deberta::backend::DEFAULT_BACKEND_NAME;
use deberta::hub::DownloadProgress;
use deberta::pretrain::RunOptions;
use deberta::train::run::{Display, stop_on_ctrl_c};
use deberta::{finetune, pretrain};
use indicatif::{ProgressBar, ProgressStyle};

use crate::logger;

/// Shows warnings of the library, unless Burn's dashboard fills the terminal, whose run has them in
/// `experiment.log`.
pub(crate) fn show_warnings(plain: bool) {
    if Display::choose(!plain) != Display::Dashboard {
        logger::install();
    }
}

/// How a training run that Ctrl-C stops goes; says where it runs.
pub(crate) fn training(resume: bool, plain: bool, out: &Path) -> Result<RunOptions> {
    let interrupter = Interrupter::new();
    stop_on_ctrl_c(&interrupter)?;
    eprintln!(
        "DeBERTa on {DEFAULT_BACKEND_NAME}, {} threads, into {}",
        std::thread::available_parallelism().map_or(1, usize::from),
        out.display()
    );
    Ok(RunOptions {
        resume,
        display: Display::choose(!plain),
        interrupter,
    })
}

/// Stages, downloads and remarks on standard error; what moves only if it is a terminal.
#[derive(Default)]
pub(crate) struct Watcher(Option<ProgressBar>);

impl Watcher {
    fn show(&mut self, template: &str, message: String, total: u64) {
        self.clear();
        let style = ProgressStyle::with_template(template);
        let bar = ProgressBar::new(total)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
            .with_message(message);
        self.0 = Some(bar);
    }

    fn clear(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

impl DownloadProgress for Watcher {
    fn start(&mut self, file: &str, size: u64, received: u64) {
        let template = "{msg} {bytes}/{total_bytes} {wide_bar} {bytes_per_sec} {eta}";
        self.show(template, file.to_owned(), size);
        self.advance(received);
    }

    fn advance(&mut self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }

    fn finish(&mut self, _file: &str) {
        self.clear();
    }
}

impl pretrain::Progress for Watcher {
    fn stage(&mut self, stage: pretrain::Stage) {
        let template = "{msg:28} {bar:30} {bytes}/{total_bytes} {eta}";
        self.show(template, stage.describe().to_owned(), 0);
    }

    fn bytes(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.0 {
            bar.set_length(total);
            bar.set_position(done.min(total));
        }
    }

    fn note(&mut self, note: &str) {
        eprintln!("{note}");
    }
}

impl finetune::Progress for Watcher {
    fn stage(&mut self, stage: finetune::Stage) {
        self.clear();
        eprintln!("{} …", stage.describe());
    }

    fn note(&mut self, note: &str) {
        eprintln!("{note}");
    }
}
