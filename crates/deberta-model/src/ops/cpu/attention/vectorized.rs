//! Loops compiled for the instruction set that the processor has at run time.

use pulp::{Arch, NullaryFnOnce};

struct Work<F>(F);

impl<F: FnMut()> NullaryFnOnce for Work<F> {
    type Output = ();

    // Pulp calls a bare closure through `FnOnce`, for which the compiler puts a function of the
    // plain instruction set in between; through `FnMut`, the loops themselves are inlined.
    #[inline(always)]
    fn call(mut self) {
        (self.0)();
    }
}

/// Runs `work`, which must be `#[inline(always)]`, with the widest vectors there are.
#[inline(always)]
pub(super) fn vectorized(work: impl FnMut()) {
    Arch::new().dispatch(Work(work));
}
