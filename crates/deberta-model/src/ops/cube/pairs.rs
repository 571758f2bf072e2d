//! What all kernels know about a pair of a query and a key.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::matrices::Matrices;
use super::tiles::{Tile, VECTOR};

/// Stands for minus infinity, which WGSL cannot write down.
pub(super) const LOWEST: f32 = -1e30;

/// Scores below this are masked ones.
const MASKED: f32 = -1e29;

/// The logarithm of the sum of a row without keys: its probabilities vanish in the backward pass.
pub(super) const BLIND: f32 = 1e30;

/// An odd number near 2^32 / golden ratio.
const STEP: u32 = 0x9e37_79b9;

/// What a kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Geometry {
    pub(super) tile: Tile,
    /// Width of a head in vectors.
    pub(super) head_vectors: usize,
    /// The mask is one of pairs, not of keys.
    pub(super) pairwise: bool,
    /// Queries are the keys' own tokens, so that one at padding sees nothing.
    pub(super) blind_padded_queries: bool,
}

impl Geometry {
    pub(super) fn head_dim(self) -> usize {
        self.head_vectors * VECTOR
    }

    /// How matrix units multiply, in code that is only for those.
    pub(super) fn matrices(self) -> Matrices {
        match self.tile.matrices {
            Some(matrices) => matrices,
            None => unreachable!("sums are vectors without matrix units"),
        }
    }

    /// Vectors from one row of a head in shared memory to the next.
    pub(super) fn stride(self) -> usize {
        self.tile.state_stride(self.head_dim()) / VECTOR
    }
}

/// Rows of one head of a sequence, from the first row of a tile on, in states `[rows, heads * head_dim]`.
#[derive(CubeType, Clone, Copy)]
pub(super) struct HeadRows {
    first: usize,
    /// How many there are.
    count: usize,
    head: usize,
    heads: usize,
}

#[cube]
impl HeadRows {
    pub(super) fn has(&self, row: usize) -> bool {
        row < self.count
    }

    /// Place of a row among those of all heads.
    pub(super) fn at(&self, row: usize) -> usize {
        (self.first + row) * self.heads + self.head
    }
}

/// Everything about pairs that is not a product of states. Tables that a call does not have take no
/// binding.
#[derive(CubeType, CubeLaunch)]
pub(super) struct Pairs<F: Float, M: Int> {
    /// Live row of each distance, then for each live row the first distance of it.
    slots: ComptimeOption<Tensor<i32>>,
    /// Queries against position keys, `[heads, q_rows, live]`.
    c2p: ComptimeOption<Tensor<F>>,
    /// Keys against position queries, `[heads, k_rows, live]`.
    p2c: ComptimeOption<Tensor<F>>,
    /// First query, number of queries, first key and number of keys of each sequence.
    segments: ComptimeOption<Tensor<i32>>,
    /// Positions of the queries, `[q_rows]`.
    positions: ComptimeOption<Tensor<i32>>,
    /// `[k_rows]` or `[q_rows, k_len]`.
    mask: ComptimeOption<Tensor<M>>,
    /// Two draws of 24 bits.
    seed: ComptimeOption<Tensor<f32>>,
    pub(super) heads: usize,
    sequences: usize,
    pub(super) q_rows: usize,
    pub(super) k_rows: usize,
    /// Of each sequence, where all are alike.
    pub(super) q_len: usize,
    pub(super) k_len: usize,
    pub(super) live: usize,
    pub(super) distances: usize,
    pub(super) zero_distance: usize,
    pub(super) scale: f32,
    /// Hashes below this are dropped.
    drop_below: u32,
    keep_factor: f32,
}

/// Rows of one sequence, and the tile and head that a cube works on.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Sequence {
    pub(super) tile: usize,
    pub(super) head: usize,
    pub(super) q_start: usize,
    pub(super) q_len: usize,
    pub(super) k_start: usize,
    pub(super) k_len: usize,
}

