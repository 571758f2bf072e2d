//! Relative distances, their buckets and the rows of the relative-position table, Eq. (3).
//!
//! All of it is integer arithmetic on the host: one logarithm rounded differently on a device
//! would move the last bucket to another row of the table.

use std::ops::Range;
use std::sync::OnceLock;

use burn::tensor::ops::IntTensor;
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::ops::HostTable;

/// What happens to distances that the table was not trained for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LongDistance {
    /// Clamp to ±(`max_distance` − 1) before bucketing, as microsoft/DeBERTa does.
    Clamp,
    /// Bucket any distance, as transformers does: distances of −`max_distance` and below reach row
    /// 0, which no published model with buckets ever trained.
    Extrapolate,
}

/// Shape of the relative-position table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelativePositionConfig {
    /// Distances at or beyond this are treated alike.
    pub max_distance: usize,
    /// Logarithmic buckets per direction (v2, v3); `None` keeps every distance apart (v1).
    pub buckets: Option<usize>,
    /// Distances beyond `max_distance`; without buckets both choices are Eq. (3).
    pub long_distance: LongDistance,
}

impl RelativePositionConfig {
    /// The paper's *k*: the table has `2 * span` rows.
    pub fn span(&self) -> usize {
        self.buckets.unwrap_or(self.max_distance)
    }

    /// Checks that every distance has a row.
    ///
    /// # Errors
    ///
    /// If `max_distance` is 0, or the buckets are too few or too many for it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let out_of_range = |field, value: usize, expected| ConfigError::OutOfRange {
            field,
            value: value.to_string(),
            expected,
        };
        if self.max_distance == 0 {
            return Err(ConfigError::Zero {
                field: "max_relative_positions",
            });
        }
        let Some(buckets) = self.buckets else {
            return Ok(());
        };
        if buckets < 4 || buckets % 2 != 0 {
            let expected = "an even number of at least 4, or unset";
            return Err(out_of_range("position_buckets", buckets, expected));
        }
        if self.max_distance < buckets / 2 + 2 {
            let expected = "more than half of `position_buckets` plus 1";
            return Err(out_of_range(
                "max_relative_positions",
                self.max_distance,
                expected,
            ));
        }
        Ok(())
    }

    /// Row of the table for a distance, `δ(i, j)` of Eq. (3) with buckets.
    ///
    /// - `distance`: query position minus key position, in tokens.
    /// - returns: a row in `0 .. 2 * span`.
    pub fn row(&self, distance: i64) -> usize {
        let span = self.span() as i64;
        let limit = self.max_distance as i64 - 1;
        let bucket = match self.buckets {
            None => distance,
            Some(buckets) => {
                let distance = match self.long_distance {
                    LongDistance::Clamp => distance.clamp(-limit, limit),
                    LongDistance::Extrapolate => distance,
                };
                log_bucket(distance, buckets as i64, self.max_distance as i64)
            }
        };
        (bucket + span).clamp(0, 2 * span - 1) as usize
    }
}

/// Buckets a signed token distance: exact up to `buckets / 2`, logarithmic beyond.
///
/// ```text
/// bucket(r) = r                                                          |r| <= mid
///           = sign(r) (ceil( ln(|r|/mid) / ln((max-1)/mid) (mid-1) ) + mid)   else
/// ```
///
/// with `mid = buckets / 2`. Odd and monotone in `distance`.
///
/// Reference: `make_log_bucket_position` in microsoft/DeBERTa `da_utils.py`, commit 4d7fe0b.
pub fn log_bucket(distance: i64, buckets: i64, max_distance: i64) -> i64 {
    let mid = buckets / 2;
    let magnitude = distance.abs();
    if magnitude <= mid {
        return distance;
    }
    let ratio = |numerator: i64| (numerator as f64 / mid as f64).ln();
    let fraction = ratio(magnitude) / ratio(max_distance - 1);
    // At |r| = max - 1 the product is `mid - 1` exactly; half an ulp more would change the row.
    let exact = fraction * (mid - 1) as f64;
    let rounded = if magnitude == max_distance - 1 {
        mid - 1
    } else {
        exact.ceil() as i64
    };
    distance.signum() * (rounded + mid)
}

/// Which rows of the relative-position table a pair of lengths reaches, and where.
///
/// A host table shared by all layers: `q_len + k_len − 1` integers instead of a
/// `[q_len, k_len, hidden]` tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelativeRows {
    /// Reachable rows of the table, contiguous.
    pub live: Range<usize>,
    /// For each distance from `−(k_len − 1)` to `q_len − 1`: its row, counted from `live.start`.
    pub slot_of_distance: Vec<u32>,
}

