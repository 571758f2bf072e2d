//! The backward pass.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::plan::Plan;
use super::positions::{PositionGradients, sum_parts};
use super::scores::{BLOCK, Buffer, Scores, Task};
use super::softmax;
use super::tile::{Into, Matrix, matmul};
use super::{Inputs, Shape};
use crate::ops::cpu::math::dispatch;
use crate::ops::cpu::math::exp;
use crate::ops::cpu::shared::SharedOutput;

/// Tasks to aim for; each keeps its own sum of the position gradients.
const TASKS: usize = 48;

/// Gradients of the loss, shaped as the inputs they belong to.
#[derive(Debug)]
pub(crate) struct Gradients {
    pub(crate) query: Vec<f32>,
    pub(crate) key: Vec<f32>,
    pub(crate) value: Vec<f32>,
    pub(crate) pos_key: Option<Vec<f32>>,
    pub(crate) pos_query: Option<Vec<f32>>,
}

#[derive(Default)]
pub(super) struct Buffers {
    pub(super) scores: Scores,
    /// Gradient of the output, `[queries, head_dim]`.
    pub(super) d_out: Buffer,
    /// Gradient of the block's probabilities, then of its scores.
    pub(super) d_scores: Buffer,
    pub(super) d_query: Buffer,
    pub(super) d_key: Buffer,
    pub(super) d_value: Buffer,
    /// Gradient of the block's scores against position keys.
    pub(super) d_query_positions: Buffer,
    /// Gradient of all scores against position queries, `[keys, live]`.
    pub(super) d_key_positions: Buffer,
    pub(super) group: Buffer,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// What tasks write in parts.
struct Outputs<'a> {
    query: SharedOutput<'a>,
    key: SharedOutput<'a>,
    value: SharedOutput<'a>,
}

/// Gradients of all inputs, from what [`forward`](super::forward) gave for the same `inputs`.
///
/// # Panics
///
/// If a slice does not have the size its shape says, or a query position has no slot.
pub(crate) fn backward(inputs: &Inputs<'_>, out: &[f32], lse: &[f32], d_out: &[f32]) -> Gradients {
    let plan = Plan::new(inputs);
    let Shape { q_rows, heads, .. } = inputs.shape;
    assert_eq!(out.len(), inputs.query.len(), "size of out");
    assert_eq!(d_out.len(), inputs.query.len(), "size of d_out");
    assert_eq!(lse.len(), heads * q_rows, "size of lse");
    let mut query = vec![0.0; inputs.query.len()];
    let mut key = vec![0.0; inputs.key.len()];
    let mut value = vec![0.0; inputs.value.len()];
    let outputs = Outputs {
        query: SharedOutput::new(&mut query),
        key: SharedOutput::new(&mut key),
        value: SharedOutput::new(&mut value),
    };

    // The parts depend on the sizes alone, and so does the order of every sum.
    let parts = plan.parts(TASKS.div_ceil(heads.max(1)));
    let pass = Pass {
        plan: &plan,
        out,
        lse,
        d_out,
    };
    let positions: Vec<PositionGradients> = (0..heads * parts.len())
        .into_par_iter()
        .with_max_len(1)
        .map(|task| {
            let (head, part) = (task / parts.len(), &parts[task % parts.len()]);
            BUFFERS.with_borrow_mut(|buffers| buffers.run(&pass, head, part.clone(), &outputs))
        })
        .collect();
    let reduce = |part: fn(&PositionGradients) -> &[f32], last_first| {
        let parts = parts.len().max(1);
        sum_parts(&inputs.shape, &positions, parts, part, last_first)
    };
    Gradients {
        pos_key: inputs.pos_key.map(|_| reduce(|sums| &sums.pos_key, true)),
        pos_query: inputs
            .pos_query
            .map(|_| reduce(|sums| &sums.pos_query, false)),
        query,
        key,
        value,
    }
}

/// What the whole pass reads.
struct Pass<'a> {
    plan: &'a Plan<'a>,
    out: &'a [f32],
    lse: &'a [f32],
    d_out: &'a [f32],
}

impl Buffers {
    /// One head of some segments.
    fn run(
        &mut self,
        pass: &Pass<'_>,
        head: usize,
        segments: Range<usize>,
        outputs: &Outputs<'_>,
    ) -> PositionGradients {
        let Shape { head_dim, live, .. } = pass.plan.inputs.shape;
        let size_if = |present: bool| if present { live * head_dim } else { 0 };
        let mut sums = PositionGradients {
            pos_key: vec![0.0; size_if(pass.plan.pos_key.is_some())],
            pos_query: vec![0.0; size_if(pass.plan.pos_query.is_some())],
        };
        for segment in segments {
            let extent = pass.plan.extent(segment);
            if extent.queries > 0 {
                let task = Task {
                    segment,
                    head,
                    queries: 0..extent.queries,
                    keys: extent.keys,
                };
                self.sequence(pass, &task, &mut sums, outputs);
            }
        }
        sums
    }

