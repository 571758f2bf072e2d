//! Scores of a block of queries, the part that the forward and the backward pass share.

use std::ops::Range;

use super::plan::Plan;
use super::slots::add_transposed;
use super::softmax::LANES;
use super::tile::{Into, Matrix, matmul};
use super::{Mask, Segment, Shape};
use crate::ops::cpu::math::dispatch;

/// Queries per block: its scores against 512 keys fill an eighth of a 1 MiB cache.
pub(super) const BLOCK: usize = 64;

/// Keys whose position scores are one product: more would share fewer slots.
const KEY_BLOCK: usize = 64;

/// Keys whose position-to-content scores are transposed at once.
pub(super) const GROUP: usize = 16;

/// Buffers of one thread, reused by its tasks.
#[derive(Default)]
pub(super) struct Buffer(Vec<f32>);

impl Buffer {
    /// `len` numbers of unspecified value.
    pub(super) fn take(&mut self, len: usize) -> &mut [f32] {
        if self.0.len() < len {
            self.0.resize(len, 0.0);
        }
        &mut self.0[..len]
    }

    pub(super) fn zeroed(&mut self, len: usize) -> &mut [f32] {
        let numbers = self.take(len);
        numbers.fill(0.0);
        numbers
    }

    /// The numbers last taken.
    pub(super) fn get(&self) -> &[f32] {
        &self.0
    }
}

/// One head of one sequence, and the scores of the block of queries at hand.
#[derive(Default)]
pub(super) struct Scores {
    /// `[queries, head_dim]`, times the scale.
    pub(super) query: Buffer,
    /// `[keys, head_dim]`
    pub(super) key: Buffer,
    /// `[keys, head_dim]`
    pub(super) value: Buffer,
    /// Scores of keys against position queries, `[keys, live]`.
    key_positions: Buffer,
    /// Scores of the block's queries against position keys.
    query_positions: Buffer,
    /// A group of keys against the block, before it is transposed.
    group: Buffer,
    /// Scores, `[BLOCK, stride]`; masked ones and those beyond the keys are minus infinity.
    pub(super) scores: Buffer,
}

/// Which head, and which of its queries a task does.
#[derive(Clone)]
pub(super) struct Task {
    pub(super) segment: usize,
    pub(super) head: usize,
    pub(super) queries: Range<usize>,
    pub(super) keys: usize,
}

impl Task {
    /// From one row of scores to the next.
    pub(super) fn stride(&self) -> usize {
        self.keys.next_multiple_of(LANES)
    }

    /// Blocks of queries.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let Range { start, end } = self.queries;
        (start..end)
            .step_by(BLOCK)
            .map(move |first| first..end.min(first + BLOCK))
    }

    /// Blocks of keys.
    pub(super) fn key_blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let keys = self.keys;
        (0..keys)
            .step_by(KEY_BLOCK)
            .map(move |first| first..keys.min(first + KEY_BLOCK))
    }

    /// Numbers of `rows`, a range of this task's queries, in a `[queries, head_dim]` buffer.
    pub(super) fn local(&self, rows: &Range<usize>, head_dim: usize) -> Range<usize> {
        (rows.start - self.queries.start) * head_dim..(rows.end - self.queries.start) * head_dim
    }
}

impl Scores {
    /// Copies the head and multiplies its keys with the position queries.
    pub(super) fn load(&mut self, plan: &Plan<'_>, task: &Task) {
        let Shape { head_dim, live, .. } = plan.inputs.shape;
        let (inputs, keys) = (plan.inputs, task.keys);
        let q_rows = plan.query_rows(task.segment, task.head);
        let k_rows = plan.key_rows(task.segment, task.head);
        let query = self.query.take(task.queries.len() * head_dim);
        q_rows.read(query, inputs.query, task.queries.clone(), inputs.scale);
        let key = self.key.take(keys * head_dim);
        k_rows.read(key, inputs.key, 0..keys, 1.0);
        k_rows.read(self.value.take(keys * head_dim), inputs.value, 0..keys, 1.0);

        let Some(pos_query) = &plan.pos_query else {
            return;
        };
        let key_positions = self.key_positions.take(keys * live);
        for block in task.key_blocks() {
            let slots = plan.key_slots(task.segment, task.queries.clone(), block.clone());
            let rows = block.len();
            matmul(
                &mut key_positions[block.start * live + slots.start..],
                live,
                Into::Replace,
                1.0,
                Matrix::new(&key[block.start * head_dim..], rows, head_dim, head_dim),
                pos_query.columns(task.head, &slots),
            );
        }
    }

