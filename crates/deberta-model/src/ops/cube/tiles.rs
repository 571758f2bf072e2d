//! How much of the score matrix one cube works on.

use serde::{Deserialize, Serialize};

use super::matrices::Matrices;

/// Numbers in one load.
pub(super) const VECTOR: usize = 4;

/// Bytes of which the addresses of matrices in shared memory are multiples.
pub(super) const ALIGN: usize = 32;

/// Of these there are no more than so many in a kernel.
const BUFFERS: usize = 8;

/// Numbers between rows of matrices in shared memory beyond their width, so that rows start in different
/// banks and, as matrix units want it, at multiples of 16 bytes: of half precision and of f32.
const HALF_PAD: usize = 8;
const F32_PAD: usize = 4;

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
    /// How matrix units multiply, where they do; products are summed by units otherwise.
    pub(super) matrices: Option<Matrices>,
}

/// What a device offers to a cube.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of shared memory.
    pub(super) shared_memory: usize,
    pub(super) units: usize,
}

/// Which kernel a tile is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Pass {
    /// Queries, keys or values in turn, and scores.
    Forward,
    /// Queries with their gradients, keys or values in turn, and scores.
    QueryGradients,
    /// Keys and values, queries with their gradients, and scores twice.
    KeyGradients,
}

/// A way to share a tile of so many rows and columns, before the device is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Layout {
    /// Units side by side along both axes, which sum products themselves.
    Units([usize; 2], [usize; 2]),
    /// Planes side by side along both axes, which use matrix units.
    Planes([usize; 2], [usize; 2]),
}

impl Layout {
    /// For either kind from the likely best to the smallest. The larger a tile, the fewer times is a key
    /// read; small ones are for devices with 16 KiB and for wide heads.
    pub(super) const ALL: [Self; 16] = [
        Self::Planes([64, 64], [4, 1]),
        Self::Planes([64, 64], [4, 2]),
        Self::Planes([128, 64], [8, 1]),
        Self::Planes([64, 32], [2, 2]),
        Self::Planes([32, 32], [2, 2]),
        Self::Planes([32, 32], [2, 1]),
        Self::Planes([16, 16], [2, 1]),
        Self::Planes([16, 16], [1, 1]),
        Self::Planes([8, 8], [1, 1]),
        Self::Units([64, 64], [16, 16]),
        Self::Units([64, 32], [16, 8]),
        Self::Units([32, 32], [8, 8]),
        Self::Units([16, 32], [8, 8]),
        Self::Units([32, 16], [8, 8]),
        Self::Units([16, 16], [8, 8]),
        Self::Units([8, 8], [8, 8]),
    ];

    /// The tile for heads of `head_dim`, if the device has room for it, and matrix units if it needs
    /// them.
    pub(super) fn tile(
        self,
        pass: Pass,
        head_dim: usize,
        matrices: Option<Matrices>,
        limits: Limits,
    ) -> Option<Tile> {
        let tile = match self {
            Self::Units([rows, cols], [row_units, col_units]) => Tile {
                rows,
                cols,
                row_units,
                col_units,
                matrices: None,
            },
            Self::Planes(sizes, planes) => Tile::of_planes(sizes, planes, head_dim, matrices?)?,
        };
        let fits = tile.units() <= limits.units
            && tile.shared_memory(pass, head_dim) <= limits.shared_memory;
        fits.then_some(tile)
    }
}

impl Tile {
    /// `None` if the planes cannot share the tile evenly.
    fn of_planes(
        [rows, cols]: [usize; 2],
        [row_planes, col_planes]: [usize; 2],
        head_dim: usize,
        matrices: Matrices,
    ) -> Option<Self> {
        /// Neighbouring keys that the units of a row read at once.
        const COL_UNITS: usize = 8;
        let matrices = Matrices {
            row_planes,
            col_planes,
            ..matrices
        };
        let Matrices {
            m, n, k, plane_dim, ..
        } = matrices;
        let units = row_planes * col_planes * plane_dim;
        let tile = Self {
            rows,
            cols,
            row_units: units / COL_UNITS,
            col_units: COL_UNITS,
            matrices: Some(matrices),
        };
        let divides = |size: usize, part: usize| part > 0 && size.is_multiple_of(part);
        // Scores, then weighted states, which have a row for each query or, in the gradients of keys, for
        // each key.
        let even = divides(rows, m * row_planes)
            && divides(cols, n * col_planes)
            && divides(cols, m * row_planes)
            && divides(head_dim, n * col_planes)
            && [rows, cols, head_dim].iter().all(|&size| divides(size, k))
            && divides(rows, tile.row_units)
            && divides(cols, tile.row_units)
            && divides(units, rows)
            && divides(units, cols);
        even.then_some(tile)
    }

    pub(super) fn units(self) -> usize {
        self.row_units * self.col_units
    }

    /// Numbers from one row of a head in shared memory to the next.
    ///
    /// Without matrix units one vector more than it has, so that units which read the same place of
    /// different rows do not meet in one bank.
    pub(super) fn state_stride(self, head_dim: usize) -> usize {
        match self.matrices {
            Some(_) => head_dim + HALF_PAD,
            None => head_dim + VECTOR,
        }
    }

