//! What the library says beside its results: warnings on standard error.

use std::io::{self, Write};

use log::{Level, Log, Metadata, Record};

struct Warnings;

impl Log for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn && metadata.target().starts_with("deberta")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // Nobody may be listening any more.
            let _ = writeln!(io::stderr(), "warning: {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// Shows warnings of this project's crates from now on.
pub(crate) fn install() {
    // There is one logger per process, and a second call keeps the first.
    if log::set_logger(&Warnings).is_ok() {
        log::set_max_level(Level::Warn.to_level_filter());
    }
}