    fn sequence(
        &mut self,
        pass: &Pass<'_>,
        task: &Task,
        sums: &mut PositionGradients,
        outputs: &Outputs<'_>,
    ) {
        let plan = pass.plan;
        let Shape { head_dim, live, .. } = plan.inputs.shape;
        let q_rows = plan.query_rows(task.segment, task.head);
        let k_rows = plan.key_rows(task.segment, task.head);
        self.scores.load(plan, task);
        let d_out = self.d_out.take(task.queries.len() * head_dim);
        q_rows.read(d_out, pass.d_out, task.queries.clone(), 1.0);
        self.d_key.zeroed(task.keys * head_dim);
        self.d_value.zeroed(task.keys * head_dim);
        if plan.pos_query.is_some() {
            self.d_key_positions.zeroed(task.keys * live);
        }
        for block in task.blocks() {
            self.scores.compute(plan, task, &block);
            self.differentiate_scores(pass, task, &block);
            self.content(plan, task, &block);
            self.query_positions(plan, task, &block, &mut sums.pos_key);
            if plan.pos_query.is_some() {
                dispatch(
                    #[inline(always)]
                    || self.scatter_key_positions(plan, task, &block),
                );
            }
            // SAFETY: tasks differ in the head or the segment, and segments do not overlap.
            #[allow(unsafe_code, reason = "tasks share the output")]
            unsafe {
                q_rows.write(&outputs.query, self.d_query.get(), block);
            }
        }
        self.key_positions(plan, task, &mut sums.pos_query);
        // SAFETY: tasks differ in the head or the segment, and segments do not overlap.
        #[allow(unsafe_code, reason = "tasks share the output")]
        unsafe {
            k_rows.write(&outputs.key, self.d_key.get(), 0..task.keys);
            k_rows.write(&outputs.value, self.d_value.get(), 0..task.keys);
        }
    }

    /// Turns the scores of `block` into probabilities after dropout, and fills their gradient.
    fn differentiate_scores(&mut self, pass: &Pass<'_>, task: &Task, block: &Range<usize>) {
        let plan = pass.plan;
        let Shape { head_dim, .. } = plan.inputs.shape;
        let stride = task.stride();
        let d_scores = self.d_scores.take(BLOCK * stride);
        let d_out = &self.d_out.get()[task.local(block, head_dim)];
        let value = Matrix::new(self.scores.value.get(), task.keys, head_dim, head_dim);
        let d_out_block = Matrix::new(d_out, block.len(), head_dim, head_dim);
        matmul(d_scores, stride, Into::Replace, 1.0, d_out_block, value.t());

        let scores = self.scores.scores.take(BLOCK * stride);
        let first_row = plan.score_row(task.segment, task.head, 0);
        let out_rows = plan.query_rows(task.segment, task.head);
        dispatch(
            #[inline(always)]
            || {
                let rows = scores
                    .chunks_exact_mut(stride)
                    .zip(d_scores.chunks_exact_mut(stride));
                let rows = rows.zip(d_out.chunks_exact(head_dim));
                for (query, ((scores, d_scores), d_out)) in block.clone().zip(rows) {
                    if plan.is_blind(task.segment, query) {
                        scores.fill(0.0);
                        d_scores.fill(0.0);
                        continue;
                    }
                    let out = &pass.out[out_rows.row(query)];
                    let dot = out.iter().zip(d_out).map(|(x, y)| x * y).sum();
                    let row = first_row + query;
                    match &plan.dropout {
                        None => softmax::backward(scores, d_scores, pass.lse[row], dot),
                        Some(dropout) => {
                            let pattern = dropout.row(row);
                            let keep = dropout.keep_factor;
                            for (key, (score, d_score)) in
                                (0_u32..).zip(scores.iter_mut().zip(d_scores))
                            {
                                let factor = if pattern.keeps(key) { keep } else { 0.0 };
                                let prob = exp(*score - pass.lse[row]);
                                *d_score = prob * (*d_score * factor - dot);
                                *score = prob * factor;
                            }
                        }
                    }
                }
            },
        );
    }

    /// Gradients through `P V` and `Q Kᵀ`.
    fn content(&mut self, plan: &Plan<'_>, task: &Task, block: &Range<usize>) {
        let head_dim = plan.inputs.shape.head_dim;
        let (rows, keys, stride) = (block.len(), task.keys, task.stride());
        let local = task.local(block, head_dim);
        let probs = Matrix::new(self.scores.scores.get(), rows, keys, stride);
        let d_scores = Matrix::new(self.d_scores.get(), rows, keys, stride);
        let d_out = Matrix::new(&self.d_out.get()[local.clone()], rows, head_dim, head_dim);
        let query = Matrix::new(&self.scores.query.get()[local], rows, head_dim, head_dim);
        let key = Matrix::new(self.scores.key.get(), keys, head_dim, head_dim);

        let d_value = self.d_value.take(keys * head_dim);
        matmul(d_value, head_dim, Into::Add, 1.0, probs.t(), d_out);
        let d_key = self.d_key.take(keys * head_dim);
        matmul(d_key, head_dim, Into::Add, 1.0, d_scores.t(), query);
        let d_query = self.d_query.take(BLOCK * head_dim);
        matmul(
            d_query,
            head_dim,
            Into::Replace,
            plan.inputs.scale,
            d_scores,
            key,
        );
    }
}
