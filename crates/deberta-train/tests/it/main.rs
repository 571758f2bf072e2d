//! Tests of whole runs.

#![allow(clippy::unwrap_used, reason = "test helpers")]
#![allow(
    clippy::print_stdout,
    reason = "children talk to their parents, skipped tests to us"
)]
#![allow(missing_docs, reason = "tests have names")]

mod child;
mod evaluations;
mod finetune;
mod optim;
mod parity;
mod runs;
#[path = "../../../deberta-model/tests/it/support.rs"]
#[allow(
    dead_code,
    unexpected_cfgs,
    unused_imports,
    unused_macros,
    reason = "written for the network's own tests"
)]
mod support;
mod survival;
mod task;
mod toy;
mod trajectory;
