//! Transposition, of small blocks in vector registers and of whole matrices by them.

#![allow(unsafe_code, reason = "tasks share one output")]

use rayon::prelude::*;

use super::math::dispatch;
use super::shared::SharedOutput;

/// Rows and columns that are transposed at once.
pub(super) const BLOCK: usize = 8;

/// Rows and columns of a tile that stays in the first cache.
const TILE: usize = 64;

/// The transpose of a row-major matrix with this many columns.
pub(super) fn transpose(data: &[f32], columns: usize) -> Vec<f32> {
    let rows = data.len().checked_div(columns).unwrap_or(0);
    assert_eq!(data.len(), rows * columns, "size of a matrix");
    let mut out = Vec::with_capacity(data.len());
    let shared = SharedOutput::spare(&mut out);
    (0..columns.div_ceil(TILE))
        .into_par_iter()
        .for_each(|strip| {
            let columns_here = strip * TILE..columns.min((strip + 1) * TILE);
            let mut tile = [0.0; TILE * TILE];
            for row in (0..rows).step_by(TILE) {
                let height = TILE.min(rows - row);
                let from = &data[row * columns + columns_here.start..];
                dispatch(
                    #[inline(always)]
                    || transpose_tile(from, columns, [height, columns_here.len()], &mut tile),
                );
                for (column, values) in columns_here.clone().zip(tile.chunks_exact(TILE)) {
                    // SAFETY: tasks differ in the columns.
                    unsafe { shared.write(column * rows + row, &values[..height]) };
                }
            }
        });
    // SAFETY: the tasks have written every number.
    unsafe { out.set_len(data.len()) };
    out
}

/// `to[j, i] = from[i, j]`, where rows of `to` are [`TILE`] long.
#[inline(always)]
fn transpose_tile(from: &[f32], stride: usize, [rows, columns]: [usize; 2], to: &mut [f32]) {
    let whole = [rows, columns].map(|it| it / BLOCK * BLOCK);
    for j in (0..whole[1]).step_by(BLOCK) {
        for i in (0..whole[0]).step_by(BLOCK) {
            let block = transposed_block(&from[i * stride + j..], stride);
            for (row, values) in block.iter().enumerate() {
                to[(j + row) * TILE + i..][..BLOCK].copy_from_slice(values);
            }
        }
    }
    for j in 0..columns {
        let done = if j < whole[1] { whole[0] } else { 0 };
        for i in done..rows {
            to[j * TILE + i] = from[i * stride + j];
        }
    }
}

/// The transpose of a block, whose rows start this far from each other.
#[inline(always)]
pub(super) fn transposed_block(src: &[f32], stride: usize) -> [[f32; BLOCK]; BLOCK] {
    let mut block = [[0.0; BLOCK]; BLOCK];
    for (row, values) in block.iter_mut().enumerate() {
        values.copy_from_slice(&src[row * stride..row * stride + BLOCK]);
    }
    // Interleaving rows r and r + 4 three times transposes 8 × 8, and each step is a shuffle.
    for _ in 0..BLOCK.ilog2() {
        let mut next = [[0.0; BLOCK]; BLOCK];
        for row in 0..BLOCK / 2 {
            for x in 0..BLOCK / 2 {
                next[2 * row][2 * x] = block[row][x];
                next[2 * row][2 * x + 1] = block[row + BLOCK / 2][x];
                next[2 * row + 1][2 * x] = block[row][x + BLOCK / 2];
                next[2 * row + 1][2 * x + 1] = block[row + BLOCK / 2][x + BLOCK / 2];
            }
        }
        block = next;
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_changes_its_row_for_its_column() {
        for [rows, columns] in [[0, 3], [1, 1], [7, 9], [64, 64], [70, 129], [200, 8]] {
            let data: Vec<f32> = (0..rows * columns).map(|it| it as f32).collect();
            let transposed = transpose(&data, columns);
            assert_eq!(transposed.len(), data.len());
            for (index, value) in transposed.iter().enumerate() {
                let (column, row) = (index / rows, index % rows);
                assert_eq!(*value, data[row * columns + column]);
            }
        }
    }
}
