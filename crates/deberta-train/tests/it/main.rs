//! Tests of whole runs.

#![allow(clippy::unwrap_used, reason = "test helpers")]
#![allow(
    clippy::print_stdout,
    reason = "children talk to their parents, skipped tests to us"
)]
#![allow(missing_docs, reason = "tests have names")]

mod child;
mod runs;
mod survival;
mod toy;