impl RelativeRows {
    /// Computes the rows for queries `0..q_len` and keys `0..k_len`.
    pub fn new(config: &RelativePositionConfig, q_len: usize, k_len: usize) -> Self {
        let (first, last) = (1 - k_len as i64, q_len as i64 - 1);
        // Rows are monotone in the distance, so the two ends bound the live range.
        let live = config.row(first)..config.row(last) + 1;
        let slot_of_distance = (first..=last)
            .map(|distance| (config.row(distance) - live.start) as u32)
            .collect();
        Self {
            live,
            slot_of_distance,
        }
    }
}

/// The relative positions of one forward pass, shared by all layers.
#[derive(Debug, Clone)]
pub struct RelativePositions<B: Backend> {
    /// Reachable rows of the table.
    pub live: Range<usize>,
    /// Live row of each distance, smallest distance first; see [`RelativeRows`].
    pub slot_of_distance: HostTable<IntTensor<B>>,
    /// Where in `slot_of_distance` the distance 0 stands.
    pub zero_distance: usize,
    /// Positions of the queries, `[batch, q_len]`; `None` for `0..q_len` in every sequence.
    pub query_positions: Option<Tensor<B, 2, Int>>,
    q_len: usize,
    k_len: usize,
    device: B::Device,
    /// Built when the first layer without a kernel asks for it.
    index: OnceLock<RelativeIndex<B>>,
}

/// Where each (query, key) pair finds its scores among those of all live rows.
///
/// `c2p` points into `[q_len, live]` scores of queries against live rows, `p2c` into `[k_len, live]`
/// scores of keys against live rows; both are flat and list the pairs query after query.
#[derive(Debug, Clone)]
pub enum RelativeIndex<B: Backend> {
    /// Queries at positions `0..q_len`, the same for every sequence of the batch.
    Consecutive {
        /// `i * live + slot(i - j)`, `[q_len * k_len]`.
        c2p: Tensor<B, 1, Int>,
        /// `j * live + slot(i - j)`, `[q_len * k_len]`.
        p2c: Tensor<B, 1, Int>,
        /// Number of queries.
        q_len: usize,
        /// Number of keys.
        k_len: usize,
    },
    /// Queries at given positions of each sequence.
    Scattered {
        /// As above for each sequence, `[batch, q_len * k_len]`.
        c2p: Tensor<B, 2, Int>,
        /// As above for each sequence, `[batch, q_len * k_len]`.
        p2c: Tensor<B, 2, Int>,
        /// Number of queries per sequence.
        q_len: usize,
        /// Number of keys.
        k_len: usize,
    },
}

impl<B: Backend> RelativePositions<B> {
    /// Queries and keys that both start at position 0.
    pub fn consecutive(
        config: &RelativePositionConfig,
        q_len: usize,
        k_len: usize,
        device: &B::Device,
    ) -> Self {
        Self::new(
            RelativeRows::new(config, q_len, k_len),
            None,
            [q_len, k_len],
            device,
        )
    }

    /// Queries at `positions` `[batch, q_len]` of sequences of `seq_len` keys.
    pub fn scattered(
        config: &RelativePositionConfig,
        positions: Tensor<B, 2, Int>,
        seq_len: usize,
        device: &B::Device,
    ) -> Self {
        let [_, q_len] = positions.dims();
        let rows = RelativeRows::new(config, seq_len, seq_len);
        Self::new(rows, Some(positions), [q_len, seq_len], device)
    }

    fn new(
        rows: RelativeRows,
        query_positions: Option<Tensor<B, 2, Int>>,
        [q_len, k_len]: [usize; 2],
        device: &B::Device,
    ) -> Self {
        Self {
            live: rows.live,
            slot_of_distance: HostTable::new(rows.slot_of_distance),
            zero_distance: k_len.saturating_sub(1),
            query_positions,
            q_len,
            k_len,
            device: device.clone(),
            index: OnceLock::new(),
        }
    }

    /// Where each (query, key) pair finds its scores, on the device.
    pub fn index(&self) -> &RelativeIndex<B> {
        self.index.get_or_init(|| match &self.query_positions {
            None => self.consecutive_index(),
            Some(positions) => self.scattered_index(positions.clone()),
        })
    }

    fn consecutive_index(&self) -> RelativeIndex<B> {
        let (q_len, k_len, live) = (self.q_len, self.k_len, self.live.len());
        let slots = self.slot_of_distance.host();
        let mut c2p = Vec::with_capacity(q_len * k_len);
        let mut p2c = Vec::with_capacity(q_len * k_len);
        for i in 0..q_len {
            for j in 0..k_len {
                let slot = slots[i + k_len - 1 - j] as usize;
                c2p.push((i * live + slot) as i32);
                p2c.push((j * live + slot) as i32);
            }
        }
        RelativeIndex::Consecutive {
            c2p: int_tensor(c2p, &self.device),
            p2c: int_tensor(p2c, &self.device),
            q_len,
            k_len,
        }
    }

