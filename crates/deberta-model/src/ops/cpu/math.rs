//! Elementary functions that the compiler can vectorise, and the dispatch that lets it.

/// Runs `work` compiled for the instruction set of the processor at hand.
///
/// Everything called inside must be `#[inline(always)]`, or it is compiled for the baseline.
#[inline]
pub(super) fn dispatch<T>(work: impl FnOnce() -> T) -> T {
    struct Work<F>(F);
    impl<T, F: FnOnce() -> T> pulp::NullaryFnOnce for Work<F> {
        type Output = T;

        #[inline(always)]
        fn call(self) -> T {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Work(work))
}

/// Below this, the exponential is a subnormal number or zero; it is taken as zero.
const SMALLEST: f32 = -87.3;

/// `e^x` for `x` at most a little above zero, to about one unit in the last place; NaN stays NaN.
///
/// No fused multiply-add: without hardware for it, it would be a function call.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding 1.5 · 2^23 rounds to whole numbers; the extra 127 leaves the exponent of 2^n, biased
    // as floats store it, in the low bits.
    const ROUND: f32 = 12_582_912.0 + 127.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;

    let clamped = if x < SMALLEST { SMALLEST } else { x };
    let biased = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = biased - ROUND;
    let r = (clamped - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let power = f32::from_bits(biased.to_bits() << 23);
    let value = (p * (r * r) + r + 1.0) * power;
    if x < SMALLEST { 0.0 } else { value }
}

/// `Φ(x)` and `φ(x)`: the standard normal distribution function and density.
///
/// The complementary error function by formula 7.1.26 of Abramowitz and Stegun, absolute error
/// 1.5e-7, which is one unit in the last place of `Φ` near 1.
#[inline(always)]
pub(super) fn normal(x: f32) -> (f32, f32) {
    const INV_SQRT_2PI: f32 = 0.398_942_3;
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let gauss = exp(-0.5 * x * x);
    let poly = ((((1.061_405_4 * t - 1.453_152) * t + 1.421_413_7) * t - 0.284_496_74) * t
        + 0.254_829_6)
        * t;
    let tail = 0.5 * poly * gauss;
    let cdf = if x >= 0.0 { 1.0 - tail } else { tail };
    (cdf, INV_SQRT_2PI * gauss)
}

/// A well-mixed number for element `index` of the random stream `seed`.
///
/// The finaliser of SplitMix64 over a counter: any element can be drawn again on its own.
#[inline(always)]
pub(super) fn random_u32(seed: u64, index: u64) -> u32 {
    let mut z = seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z >> 32) as u32
}

/// Numbers below this drop their element.
pub(super) fn drop_threshold(prob: f64) -> u32 {
    (prob * 4_294_967_296.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_ulps() {
        for step in -86_900..=900 {
            let x = step as f32 * 1e-3;
            let exact = f64::from(x).exp();
            let relative = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(relative < 2.4e-7, "exp({x}) is off by {relative:e}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1e30), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn the_normal_distribution_is_right_to_f32() {
        // Φ by integrating the density with Simpson's rule.
        let density = |x: f64| (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let steps = 2_000;
        for tenth in -60..=60 {
            let x = f64::from(tenth) / 10.0;
            let h = x / f64::from(steps);
            let inner: f64 = (1..steps)
                .map(|i| f64::from(2 + 2 * (i % 2)) * density(f64::from(i) * h))
                .sum();
            let exact = 0.5 + h / 3.0 * (density(0.0) + inner + density(x));
            let (cdf, pdf) = normal(x as f32);
            assert!(
                (f64::from(cdf) - exact).abs() < 2e-7,
                "Φ({x}) = {cdf}, not {exact}"
            );
            assert!((f64::from(pdf) - density(x)).abs() < 1e-7);
        }
    }

    #[test]
    fn random_numbers_are_uniform_and_independent_of_their_neighbours() {
        let n = 1 << 18;
        let draws: Vec<f64> = (0..n)
            .map(|index| f64::from(random_u32(7, index)) / 4_294_967_296.0 - 0.5)
            .collect();
        let mean = draws.iter().sum::<f64>() / n as f64;
        let neighbours = draws.windows(2).map(|it| it[0] * it[1]).sum::<f64>() / n as f64;
        let other: f64 = (0..n)
            .zip(&draws)
            .map(|(index, x)| x * (f64::from(random_u32(8, index)) / 4_294_967_296.0 - 0.5))
            .sum::<f64>()
            / n as f64;
        // Standard errors: 0.29 / sqrt(n) = 5.6e-4 and 0.083 / sqrt(n) = 1.6e-4.
        assert!(mean.abs() < 2.5e-3, "mean {mean}");
        assert!(neighbours.abs() < 7e-4, "neighbours {neighbours}");
        assert!(other.abs() < 7e-4, "seeds {other}");
    }
}
