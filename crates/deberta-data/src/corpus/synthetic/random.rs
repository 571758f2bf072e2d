//! The generator's own random numbers: the stories of a seed never change with a dependency.

use crate::rng::mix;

/// A counter behind a mixer.
#[derive(Debug, Clone)]
pub(super) struct StoryRng {
    key: u64,
    counter: u64,
}

impl StoryRng {
    pub(super) fn new(seed: u64, story: u64) -> Self {
        Self {
            key: mix(seed) ^ mix(story).rotate_left(32),
            counter: 0,
        }
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        mix(self.key ^ mix(self.counter))
    }

    /// Uniform in `0..bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// In `0..bound`, small numbers more often: words have frequent and rare members.
    pub(super) fn skewed(&mut self, bound: usize) -> usize {
        let uniform = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        ((uniform * uniform.sqrt() * bound as f64) as usize).min(bound.saturating_sub(1))
    }

    /// `true` in `percent` of a hundred.
    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One element, all alike.
    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// One element, the first ones more often.
    pub(super) fn pick_skewed<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.skewed(of.len())]
    }

    /// One element other than `not`.
    pub(super) fn pick_other<T: Copy + PartialEq>(&mut self, of: &[T], not: T) -> T {
        loop {
            let picked = self.pick_skewed(of);
            if picked != not {
                return picked;
            }
        }
    }
}
