//! The forward kernel.
//!
//! One cube computes a tile of queries of one head. It walks over the keys tile by tile and keeps, for
//! each of its queries, the largest score so far, the sum of exponentials and the weighted values, so
//! that scores exist only as a tile in shared memory.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::pairs::{BLIND, Geometry, LOWEST, Pairs, Sequence, probability};
use super::products::{
    add_weighted, clear, load_rows, multiply_rows, output_rows, output_vectors, store_rows,
};

/// Scores of a tile against position queries, read so that neighbouring units meet neighbouring
/// live rows: `scores[query, key]`.
#[cube]
pub(super) fn load_key_positions<M: Int>(
    scores: &mut SharedMemory<f32>,
    pairs: &Pairs<M>,
    sequence: Sequence,
    first_query: usize,
    first_key: usize,
    #[comptime] geometry: Geometry,
) {
    let tile = comptime!(geometry.tile);
    let total = comptime!(tile.rows * tile.cols);
    let units = comptime!(tile.units());
    let stride = comptime!(tile.cols + 1);
    let mut index = UNIT_POS as usize;
    while index < total {
        let query = index % tile.rows;
        let key = index / tile.rows;
        let mut score = f32::new(0.0);
        if first_query + query < sequence.q_len && first_key + key < sequence.k_len {
            let position = pairs.position(sequence, first_query + query);
            score = pairs.key_position_score(sequence, position, first_key + key);
        }
        scores[query * stride + key] = score;
        index += units;
    }
}

#[cube(launch)]
pub(super) fn forward_kernel<F: Float, M: Int, N: Size>(
    query: &Tensor<Vector<F, N>>,
    key: &Tensor<Vector<F, N>>,
    value: &Tensor<Vector<F, N>>,
    pairs: &Pairs<M>,
    out: &mut Tensor<Vector<F, N>>,
    log_sums: &mut Tensor<f32>,
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
    let mut states = SharedMemory::<Vector<f32, N>>::new(comptime!(tile.cols * geometry.stride()));
    let mut scores = SharedMemory::<f32>::new(comptime!(tile.rows * stride));
    let mut partial = SharedMemory::<f32>::new(comptime!(tile.rows * tile.col_units));

    let sums = comptime!(output_rows(geometry, false) * output_vectors(geometry));
    let mut weighted = Array::<Vector<f32, N>>::new(sums);
    clear(&mut weighted, sums);
    let mut maxima = Array::<f32>::new(rows);
    let mut exponentials = Array::<f32>::new(rows);
    let mut tile_scores = Array::<f32>::new(comptime!(rows * cols));
    #[unroll]
    for r in 0..rows {
        maxima[r] = f32::new(LOWEST);
        exponentials[r] = f32::new(0.0);
    }

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
    let mut first_key = 0usize.runtime();
    while first_key < sequence.k_len {
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
        load_key_positions(
            &mut scores,
            pairs,
            sequence,
            first_query,
            first_key,
            geometry,
        );
        sync_cube();

        multiply_rows(&mut tile_scores, &queries, &states, row, col, geometry);
        #[unroll]
        for r in 0..rows {
            let y = row + comptime!(r * tile.row_units);
            let mut largest = f32::new(LOWEST);
            #[unroll]
            for c in 0..cols {
                let x = col + comptime!(c * tile.col_units);
                let at = comptime!(r * cols + c);
                let products = tile_scores[at] + scores[y * stride + x];
                let score =
                    pairs.score(sequence, first_query + y, first_key + x, products, geometry);
                tile_scores[at] = score;
                largest = largest.max(score);
            }
            partial[y * tile.col_units + col] = largest;
        }
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
        #[unroll]
        for r in 0..rows {
            let y = row + comptime!(r * tile.row_units);
            let mut largest = maxima[r];
            for unit in 0..tile.col_units {
                largest = largest.max(partial[y * tile.col_units + unit]);
            }
            let shrink = (maxima[r] - largest).exp();
            maxima[r] = largest;
            let pattern = pairs.row_pattern(pairs.score_row(sequence, first_query + y));
            let mut sum = exponentials[r] * shrink;
            #[unroll]
            for c in 0..cols {
                let x = col + comptime!(c * tile.col_units);
                let prob = probability(tile_scores[comptime!(r * cols + c)], largest);
                sum += prob;
                let factor = pairs.dropout_factor(pattern, first_key + x);
                scores[y * stride + x] = prob * factor;
            }
            exponentials[r] = sum;
            let vectors = comptime!(output_vectors(geometry));
            #[unroll]
            for c in 0..vectors {
                let at = comptime!(r * vectors + c);
                weighted[at] *= Vector::new(shrink);
            }
        }
        sync_cube();
        add_weighted(&mut weighted, &scores, &states, row, col, false, geometry);
        first_key += tile.cols;
    }

    // Each unit has summed its own keys; the units of a row share what they have.
    sync_cube();
    #[unroll]
    for r in 0..rows {
        let y = row + comptime!(r * tile.row_units);
        partial[y * tile.col_units + col] = exponentials[r];
    }
    sync_cube();
    let mut factors = Array::<f32>::new(rows);
    #[unroll]
    for r in 0..rows {
        let y = row + comptime!(r * tile.row_units);
        let mut sum = f32::new(0.0);
        for unit in 0..tile.col_units {
            sum += partial[y * tile.col_units + unit];
        }
        let mut log_sum = f32::new(BLIND);
        factors[r] = f32::new(0.0);
        if sum != f32::new(0.0) {
            factors[r] = f32::new(1.0) / sum;
            log_sum = maxima[r] + sum.ln();
        }
        if col == 0 && first_query + y < sequence.q_len {
            log_sums[pairs.score_row(sequence, first_query + y)] = log_sum;
        }
    }
    store_rows(
        out,
        &weighted,
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
