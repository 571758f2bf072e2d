//! Checkpoints from which a run continues bit for bit.
//!
//! ```text
//! RUN/checkpoints/step-0001234/
//!   model.mpk       parameters, with their ids
//!   optimizer.mpk   moments and step counts, by parameter id
//!   state.json      step, seed, data cursor, best evaluation
//!   config.json     the resolved configuration of the run
//!   manifest.json   format version, and length and SHA-256 of every file above
//! ```
//!
//! A checkpoint is written beside its final place, flushed to the disk and renamed, so a folder
//! called `step-…` is complete whatever happened while it was written. Records are hashed on their way
//! into the file and never in memory as bytes. Reading verifies every byte. The learning rate and the
//! random state are functions of the step and the seed, hence not stored. Burn's own checkpointer saves
//! at ends of epochs only and panics when the disk is full, which is why this one exists.

mod error;
mod manifest;
mod record;
mod state;
pub(crate) mod storage;
mod store;

pub use error::CheckpointError;
pub(crate) use error::with_causes;
pub use record::write_record;
pub(crate) use record::{Settings, write_item};
pub use state::{Best, Cursor, LossScale, TrainState};
pub use store::{Checkpoint, CheckpointStore, Restored, saved_steps};
