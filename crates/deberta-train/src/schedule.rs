//! The learning rate as a pure function of the step.

use std::f64::consts::PI;

use burn::lr_scheduler::LrScheduler;
use burn::optim::LearningRate;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

/// How the learning rate falls after the warm-up.
///
/// Reference for Microsoft's: microsoft/DeBERTa `optims/lr_schedulers.py`, commit 4d7fe0b.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Linearly to zero, starting at the peak: Microsoft's `warmup_linear_shift`.
    Linear,
    /// Linearly to zero, but along the line that starts at step 0, so the rate drops when the
    /// warm-up ends: Microsoft's `warmup_linear`.
    LinearFromStart,
    /// Along half a cosine to zero, starting at the peak: Microsoft's `warmup_linear_cosine`.
    Cosine,
    /// Along the half cosine that starts at step 0, so the rate drops when the warm-up ends:
    /// Microsoft's `warmup_cosine`.
    CosineFromStart,
    /// Down a stair of four steps, each half a cosine: Microsoft's `warmup_cyclic_linear_cosine`,
    /// which drops a little when the warm-up ends.
    CosineSteps,
    /// Not at all: Microsoft's `warmup_constant`.
    Constant,
}

impl Decay {
    /// Whether it exists to reproduce Microsoft's schedules, whose first update has rate 0.
    fn starts_at_zero(self) -> bool {
        matches!(self, Self::LinearFromStart | Self::CosineFromStart)
    }
}

/// Stairs of [`Decay::CosineSteps`].
const STAIRS: f64 = 4.0;

/// Configuration to create a [`Schedule`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Highest learning rate. Default: 1e-4
    pub peak_lr: f64,
    /// Steps of linear warm-up. Default: 1000
    pub warmup_steps: usize,
    /// Warm-up as a part of the run, in [0, 1), in place of `warmup_steps`. Default: `null`
    pub warmup_fraction: Option<f64>,
    /// Warm up along `step / w`, so that the first update does nothing, as Microsoft's schedules and
    /// those of transformers do. Default: false
    pub warmup_from_zero: bool,
    /// How the rate falls afterwards. Default: linear
    pub decay: Decay,
    /// Part of the peak that is left at the end, Microsoft's `lr_ends`. Default: 0
    pub end_factor: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            peak_lr: 1e-4,
            warmup_steps: 1000,
            warmup_fraction: None,
            warmup_from_zero: false,
            decay: Decay::Linear,
            end_factor: 0.0,
        }
    }
}

impl ScheduleConfig {
    /// Initialize a new [schedule](Schedule) that ends after `total_steps` updates.
    pub fn init(&self, total_steps: usize) -> Schedule {
        Schedule {
            config: self.clone(),
            total_steps,
            steps_done: 0,
        }
    }

    /// Steps of warm-up in a run of `total_steps` updates.
    fn warmup(&self, total_steps: usize) -> usize {
        match self.warmup_fraction {
            Some(fraction) => (fraction * total_steps as f64).round() as usize,
            None => self.warmup_steps,
        }
    }
}

/// Learning rates of a run.
///
/// The only state is the number of steps done, so a run can continue at any step.
#[derive(Debug, Clone)]
pub struct Schedule {
    config: ScheduleConfig,
    total_steps: usize,
    steps_done: usize,
}

impl Schedule {
    /// The same schedule with `steps_done` steps behind it.
    pub fn resume_at(mut self, steps_done: usize) -> Self {
        self.steps_done = steps_done;
        self
    }

    /// Learning rate of the update that follows after `step` updates.
    ///
    /// ```text
    /// warm-up   lr = peak · (step + 1) / w                            step < w
    /// linear    lr = peak · (e + (1 − e) · (T − step) / (T − w))      w ≤ step < T
    /// ```
    /// where `w` are the steps of warm-up, `T` is the length of the run and `e` the `end_factor`. The
    /// first and the last update have a rate above zero, the peak is reached, and from `T` on the
    /// rate is `e · peak` (or the peak, if it is constant).
    ///
    /// # Deviation
    ///
    /// Microsoft's schedules warm up along `step / w`, so the first update does nothing.
    /// [`Decay::LinearFromStart`] and [`Decay::CosineFromStart`] keep that, as they exist to
    /// reproduce them; the others do with `warmup_from_zero`. Theirs start anew after `T`.
    pub fn lr_at(&self, step: usize) -> f64 {
        let warmup = self.config.warmup(self.total_steps);
        let factor = match step < warmup {
            true => self.warmup_factor(step, warmup),
            false => {
                let end = self.config.end_factor;
                end + (1.0 - end) * self.decay_factor(step, warmup)
            }
        };
        self.config.peak_lr * factor
    }

    fn warmup_factor(&self, step: usize, warmup: usize) -> f64 {
        let from_zero = self.config.warmup_from_zero || self.config.decay.starts_at_zero();
        let done = if from_zero { step } else { step + 1 };
        done as f64 / warmup as f64
    }

    /// From 1 to 0 after the warm-up.
    fn decay_factor(&self, step: usize, warmup: usize) -> f64 {
        let (total, since_warmup) = (self.total_steps as f64, (step - warmup) as f64);
        let rest = total - warmup as f64;
        let half_cosine = |x: f64| 0.5 * (1.0 + (PI * x).cos());
        match self.config.decay {
            Decay::Constant => 1.0,
            _ if step >= self.total_steps => 0.0,
            Decay::Linear => 1.0 - since_warmup / rest,
            Decay::LinearFromStart => 1.0 - step as f64 / total,
            Decay::Cosine => half_cosine(since_warmup / rest),
            Decay::CosineFromStart => half_cosine(step as f64 / total),
            Decay::CosineSteps => {
                let period = (rest / STAIRS).floor().max(1.0);
                // Microsoft takes the part of the warm-up off what is left of the run, not off all.
                let since_start = step as f64 - (rest * (warmup as f64 / total)).floor();
                let stair = (since_start / period).floor();
                let down = half_cosine(since_start / period - stair) - 1.0;
                (1.0 + (down - stair) / STAIRS).max(0.0)
            }
        }
    }
}

