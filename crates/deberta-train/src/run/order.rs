//! The order of the examples of an epoch, as a function.

/// Rounds of the Feistel network; four make the permutation pseudo-random (Luby and Rackoff).
const ROUNDS: u64 = 4;

/// A permutation of `0..len` that belongs to a seed and an epoch.
///
/// It is computed, not stored: any place of any epoch is reached at once and without memory,
/// which is what resuming in the middle of a large corpus needs. A Feistel network permutes the
/// numbers of the next even count of bits; results beyond `len` are sent through it again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EpochOrder {
    len: u64,
    half_bits: u32,
    key: u64,
}

impl EpochOrder {
    /// The order of `len` examples.
    pub(crate) fn new(len: usize, seed: u64, epoch: u64) -> Self {
        let bits = u64::BITS - (len as u64).saturating_sub(1).leading_zeros();
        Self {
            len: len as u64,
            half_bits: bits.div_ceil(2).max(1),
            key: mix(seed, epoch),
        }
    }

    /// Example at `position`, which must be below the length.
    pub(crate) fn example(&self, position: usize) -> usize {
        let mut value = position as u64;
        loop {
            value = self.permute(value);
            // At most three of four values lie beyond, so this ends soon.
            if value < self.len {
                return value as usize;
            }
        }
    }

    fn permute(&self, value: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for round in 0..ROUNDS {
            let mixed = mix(self.key.wrapping_add(round), right) & mask;
            (left, right) = (right, left ^ mixed);
        }
        left << self.half_bits | right
    }
}

/// Mixes two numbers into one; SplitMix64's finaliser over their combination.
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_add(b.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order(len: usize, seed: u64, epoch: u64) -> Vec<usize> {
        let order = EpochOrder::new(len, seed, epoch);
        (0..len).map(|position| order.example(position)).collect()
    }

    proptest! {
        #[test]
        fn every_example_occurs_once(len in 1usize..600, seed: u64, epoch in 0u64..10) {
            let mut examples = order(len, seed, epoch);
            examples.sort_unstable();
            prop_assert_eq!(examples, (0..len).collect::<Vec<_>>());
        }
    }

    #[test]
    fn epochs_and_seeds_have_their_own_order() {
        assert_ne!(order(100, 1, 0), order(100, 1, 1));
        assert_ne!(order(100, 1, 0), order(100, 2, 0));
        assert_eq!(order(100, 1, 0), order(100, 1, 0));
        assert_ne!(order(100, 1, 0), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn no_place_of_an_epoch_prefers_an_example() {
        // 4,000 epochs of 8 examples: each pair of place and example is expected 500 times, with
        // a standard deviation of 21.
        let mut counts = [[0; 8]; 8];
        for epoch in 0..4000 {
            for (position, example) in order(8, 42, epoch).into_iter().enumerate() {
                counts[position][example] += 1;
            }
        }
        assert!(
            counts
                .iter()
                .flatten()
                .all(|count| (400..600).contains(count)),
            "{counts:?}"
        );
    }
}
