//! The order of the examples of an epoch, as a function.

use deberta_data::rng;

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

/// The order of an epoch whose batches have sequences of similar length.
///
/// Pools of some batches are taken from the [`EpochOrder`] and sorted by length; the batches of a
/// pool then come in an order of their own. Batches run across the ends of epochs: the examples
/// that fill the last batch of the epoch before are left where they are.
#[derive(Debug)]
pub(crate) struct Buckets {
    epoch: u64,
    examples: Vec<usize>,
}

impl Buckets {
    /// - `pool_batches`: batches of a pool, at least one
    /// - `tokens`: length of an example
    pub(crate) fn new(
        order: &EpochOrder,
        epoch: u64,
        batch_size: usize,
        pool_batches: usize,
        tokens: impl Fn(usize) -> usize,
    ) -> Self {
        let (len, size) = (order.len, batch_size as u64);
        let begun = epoch.wrapping_mul(len) % size;
        let head = ((size - begun) % size).min(len) as usize;
        let mut examples: Vec<usize> = (0..len as usize).map(|it| order.example(it)).collect();
        let pools = examples[head..].chunks_mut(batch_size * pool_batches);
        for (pool, examples) in (0..).zip(pools) {
            examples.sort_by_key(|example| tokens(*example));
            // The last batch may be too short to change places.
            let whole = examples.len() / batch_size;
            let sorted = examples.to_vec();
            let places = EpochOrder::new(whole, order.key, pool);
            for (place, batch) in examples.chunks_exact_mut(batch_size).enumerate() {
                let from = places.example(place) * batch_size;
                batch.copy_from_slice(&sorted[from..from + batch_size]);
            }
        }
        Self { epoch, examples }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Example at `position`, which must be below the length.
    pub(crate) fn example(&self, position: usize) -> usize {
        self.examples[position]
    }
}

/// Mixes two numbers into one: the number after `b` others of the SplitMix64 stream that `a` seeds.
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    rng::mix(a.wrapping_add(b.wrapping_mul(rng::INCREMENT)))
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

    proptest! {
        #[test]
        fn buckets_hold_every_example_once(
            len in 1usize..300, seed: u64, epoch in 0u64..10, size in 1usize..20, pool in 1usize..8,
        ) {
            let order = EpochOrder::new(len, seed, epoch);
            let buckets = Buckets::new(&order, epoch, size, pool, |index| index * 7 % 50);
            let mut examples = buckets.examples;
            examples.sort_unstable();
            prop_assert_eq!(examples, (0..len).collect::<Vec<_>>());
        }
    }

    #[test]
    fn batches_of_buckets_have_similar_lengths_in_every_epoch() {
        const LEN: usize = 1003;
        const SIZE: usize = 8;
        let tokens = |index: usize| index * 37 % 128;
        let mut stream = Vec::new();
        for epoch in 0..3 {
            let order = EpochOrder::new(LEN, 9, epoch);
            stream.extend(Buckets::new(&order, epoch, SIZE, 20, tokens).examples);
        }
        let longest = |batch: &[usize]| batch.iter().map(|it| tokens(*it)).max().unwrap();
        let padded = |stream: &[usize]| -> usize {
            let batches = stream.chunks(SIZE);
            batches.map(|batch| SIZE * longest(batch)).sum()
        };
        let real: usize = stream.iter().map(|it| tokens(*it)).sum();
        let shuffled: Vec<usize> = (0..3).flat_map(|epoch| order(LEN, 9, epoch)).collect();
        assert!(padded(&shuffled) > real * 3 / 2);
        assert!(
            padded(&stream) < real * 23 / 20,
            "{} of {real}",
            padded(&stream)
        );
        // Lengths must not rise from batch to batch.
        let rises = stream.chunks(SIZE).map(longest).collect::<Vec<_>>();
        let rises = rises.windows(2).filter(|it| it[0] < it[1]).count();
        assert!((130..250).contains(&rises), "{rises} of 375");
    }

    /// A run that was begun by another version goes on with the same examples.
    #[test]
    fn orders_stay_as_they_are() {
        assert_eq!(order(8, 11, 3), [7, 3, 5, 2, 6, 4, 1, 0]);
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
