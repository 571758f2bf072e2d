//! The backward kernel that owns queries; see [`backward`](super::backward).

use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::forward::load_key_positions;
use super::pairs::{Geometry, Pairs, probability};
use super::position_gradients::SlotSums;
use super::products::{load_rows, multiply_rows, score_tile, state_tile};
use super::sums::{Sums, Weights};

/// Gradients of queries, and of their scores against position keys.
#[cube(launch)]
pub(super) fn query_kernel<F: Float, S: Float, M: Int, N: Size>(
    query: &Tensor<Vector<F, N>>,
    key: &Tensor<Vector<F, N>>,
    value: &Tensor<Vector<F, N>>,
    d_out: &Tensor<Vector<F, N>>,
    log_sums: &Tensor<f32>,
    delta: &Tensor<f32>,
    pairs: &Pairs<F, M>,
    d_query: &mut Tensor<Vector<F, N>>,
    d_c2p: &mut ComptimeOption<Tensor<F>>,
    #[comptime] geometry: Geometry,
    #[define(F, S)] _dtypes: [StorageType; 2],
) {
    let tile = comptime!(geometry.tile);
    let rows = comptime!(tile.rows / tile.row_units);
    let cols = comptime!(tile.cols / tile.col_units);
    let stride = comptime!(tile.score_stride());
    let sequence = pairs.sequence(pairs.q_len.div_ceil(tile.rows));
    let first_query = sequence.tile * tile.rows;
    if first_query >= sequence.q_len {
        terminate!();
    }
    let row = UNIT_POS as usize / tile.col_units;
    let col = UNIT_POS as usize % tile.col_units;

    let mut queries = state_tile::<S, N>(tile.rows, geometry);
    let mut d_outs = state_tile::<S, N>(tile.rows, geometry);
    let mut states = state_tile::<S, N>(tile.cols, geometry);
    let mut scores = score_tile(geometry);
    let mut weights = Weights::<S>::over(scores, geometry);
    let query_rows = pairs.queries(sequence, first_query);
    load_rows(&mut queries, query, query_rows, tile.rows, geometry);
    load_rows(&mut d_outs, d_out, query_rows, tile.rows, geometry);

    let mut gradient = Sums::<N>::zero(false, geometry);
    let mut row_log_sums = Array::<f32>::new(rows);
    let mut row_deltas = Array::<f32>::new(rows);
    let mut tile_scores = Array::<f32>::new(comptime!(rows * cols));
    let mut d_probs = Array::<f32>::new(comptime!(rows * cols));
    #[unroll]
    for r in 0..rows {
        let y = first_query + row + comptime!(r * tile.row_units);
        row_log_sums[r] = f32::new(0.0);
        row_deltas[r] = f32::new(0.0);
        if y < sequence.q_len {
            row_log_sums[r] = log_sums[pairs.score_row(sequence, y)];
            row_deltas[r] = delta[pairs.score_row(sequence, y)];
        }
    }
    let slots = SlotSums::new(pairs.scale, tile.units(), tile.rows);

    let mut first_key = 0usize.runtime();
    while first_key < sequence.k_len {
        sync_cube();
        let key_rows = pairs.keys(sequence, first_key);
        load_rows(&mut states, value, key_rows, tile.cols, geometry);
        sync_cube();
        multiply_rows(
            &mut d_probs,
            &mut scores,
            &d_outs,
            &states,
            row,
            col,
            false,
            geometry,
        );
        sync_cube();
        load_rows(&mut states, key, key_rows, tile.cols, geometry);
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
            &states,
            row,
            col,
            true,
            geometry,
        );
        #[unroll]
        for r in 0..rows {
            let y = row + comptime!(r * tile.row_units);
            let pattern = pairs.row_pattern(pairs.score_row(sequence, first_query + y));
            #[unroll]
            for c in 0..cols {
                let x = col + comptime!(c * tile.col_units);
                let at = comptime!(r * cols + c);
                let products = tile_scores[at];
                let score =
                    pairs.score(sequence, first_query + y, first_key + x, products, geometry);
                let prob = probability(score, row_log_sums[r]);
                let d_prob = d_probs[at] * pairs.dropout_factor(pattern, first_key + x);
                let d_score = prob * (d_prob - row_deltas[r]);
                weights.set(y, x, d_score, geometry);
                scores[y * stride + x] = d_score;
            }
        }
        sync_cube();
        gradient.add(&weights, &states, row, col, false, geometry);
        #[comptime]
        match d_c2p {
            ComptimeOption::Some(d_c2p) => {
                slots.add_keys::<F, F, M>(
                    d_c2p,
                    &scores,
                    pairs,
                    sequence,
                    first_query,
                    first_key,
                    geometry,
                );
            }
            ComptimeOption::None => {}
        }
        first_key += tile.cols;
    }

    #[comptime]
    match d_c2p {
        ComptimeOption::Some(d_c2p) => {
            slots.finish_query::<F, F, M>(d_c2p, pairs, sequence, first_query);
        }
        ComptimeOption::None => {}
    }
    let mut factors = Array::<f32>::new(rows);
    #[unroll]
    for r in 0..rows {
        factors[r] = pairs.scale;
    }
    gradient.store::<F>(
        d_query,
        query_rows,
        &factors,
        &mut scores,
        row,
        col,
        false,
        geometry,
    );
}
