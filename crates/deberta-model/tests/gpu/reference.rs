//! The same attention in f64 of plain Burn operations over all pairs at once.

use burn::backend::{Autodiff, NdArray};
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Int, Tensor, TensorData};

use super::case::{Case, Mask, Results};
use crate::to_f64;

type B = Autodiff<NdArray<f64>>;

/// Whether a pair of rows may see each other, and the live row of their distance.
struct Pair {
    blocked: bool,
    slot: usize,
}

impl Case {
    /// Every pair of rows, query after query.
    fn all_pairs(&self) -> Vec<Pair> {
        let [q_rows, k_rows] = self.rows;
        let pairs = (0..q_rows * k_rows).map(|pair| self.pair(pair / k_rows, pair % k_rows));
        pairs.collect()
    }

    fn pair(&self, query: usize, key: usize) -> Pair {
        let of_both = |it: &&deberta_model::ops::Segment| {
            it.queries.contains(&query) && it.keys.contains(&key)
        };
        let Some(segment) = self.segments.iter().find(of_both) else {
            return Pair {
                blocked: true,
                slot: 0,
            };
        };
        let (i, j) = (query - segment.queries.start, key - segment.keys.start);
        let position = self.positions.as_ref().map_or(i, |it| it[query] as usize);
        let slots = &self.table.slot_of_distance;
        Pair {
            blocked: match &self.mask {
                Mask::Full | Mask::Segments => false,
                Mask::Padding(padding) => {
                    let blind = self.positions.is_none() && padding[segment.keys.start + i];
                    padding[key] || blind
                }
                Mask::Pairwise(blocked) => blocked[query * segment.keys.len() + j],
            },
            slot: match slots.get(position + self.zero_distance - j) {
                Some(&slot) => slot as usize,
                None => 0,
            },
        }
    }

    /// Output and gradients; `keep` has what dropout multiplies each probability by,
    /// `[heads, q_rows, k_rows]`.
    pub(super) fn reference(&self, keep: Option<&[f64]>) -> Results {
        let device = Default::default();
        let [q_rows, k_rows] = self.rows;
        let (heads, head_dim) = (self.heads, self.head_dim);
        let inputs: Vec<Tensor<B, 2>> = self
            .inputs()
            .into_iter()
            .map(|(rows, values)| {
                let data = TensorData::new(values, [rows, self.width()]);
                Tensor::from_data(data, &device).require_grad()
            })
            .collect();
        let split = |x: &Tensor<B, 2>| {
            let [rows, _] = x.dims();
            x.clone().reshape([rows, heads, head_dim]).swap_dims(0, 1)
        };
        let (query, key, value) = (split(&inputs[0]), split(&inputs[1]), split(&inputs[2]));
        let pairs = self.all_pairs();
        let mut scores = query.clone().matmul(key.clone().swap_dims(1, 2));
        let mut tables = inputs[3..].iter().map(split);
        // Entry (row, slot) of a row's scores for every pair.
        let mut add = |states: &Tensor<B, 3>, row: fn(usize, usize) -> usize| {
            let table = tables.next().expect("a table");
            let [_, live, _] = table.dims();
            let index = pairs
                .iter()
                .enumerate()
                .map(|(at, pair)| (row(at, k_rows) * live + pair.slot) as i64);
            let index = index.collect::<Vec<_>>();
            let index = Tensor::<B, 1, Int>::from_data(index.as_slice(), &device);
            let all = states.clone().matmul(table.swap_dims(1, 2));
            let [_, rows, _] = all.dims();
            all.reshape([heads, rows * live])
                .select(1, index)
                .reshape([heads, q_rows, k_rows])
        };
        if self.terms[0] {
            scores = scores + add(&query, |at, k_rows| at / k_rows);
        }
        if self.terms[1] {
            scores = scores + add(&key, |at, k_rows| at % k_rows);
        }
        let blocked: Vec<bool> = pairs.iter().map(|it| it.blocked).collect();
        let blocked = TensorData::new(blocked, [1, q_rows, k_rows]);
        let blocked = Tensor::<B, 3, Bool>::from_data(blocked, &device);
        let blocked = blocked.expand([heads, q_rows, k_rows]);
        let scores = scores.mul_scalar(self.scale());
        let probs = softmax(scores.mask_fill(blocked.clone(), -1e30), 2);
        let mut probs = probs.mask_fill(blocked, 0.0);
        if let Some(keep) = keep {
            let keep = TensorData::new(keep.to_vec(), [heads, q_rows, k_rows]);
            probs = probs * Tensor::from_data(keep, &device);
        }
        let output = probs.matmul(value);
        let output = output.swap_dims(0, 1).reshape([q_rows, self.width()]);
        let d_out = TensorData::new(self.d_out(), [q_rows, self.width()]);
        results(output, Tensor::from_data(d_out, &device), &inputs)
    }
}

/// The output and the gradients of the inputs, from that of the output.
fn results(output: Tensor<B, 2>, d_out: Tensor<B, 2>, inputs: &[Tensor<B, 2>]) -> Results {
    let mut gradients = (output.clone() * d_out).sum().backward();
    let mut results = vec![to_f64(output.into_data())];
    for input in inputs {
        let gradient = input.grad_remove(&mut gradients);
        results.push(to_f64(gradient.expect("a gradient").into_data()));
    }
    results
}
