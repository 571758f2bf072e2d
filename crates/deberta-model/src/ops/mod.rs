//! Tensor functions of disentangled attention, one per term of Eq. (4).
//!
//! This is the seam for fused kernels: plain Burn operations that every backend runs.

use std::f64::consts::FRAC_1_SQRT_2;

use burn::tensor::{DType, Int, Tensor, backend::Backend};

/// Term (b) of Eq. (4) for consecutive positions: content query against position key.
///
/// # Shapes
///
/// - query: `[batch, heads, q_len, head_dim]`
/// - pos_key: `[1, heads, live, head_dim]`
/// - descending: `[q_len + k_len - 1]`, live row per distance, largest distance first
/// - output: `[batch, heads, q_len, k_len]`
pub(crate) fn content_to_position<B: Backend>(
    query: Tensor<B, 4>,
    pos_key: Tensor<B, 4>,
    descending: Tensor<B, 1, Int>,
) -> Tensor<B, 4> {
    let [_, _, q_len, _] = query.dims();
    let [distances] = descending.dims();
    let pos_key = pos_key.select(2, descending); // [1, heads, q_len + k_len - 1, head_dim]
    skew(query.matmul(pos_key.swap_dims(2, 3)), distances + 1 - q_len)
}

/// Term (c) of Eq. (4) for consecutive positions: position query against content key.
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
/// - ascending: `[q_len + k_len - 1]`, live row per distance, smallest distance first
/// - output: `[batch, heads, q_len, k_len]`
pub(crate) fn position_to_content<B: Backend>(
    pos_query: Tensor<B, 4>,
    key: Tensor<B, 4>,
    ascending: Tensor<B, 1, Int>,
) -> Tensor<B, 4> {
    let [_, _, k_len, _] = key.dims();
    let [distances] = ascending.dims();
    let pos_query = pos_query.select(2, ascending);
    let by_key = skew(key.matmul(pos_query.swap_dims(2, 3)), distances + 1 - k_len);
    by_key.swap_dims(2, 3)
}

/// Shifts row `i` of `x` left by `rows − 1 − i` and keeps the first `cols` columns.
///
/// ```text
/// out[i, j] = x[i, rows - 1 - i + j]
/// ```
///
/// Slices and reshapes only, so neither the forward nor the backward pass gathers: read row after
/// row and starting at column `rows − 1`, the wanted entries recur every `width − 1` numbers.
///
/// # Shapes
///
/// - x: `[batch, heads, rows, rows + cols - 1]`
/// - output: `[batch, heads, rows, cols]`
fn skew<B: Backend>(x: Tensor<B, 4>, cols: usize) -> Tensor<B, 4> {
    let [batch, heads, rows, width] = x.dims();
    debug_assert_eq!(width, rows + cols - 1);
    if rows == 1 {
        return x;
    }
    let first = rows - 1;
    x.reshape([batch, heads, rows * width])
        .slice([0..batch, 0..heads, first..first + rows * (width - 1)])
        .reshape([batch, heads, rows, width - 1])
        .slice([0..batch, 0..heads, 0..rows, 0..cols])
}

/// Term (b) of Eq. (4) for queries at given positions.
///
/// # Shapes
///
/// - query: `[batch, heads, q_len, head_dim]`
/// - pos_key: `[1, heads, live, head_dim]`
/// - slots: `[batch, q_len, k_len]`
/// - output: `[batch, heads, q_len, k_len]`
pub(crate) fn content_to_scattered_position<B: Backend>(
    query: Tensor<B, 4>,
    pos_key: Tensor<B, 4>,
    slots: Tensor<B, 3, Int>,
) -> Tensor<B, 4> {
    let [batch, heads, _, _] = query.dims();
    let [_, q_len, k_len] = slots.dims();
    let scores = query.matmul(pos_key.swap_dims(2, 3)); // [batch, heads, q_len, live]
    let index = slots
        .unsqueeze_dim::<4>(1)
        .expand([batch, heads, q_len, k_len]);
    scores.gather(3, index)
}

