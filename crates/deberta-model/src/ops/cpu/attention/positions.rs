//! Gradients through the two position terms.

use std::ops::Range;

use rayon::prelude::*;

use super::Shape;
use super::backward::Buffers;
use super::plan::Plan;
use super::scores::{BLOCK, GROUP, Task};
use super::slots::copy_transposed;
use super::tile::{Into, Matrix, matmul};
use crate::ops::cpu::math::dispatch;

/// Position gradients of one head from a part of the batch, `[live, head_dim]` each.
pub(super) struct PositionGradients {
    pub(super) pos_key: Vec<f32>,
    pub(super) pos_query: Vec<f32>,
}

/// Adds the parts of each head and puts the heads side by side, `[live, heads * head_dim]`.
pub(super) fn sum_parts(
    shape: &Shape,
    positions: &[PositionGradients],
    parts: usize,
    part: fn(&PositionGradients) -> &[f32],
    last_first: bool,
) -> Vec<f32> {
    let Shape { head_dim, live, .. } = *shape;
    let mut sums = vec![0.0; live * shape.width()];
    let rows = sums.par_chunks_exact_mut(shape.width().max(1)).enumerate();
    rows.for_each(|(slot, sums)| {
        let row = if last_first { live - 1 - slot } else { slot };
        for (sum, parts) in sums.chunks_exact_mut(head_dim).zip(positions.chunks(parts)) {
            for gradients in parts {
                let src = &part(gradients)[row * head_dim..(row + 1) * head_dim];
                for (sum, &src) in sum.iter_mut().zip(src) {
                    *sum += src;
                }
            }
        }
    });
    sums
}

impl Buffers {
    /// Gradients through the content-to-position term.
    pub(super) fn query_positions(
        &mut self,
        plan: &Plan<'_>,
        task: &Task,
        block: &Range<usize>,
        d_pos_key: &mut [f32],
    ) {
        let Some(pos_key) = &plan.pos_key else { return };
        let head_dim = plan.inputs.shape.head_dim;
        let (rows, keys, stride) = (block.len(), task.keys, task.stride());
        let slots = plan.query_slots(task.segment, block.clone(), keys);
        let gradient = self.d_query_positions.zeroed(rows * slots.len());
        let d_scores = self.d_scores.get();
        dispatch(
            #[inline(always)]
            || {
                let rows = d_scores
                    .chunks_exact(stride)
                    .zip(gradient.chunks_exact_mut(slots.len()));
                for (query, (src, dst)) in block.clone().zip(rows) {
                    let entry = plan.falling_entry(plan.position(task.segment, query));
                    plan.falling.scatter(dst, &src[..keys], entry, slots.start);
                }
            },
        );
        let first = slots.start * head_dim;
        let pos_key = pos_key.rows(task.head, &slots);
        let gradient = Matrix::new(gradient, rows, slots.len(), slots.len());
        let query = &self.scores.query.get()[task.local(block, head_dim)];
        let query = Matrix::new(query, rows, head_dim, head_dim);
        let d_query = self.d_query.take(BLOCK * head_dim);
        matmul(
            d_query,
            head_dim,
            Into::Add,
            plan.inputs.scale,
            gradient,
            pos_key,
        );
        matmul(
            &mut d_pos_key[first..],
            head_dim,
            Into::Add,
            1.0,
            gradient.t(),
            query,
        );
    }

    /// Adds the gradient of the block's scores to those of its keys against position queries.
    #[inline(always)]
    pub(super) fn scatter_key_positions(
        &mut self,
        plan: &Plan<'_>,
        task: &Task,
        block: &Range<usize>,
    ) {
        let (live, stride) = (plan.inputs.shape.live, task.stride());
        let d_scores = self.d_scores.get();
        let gradient = self.d_key_positions.take(task.keys * live);
        let group = self.group.take(GROUP * BLOCK);
        for first in (0..task.keys).step_by(GROUP) {
            copy_transposed(group, BLOCK, &d_scores[first..], stride, [BLOCK, GROUP]);
            for (key, src) in (first..task.keys).zip(group.chunks_exact(BLOCK)) {
                let src = &src[..block.len()];
                let dst = &mut gradient[key * live..(key + 1) * live];
                match plan.inputs.query_positions {
                    None => plan
                        .rising
                        .scatter(dst, src, plan.rising_entry(block.start, key), 0),
                    Some(_) => {
                        for (query, &src) in block.clone().zip(src) {
                            let position = plan.position(task.segment, query);
                            dst[plan.rising.slot(plan.rising_entry(position, key))] += src;
                        }
                    }
                }
            }
        }
    }

    /// Gradients through the position-to-content term, for all queries at once.
    pub(super) fn key_positions(&mut self, plan: &Plan<'_>, task: &Task, d_pos_query: &mut [f32]) {
        let Some(pos_query) = &plan.pos_query else {
            return;
        };
        let Shape { head_dim, live, .. } = plan.inputs.shape;
        let d_key = self.d_key.take(task.keys * head_dim);
        for block in task.key_blocks() {
            let slots = plan.key_slots(task.segment, task.queries.clone(), block.clone());
            let (rows, cols, local) = (block.len(), slots.len(), block.start * head_dim);
            let gradient = &self.d_key_positions.get()[block.start * live + slots.start..];
            let gradient = Matrix::new(gradient, rows, cols, live);
            let key = Matrix::new(&self.scores.key.get()[local..], rows, head_dim, head_dim);
            let first = slots.start * head_dim;
            let pos_query = pos_query.rows(task.head, &slots);
            matmul(
                &mut d_key[local..],
                head_dim,
                Into::Add,
                1.0,
                gradient,
                pos_query,
            );
            let d_pos_query = &mut d_pos_query[first..];
            matmul(
                d_pos_query,
                head_dim,
                Into::Add,
                plan.inputs.scale,
                gradient.t(),
                key,
            );
        }
    }
}
