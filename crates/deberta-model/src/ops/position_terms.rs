//! The position terms of Eq. (4) as plain Burn operations, for backends without a kernel.

use burn::tensor::{Int, Tensor, backend::Backend};

use super::{DebertaBackend, matmul};
use crate::relative_position::RelativeIndex;

/// Term (b) of Eq. (4): content query against position key.
///
/// # Shapes
///
/// - query: `[batch, heads, q_len, head_dim]`
/// - pos_key: `[1, heads, live, head_dim]`
/// - output: `[batch, heads, q_len, k_len]`
pub(crate) fn content_to_position<B: DebertaBackend>(
    query: Tensor<B, 4>,
    pos_key: Tensor<B, 4>,
    index: &RelativeIndex<B>,
) -> Tensor<B, 4> {
    let scores = matmul(query, pos_key.swap_dims(2, 3)); // [batch, heads, q_len, live]
    match index {
        RelativeIndex::Consecutive {
            c2p, q_len, k_len, ..
        } => look_up(scores, c2p.clone(), *q_len, *k_len),
        RelativeIndex::Scattered {
            c2p, q_len, k_len, ..
        } => look_up_per_sequence(scores, c2p.clone(), *q_len, *k_len),
    }
}

/// Term (c) of Eq. (4): position query against content key.
///
/// # Deviation from the paper
///
/// Indexed with `δ(i, j)`, not `δ(j, i)`: the released code does so (microsoft/DeBERTa
/// `disentangled_attention.py`), and every published checkpoint was trained with it. The test
/// `the_literal_index_of_the_paper_is_not_what_was_trained` holds it.
///
/// # Shapes
///
/// - pos_query: `[1, heads, live, head_dim]`
/// - key: `[batch, heads, k_len, head_dim]`
/// - output: `[batch, heads, q_len, k_len]`
pub(crate) fn position_to_content<B: DebertaBackend>(
    pos_query: Tensor<B, 4>,
    key: Tensor<B, 4>,
    index: &RelativeIndex<B>,
) -> Tensor<B, 4> {
    let scores = matmul(key, pos_query.swap_dims(2, 3)); // [batch, heads, k_len, live]
    match index {
        RelativeIndex::Consecutive {
            p2c, q_len, k_len, ..
        } => look_up(scores, p2c.clone(), *q_len, *k_len),
        RelativeIndex::Scattered {
            p2c, q_len, k_len, ..
        } => look_up_per_sequence(scores, p2c.clone(), *q_len, *k_len),
    }
}

/// Reads one entry of `scores` per (query, key) pair; all sequences and heads read alike.
///
/// One index of `q_len * k_len` numbers serves the whole batch, and the pairs come out in the order
/// of the attention scores, so nothing is transposed.
///
/// # Shapes
///
/// - scores: `[batch, heads, len, live]`
/// - index: `[q_len * k_len]`, into the last two axes of `scores`
/// - output: `[batch, heads, q_len, k_len]`
fn look_up<B: Backend>(
    scores: Tensor<B, 4>,
    index: Tensor<B, 1, Int>,
    q_len: usize,
    k_len: usize,
) -> Tensor<B, 4> {
    let [batch, heads, len, live] = scores.dims();
    scores
        .reshape([batch * heads, len * live])
        .select(1, index)
        .reshape([batch, heads, q_len, k_len])
}

