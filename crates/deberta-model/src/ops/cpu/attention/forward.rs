//! The forward pass.

use std::cell::RefCell;

use rayon::prelude::*;

use super::plan::Plan;
use super::scores::{BLOCK, Buffer, Scores, Task};
use super::softmax::exponentials;
use super::tile::{Into, Matrix, matmul};
use super::{Inputs, Shape};
use crate::ops::cpu::math::dispatch;
use crate::ops::cpu::shared::SharedOutput;

/// Fewer tasks than this, and the queries of a head are split too.
const ENOUGH_TASKS: usize = 32;

/// A shorter piece of a head spends too much on position scores that its neighbours need as well.
const SHORTEST_PIECE: usize = 128;

#[derive(Default)]
struct Buffers {
    scores: Scores,
    out: Buffer,
    lse: Buffer,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// Attends; gives the output and, for the backward pass, the log-sum-exp of each row of scores.
///
/// # Shapes
///
/// - output: `[q_rows, heads * head_dim]`, zero where a query sees nothing
/// - log-sum-exp: `[heads, q_rows]`, minus infinity where a query sees nothing
///
/// # Panics
///
/// If a slice does not have the size its shape says, or a query position has no slot.
pub(crate) fn forward(inputs: &Inputs<'_>) -> (Vec<f32>, Vec<f32>) {
    let plan = Plan::new(inputs);
    let Shape { q_rows, heads, .. } = inputs.shape;
    let mut out = vec![0.0; q_rows * inputs.shape.width()];
    let mut lse = vec![f32::NEG_INFINITY; heads * q_rows];
    let tasks = tasks(&plan);
    let (shared_out, shared_lse) = (SharedOutput::new(&mut out), SharedOutput::new(&mut lse));
    tasks.par_iter().with_max_len(1).for_each(|task| {
        BUFFERS.with_borrow_mut(|buffers| buffers.attend(&plan, task, &shared_out, &shared_lse));
    });
    (out, lse)
}

/// The pieces of the work. They depend on the sizes alone: results must not depend on the machine.
fn tasks(plan: &Plan<'_>) -> Vec<Task> {
    let Shape { heads, .. } = plan.inputs.shape;
    let pieces = ENOUGH_TASKS.div_ceil((plan.segments() * heads).max(1));
    let mut tasks = Vec::new();
    for segment in 0..plan.segments() {
        let extent = plan.extent(segment);
        let piece = extent
            .queries
            .div_ceil(pieces)
            .next_multiple_of(BLOCK)
            .max(SHORTEST_PIECE);
        for head in 0..heads {
            for first in (0..extent.queries).step_by(piece) {
                tasks.push(Task {
                    segment,
                    head,
                    queries: first..extent.queries.min(first + piece),
                    keys: extent.keys,
                });
            }
        }
    }
    tasks
}

impl Buffers {
    fn attend(
        &mut self,
        plan: &Plan<'_>,
        task: &Task,
        out: &SharedOutput<'_>,
        lse: &SharedOutput<'_>,
    ) {
        let Shape { head_dim, .. } = plan.inputs.shape;
        let out_rows = plan.query_rows(task.segment, task.head);
        let first_row = plan.score_row(task.segment, task.head, 0);
        let stride = task.stride();
        self.scores.load(plan, task);
        for block in task.blocks() {
            self.scores.compute(plan, task, &block);
            let probs = self.scores.scores.take(block.len() * stride);
            // The row's factor waits here until the product is done.
            let factors = &mut [0.0; BLOCK][..block.len()];
            let block_lse = self.lse.take(block.len());
            dispatch(
                #[inline(always)]
                || {
                    for (row, query) in block.clone().enumerate() {
                        let probs = &mut probs[row * stride..(row + 1) * stride];
                        if plan.is_blind(task.segment, query) {
                            probs.fill(0.0);
                            (factors[row], block_lse[row]) = (0.0, f32::NEG_INFINITY);
                            continue;
                        }
                        let (max, sum) = exponentials(probs);
                        (factors[row], block_lse[row]) = (1.0 / sum, max + sum.ln());
                        if let Some(dropout) = &plan.dropout {
                            dropout.row(first_row + query).drop_from(probs);
                            factors[row] *= dropout.keep_factor;
                        }
                    }
                },
            );
            let out_block = self.out.take(block.len() * head_dim);
            let value = self.scores.value.get();
            matmul(
                out_block,
                head_dim,
                Into::Replace,
                1.0,
                Matrix::new(probs, block.len(), task.keys, stride),
                Matrix::new(value, task.keys, head_dim, head_dim),
            );
            for (row, factor) in out_block.chunks_exact_mut(head_dim).zip(factors) {
                row.iter_mut().for_each(|x| *x *= *factor);
            }
            // SAFETY: segments do not overlap, nor do the queries of different tasks of one head.
            #[allow(unsafe_code, reason = "tasks share the output")]
            unsafe {
                out_rows.write(out, out_block, block.clone());
                lse.write(first_row + block.start, block_lse);
            }
        }
    }
}
