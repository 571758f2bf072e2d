//! The backward kernel that owns keys; see [`backward`](super::backward).

use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::forward::load_key_positions;
use super::pairs::{Geometry, Pairs, probability};
use super::position_gradients::SlotSums;
use super::products::{load_rows, multiply_rows, score_tile, state_tile};
use super::sums::{Sums, Weights, unit_rows};

/// Gradients of keys and values, and of the keys' scores against position queries.
///
/// `P` is the type of the latter: f32 where they are added to memory one by one.
#[cube(launch)]
pub(super) fn key_kernel<F: Float, S: Float, P: Float, M: Int, N: Size>(
    query: &Tensor<Vector<F, N>>,
    key: &Tensor<Vector<F, N>>,
    value: &Tensor<Vector<F, N>>,
    d_out: &Tensor<Vector<F, N>>,
    log_sums: &Tensor<f32>,
    delta: &Tensor<f32>,
    pairs: &Pairs<F, M>,
    d_key: &mut Tensor<Vector<F, N>>,
    d_value: &mut Tensor<Vector<F, N>>,
    d_p2c: &mut ComptimeOption<Tensor<P>>,
    #[comptime] scattered: bool,
    #[comptime] geometry: Geometry,
    #[define(F, S, P)] _dtypes: [StorageType; 3],
) {
    let tile = comptime!(geometry.tile);
    let rows = comptime!(tile.rows / tile.row_units);
    let cols = comptime!(tile.cols / tile.col_units);
    let stride = comptime!(tile.score_stride());
    let sequence = pairs.sequence(pairs.k_len.div_ceil(tile.cols));
    let first_key = sequence.tile * tile.cols;
    if first_key >= sequence.k_len {
        terminate!();
    }
    let row = UNIT_POS as usize / tile.col_units;
    let col = UNIT_POS as usize % tile.col_units;

    let mut keys = state_tile::<S, N>(tile.cols, geometry);
    let mut values = state_tile::<S, N>(tile.cols, geometry);
    let mut queries = state_tile::<S, N>(tile.rows, geometry);
    let mut d_outs = state_tile::<S, N>(tile.rows, geometry);
    let mut scores = score_tile(geometry);
    let mut d_scores = Weights::<S>::over(scores, geometry);
    let mut probs = Weights::<S>::new(geometry);
    let key_rows = pairs.keys(sequence, first_key);
    load_rows(&mut keys, key, key_rows, tile.cols, geometry);
    load_rows(&mut values, value, key_rows, tile.cols, geometry);

    let mut key_gradient = Sums::<N>::zero(true, geometry);
    let mut value_gradient = Sums::<N>::zero(true, geometry);
    let mut tile_scores = Array::<f32>::new(comptime!(rows * cols));
    let mut d_probs = Array::<f32>::new(comptime!(rows * cols));
    let slots = SlotSums::new(pairs.scale, tile.units(), tile.cols);

    let mut first_query = 0usize.runtime();
    while first_query < sequence.q_len {
        sync_cube();
        let query_rows = pairs.queries(sequence, first_query);
        load_rows(&mut queries, query, query_rows, tile.rows, geometry);
        load_rows(&mut d_outs, d_out, query_rows, tile.rows, geometry);
        load_key_positions(
            &mut scores,
            pairs,
            sequence,
            first_query,
            first_key,
            geometry,
        );
        sync_cube();
        multiply_rows(
            &mut tile_scores,
            &mut scores,
            &queries,
            &keys,
            row,
            col,
            true,
            geometry,
        );
        if comptime!(tile.matrices.is_some()) {
            // They pass through the tile of scores.
            sync_cube();
        }
        multiply_rows(
            &mut d_probs,
            &mut scores,
            &d_outs,
            &values,
            row,
            col,
            false,
            geometry,
        );
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
                let products = tile_scores[at];
                let score =
                    pairs.score(sequence, first_query + y, first_key + x, products, geometry);
                let prob = probability(score, log_sum);
                let factor = pairs.dropout_factor(pattern, first_key + x);
                let d_score = prob * (d_probs[at] * factor - row_delta);
                probs.set(y, x, prob * factor, geometry);
                d_scores.set(y, x, d_score, geometry);
                scores[y * stride + x] = d_score;
            }
        }
        sync_cube();
        value_gradient.add(&probs, &d_outs, row, col, true, geometry);
        key_gradient.add(&d_scores, &queries, row, col, true, geometry);
        #[comptime]
        match d_p2c {
            ComptimeOption::Some(d_p2c) => {
                if comptime!(scattered) {
                    slots.add_scattered::<P, F, M>(
                        d_p2c,
                        &scores,
                        pairs,
                        sequence,
                        first_query,
                        first_key,
                        geometry,
                    );
                } else {
                    slots.add_queries::<P, F, M>(
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
                slots.finish_key::<P, F, M>(d_p2c, pairs, sequence, first_key);
            }
        }
        ComptimeOption::None => {}
    }
    let count = comptime!(unit_rows(geometry, true));
    let mut factors = Array::<f32>::new(count);
    #[unroll]
    for r in 0..count {
        factors[r] = pairs.scale;
    }
    key_gradient.store::<F>(
        d_key,
        key_rows,
        &factors,
        &mut scores,
        row,
        col,
        true,
        geometry,
    );
    #[unroll]
    for r in 0..count {
        factors[r] = f32::new(1.0);
    }
    value_gradient.store::<F>(
        d_value,
        key_rows,
        &factors,
        &mut scores,
        row,
        col,
        true,
        geometry,
    );
}
