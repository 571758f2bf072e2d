//! The memory allocator of this project's programs.
//!
//! A network allocates and frees blocks of many megabytes all the time. An allocator that returns
//! them to the system has every page zeroed and mapped anew: a third of a training step with the
//! published vocabulary of 128,000 pieces.
//!
//! ```no_run
//! #[global_allocator]
//! static ALLOCATOR: deberta::allocator::Allocator = deberta::allocator::Allocator;
//!
//! fn main() {
//!     deberta::allocator::keep_freed_memory();
//! }
//! ```

#![allow(unsafe_code, reason = "an option of a C library")]

use std::sync::Once;

pub use mimalloc::MiMalloc as Allocator;

/// `mi_option_purge_delay` of mimalloc 2 and 3, which the bindings do not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Keeps freed memory for the next batch instead of returning it to the system.
///
/// For the first lines of `main`, with [`Allocator`] as the global allocator; without it this does
/// nothing. The environment variable `MIMALLOC_PURGE_DELAY` has the last word.
pub fn keep_freed_memory() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
            // SAFETY: the option exists and takes any number; `ONCE` keeps other callers away, and
            // threads that allocate meanwhile read either value.
            unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_memory_is_kept() {
        keep_freed_memory();
        // SAFETY: reads a number.
        let delay = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert!(delay == -1 || std::env::var_os("MIMALLOC_PURGE_DELAY").is_some());
    }
}
