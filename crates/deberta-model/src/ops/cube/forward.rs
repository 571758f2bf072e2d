//! The forward kernel.
//!
//! One cube computes a tile of queries of one head. It walks over the keys tile by tile and keeps, for
//! each of its queries, the largest score so far, the sum of exponentials and the weighted values, so
//! that scores exist only as a tile in shared memory.
//!
//! Exponentials are taken of the distance to a *reference*: the largest score so far or, where matrix
//! units keep the weighted values, one that is not more than [`SLACK`] below it, since those have to pass
//! through shared memory to be scaled to another reference. The result does not depend on it.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::pairs::{BLIND, Geometry, LOWEST, Pairs, Sequence, probability};
use super::products::{load_rows, multiply_rows, score_tile, state_tile};
use super::sums::{Sums, Weights};

/// Scores of a tile against position queries, read so that neighbouring units meet neighbouring
/// live rows: `scores[query, key]`.
#[cube]
pub(super) fn load_key_positions<F: Float, M: Int>(
    scores: &mut SharedMemory<f32>,
    pairs: &Pairs<F, M>,
    sequence: Sequence,
    first_query: usize,
    first_key: usize,
    #[comptime] geometry: Geometry,
) {
    let tile = comptime!(geometry.tile);
    let total = comptime!(tile.rows * tile.cols);
    let units = comptime!(tile.units());
    let stride = comptime!(tile.score_stride());
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

/// How far scores may rise above their reference: exponentials stay below `e^5`, far from what f16 can hold.
const SLACK: f32 = 5.0;

#[cube(launch)]
pub(super) fn forward_kernel<F: Float, S: Float, M: Int, N: Size>(
    query: &Tensor<Vector<F, N>>,
    key: &Tensor<Vector<F, N>>,
    value: &Tensor<Vector<F, N>>,
    pairs: &Pairs<F, M>,
    out: &mut Tensor<Vector<F, N>>,
    log_sums: &mut Tensor<f32>,
    #[comptime] geometry: Geometry,
    #[define(F, S)] _dtypes: [StorageType; 2],
) {
    let tile = comptime!(geometry.tile);
    let rows = comptime!(tile.rows / tile.row_units);
    let cols = comptime!(tile.cols / tile.col_units);
    let slack = comptime!(if tile.matrices.is_some() { SLACK } else { 0.0 });
    let sequence = pairs.sequence(pairs.q_len.div_ceil(tile.rows));
    let first_query = sequence.tile * tile.rows;
    if first_query >= sequence.q_len {
        terminate!();
    }
    let row = UNIT_POS as usize / tile.col_units;
    let col = UNIT_POS as usize % tile.col_units;

    let mut queries = state_tile::<S, N>(tile.rows, geometry);
    let mut states = state_tile::<S, N>(tile.cols, geometry);
    let mut scores = score_tile(geometry);
    let mut weights = Weights::<S>::over(scores, geometry);
    let mut partial = SharedMemory::<f32>::new(comptime!(tile.rows * tile.col_units));
    // Whether any row of the tile has a new reference.
    let mut moved = SharedMemory::<u32>::new(1usize);

    let mut weighted = Sums::<N>::zero(false, geometry);
    let mut references = Array::<f32>::new(rows);
    let mut exponentials = Array::<f32>::new(rows);
    let mut factors = Array::<f32>::new(rows);
    let mut tile_scores = Array::<f32>::new(comptime!(rows * cols));
    #[unroll]
    for r in 0..rows {
        references[r] = f32::new(LOWEST);
        exponentials[r] = f32::new(0.0);
    }

    let query_rows = pairs.queries(sequence, first_query);
    load_rows(&mut queries, query, query_rows, tile.rows, geometry);
    let mut first_key = 0usize.runtime();
    while first_key < sequence.k_len {
        sync_cube();
        let key_rows = pairs.keys(sequence, first_key);
        load_rows(&mut states, key, key_rows, tile.cols, geometry);
        load_key_positions(
            &mut scores,
            pairs,
            sequence,
            first_query,
            first_key,
            geometry,
        );
        moved[0] = 0u32;
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
            let mut largest = f32::new(LOWEST);
            #[unroll]
            for c in 0..cols {
                let x = col + comptime!(c * tile.col_units);
                let at = comptime!(r * cols + c);
                let products = tile_scores[at];
                let score =
                    pairs.score(sequence, first_query + y, first_key + x, products, geometry);
                tile_scores[at] = score;
                largest = largest.max(score);
            }
            partial[y * tile.col_units + col] = largest;
        }
        sync_cube();

        load_rows(&mut states, value, key_rows, tile.cols, geometry);
        #[unroll]
        for r in 0..rows {
            let y = row + comptime!(r * tile.row_units);
            let mut largest = references[r];
            for unit in 0..tile.col_units {
                largest = largest.max(partial[y * tile.col_units + unit]);
            }
            factors[r] = f32::new(1.0);
            if largest > references[r] + slack {
                // A row that has seen no key yet has nothing to scale.
                if references[r] > f32::new(LOWEST) {
                    factors[r] = (references[r] - largest).exp();
                    moved[0] = 1u32;
                }
                references[r] = largest;
            }
            let pattern = pairs.row_pattern(pairs.score_row(sequence, first_query + y));
            let mut sum = exponentials[r] * factors[r];
            #[unroll]
            for c in 0..cols {
                let x = col + comptime!(c * tile.col_units);
                let prob = probability(tile_scores[comptime!(r * cols + c)], references[r]);
                sum += prob;
                let factor = pairs.dropout_factor(pattern, first_key + x);
                weights.set(y, x, prob * factor, geometry);
            }
            exponentials[r] = sum;
        }
        sync_cube();
        if moved[0] != 0u32 {
            weighted.scale(&factors, &mut scores, row, col, geometry);
        }
        weighted.add(&weights, &states, row, col, false, geometry);
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
            log_sum = references[r] + sum.ln();
        }
        if col == 0 && first_query + y < sequence.q_len {
            log_sums[pairs.score_row(sequence, first_query + y)] = log_sum;
        }
    }
    weighted.store::<F>(
        out,
        query_rows,
        &factors,
        &mut scores,
        row,
        col,
        false,
        geometry,
    );
}