    /// Numbers from one row of scores to the next.
    pub(super) fn score_stride(self) -> usize {
        match self.matrices {
            Some(_) => self.cols + F32_PAD,
            None => self.cols + 1,
        }
    }

    /// Numbers from one row to the next of what scores are rounded to, as factors of a product.
    pub(super) fn weight_stride(self) -> usize {
        match self.matrices {
            Some(_) => self.cols + HALF_PAD,
            None => self.score_stride(),
        }
    }

    /// Numbers of a tile of scores, which also holds columns of weighted states on their way: those have
    /// a row for each key in the gradients of keys.
    pub(super) fn scores(self) -> usize {
        match self.matrices {
            Some(_) => self.rows.max(self.cols) * self.score_stride(),
            None => self.rows * self.score_stride(),
        }
    }

    /// Bytes that the kernels ask for, at most.
    fn shared_memory(self, pass: Pass, head_dim: usize) -> usize {
        let Self { rows, cols, .. } = self;
        let (state_rows, weights) = match pass {
            Pass::Forward => (rows + cols, 1),
            Pass::QueryGradients => (2 * rows + cols, 1),
            Pass::KeyGradients => (2 * rows + 2 * cols, 2),
        };
        let states = state_rows * self.state_stride(head_dim);
        let weights = weights * rows * self.weight_stride();
        // The largest score and the sum of each row, by unit, and whether weighted states shrink.
        let statistics = match pass {
            Pass::Forward => rows * self.col_units + 1,
            Pass::QueryGradients | Pass::KeyGradients => 0,
        };
        let bytes = match self.matrices {
            Some(_) => (states + weights) * 2 + (self.scores() + statistics) * 4,
            // The scores are one of the weights.
            None => (states + weights + statistics) * 4,
        };
        bytes + BUFFERS * ALIGN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSES: [Pass; 3] = [Pass::Forward, Pass::QueryGradients, Pass::KeyGradients];
    const PLENTY: Limits = Limits {
        shared_memory: 232_448,
        units: 1024,
    };

    /// Hopper's, and those of a software Vulkan.
    fn matrices() -> [Matrices; 2] {
        let of = |size, plane_dim| Matrices {
            m: size,
            n: size,
            k: size,
            plane_dim,
            row_planes: 1,
            col_planes: 1,
        };
        [of(16, 32), of(8, 8)]
    }

    /// Those of matrix units, if there are any, or of units.
    fn tiles(pass: Pass, head_dim: usize, matrices: Option<Matrices>, limits: Limits) -> Vec<Tile> {
        let tiles = Layout::ALL.into_iter();
        tiles
            .filter_map(|it| it.tile(pass, head_dim, matrices, limits))
            .filter(|it| it.matrices.is_some() == matrices.is_some())
            .collect()
    }

    #[test]
    fn units_share_a_tile_evenly() {
        let [hopper, software] = matrices();
        for matrices in [None, Some(hopper), Some(software)] {
            let tiles = tiles(Pass::Forward, 64, matrices, PLENTY);
            assert!(!tiles.is_empty());
            for tile in tiles {
                assert_eq!(tile.rows % tile.row_units, 0, "{tile:?}");
                assert_eq!(tile.cols % tile.col_units, 0, "{tile:?}");
                // The gradients of keys are summed by the same units.
                assert_eq!(tile.cols % tile.row_units, 0, "{tile:?}");
                // Several units share a row of position gradients.
                assert_eq!(tile.units() % tile.rows, 0, "{tile:?}");
                assert_eq!(tile.units() % tile.cols, 0, "{tile:?}");
            }
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
                assert!(!tiles(pass, head_dim, None, limits).is_empty());
            }
        }
    }

    #[test]
    fn matrix_units_take_heads_that_they_divide() {
        let [hopper, software] = matrices();
        let fits = |head_dim, matrices| {
            let all = |pass| !tiles(pass, head_dim, Some(matrices), PLENTY).is_empty();
            PASSES.into_iter().all(all)
        };
        for head_dim in [32, 64, 128] {
            assert!(fits(head_dim, hopper) && fits(head_dim, software));
        }
        assert!(!fits(24, hopper) && fits(24, software));
        assert!(!fits(20, software));
    }

    #[test]
    fn a_tile_takes_no_more_than_there_is() {
        let [hopper, software] = matrices();
        for shared_memory in [16384, 32768, 49152, 101_376] {
            for units in [128, 256, 1024] {
                let limits = Limits {
                    shared_memory,
                    units,
                };
                for (pass, head_dim) in PASSES.iter().zip([32, 64, 128]) {
                    for matrices in [None, Some(hopper), Some(software)] {
                        for tile in tiles(*pass, head_dim, matrices, limits) {
                            assert!(tile.shared_memory(*pass, head_dim) <= shared_memory);
                            assert!(tile.units() <= units);
                        }
                    }
                }
            }
        }
        let none = Limits {
            shared_memory: 1024,
            units: 256,
        };
        assert!(tiles(Pass::Forward, 64, None, none).is_empty());
    }
}