impl LrScheduler for Schedule {
    type Record<B: Backend> = usize;

    fn step(&mut self) -> LearningRate {
        let lr = self.lr_at(self.steps_done);
        self.steps_done += 1;
        lr
    }

    fn to_record<B: Backend>(&self) -> Self::Record<B> {
        self.steps_done
    }

    fn load_record<B: Backend>(self, record: Self::Record<B>) -> Self {
        self.resume_at(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use proptest::prelude::*;

    const PEAK: f64 = 3e-4;

    fn schedule(decay: Decay, warmup_steps: usize, total_steps: usize) -> Schedule {
        ScheduleConfig {
            peak_lr: PEAK,
            warmup_steps,
            decay,
            ..ScheduleConfig::default()
        }
        .init(total_steps)
    }

    #[track_caller]
    fn check_rates(decay: Decay, expected: &[f64]) {
        let schedule = schedule(decay, 4, 8);
        for (step, expected) in expected.iter().enumerate() {
            let actual = schedule.lr_at(step) / PEAK;
            assert!(
                (actual - expected).abs() < 1e-12,
                "step {step}: {actual} is not {expected}"
            );
        }
    }

    #[test]
    fn linear_rates() {
        check_rates(
            Decay::Linear,
            &[0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0],
        );
    }

    #[test]
    fn linear_rates_of_microsoft_drop_when_the_warm_up_ends() {
        let expected = [0.0, 0.25, 0.5, 0.75, 0.5, 0.375, 0.25, 0.125, 0.0, 0.0];
        check_rates(Decay::LinearFromStart, &expected);
    }

    #[test]
    fn cosine_rates() {
        let eighth = std::f64::consts::FRAC_1_SQRT_2;
        let (high, low) = (0.5 + 0.5 * eighth, 0.5 - 0.5 * eighth);
        check_rates(
            Decay::Cosine,
            &[0.25, 0.5, 0.75, 1.0, 1.0, high, 0.5, low, 0.0, 0.0],
        );
    }

    #[test]
    fn constant_rates() {
        check_rates(
            Decay::Constant,
            &[0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        );
    }

    #[test]
    fn a_warm_up_can_be_a_part_of_the_run_and_an_end_above_zero() {
        let config = ScheduleConfig {
            peak_lr: PEAK,
            warmup_fraction: Some(0.25),
            end_factor: 0.5,
            ..ScheduleConfig::default()
        };
        let rates: Vec<f64> = (0..10)
            .map(|step| config.init(8).lr_at(step) / PEAK)
            .collect();
        let expected = [0.5, 1.0, 1.0, 11.0, 10.0, 9.0, 8.0, 7.0, 0.5, 0.5];
        for (actual, expected) in rates.iter().zip(expected) {
            let expected = if expected > 1.0 {
                expected / 12.0
            } else {
                expected
            };
            assert!((actual - expected).abs() < 1e-12, "{rates:?}");
        }
    }

    #[test]
    fn the_scheduler_steps_along_the_function_and_resumes() {
        let reference = schedule(Decay::Linear, 3, 10);
        let mut scheduler = reference.clone();
        for step in 0..5 {
            assert_eq!(scheduler.step(), reference.lr_at(step));
        }
        let record = scheduler.to_record::<Flex>();
        let mut resumed = reference.clone().load_record::<Flex>(record);
        assert_eq!(resumed.step(), reference.lr_at(5));
    }

    #[test]
    fn a_warm_up_as_long_as_the_run_never_divides_by_zero() {
        for decay in [
            Decay::Linear,
            Decay::LinearFromStart,
            Decay::Cosine,
            Decay::CosineFromStart,
            Decay::CosineSteps,
            Decay::Constant,
        ] {
            let schedule = schedule(decay, 5, 5);
            assert!((0..10).all(|step| schedule.lr_at(step).is_finite()));
        }
    }

    proptest! {
        #[test]
        fn rates_rise_then_fall_within_bounds(warmup in 0usize..50, rest in 1usize..200) {
            let total = warmup + rest;
            for decay in [Decay::Linear, Decay::Cosine, Decay::Constant] {
                let schedule = schedule(decay, warmup, total);
                let rates: Vec<f64> = (0..total).map(|step| schedule.lr_at(step)).collect();
                prop_assert!(rates.iter().all(|lr| *lr > 0.0 && *lr <= PEAK));
                prop_assert!(rates[..warmup].is_sorted());
                prop_assert!(rates[warmup..].is_sorted_by(|a, b| a >= b));
                prop_assert_eq!(rates[warmup], PEAK);
            }
        }

        #[test]
        fn linear_decay_never_jumps(warmup in 1usize..50, rest in 1usize..200) {
            let schedule = schedule(Decay::Linear, warmup, warmup + rest);
            let largest = PEAK / warmup.min(rest) as f64;
            for step in 0..warmup + rest {
                let jump = (schedule.lr_at(step + 1) - schedule.lr_at(step)).abs();
                prop_assert!(jump <= largest * (1.0 + 1e-9));
            }
        }
    }
}
