//! The backward kernel that owns keys; see [`backward`](super::backward).

use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::forward::load_key_positions;
use super::pairs::{Geometry, Pairs, probability};
use super::position_gradients::SlotSums;
use super::products::{
    add_weighted, clear, load_rows, multiply_rows, output_rows, output_vectors, store_rows,
};

/// Gradients of keys and values, and of the keys' scores against position queries.
///
/// `S` is the type of the latter: f32 where they are added to memory one by one.
#[cube(launch)]
pub(super) fn key_kernel<F: Float, S: Float, M: Int, N: Size>(
    query: &Tensor<Vector<F, N>>,
    key: &Tensor<Vector<F, N>>,
    value: &Tensor<Vector<F, N>>,
    d_out: &Tensor<Vector<F, N>>,
    log_sums: &Tensor<f32>,
    delta: &Tensor<f32>,
    pairs: &Pairs<M>,
    d_key: &mut Tensor<Vector<F, N>>,
    d_value: &mut Tensor<Vector<F, N>>,
    d_p2c: &mut ComptimeOption<Tensor<S>>,
    #[comptime] scattered: bool,
    #[comptime] geometry: Geometry,
    #[define(F, S)] _dtypes: [StorageType; 2],
) {
    let tile = comptime!(geometry.tile);
    let rows = comptime!(tile.rows / tile.row_units);
    let cols = comptime!(tile.cols / tile.col_units);
    let stride = comptime!(tile.cols + 1);
    let sequence = pairs.sequence(pairs.k_len.div_ceil(tile.cols));
    let first_key = sequence.tile * tile.cols;
    if first_key >= sequence.k_len {
        terminate!();
    }
    let row = UNIT_POS as usize / tile.col_units;
    let col = UNIT_POS as usize % tile.col_units;

    let mut keys = SharedMemory::<Vector<f32, N>>::new(comptime!(tile.cols * geometry.stride()));
    let mut values = SharedMemory::<Vector<f32, N>>::new(comptime!(tile.cols * geometry.stride()));
    let mut queries = SharedMemory::<Vector<f32, N>>::new(comptime!(tile.rows * geometry.stride()));
    let mut d_outs = SharedMemory::<Vector<f32, N>>::new(comptime!(tile.rows * geometry.stride()));
    let mut probs = SharedMemory::<f32>::new(comptime!(tile.rows * stride));
    let mut scores = SharedMemory::<f32>::new(comptime!(tile.rows * stride));
    load_rows(
        &mut keys,
        key,
        sequence.k_start,
        first_key,
        sequence.k_len,
        sequence.head,
        pairs.heads,
        tile.cols,
        geometry,
    );
    load_rows(
        &mut values,
        value,
        sequence.k_start,
        first_key,
        sequence.k_len,
        sequence.head,
        pairs.heads,
        tile.cols,
        geometry,
    );

    let key_rows = comptime!(output_rows(geometry, true));
    let sums = comptime!(key_rows * output_vectors(geometry));
    let mut key_gradient = Array::<Vector<f32, N>>::new(sums);
    let mut value_gradient = Array::<Vector<f32, N>>::new(sums);
    clear(&mut key_gradient, sums);
    clear(&mut value_gradient, sums);
    let mut tile_scores = Array::<f32>::new(comptime!(rows * cols));
    let mut d_probs = Array::<f32>::new(comptime!(rows * cols));
    let slots = SlotSums::new(tile.units(), tile.cols);

    let mut first_query = 0usize.runtime();
    while first_query < sequence.q_len {
        sync_cube();
        load_rows(
            &mut queries,
            query,
            sequence.q_start,
            first_query,
            sequence.q_len,
            sequence.head,
            pairs.heads,
            tile.rows,
            geometry,
        );
        load_rows(
            &mut d_outs,
            d_out,
            sequence.q_start,
            first_query,
            sequence.q_len,
            sequence.head,
            pairs.heads,
            tile.rows,
            geometry,
        );
        load_key_positions(
            &mut scores,
            pairs,
            sequence,
            first_query,
            first_key,
            geometry,
        );
        sync_cube();
        multiply_rows(&mut tile_scores, &queries, &keys, row, col, geometry);
        multiply_rows(&mut d_probs, &d_outs, &values, row, col, geometry);
        #[unroll]
        for r in 0..rows {
            let y = row + comptime!(r * tile.row_units);
            let mut log_sum = f32::new(0.0);
            let mut row_delta = f32::new(0.0);
            if first_query + y < sequence.q_len {
                log_sum = log_sums[pairs.score_row(sequence, first_query + y)];
                row_delta = delta[pairs.score_row(sequence, first_query + y)];
            }
            let pattern = pairs.row_pattern(pairs.score_row(sequence, first_query + y));
            #[unroll]
            for c in 0..cols {
                let x = col + comptime!(c * tile.col_units);
                let at = comptime!(r * cols + c);
                let products = tile_scores[at] + scores[y * stride + x];
                let score =
                    pairs.score(sequence, first_query + y, first_key + x, products, geometry);
                let prob = probability(score, log_sum);
                let factor = pairs.dropout_factor(pattern, first_key + x);
                probs[y * stride + x] = prob * factor;
                scores[y * stride + x] = pairs.scale * prob * (d_probs[at] * factor - row_delta);
            }
        }
        sync_cube();
        add_weighted(
            &mut value_gradient,
            &probs,
            &d_outs,
            row,
            col,
            true,
            geometry,
        );
        add_weighted(
            &mut key_gradient,
            &scores,
            &queries,
            row,
            col,
            true,
            geometry,
        );
        #[comptime]
        match d_p2c {
            ComptimeOption::Some(d_p2c) => {
                if comptime!(scattered) {
                    slots.add_scattered::<S, M>(
                        d_p2c,
                        &scores,
                        pairs,
                        sequence,
                        first_query,
                        first_key,
                        geometry,
                    );
                } else {
                    slots.add_queries::<S, M>(
                        d_p2c,
                        &scores,
                        pairs,
                        sequence,
                        first_query,
                        first_key,
                        geometry,
                    );
                }
            }
            ComptimeOption::None => {}
        }
        first_query += tile.rows;
    }

    #[comptime]
    match d_p2c {
        ComptimeOption::Some(d_p2c) => {
            if comptime!(!scattered) {
                slots.finish_key::<S, M>(d_p2c, pairs, sequence, first_key);
            }
        }
        ComptimeOption::None => {}
    }
    let mut factors = Array::<f32>::new(key_rows);
    #[unroll]
    for r in 0..key_rows {
        factors[r] = f32::new(1.0);
    }
    store_rows(
        d_key,
        &key_gradient,
        &factors,
        sequence.k_start,
        first_key,
        sequence.k_len,
        sequence.head,
        pairs.heads,
        row,
        col,
        true,
        geometry,
    );
    store_rows(
        d_value,
        &value_gradient,
        &factors,
        sequence.k_start,
        first_key,
        sequence.k_len,
        sequence.head,
        pairs.heads,
        row,
        col,
        true,
        geometry,
    );
}
