//! How many units a span has.

use super::rng::Rng;

/// `P(n) ∝ 1 / n` for `n` in `1..=max`.
#[derive(Debug, Clone)]
pub(super) struct NgramLengths {
    /// `P(length <= index + 1)`.
    cumulative: Vec<f64>,
}

impl NgramLengths {
    pub(super) fn new(max: usize) -> Self {
        let total: f64 = (1..=max).map(|n| 1.0 / n as f64).sum();
        let mut sum = 0.0;
        let up_to = |n: usize| {
            sum += 1.0 / n as f64 / total;
            sum
        };
        Self {
            cumulative: (1..=max).map(up_to).collect(),
        }
    }

    pub(super) fn draw(&self, rng: &mut Rng) -> usize {
        if self.cumulative.len() < 2 {
            return 1;
        }
        let draw = rng.unit();
        let below = self
            .cumulative
            .iter()
            .take_while(|sum| **sum <= draw)
            .count();
        below.min(self.cumulative.len() - 1) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_spans_are_likelier_in_proportion() {
        let lengths = NgramLengths::new(3);
        let mut rng = Rng::keyed(5, 0, 0);
        let mut counts = [0usize; 4];
        for _ in 0..110_000 {
            counts[lengths.draw(&mut rng)] += 1;
        }
        // 1 : 1/2 : 1/3 is 6 : 3 : 2 of 11; three standard deviations are below 500.
        for (length, expected) in [(0, 0), (1, 60_000), (2, 30_000), (3, 20_000)] {
            assert!(counts[length].abs_diff(expected) < 500, "{counts:?}");
        }
    }
}