/// The part of the dropout pattern that a row shares.
#[derive(CubeType, Clone, Copy)]
pub(super) struct RowPattern {
    low: u32,
    high: u32,
}

#[cube]
impl<F: Float, M: Int> Pairs<F, M> {
    /// The sequence, head and tile of this cube, if each head of a sequence has so many tiles.
    ///
    /// Cubes are counted in one row, since a device may allow no more than 65,535 along an axis of a
    /// launch. Those beyond the last sequence have neither queries nor keys.
    pub(super) fn sequence(&self, tiles: usize) -> Sequence {
        let tile = CUBE_POS % tiles;
        let head = CUBE_POS / tiles % self.heads;
        let index = CUBE_POS / tiles / self.heads;
        let exists = index < self.sequences;
        let index = select(exists, index, 0usize.runtime());
        let q_len = self.q_len;
        let k_len = self.k_len;
        let mut sequence = Sequence {
            tile,
            head,
            q_start: index * q_len,
            q_len,
            k_start: index * k_len,
            k_len,
        };
        #[comptime]
        match &self.segments {
            ComptimeOption::Some(segments) => {
                sequence.q_start = usize::cast_from(segments[4 * index]);
                sequence.q_len = usize::cast_from(segments[4 * index + 1]);
                sequence.k_start = usize::cast_from(segments[4 * index + 2]);
                sequence.k_len = usize::cast_from(segments[4 * index + 3]);
            }
            ComptimeOption::None => {}
        }
        if !exists {
            sequence.q_len = 0usize.runtime();
            sequence.k_len = 0usize.runtime();
        }
        sequence
    }

    /// Rows of the queries of a tile.
    pub(super) fn queries(&self, sequence: Sequence, first: usize) -> HeadRows {
        HeadRows {
            first: sequence.q_start + first,
            count: sequence.q_len - first,
            head: sequence.head,
            heads: self.heads,
        }
    }

    /// Rows of the keys of a tile.
    pub(super) fn keys(&self, sequence: Sequence, first: usize) -> HeadRows {
        HeadRows {
            first: sequence.k_start + first,
            count: sequence.k_len - first,
            head: sequence.head,
            heads: self.heads,
        }
    }

    /// Row among those of all heads of a query.
    pub(super) fn score_row(&self, sequence: Sequence, query: usize) -> usize {
        sequence.head * self.q_rows + sequence.q_start + query
    }

    /// Row among those of all heads of a key.
    pub(super) fn key_row(&self, sequence: Sequence, key: usize) -> usize {
        sequence.head * self.k_rows + sequence.k_start + key
    }

    /// Position of a query in its sequence.
    pub(super) fn position(&self, sequence: Sequence, query: usize) -> usize {
        #[comptime]
        match &self.positions {
            ComptimeOption::Some(positions) => {
                usize::cast_from(positions[sequence.q_start + query])
            }
            ComptimeOption::None => query,
        }
    }

    /// Live row of a distance.
    pub(super) fn slot(&self, position: usize, key: usize) -> usize {
        #[comptime]
        match &self.slots {
            ComptimeOption::Some(slots) => {
                usize::cast_from(slots[position + self.zero_distance - key])
            }
            ComptimeOption::None => 0usize.runtime(),
        }
    }

    /// The first distance of a live row, counted like those of [`Self::slot`].
    pub(super) fn first_distance(&self, slot: usize) -> usize {
        #[comptime]
        match &self.slots {
            ComptimeOption::Some(slots) => usize::cast_from(slots[self.distances + slot]),
            ComptimeOption::None => 0usize.runtime(),
        }
    }

    /// Score of a key against the position query of a pair, without the scale.
    pub(super) fn key_position_score(
        &self,
        sequence: Sequence,
        position: usize,
        key: usize,
    ) -> f32 {
        #[comptime]
        match &self.p2c {
            ComptimeOption::Some(p2c) => {
                let at = self.key_row(sequence, key) * self.live + self.slot(position, key);
                f32::cast_from(p2c[at])
            }
            ComptimeOption::None => f32::new(0.0),
        }
    }

