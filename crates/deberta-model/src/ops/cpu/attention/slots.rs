//! From scores per position row to scores per (query, key) pair, and back for gradients.
//!
//! Which position row a pair reads depends on its distance only. Along a row of scores the distance
//! moves by one, so the position rows do too wherever buckets are one distance wide: there a look-up
//! is a contiguous read. Only the far distances, whose buckets are wider, go through the table.

use std::ops::Range;

use crate::ops::cpu::transpose::{BLOCK, transposed_block};

/// Position rows in the order in which scores read them.
pub(super) struct SlotTable {
    slots: Vec<u32>,
    runs: Vec<Run>,
}

/// Consecutive entries of the table.
struct Run {
    entries: Range<usize>,
    /// The slot grows by one from entry to entry.
    linear: bool,
}

impl SlotTable {
    /// Shorter contiguous reads are not worth their set-up.
    const SHORTEST_RUN: usize = 16;

    pub(super) fn new(slots: Vec<u32>) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        let mut start = 0;
        while start < slots.len() {
            let steps = slots[start..].windows(2).take_while(|w| w[1] == w[0] + 1);
            let end = start + 1 + steps.count();
            let linear = end - start >= Self::SHORTEST_RUN;
            match runs.last_mut() {
                Some(last) if !linear && !last.linear => last.entries.end = end,
                _ => runs.push(Run {
                    entries: start..end,
                    linear,
                }),
            }
            start = end;
        }
        Self { slots, runs }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn slot(&self, entry: usize) -> usize {
        self.slots[entry] as usize
    }

    /// The smallest range of slots that holds all of `entries`.
    pub(super) fn bounds(&self, entries: Range<usize>) -> Range<usize> {
        let slots = &self.slots[entries];
        let first = slots.iter().fold(u32::MAX, |a, &b| a.min(b));
        let last = slots.iter().fold(0, |a, &b| a.max(b));
        first as usize..last as usize + 1
    }

    /// `dst[x] += src[slot(start + x) - first]`.
    #[inline(always)]
    pub(super) fn look_up(&self, dst: &mut [f32], src: &[f32], start: usize, first: usize) {
        for (run, linear) in self.runs_within(start, dst.len()) {
            let dst = &mut dst[run.start - start..run.end - start];
            if linear {
                let from = self.slots[run.start] as usize - first;
                for (dst, &score) in dst.iter_mut().zip(&src[from..from + run.len()]) {
                    *dst += score;
                }
            } else {
                for (dst, &slot) in dst.iter_mut().zip(&self.slots[run]) {
                    *dst += src[slot as usize - first];
                }
            }
        }
    }

    /// `dst[slot(start + x) - first] += src[x]`, the transpose of [`Self::look_up`].
    #[inline(always)]
    pub(super) fn scatter(&self, dst: &mut [f32], src: &[f32], start: usize, first: usize) {
        for (run, linear) in self.runs_within(start, src.len()) {
            let src = &src[run.start - start..run.end - start];
            if linear {
                let to = self.slots[run.start] as usize - first;
                for (dst, &gradient) in dst[to..to + run.len()].iter_mut().zip(src) {
                    *dst += gradient;
                }
            } else {
                for (&gradient, &slot) in src.iter().zip(&self.slots[run]) {
                    dst[slot as usize - first] += gradient;
                }
            }
        }
    }

    /// The runs, cut to `start..start + len`.
    #[inline(always)]
    fn runs_within(&self, start: usize, len: usize) -> impl Iterator<Item = (Range<usize>, bool)> {
        self.runs.iter().filter_map(move |run| {
            let cut = run.entries.start.max(start)..run.entries.end.min(start + len);
            (!cut.is_empty()).then_some((cut, run.linear))
        })
    }
}

/// `dst[i, col + j] += src[j, i]` for `rows` rows and `cols` columns, both multiples of 8.
#[inline(always)]
pub(super) fn add_transposed(
    dst: &mut [f32],
    dst_stride: usize,
    src: &[f32],
    src_stride: usize,
    [rows, cols]: [usize; 2],
) {
    for i in (0..rows).step_by(BLOCK) {
        for j in (0..cols).step_by(BLOCK) {
            let block = transposed_block(&src[j * src_stride + i..], src_stride);
            for (row, values) in block.iter().enumerate() {
                let at = (i + row) * dst_stride + j;
                let dst = &mut dst[at..at + BLOCK];
                for (dst, &value) in dst.iter_mut().zip(values) {
                    *dst += value;
                }
            }
        }
    }
}

/// `dst[j, i] = src[i, j]` for `rows` rows and `cols` columns of `src`, both multiples of 8.
#[inline(always)]
pub(super) fn copy_transposed(
    dst: &mut [f32],
    dst_stride: usize,
    src: &[f32],
    src_stride: usize,
    [rows, cols]: [usize; 2],
) {
    for i in (0..rows).step_by(BLOCK) {
        for j in (0..cols).step_by(BLOCK) {
            let block = transposed_block(&src[i * src_stride + j..], src_stride);
            for (row, values) in block.iter().enumerate() {
                let at = (j + row) * dst_stride + i;
                dst[at..at + BLOCK].copy_from_slice(values);
            }
        }
    }
}
