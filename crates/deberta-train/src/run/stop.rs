//! Ctrl-C.

use std::io;

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
/// [`TrainError::Signal`] if the system does not let the process listen.
pub fn stop_on_ctrl_c(interrupter: &Interrupter) -> Result<(), TrainError> {
    let interrupter = interrupter.clone();
    let mut pressed = false;
    on_ctrl_c(move || {
        if std::mem::replace(&mut pressed, true) {
            std::process::exit(EXIT_INTERRUPTED);
        }
        interrupter.stop(Some("stopped by a signal"));
    })
    .map_err(TrainError::Signal)
}

/// Calls `handler` at every Ctrl-C (and `SIGTERM`), on a thread of its own.
///
/// `SIGHUP` stays as it is: a program that `nohup` has started must outlive its terminal.
///
/// # Errors
///
/// If the system does not let the process listen.
#[cfg(unix)]
pub fn on_ctrl_c(mut handler: impl FnMut() + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};

    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || signals.forever().for_each(|_| handler()))?;
    Ok(())
}

/// Calls `handler` at every Ctrl-C, on a thread of its own.
///
/// # Errors
///
/// If another handler is installed already.
#[cfg(not(unix))]
pub fn on_ctrl_c(handler: impl FnMut() + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(handler).map_err(io::Error::other)
}