    /// Score of a query against the position key of a pair, without the scale.
    pub(super) fn query_position_score(
        &self,
        sequence: Sequence,
        query: usize,
        position: usize,
        key: usize,
    ) -> f32 {
        #[comptime]
        match &self.c2p {
            ComptimeOption::Some(c2p) => {
                let at = self.score_row(sequence, query) * self.live + self.slot(position, key);
                f32::cast_from(c2p[at])
            }
            ComptimeOption::None => f32::new(0.0),
        }
    }

    /// Whether a pair within the sequence may not be seen.
    pub(super) fn is_blocked(
        &self,
        sequence: Sequence,
        query: usize,
        key: usize,
        #[comptime] geometry: Geometry,
    ) -> bool {
        #[comptime]
        match &self.mask {
            ComptimeOption::Some(mask) => {
                if geometry.pairwise {
                    let pair = (sequence.q_start + query) * self.k_len + key;
                    mask[pair] != M::from_int(0)
                } else {
                    let key_blocked = mask[sequence.k_start + key] != M::from_int(0);
                    if geometry.blind_padded_queries {
                        let query_blocked = mask[sequence.k_start + query] != M::from_int(0);
                        key_blocked || query_blocked
                    } else {
                        key_blocked
                    }
                }
            }
            ComptimeOption::None => false.runtime(),
        }
    }

    /// Score of a pair from the product of its states and the score of its position query.
    pub(super) fn score(
        &self,
        sequence: Sequence,
        query: usize,
        key: usize,
        products: f32,
        #[comptime] geometry: Geometry,
    ) -> f32 {
        let mut score = f32::new(LOWEST);
        if query < sequence.q_len && key < sequence.k_len {
            if !self.is_blocked(sequence, query, key, geometry) {
                let position = self.position(sequence, query);
                let c2p = self.query_position_score(sequence, query, position, key);
                score = self.scale * (products + c2p);
            }
        }
        score
    }

    /// The dropout pattern of a row; not read without dropout.
    pub(super) fn row_pattern(&self, row: usize) -> RowPattern {
        #[comptime]
        match &self.seed {
            ComptimeOption::Some(seed) => {
                let row = u32::cast_from(row);
                let low = mix(row ^ mix(u32::cast_from(seed[1])));
                let high = mix(row * STEP + mix(u32::cast_from(seed[0]) ^ STEP));
                RowPattern { low, high }
            }
            ComptimeOption::None => RowPattern {
                low: 0u32.runtime(),
                high: 0u32.runtime(),
            },
        }
    }

    /// What dropout multiplies the probability of a pair by.
    pub(super) fn dropout_factor(&self, pattern: RowPattern, key: usize) -> f32 {
        #[comptime]
        match &self.seed {
            ComptimeOption::Some(_) => {
                // The row enters twice, so that no two rows share a shifted sequence.
                let hash = u32::cast_from(key) * STEP + pattern.low;
                let hash = ((hash ^ (hash >> 16)) * 0x7feb_352du32) ^ pattern.high;
                let hash = (hash ^ (hash >> 15)) * 0x846c_a68bu32;
                let hash = hash ^ (hash >> 16);
                select(hash < self.drop_below, f32::new(0.0), self.keep_factor)
            }
            ComptimeOption::None => f32::new(1.0),
        }
    }
}

/// `exp(score - maximum)`, and 0 for masked scores. A score that is not a number stays one.
#[cube]
pub(super) fn probability(score: f32, maximum: f32) -> f32 {
    let mut prob = f32::new(0.0);
    if !(score < f32::new(MASKED)) {
        prob = (score - maximum).exp();
    }
    prob
}

/// Two rounds of xor-shift-multiply.
#[cube]
fn mix(value: u32) -> u32 {
    let value = (value ^ (value >> 16)) * 0x7feb_352du32;
    let value = (value ^ (value >> 15)) * 0x846c_a68bu32;
    value ^ (value >> 16)
}
