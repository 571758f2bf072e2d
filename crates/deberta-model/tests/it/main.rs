//! Golden and invariance tests of the network against the reference implementations.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod checkpoint;
mod golden;
mod heads;
mod inputs;
mod invariance;
mod precision;
mod support;
