//! Gradients of scores against the position tables, from those of the pairs.
//!
//! Live rows never fall as distances rise, so the pairs of a query that read one row of the table are
//! neighbours: their sum is a loop, and nothing is added to memory that another unit writes. Several
//! units share a query and take every so many rows of the table. A row whose pairs lie in several tiles
//! stays open, in a register, until the tiles have passed it.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::pairs::{Geometry, Pairs, Sequence};

/// No row of the table.
const NONE: u32 = u32::MAX;

/// The sum that a unit is working on.
#[derive(CubeType)]
pub(super) struct SlotSums {
    /// Row of the tile, or column, whose gradients this unit sums.
    line: usize,
    /// Which of the units that share it.
    lane: usize,
    /// What scores were multiplied by, which the gradients of a tile do not have yet.
    scale: f32,
    slot: RuntimeCell<u32>,
    sum: RuntimeCell<f32>,
}

#[cube]
impl SlotSums {
    /// Nothing, for one of `units` that share `lines` rows or columns evenly.
    pub(super) fn new(scale: f32, #[comptime] units: usize, #[comptime] lines: usize) -> SlotSums {
        let lanes = comptime!(units / lines);
        SlotSums {
            line: UNIT_POS as usize / lanes,
            lane: UNIT_POS as usize % lanes,
            scale,
            slot: RuntimeCell::<u32>::new(NONE),
            sum: RuntimeCell::<f32>::new(f32::new(0.0)),
        }
    }

    /// Adds `sum` to live row `slot`; the row before is complete if it is another.
    fn add<S: Float>(&self, gradients: &mut Tensor<S>, base: usize, slot: usize, sum: f32) {
        let slot = u32::cast_from(slot);
        if slot == self.slot.read() {
            self.sum.store(self.sum.read() + sum);
        } else {
            self.write::<S>(gradients, base);
            self.slot.store(slot);
            self.sum.store(sum);
        }
    }

    /// Writes the row at hand; `base` is where the gradients of the query or key start.
    fn write<S: Float>(&self, gradients: &mut Tensor<S>, base: usize) {
        let slot = self.slot.read();
        if slot != NONE {
            gradients[base + slot as usize] = S::cast_from(self.scale * self.sum.read());
        }
    }

    /// Adds a tile of gradients to those of its queries against position keys. The tiles of a query
    /// come with rising keys.
    pub(super) fn add_keys<S: Float, F: Float, M: Int>(
        &self,
        gradients: &mut Tensor<S>,
        scores: &SharedMemory<f32>,
        pairs: &Pairs<F, M>,
        sequence: Sequence,
        first_query: usize,
        first_key: usize,
        #[comptime] geometry: Geometry,
    ) {
        let tile = comptime!(geometry.tile);
        let lanes = comptime!(tile.units() / tile.rows);
        let stride = comptime!(tile.score_stride());
        let query = first_query + self.line;
        if query < sequence.q_len {
            let base = pairs.score_row(sequence, query) * pairs.live;
            let position = pairs.position(sequence, query);
            let origin = position + pairs.zero_distance;
            let mut end_key = first_key + tile.cols;
            if end_key > sequence.k_len {
                end_key = sequence.k_len;
            }
            let highest = pairs.slot(position, first_key);
            let lowest = pairs.slot(position, end_key - 1);
            // One above the row, so that it can reach zero.
            let mut above = 0usize.runtime();
            let skipped = (highest + lanes - self.lane) % lanes;
            if skipped <= highest {
                above = highest + 1 - skipped;
            }
            while above > lowest {
                let slot = above - 1;
                let first = pairs.first_distance(slot);
                let next = pairs.first_distance(above);
                let mut from = first_key;
                if origin + 1 > first_key + next {
                    from = origin + 1 - next;
                }
                let mut to = end_key;
                if origin + 1 < end_key + first {
                    to = origin + 1 - first;
                }
                let mut sum = f32::new(0.0);
                for key in from..to {
                    sum += scores[self.line * stride + (key - first_key)];
                }
                self.add::<S>(gradients, base, slot, sum);
                if above > lanes {
                    above -= lanes;
                } else {
                    above = 0usize.runtime();
                }
            }
        }
    }

