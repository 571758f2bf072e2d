//! The same attention as nested loops in `f64`.

use std::ops::Range;

use super::dropout::Pattern;
use super::{Inputs, Mask, Segment, Shape};

/// Outputs, and gradients in the order query, key, value, pos_key, pos_query.
pub(super) struct Reference {
    pub(super) out: Vec<f64>,
    pub(super) lse: Vec<f64>,
    pub(super) gradients: [Vec<f64>; 5],
}

fn blocked(inputs: &Inputs<'_>, b: usize, i: usize, j: usize) -> bool {
    let Segment { queries, keys } = &inputs.segments[b];
    match inputs.mask {
        Mask::Full => false,
        Mask::Padding(pad) => {
            pad[keys.start + j] || inputs.blind_padded_queries && pad[keys.start + i]
        }
        Mask::Pairwise(blocked) => blocked[(queries.start + i) * keys.len() + j],
    }
}

/// Index of head `h` of row `row` of a `[rows, heads * head_dim]` tensor.
fn at(shape: &Shape, row: usize, h: usize) -> usize {
    (row * shape.heads + h) * shape.head_dim
}

fn dot(x: &[f32], y: &[f32]) -> f64 {
    x.iter()
        .zip(y)
        .map(|(&x, &y)| f64::from(x) * f64::from(y))
        .sum()
}

fn add(dst: &mut [f64], src: &[f32], factor: f64) {
    for (dst, &src) in dst.iter_mut().zip(src) {
        *dst += factor * f64::from(src);
    }
}

pub(super) fn attention(inputs: &Inputs<'_>, d_out: &[f32]) -> Reference {
    let Shape {
        q_rows,
        k_rows,
        heads,
        head_dim,
        live,
    } = inputs.shape;
    let size = |rows| rows * heads * head_dim;
    let zeros = |rows| vec![0.0; size(rows)];
    let mut result = Reference {
        out: zeros(q_rows),
        lse: vec![f64::NEG_INFINITY; heads * q_rows],
        gradients: [q_rows, k_rows, k_rows, live, live].map(zeros),
    };
    for (b, segment) in inputs.segments.iter().enumerate() {
        for h in 0..heads {
            for i in 0..segment.queries.len() {
                row(inputs, d_out, [b, h, i], &mut result);
            }
        }
    }
    result
}

/// One head: which rows of its tensors are whose, and its position slots.
struct Head<'a> {
    inputs: &'a Inputs<'a>,
    b: usize,
    h: usize,
}

impl Head<'_> {
    fn span(&self, row: usize) -> Range<usize> {
        let first = at(&self.inputs.shape, row, self.h);
        first..first + self.inputs.shape.head_dim
    }

    fn query_row(&self, i: usize) -> usize {
        self.inputs.segments[self.b].queries.start + i
    }

    fn key_row(&self, j: usize) -> usize {
        self.inputs.segments[self.b].keys.start + j
    }

    fn slot(&self, i: usize, j: usize) -> usize {
        let positions = self.inputs.query_positions;
        let position = positions.map_or(i, |p| p[self.query_row(i)] as usize);
        self.inputs.slot_of_distance[position + self.inputs.zero_distance - j] as usize
    }

    /// The keys that query `i` sees, with their scores.
    fn scores(&self, i: usize) -> Vec<(usize, f64)> {
        let inputs = self.inputs;
        let query = &inputs.query[self.span(self.query_row(i))];
        let seen =
            (0..inputs.segments[self.b].keys.len()).filter(|&j| !blocked(inputs, self.b, i, j));
        seen.map(|j| {
            let key = &inputs.key[self.span(self.key_row(j))];
            let position = |table: Option<&[f32]>, content: &[f32]| {
                table.map_or(0.0, |table| {
                    dot(content, &table[self.span(self.slot(i, j))])
                })
            };
            let c2p = position(inputs.pos_key, query);
            let p2c = position(inputs.pos_query, key);
            (j, f64::from(inputs.scale) * (dot(query, key) + c2p + p2c))
        })
        .collect()
    }

    /// Row among those of all heads.
    fn score_row(&self, i: usize) -> usize {
        self.h * self.inputs.shape.q_rows + self.query_row(i)
    }

    /// What dropout multiplies the probability by.
    fn factor(&self, i: usize, j: usize) -> f64 {
        let row = self.score_row(i);
        match self.inputs.dropout.map(Pattern::new) {
            None => 1.0,
            Some(pattern) if pattern.row(row).keeps(j as u32) => f64::from(pattern.keep_factor),
            Some(_) => 0.0,
        }
    }
}

/// One row of scores.
fn row(inputs: &Inputs<'_>, d_out: &[f32], [b, h, i]: [usize; 3], result: &mut Reference) {
    let head = Head { inputs, b, h };
    let pairs = head.scores(i);
    let max = pairs
        .iter()
        .fold(f64::NEG_INFINITY, |max, &(_, score)| max.max(score));
    let sum: f64 = pairs.iter().map(|&(_, score)| (score - max).exp()).sum();
    let lse = if pairs.is_empty() {
        max
    } else {
        max + sum.ln()
    };
    result.lse[head.score_row(i)] = lse;

    let q_span = head.span(head.query_row(i));
    let (query, d_out) = (&inputs.query[q_span.clone()], &d_out[q_span.clone()]);
    let value = |j| &inputs.value[head.span(head.key_row(j))];
    let d_prob = |j| head.factor(i, j) * dot(d_out, value(j));
    let mean: f64 = pairs
        .iter()
        .map(|&(j, s)| (s - lse).exp() * d_prob(j))
        .sum();
    let [d_query, d_key, d_value, d_pos_key, d_pos_query] = &mut result.gradients;
    for &(j, score) in &pairs {
        let prob = (score - lse).exp();
        let dropped = prob * head.factor(i, j);
        let d_score = f64::from(inputs.scale) * prob * (d_prob(j) - mean);
        let (k_span, slot) = (head.span(head.key_row(j)), || head.span(head.slot(i, j)));
        let key = &inputs.key[k_span.clone()];
        add(&mut result.out[q_span.clone()], value(j), dropped);
        add(&mut d_value[k_span.clone()], d_out, dropped);
        add(&mut d_query[q_span.clone()], key, d_score);
        add(&mut d_key[k_span.clone()], query, d_score);
        if let Some(table) = inputs.pos_key {
            add(&mut d_query[q_span.clone()], &table[slot()], d_score);
            add(&mut d_pos_key[slot()], query, d_score);
        }
        if let Some(table) = inputs.pos_query {
            add(&mut d_key[k_span.clone()], &table[slot()], d_score);
            add(&mut d_pos_query[slot()], key, d_score);
        }
    }
}
