//! The backward kernel that owns queries; see [`backward`](super::backward).

use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::forward::load_key_positions;
use super::pairs::{Geometry, Pairs, probability};
use super::position_gradients::SlotSums;
use super::products::{
    add_weighted, clear, load_rows, multiply_rows, output_rows, output_vectors, store_rows,
};

/// Gradients of queries, and of their scores against position keys.
#[cube(launch)]
pub(super) fn query_kernel<F: Float, M: Int, N: Size>(
    query: &Tensor<Vector<F, N>>,
    key: &Tensor<Vector<F, N>>,
    value: &Tensor<Vector<F, N>>,
    d_out: &Tensor<Vector<F, N>>,
    log_sums: &Tensor<f32>,
    delta: &Tensor<f32>,
    pairs: &Pairs<M>,
    d_query: &mut Tensor<Vector<F, N>>,
    d_c2p: &mut ComptimeOption<Tensor<F>>,
    #[comptime] geometry: Geometry,
    #[define(F)] _dtype: StorageType,
) {
    let tile = comptime!(geometry.tile);
    let rows = comptime!(tile.rows / tile.row_units);
    let cols = comptime!(tile.cols / tile.col_units);
    let stride = comptime!(tile.cols + 1);
    let sequence = pairs.sequence(pairs.q_len.div_ceil(tile.rows));
    let first_query = sequence.tile * tile.rows;
    if first_query >= sequence.q_len {
        terminate!();
    }
    let row = UNIT_POS as usize / tile.col_units;
    let col = UNIT_POS as usize % tile.col_units;

    let mut queries = SharedMemory::<Vector<f32, N>>::new(comptime!(tile.rows * geometry.stride()));
    let mut d_outs = SharedMemory::<Vector<f32, N>>::new(comptime!(tile.rows * geometry.stride()));
    let mut states = SharedMemory::<Vector<f32, N>>::new(comptime!(tile.cols * geometry.stride()));
    let mut scores = SharedMemory::<f32>::new(comptime!(tile.rows * stride));
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

    let sums = comptime!(output_rows(geometry, false) * output_vectors(geometry));
    let mut gradient = Array::<Vector<f32, N>>::new(sums);
    clear(&mut gradient, sums);
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
    let slots = SlotSums::new(tile.units(), tile.rows);

    let mut first_key = 0usize.runtime();
    while first_key < sequence.k_len {
        sync_cube();
        load_rows(
            &mut states,
            value,
            sequence.k_start,
            first_key,
            sequence.k_len,
            sequence.head,
            pairs.heads,
            tile.cols,
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
        multiply_rows(&mut d_probs, &d_outs, &states, row, col, geometry);
        sync_cube();
        load_rows(
            &mut states,
            key,
            sequence.k_start,
            first_key,
            sequence.k_len,
            sequence.head,
            pairs.heads,
            tile.cols,
            geometry,
        );
        sync_cube();
        multiply_rows(&mut tile_scores, &queries, &states, row, col, geometry);
        #[unroll]
        for r in 0..rows {
            let y = row + comptime!(r * tile.row_units);
            let pattern = pairs.row_pattern(pairs.score_row(sequence, first_query + y));
            #[unroll]
            for c in 0..cols {
                let x = col + comptime!(c * tile.col_units);
                let at = comptime!(r * cols + c);
                let products = tile_scores[at] + scores[y * stride + x];
                let score =
                    pairs.score(sequence, first_query + y, first_key + x, products, geometry);
                let prob = probability(score, row_log_sums[r]);
                let d_prob = d_probs[at] * pairs.dropout_factor(pattern, first_key + x);
                scores[y * stride + x] = pairs.scale * prob * (d_prob - row_deltas[r]);
            }
        }
        sync_cube();
        add_weighted(&mut gradient, &scores, &states, row, col, false, geometry);
        #[comptime]
        match d_c2p {
            ComptimeOption::Some(d_c2p) => {
                slots.add_keys::<F, M>(
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
            slots.finish_query::<F, M>(d_c2p, pairs, sequence, first_query);
        }
        ComptimeOption::None => {}
    }
    let mut factors = Array::<f32>::new(rows);
    #[unroll]
    for r in 0..rows {
        factors[r] = f32::new(1.0);
    }
    store_rows(
        d_query,
        &gradient,
        &factors,
        sequence.q_start,
        first_query,
        sequence.q_len,
        sequence.head,
        pairs.heads,
        row,
        col,
        false,
        geometry,
    );
}