    /// Adds a tile of gradients to those of its keys against position queries, for queries at
    /// consecutive positions. The tiles of a key come with rising queries.
    pub(super) fn add_queries<S: Float, F: Float, M: Int>(
        &self,
        gradients: &mut Tensor<S>,
        scores: &SharedMemory<f32>,
        pairs: &Pairs<F, M>,
        sequence: Sequence,
        first_query: usize,
        first_key: usize,
        #[comptime] geometry: Geometry,
    ) {
        let tile = comptime!(geometry.tile);
        let lanes = comptime!(tile.units() / tile.cols);
        let stride = comptime!(tile.score_stride());
        let key = first_key + self.line;
        if key < sequence.k_len {
            let base = pairs.key_row(sequence, key) * pairs.live;
            let mut end_query = first_query + tile.rows;
            if end_query > sequence.q_len {
                end_query = sequence.q_len;
            }
            let lowest = pairs.slot(first_query, key);
            let highest = pairs.slot(end_query - 1, key);
            let mut slot = lowest + (self.lane + lanes - lowest % lanes) % lanes;
            while slot <= highest {
                let first = pairs.first_distance(slot) + key;
                let next = pairs.first_distance(slot + 1) + key;
                let mut from = first_query;
                if first > first_query + pairs.zero_distance {
                    from = first - pairs.zero_distance;
                }
                let mut to = end_query;
                if next < end_query + pairs.zero_distance {
                    to = next - pairs.zero_distance;
                }
                let mut sum = f32::new(0.0);
                for query in from..to {
                    sum += scores[(query - first_query) * stride + self.line];
                }
                self.add::<S>(gradients, base, slot, sum);
                slot += lanes;
            }
        }
    }

    /// As [`Self::add_queries`] for queries anywhere: rows of the table come in no order, so each
    /// gradient is added to memory, always by the same unit.
    pub(super) fn add_scattered<S: Float, F: Float, M: Int>(
        &self,
        gradients: &mut Tensor<S>,
        scores: &SharedMemory<f32>,
        pairs: &Pairs<F, M>,
        sequence: Sequence,
        first_query: usize,
        first_key: usize,
        #[comptime] geometry: Geometry,
    ) {
        let tile = comptime!(geometry.tile);
        let lanes = comptime!(tile.units() / tile.cols);
        let stride = comptime!(tile.score_stride());
        let key = first_key + self.line;
        if key < sequence.k_len {
            let base = pairs.key_row(sequence, key) * pairs.live;
            let mut end_query = first_query + tile.rows;
            if end_query > sequence.q_len {
                end_query = sequence.q_len;
            }
            for query in first_query..end_query {
                let slot = pairs.slot(pairs.position(sequence, query), key);
                if slot % lanes == self.lane {
                    let gradient = scores[(query - first_query) * stride + self.line];
                    gradients[base + slot] += S::cast_from(self.scale * gradient);
                }
            }
        }
    }

    /// Writes what is still open of a query.
    pub(super) fn finish_query<S: Float, F: Float, M: Int>(
        &self,
        gradients: &mut Tensor<S>,
        pairs: &Pairs<F, M>,
        sequence: Sequence,
        first_query: usize,
    ) {
        let query = first_query + self.line;
        if query < sequence.q_len {
            self.write::<S>(gradients, pairs.score_row(sequence, query) * pairs.live);
        }
    }

    /// Writes what is still open of a key.
    pub(super) fn finish_key<S: Float, F: Float, M: Int>(
        &self,
        gradients: &mut Tensor<S>,
        pairs: &Pairs<F, M>,
        sequence: Sequence,
        first_key: usize,
    ) {
        let key = first_key + self.line;
        if key < sequence.k_len {
            self.write::<S>(gradients, pairs.key_row(sequence, key) * pairs.live);
        }
    }
}