    fn scattered_index(&self, positions: Tensor<B, 2, Int>) -> RelativeIndex<B> {
        let (k_len, live) = (self.k_len, self.live.len() as i64);
        let [batch, q_len] = positions.dims();
        let arange = |len: usize| Tensor::<B, 1, Int>::arange(0..len as i64, &self.device);
        let keys = arange(k_len).reshape([1, 1, k_len]);
        let queries = arange(q_len).reshape([1, q_len, 1]);

        let distance = positions.unsqueeze_dim::<3>(2) - keys.clone();
        let slots = self.slot_of_distance.host().iter().map(|&slot| slot as i32);
        let slots = int_tensor::<B>(slots.collect(), &self.device).select(
            0,
            distance
                .add_scalar(k_len as i64 - 1)
                .reshape([batch * q_len * k_len]),
        );
        let slots = slots.reshape([batch, q_len, k_len]);
        let flat = |index: Tensor<B, 3, Int>| index.reshape([batch, q_len * k_len]);
        RelativeIndex::Scattered {
            c2p: flat(slots.clone() + queries.mul_scalar(live)),
            p2c: flat(slots + keys.mul_scalar(live)),
            q_len,
            k_len,
        }
    }
}

/// Numbers of the host as a vector on the device.
pub(crate) fn int_tensor<B: Backend>(values: Vec<i32>, device: &B::Device) -> Tensor<B, 1, Int> {
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V3: RelativePositionConfig = RelativePositionConfig {
        max_distance: 512,
        buckets: Some(256),
        long_distance: LongDistance::Clamp,
    };

    #[test]
    fn live_rows_at_the_published_span() {
        for (len, live) in [(1, 1), (128, 255), (256, 385), (512, 511), (4096, 511)] {
            assert_eq!(
                RelativeRows::new(&V3, len, len).live.len(),
                live,
                "length {len}"
            );
        }
    }

    #[test]
    fn the_last_bucket_is_exact() {
        assert_eq!(V3.row(511), 511);
        assert_eq!(V3.row(-511), 1);
        assert_eq!(V3.row(-512), 1);
        let extrapolate = RelativePositionConfig {
            long_distance: LongDistance::Extrapolate,
            ..V3
        };
        assert_eq!(extrapolate.row(-512), 0);
        assert_eq!(extrapolate.row(512), 511);
    }

    #[test]
    fn without_buckets_the_row_is_equation_3() {
        let v1 = RelativePositionConfig {
            buckets: None,
            ..V3
        };
        // delta(i, j) = 0 for i-j <= -k; 2k-1 for i-j >= k; i-j+k else.
        assert_eq!([v1.row(-511), v1.row(0), v1.row(511)], [1, 512, 1023]);
        assert_eq!([v1.row(-512), v1.row(512)], [0, 1023]);
        assert_eq!([v1.row(-600), v1.row(600)], [0, 1023]);
    }

    #[test]
    fn bad_tables_are_refused() {
        for (max_distance, buckets) in [(0, None), (512, Some(3)), (512, Some(2)), (5, Some(8))] {
            let config = RelativePositionConfig {
                max_distance,
                buckets,
                ..V3
            };
            assert!(config.validate().is_err(), "{config:?}");
        }
    }

    proptest! {
        #[test]
        fn log_bucket_is_odd(distance in -2048_i64..2048) {
            prop_assert_eq!(log_bucket(-distance, 256, 512), -log_bucket(distance, 256, 512));
        }

        #[test]
        fn rows_are_monotone_and_inside_the_table(
            distance in -5000_i64..5000,
            half in 2_usize..200,
            extra in 2_usize..2000,
            extrapolate: bool,
        ) {
            let config = RelativePositionConfig {
                max_distance: half + extra,
                buckets: Some(2 * half),
                long_distance: if extrapolate { LongDistance::Extrapolate } else { LongDistance::Clamp },
            };
            config.validate().unwrap();
            prop_assert!(config.row(distance) <= config.row(distance + 1));
            prop_assert!(config.row(distance) < 2 * config.span());
        }

        #[test]
        fn slots_point_to_the_row_of_their_distance(q_len in 1_usize..80, k_len in 1_usize..80) {
            let rows = RelativeRows::new(&V3, q_len, k_len);
            for i in 0..q_len {
                for j in 0..k_len {
                    let slot = rows.slot_of_distance[i + k_len - 1 - j] as usize;
                    prop_assert_eq!(rows.live.start + slot, V3.row(i as i64 - j as i64));
                }
            }
        }
    }
}
