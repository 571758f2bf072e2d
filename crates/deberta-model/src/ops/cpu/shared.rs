//! Memory of tasks: results that many write, and what one packs.

#![allow(
    unsafe_code,
    reason = "tasks share one output; cache lines are read as floats"
)]

use std::marker::PhantomData;

/// A result of which each task writes its own rows.
pub(super) struct SharedOutput<'a> {
    start: *mut f32,
    len: usize,
    _borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: the only access is `write`, whose callers promise disjoint ranges.
unsafe impl Sync for SharedOutput<'_> {}
// SAFETY: it stands for a `&mut [f32]`, which may go to another thread.
unsafe impl Send for SharedOutput<'_> {}

impl<'a> SharedOutput<'a> {
    pub(super) fn new(data: &'a mut [f32]) -> Self {
        Self {
            start: data.as_mut_ptr(),
            len: data.len(),
            _borrow: PhantomData,
        }
    }

    /// The memory that `data` has room for, all of it to be written.
    pub(super) fn spare(data: &'a mut Vec<f32>) -> Self {
        Self {
            start: data.as_mut_ptr(),
            len: data.capacity(),
            _borrow: PhantomData,
        }
    }

    /// Where number `index` lies.
    ///
    /// # Safety
    ///
    /// No two tasks may write the same index through such pointers, nor leave the output.
    pub(super) unsafe fn start(&self, index: usize) -> *mut f32 {
        assert!(index < self.len);
        // SAFETY: inside the borrowed memory by the assertion.
        unsafe { self.start.add(index) }
    }

    /// Copies `values` to `start..`.
    ///
    /// # Safety
    ///
    /// No two tasks may write the same index.
    pub(super) unsafe fn write(&self, start: usize, values: &[f32]) {
        assert!(start <= self.len && values.len() <= self.len - start);
        // SAFETY: inside the borrowed slice by the assertion; not written by another task at the
        // same time by this function's contract.
        unsafe {
            std::ptr::copy_nonoverlapping(values.as_ptr(), self.start.add(start), values.len());
        }
    }
}

/// Numbers from the start of a line of the cache on: a vector across two lines costs as much as two,
/// and few allocators look further than sixteen bytes.
#[derive(Default)]
pub(super) struct CacheLines(Vec<CacheLine>);

#[derive(Clone, Copy)]
#[repr(align(64))]
#[expect(dead_code, reason = "its numbers are read by their place")]
struct CacheLine([f32; CacheLine::LEN]);

impl CacheLine {
    const LEN: usize = 16;
}

impl CacheLines {
    /// `len` numbers of unspecified value.
    pub(super) fn take(&mut self, len: usize) -> &mut [f32] {
        let lines = len.div_ceil(CacheLine::LEN);
        if self.0.len() < lines {
            self.0.resize(lines, CacheLine([0.0; CacheLine::LEN]));
        }
        // SAFETY: a line is sixteen floats and nothing else, and there are enough of them.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) }
    }
}