    /// Fills `self.scores` for `block`, masks included.
    pub(super) fn compute(&mut self, plan: &Plan<'_>, task: &Task, block: &Range<usize>) {
        let Shape { head_dim, .. } = plan.inputs.shape;
        let (rows, keys, stride) = (block.len(), task.keys, task.stride());
        let query = &self.query.get()[task.local(block, head_dim)];
        let query = Matrix::new(query, rows, head_dim, head_dim);
        let key = Matrix::new(self.key.get(), keys, head_dim, head_dim);
        let scores = self.scores.take(BLOCK * stride);
        matmul(scores, stride, Into::Replace, 1.0, query, key.t());

        if let Some(pos_key) = &plan.pos_key {
            let slots = plan.query_slots(task.segment, block.clone(), keys);
            let pos_key = pos_key.columns(task.head, &slots);
            let buffer = self.query_positions.take(rows * slots.len());
            matmul(buffer, slots.len(), Into::Replace, 1.0, query, pos_key);
            dispatch(
                #[inline(always)]
                || {
                    let rows = scores
                        .chunks_exact_mut(stride)
                        .zip(buffer.chunks_exact(slots.len()));
                    for (query, (scores, src)) in block.clone().zip(rows) {
                        let entry = plan.falling_entry(plan.position(task.segment, query));
                        plan.falling
                            .look_up(&mut scores[..keys], src, entry, slots.start);
                    }
                },
            );
        }
        if plan.pos_query.is_some() {
            let group = self.group.take(GROUP * BLOCK);
            dispatch(
                #[inline(always)]
                || add_key_positions(plan, task, block, self.key_positions.get(), group, scores),
            );
        }
        dispatch(
            #[inline(always)]
            || mask(plan, task, block, scores),
        );
    }
}

/// Adds the position-to-content scores of `block` to `scores`.
#[inline(always)]
fn add_key_positions(
    plan: &Plan<'_>,
    task: &Task,
    block: &Range<usize>,
    key_positions: &[f32],
    group: &mut [f32],
    scores: &mut [f32],
) {
    let live = plan.inputs.shape.live;
    for first in (0..task.keys).step_by(GROUP) {
        group.fill(0.0);
        for (key, dst) in (first..task.keys).zip(group.chunks_exact_mut(BLOCK)) {
            let dst = &mut dst[..block.len()];
            let src = &key_positions[key * live..(key + 1) * live];
            match plan.inputs.query_positions {
                None => plan
                    .rising
                    .look_up(dst, src, plan.rising_entry(block.start, key), 0),
                Some(_) => {
                    for (query, dst) in block.clone().zip(dst) {
                        let position = plan.position(task.segment, query);
                        *dst = src[plan.rising.slot(plan.rising_entry(position, key))];
                    }
                }
            }
        }
        add_transposed(
            &mut scores[first..],
            task.stride(),
            group,
            BLOCK,
            [block.len().next_multiple_of(8), GROUP],
        );
    }
}

/// Sets masked scores, and the columns beyond the last key, to minus infinity.
#[inline(always)]
fn mask(plan: &Plan<'_>, task: &Task, block: &Range<usize>, scores: &mut [f32]) {
    let Segment { queries, keys } = plan.segment(task.segment);
    for (query, scores) in block.clone().zip(scores.chunks_exact_mut(task.stride())) {
        let (scores, beyond) = scores.split_at_mut(task.keys);
        beyond.fill(f32::NEG_INFINITY);
        let blocked = match plan.inputs.mask {
            Mask::Full => continue,
            Mask::Padding(padding) => &padding[keys.start..],
            Mask::Pairwise(blocked) => &blocked[(queries.start + query) * keys.len()..],
        };
        for (score, &blocked) in scores.iter_mut().zip(blocked) {
            *score = if blocked { f32::NEG_INFINITY } else { *score };
        }
    }
}