/// As [`look_up`], with an index of its own for each sequence, `[batch, q_len * k_len]`.
fn look_up_per_sequence<B: Backend>(
    scores: Tensor<B, 4>,
    index: Tensor<B, 2, Int>,
    q_len: usize,
    k_len: usize,
) -> Tensor<B, 4> {
    let [batch, heads, len, live] = scores.dims();
    let pairs = q_len * k_len;
    let index = index
        .unsqueeze_dim::<3>(1)
        .expand([batch, heads, pairs])
        .reshape([batch * heads, pairs]);
    scores
        .reshape([batch * heads, len * live])
        .gather(1, index)
        .reshape([batch, heads, q_len, k_len])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use burn::tensor::{Tolerance, ops::FloatElem};
    use proptest::prelude::*;

    use crate::relative_position::{LongDistance, RelativePositionConfig, RelativePositions};

    type B = Flex;

    const HEADS: usize = 2;
    const HEAD_DIM: usize = 3;
    const CONFIG: RelativePositionConfig = RelativePositionConfig {
        max_distance: 16,
        buckets: Some(8),
        long_distance: LongDistance::Clamp,
    };

    /// Numbers that differ from each other and repeat on every run.
    fn numbers(shape: [usize; 4], salt: usize) -> Tensor<B, 4> {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count)
            .map(|i| ((i * 37 + salt * 101) % 89) as f32 / 89.0 - 0.5)
            .collect();
        Tensor::<B, 1>::from_data(values.as_slice(), &Default::default()).reshape(shape)
    }

    /// Entry `[b, h, row, :]` against entry `[b2, h, row2, :]`.
    fn dot(x: &[f32], y: &[f32], x_row: usize, y_row: usize) -> f32 {
        (0..HEAD_DIM)
            .map(|d| x[x_row * HEAD_DIM + d] * y[y_row * HEAD_DIM + d])
            .sum()
    }

    fn floats(x: &Tensor<B, 4>) -> Vec<f32> {
        x.to_data().to_vec().unwrap()
    }

    /// Terms (b) and (c) as loops over batch, head, query and key.
    fn terms_by_loops(
        query: &Tensor<B, 4>,
        key: &Tensor<B, 4>,
        pos_key: &Tensor<B, 4>,
        pos_query: &Tensor<B, 4>,
        live_start: usize,
    ) -> (Vec<f32>, Vec<f32>) {
        let ([batch, _, q_len, _], [_, _, k_len, _]) = (query.dims(), key.dims());
        let [_, _, live, _] = pos_key.dims();
        let (q, k) = (floats(query), floats(key));
        let (pk, pq) = (floats(pos_key), floats(pos_query));
        let (mut c2p, mut p2c) = (Vec::new(), Vec::new());
        for b in 0..batch {
            for h in 0..HEADS {
                for i in 0..q_len {
                    for j in 0..k_len {
                        let slot = CONFIG.row(i as i64 - j as i64) - live_start;
                        let position = h * live + slot;
                        c2p.push(dot(&q, &pk, (b * HEADS + h) * q_len + i, position));
                        p2c.push(dot(&k, &pq, (b * HEADS + h) * k_len + j, position));
                    }
                }
            }
        }
        (c2p, p2c)
    }

    fn assert_close(actual: Tensor<B, 4>, expected: Vec<f32>) {
        let shape = actual.dims();
        let expected = Tensor::<B, 1>::from_data(expected.as_slice(), &Default::default());
        actual.into_data().assert_approx_eq::<FloatElem<B>>(
            &expected.reshape(shape).into_data(),
            Tolerance::rel_abs(1e-5, 1e-5),
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn terms_equal_the_nested_loops(
            batch in 1_usize..3,
            q_len in 1_usize..30,
            k_len in 1_usize..30,
        ) {
            let device = Default::default();
            check_terms(
                RelativePositions::consecutive(&CONFIG, q_len, k_len, &device),
                batch,
                q_len,
                k_len,
            );
        }

        #[test]
        fn scattered_terms_equal_the_nested_loops(batch in 1_usize..3, seq_len in 1_usize..30) {
            let device = Default::default();
            let queries = Tensor::<B, 1, Int>::arange(0..seq_len as i64, &device);
            let queries = queries.unsqueeze::<2>().expand([batch, seq_len]);
            let positions = RelativePositions::scattered(&CONFIG, queries, seq_len, &device);
            check_terms(positions, batch, seq_len, seq_len);
        }
    }

    fn check_terms(positions: RelativePositions<B>, batch: usize, q_len: usize, k_len: usize) {
        let live = positions.live.len();
        let query = numbers([batch, HEADS, q_len, HEAD_DIM], 1);
        let key = numbers([batch, HEADS, k_len, HEAD_DIM], 2);
        let pos_key = numbers([1, HEADS, live, HEAD_DIM], 3);
        let pos_query = numbers([1, HEADS, live, HEAD_DIM], 4);
        let (c2p, p2c) = terms_by_loops(&query, &key, &pos_key, &pos_query, positions.live.start);
        assert_close(content_to_position(query, pos_key, positions.index()), c2p);
        assert_close(position_to_content(pos_query, key, positions.index()), p2c);
    }
}