/// Term (c) of Eq. (4) for queries at given positions; indexed like
/// [`position_to_content`].
///
/// # Shapes
///
/// - pos_query: `[1, heads, live, head_dim]`
/// - key: `[batch, heads, k_len, head_dim]`
/// - slots: `[batch, q_len, k_len]`
/// - output: `[batch, heads, q_len, k_len]`
pub(crate) fn scattered_position_to_content<B: Backend>(
    pos_query: Tensor<B, 4>,
    key: Tensor<B, 4>,
    slots: Tensor<B, 3, Int>,
) -> Tensor<B, 4> {
    let [batch, heads, _, _] = key.dims();
    let [_, q_len, k_len] = slots.dims();
    let scores = key.matmul(pos_query.swap_dims(2, 3)); // [batch, heads, k_len, live]
    let index = slots
        .swap_dims(1, 2)
        .unsqueeze_dim::<4>(1)
        .expand([batch, heads, k_len, q_len]);
    scores.gather(3, index).swap_dims(2, 3)
}

/// `x Φ(x)` with the exact error function.
///
/// Burn's own `gelu` computes the same value, but its gradient is that of the tanh approximation on
/// most backends, off by up to 1e-3.
pub(crate) fn gelu<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    let cdf = x.clone().mul_scalar(FRAC_1_SQRT_2).erf().add_scalar(1.0);
    x * cdf.mul_scalar(0.5)
}

/// A score that no softmax notices and every float type can hold.
pub(crate) fn masked_score(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => -6e4,
        _ => -1e30,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use burn::tensor::{Tolerance, ops::FloatElem};
    use proptest::prelude::*;

    use crate::relative_position::{
        LongDistance, RelativeIndex, RelativePositionConfig, RelativePositions,
    };

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
            let positions = RelativePositions::<B>::consecutive(&CONFIG, q_len, k_len, &device);
            let live = positions.live.len();
            let query = numbers([batch, HEADS, q_len, HEAD_DIM], 1);
            let key = numbers([batch, HEADS, k_len, HEAD_DIM], 2);
            let pos_key = numbers([1, HEADS, live, HEAD_DIM], 3);
            let pos_query = numbers([1, HEADS, live, HEAD_DIM], 4);
            let (c2p, p2c) =
                terms_by_loops(&query, &key, &pos_key, &pos_query, positions.live.start);

            let RelativeIndex::Consecutive { descending, ascending } = positions.index else {
                panic!("consecutive positions have a consecutive index");
            };
            assert_close(content_to_position(query, pos_key, descending), c2p);
            assert_close(position_to_content(pos_query, key, ascending), p2c);
        }

        #[test]
        fn scattered_terms_equal_the_consecutive_ones(seq_len in 1_usize..30) {
            let device = Default::default();
            let queries = Tensor::<B, 1, Int>::arange(0..seq_len as i64, &device).unsqueeze::<2>();
            let scattered = RelativePositions::scattered(&CONFIG, queries, seq_len, &device);
            let live = scattered.live.len();
            let query = numbers([1, HEADS, seq_len, HEAD_DIM], 1);
            let key = numbers([1, HEADS, seq_len, HEAD_DIM], 2);
            let pos_key = numbers([1, HEADS, live, HEAD_DIM], 3);
            let pos_query = numbers([1, HEADS, live, HEAD_DIM], 4);
            let (c2p, p2c) =
                terms_by_loops(&query, &key, &pos_key, &pos_query, scattered.live.start);

            let RelativeIndex::Scattered { slots } = scattered.index else {
                panic!("scattered positions have a scattered index");
            };
            assert_close(content_to_scattered_position(query, pos_key, slots.clone()), c2p);
            assert_close(scattered_position_to_content(pos_query, key, slots), p2c);
        }
    }
}
