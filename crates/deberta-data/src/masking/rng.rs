//! Random numbers that depend on nothing but their key.

/// SplitMix64, keyed by (seed, epoch, example).
///
/// Written out here, because a masked example must not change when a library changes how it draws.
#[derive(Debug, Clone)]
pub(super) struct Rng {
    state: u64,
}

const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

impl Rng {
    /// Starts the stream of one visit to one example.
    pub(super) fn keyed(seed: u64, epoch: u64, example: u64) -> Self {
        let fold = |state: u64, part: u64| mix(state.wrapping_add(GOLDEN_GAMMA) ^ mix(part));
        Self {
            state: [seed, epoch, example].into_iter().fold(0, fold),
        }
    }

    pub(super) fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        mix(self.state)
    }

    /// Uniform in `0..bound`; 0 if `bound` is 0. The bias is below `bound / 2^64`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.next_u64()) * bound as u128;
        (wide >> 64) as usize
    }

    /// Uniform in `[0, 1)`.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_published_splitmix64() {
        // First outputs for the seed 1234567, from the reference implementation in C.
        let mut rng = Rng { state: 1_234_567 };
        let words: Vec<_> = (0..3).map(|_| rng.next_u64()).collect();
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn each_part_of_the_key_matters() {
        let first = |seed, epoch, example| Rng::keyed(seed, epoch, example).next_u64();
        let all = [
            first(0, 0, 0),
            first(1, 0, 0),
            first(0, 1, 0),
            first(0, 0, 1),
            first(1, 1, 0),
        ];
        let distinct: std::collections::HashSet<_> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn draws_stay_in_range_and_reach_its_ends() {
        let mut rng = Rng::keyed(1, 2, 3);
        let draws: Vec<_> = (0..1000).map(|_| rng.below(7)).collect();
        assert_eq!(draws.iter().max(), Some(&6));
        assert_eq!(draws.iter().min(), Some(&0));
        assert_eq!(rng.below(0), 0);
    }
}
