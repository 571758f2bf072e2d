//! How much of the score matrix one cube works on.

/// Numbers in one load.
pub(super) const VECTOR: usize = 4;

/// Sizes of the tile of scores that a cube holds, known when a kernel is compiled.
///
/// Each unit computes every `row_units`-th row and every `col_units`-th column of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tile {
    /// Queries of a tile.
    pub(super) rows: usize,
    /// Keys of a tile.
    pub(super) cols: usize,
    /// Units side by side along the queries.
    pub(super) row_units: usize,
    /// Units side by side along the keys.
    pub(super) col_units: usize,
}

/// What a device offers to a cube.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of shared memory.
    pub(super) shared_memory: usize,
    pub(super) units: usize,
}

/// Which kernel a tile is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Queries, keys or values in turn, and scores.
    Forward,
    /// Queries with their gradients, keys or values in turn, and scores.
    QueryGradients,
    /// Keys and values, queries with their gradients, and scores twice.
    KeyGradients,
}

impl Tile {
    const fn new(rows: usize, cols: usize, row_units: usize, col_units: usize) -> Self {
        Self {
            rows,
            cols,
            row_units,
            col_units,
        }
    }

    /// From best to smallest. The larger a tile, the fewer times is a key read; small ones are for
    /// devices with 16 KiB and for wide heads.
    const CANDIDATES: [Self; 7] = [
        Self::new(64, 64, 16, 16),
        Self::new(64, 32, 16, 8),
        Self::new(32, 32, 8, 8),
        Self::new(16, 32, 8, 8),
        Self::new(32, 16, 8, 8),
        Self::new(16, 16, 8, 8),
        Self::new(8, 8, 8, 8),
    ];

    /// The best tile for heads of `head_dim` that the device has room for.
    pub(super) fn choose(pass: Pass, head_dim: usize, limits: Limits) -> Option<Self> {
        Self::CANDIDATES.into_iter().find(|tile| {
            tile.units() <= limits.units
                && tile.shared_memory(pass, head_dim) <= limits.shared_memory
        })
    }

    pub(super) fn units(self) -> usize {
        self.row_units * self.col_units
    }

    /// Vectors from one row of a head in shared memory to the next: one more than it needs, so that
    /// units which read the same place of different rows do not meet in one bank.
    pub(super) fn stride(head_dim: usize) -> usize {
        head_dim / VECTOR + 1
    }

    /// Bytes that the kernels ask for.
    fn shared_memory(self, pass: Pass, head_dim: usize) -> usize {
        let Self { rows, cols, .. } = self;
        let row = Self::stride(head_dim) * VECTOR;
        let scores = rows * (cols + 1);
        let numbers = match pass {
            Pass::Forward => (rows + cols) * row + scores + rows * self.col_units,
            Pass::QueryGradients => (2 * rows + cols) * row + scores,
            Pass::KeyGradients => (2 * rows + 2 * cols) * row + 2 * scores,
        };
        numbers * size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSES: [Pass; 3] = [Pass::Forward, Pass::QueryGradients, Pass::KeyGradients];

    #[test]
    fn units_share_a_tile_evenly() {
        for tile in Tile::CANDIDATES {
            assert_eq!(tile.rows % tile.row_units, 0, "{tile:?}");
            assert_eq!(tile.cols % tile.col_units, 0, "{tile:?}");
            // The gradients of keys are summed by the same units.
            assert_eq!(tile.cols % tile.row_units, 0, "{tile:?}");
            // Several units share a row of position gradients.
            assert_eq!(tile.units() % tile.rows, 0, "{tile:?}");
            assert_eq!(tile.units() % tile.cols, 0, "{tile:?}");
        }
    }

    #[test]
    fn every_published_head_fits_the_smallest_device_of_webgpu() {
        let limits = Limits {
            shared_memory: 16384,
            units: 256,
        };
        for pass in PASSES {
            for head_dim in [32, 64] {
                assert!(Tile::choose(pass, head_dim, limits).is_some());
            }
        }
    }

    #[test]
    fn a_tile_takes_no_more_than_there_is() {
        for shared_memory in [16384, 32768, 49152, 101376] {
            for units in [128, 256, 1024] {
                let limits = Limits {
                    shared_memory,
                    units,
                };
                for (pass, head_dim) in PASSES.iter().zip([32, 64, 128]) {
                    if let Some(tile) = Tile::choose(*pass, head_dim, limits) {
                        assert!(tile.shared_memory(*pass, head_dim) <= shared_memory);
                        assert!(tile.units() <= units);
                    }
                }
            }
        }
        let none = Limits {
            shared_memory: 1024,
            units: 256,
        };
        assert_eq!(Tile::choose(Pass::Forward, 64, none), None);
    }
}
