//! The same attention as nested loops in `f64`.

use super::dropout::Pattern;
use super::{Inputs, Mask, Shape};

/// Outputs, and gradients in the order query, key, value, pos_key, pos_query.
pub(super) struct Reference {
    pub(super) out: Vec<f64>,
    pub(super) lse: Vec<f64>,
    pub(super) gradients: [Vec<f64>; 5],
}

fn blocked(inputs: &Inputs<'_>, b: usize, i: usize, j: usize) -> bool {
    let Shape { q_len, k_len, .. } = inputs.shape;
    match inputs.mask {
        Mask::Full => false,
        Mask::Padding(pad) => {
            pad[b * k_len + j] || inputs.blind_padded_queries && pad[b * k_len + i]
        }
        Mask::Pairwise(blocked) => blocked[(b * q_len + i) * k_len + j],
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
        batch,
        heads,
        q_len,
        k_len,
        head_dim,
        live,
    } = inputs.shape;
    let size = |rows| rows * heads * head_dim;
    let zeros = |rows| vec![0.0; size(rows)];
    let mut result = Reference {
        out: zeros(batch * q_len),
        lse: Vec::new(),
        gradients: [batch * q_len, batch * k_len, batch * k_len, live, live].map(zeros),
    };
    for b in 0..batch {
        for h in 0..heads {
            for i in 0..q_len {
                row(inputs, d_out, [b, h, i], &mut result);
            }
        }
    }
    result
}

/// One row of scores.
fn row(inputs: &Inputs<'_>, d_out: &[f32], [b, h, i]: [usize; 3], result: &mut Reference) {
    let Shape {
        heads,
        q_len,
        k_len,
        head_dim,
        ..
    } = inputs.shape;
    let at = |row| at(&inputs.shape, row, h);
    let vector = |data: &[f32], row| data[at(row)..at(row) + head_dim].to_vec();
    let position = inputs
        .query_positions
        .map_or(i, |p| p[b * q_len + i] as usize);
    let slot = |j: usize| inputs.slot_of_distance[position + k_len - 1 - j] as usize;
    let scale = f64::from(inputs.scale);

    let query = vector(inputs.query, b * q_len + i);
    let pairs: Vec<(usize, f64)> = (0..k_len)
        .filter(|&j| !blocked(inputs, b, i, j))
        .map(|j| {
            let key = vector(inputs.key, b * k_len + j);
            let c2p = inputs
                .pos_key
                .map_or(0.0, |table| dot(&query, &vector(table, slot(j))));
            let p2c = inputs
                .pos_query
                .map_or(0.0, |table| dot(&key, &vector(table, slot(j))));
            (j, scale * (dot(&query, &key) + c2p + p2c))
        })
        .collect();
    let max = pairs
        .iter()
        .fold(f64::NEG_INFINITY, |max, &(_, score)| max.max(score));
    let sum: f64 = pairs.iter().map(|&(_, score)| (score - max).exp()).sum();
    let lse = max + sum.ln();
    result.lse.push(if pairs.is_empty() {
        f64::NEG_INFINITY
    } else {
        lse
    });

    let pattern = inputs.dropout.map(Pattern::new);
    let row = (b * heads + h) * q_len + i;
    let factor = |j: usize| match &pattern {
        None => 1.0,
        Some(p) if p.row(row).keeps(j as u32) => f64::from(p.keep_factor),
        Some(_) => 0.0,
    };
    let d_out = vector(d_out, b * q_len + i);
    let value = |j| vector(inputs.value, b * k_len + j);
    let d_prob = |j| factor(j) * dot(&d_out, &value(j));
    let mean: f64 = pairs
        .iter()
        .map(|&(j, s)| (s - lse).exp() * d_prob(j))
        .sum();
    let span = |row| at(row)..at(row) + head_dim;
    for &(j, score) in &pairs {
        let prob = (score - lse).exp();
        let d_score = scale * prob * (d_prob(j) - mean);
        let key = vector(inputs.key, b * k_len + j);
        add(
            &mut result.out[span(b * q_len + i)],
            &value(j),
            prob * factor(j),
        );
        let [d_query, d_key, d_value, d_pos_key, d_pos_query] = &mut result.gradients;
        add(&mut d_value[span(b * k_len + j)], &d_out, prob * factor(j));
        add(&mut d_query[span(b * q_len + i)], &key, d_score);
        add(&mut d_key[span(b * k_len + j)], &query, d_score);
        if let Some(table) = inputs.pos_key {
            add(
                &mut d_query[span(b * q_len + i)],
                &vector(table, slot(j)),
                d_score,
            );
            add(&mut d_pos_key[span(slot(j))], &query, d_score);
        }
        if let Some(table) = inputs.pos_query {
            add(
                &mut d_key[span(b * k_len + j)],
                &vector(table, slot(j)),
                d_score,
            );
            add(&mut d_pos_query[span(slot(j))], &key, d_score);
        }
    }
}
