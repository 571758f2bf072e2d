//! Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::train::Interrupter;

use super::TrainError;

/// Exit status of a process that was ended by Ctrl-C, by convention of the shells.
const EXIT_INTERRUPTED: i32 = 130;

/// Makes Ctrl-C (and `SIGTERM`) end a run properly: the step is finished, a checkpoint written.
///
/// A second Ctrl-C ends the process at once. Signal handlers belong to the whole process, so
/// this is for `main` to call, once.
///
/// # Errors
///
/// [`TrainError::Signal`] if another handler is installed already.
pub fn stop_on_ctrl_c(interrupter: &Interrupter) -> Result<(), TrainError> {
    let interrupter = interrupter.clone();
    let pressed = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if pressed.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_INTERRUPTED);
        }
        interrupter.stop(Some("stopped by a signal"));
    })?;
    Ok(())
}
