//! Standard output, whose reader may have seen enough before everything is written.

use std::io::{self, Write};

/// Nobody reads any more, which is no failure of this program.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads what is written any more")]
struct Closed;

/// Standard output, locked; [`unless_closed`] knows its errors from those of other pipes.
pub(crate) struct Stdout(io::StdoutLock<'static>);

pub(crate) fn stdout() -> Stdout {
    Stdout(io::stdout().lock())
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(named)
    }
}

fn named(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, Closed),
        _ => error,
    }
}

/// What a command came to, where a reader that went away is no failure.
pub(crate) fn unless_closed<T: Default>(result: anyhow::Result<T>) -> anyhow::Result<T> {
    match result {
        Err(error) if is_closed(&error) => Ok(T::default()),
        result => result,
    }
}

/// Whether this is what is left of a reader that went away.
fn is_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let inner = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<Closed>)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pipe_of_standard_output_counts() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        let error = anyhow::Error::from(named(broken())).context("cannot write");
        assert!(is_closed(&error));
        assert!(!is_closed(&broken().into()));
        assert!(!is_closed(&named(io::ErrorKind::NotFound.into()).into()));
    }
}
