//! Dropout by a hash of the place, so that the backward pass sees the same pattern without a mask.

use super::Dropout;

/// An odd number near 2^32 / golden ratio: keys that are neighbours start far apart.
const STEP: u32 = 0x9e37_79b9;

/// The pattern of one call.
#[derive(Clone, Copy)]
pub(super) struct Pattern {
    seed: u64,
    /// Hashes below this are dropped.
    threshold: u32,
    /// What survivors are multiplied by.
    pub(super) keep_factor: f32,
}

/// The pattern of one row of probabilities.
#[derive(Clone, Copy)]
pub(super) struct RowPattern {
    low: u32,
    high: u32,
    threshold: u32,
}

impl Pattern {
    pub(super) fn new(dropout: Dropout) -> Self {
        let prob = f64::from(dropout.prob);
        Self {
            seed: dropout.seed,
            // `as` saturates: a probability of one drops all but one hash in 2^32, which the factor
            // of zero drops too.
            threshold: (prob * 2_f64.powi(32)) as u32,
            keep_factor: if prob < 1.0 {
                (1.0 / (1.0 - prob)) as f32
            } else {
                0.0
            },
        }
    }

    /// The pattern of row `row`, counted over heads and queries.
    pub(super) fn row(&self, row: usize) -> RowPattern {
        let hash = mix_64(mix_64(self.seed).wrapping_add(row as u64));
        RowPattern {
            low: hash as u32,
            high: (hash >> 32) as u32,
            threshold: self.threshold,
        }
    }
}

impl RowPattern {
    #[inline(always)]
    pub(super) fn keeps(self, key: u32) -> bool {
        // Two rounds of xor-shift-multiply; the row enters twice, so no two rows share a shifted
        // sequence.
        let mut hash = key.wrapping_mul(STEP).wrapping_add(self.low);
        hash = (hash ^ (hash >> 16)).wrapping_mul(0x7feb_352d) ^ self.high;
        hash = (hash ^ (hash >> 15)).wrapping_mul(0x846c_a68b);
        (hash ^ (hash >> 16)) >= self.threshold
    }

    /// Zeroes the dropped ones of `probs`; the survivors keep their value.
    #[inline(always)]
    pub(super) fn drop_from(self, probs: &mut [f32]) {
        for (key, prob) in (0_u32..).zip(probs) {
            *prob = if self.keeps(key) { *prob } else { 0.0 };
        }
    }
}

/// SplitMix64's output function.
fn mix_64(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: usize = 2000;
    const KEYS: usize = 500;

    fn kept(prob: f32, seed: u64) -> Vec<Vec<bool>> {
        let pattern = Pattern::new(Dropout { prob, seed });
        let row = |row| {
            (0..KEYS as u32)
                .map(|key| pattern.row(row).keeps(key))
                .collect()
        };
        (0..ROWS).map(row).collect()
    }

    /// Share of dropped ones among `ROWS * KEYS` draws, as standard deviations from `prob`.
    #[track_caller]
    fn check_share(prob: f64, dropped: usize, draws: usize) {
        let draws = draws as f64;
        let deviation = (prob * (1.0 - prob) / draws).sqrt();
        let off = (dropped as f64 / draws - prob) / deviation;
        assert!(off.abs() < 4.5, "{off} deviations from {prob}");
    }

    fn count(places: impl Iterator<Item = bool>) -> usize {
        places.filter(|&dropped| dropped).count()
    }

    #[test]
    fn the_share_of_dropped_places_is_the_probability() {
        for (prob, seed) in [(0.1, 0), (0.1, 1), (0.5, 7), (0.02, u64::MAX)] {
            let kept = kept(prob, seed);
            let dropped = count(kept.iter().flatten().map(|keep| !keep));
            check_share(f64::from(prob), dropped, ROWS * KEYS);
        }
    }

    #[test]
    fn neighbours_are_dropped_independently() {
        let prob = 0.3;
        let (here, other_seed) = (kept(prob, 3), kept(prob, 4));
        let both = f64::from(prob).powi(2);
        for (rows, keys) in [
            (0, 1),
            (0, 2),
            (0, 16),
            (1, 0),
            (1, 1),
            (2, 0),
            (128, 0),
            (7, 64),
        ] {
            let pairs = (0..ROWS - rows).flat_map(|i| (0..KEYS - keys).map(move |j| (i, j)));
            let dropped = count(pairs.map(|(i, j)| !here[i][j] && !here[i + rows][j + keys]));
            check_share(both, dropped, (ROWS - rows) * (KEYS - keys));
        }
        let pairs = here.iter().flatten().zip(other_seed.iter().flatten());
        check_share(both, count(pairs.map(|(a, b)| !a && !b)), ROWS * KEYS);
    }

    #[test]
    fn counts_per_row_and_per_key_vary_like_a_binomial() {
        let kept = kept(0.5, 11);
        let per_row: Vec<usize> = kept.iter().map(|row| count(row.iter().copied())).collect();
        let per_key: Vec<usize> = (0..KEYS)
            .map(|key| count(kept.iter().map(|row| row[key])))
            .collect();
        for (counts, draws) in [(per_row, KEYS), (per_key, ROWS)] {
            let (mean, groups) = (draws as f64 / 2.0, counts.len() as f64);
            let squares: f64 = counts.iter().map(|&n| (n as f64 - mean).powi(2)).sum();
            let ratio = squares / groups / (draws as f64 / 4.0);
            // The variance of a variance from n groups is about 2 / n.
            assert!(
                (ratio - 1.0).abs() < 4.5 * (2.0 / groups).sqrt(),
                "ratio {ratio}"
            );
        }
    }

    #[test]
    fn none_or_all_are_dropped_at_the_ends() {
        assert!(kept(0.0, 5).iter().flatten().all(|&keep| keep));
        assert!(count(kept(1.0, 5).into_iter().flatten()) < 3);
        assert_eq!(
            Pattern::new(Dropout { prob: 1.0, seed: 5 }).keep_factor,
            0.0
        );
    }
}
