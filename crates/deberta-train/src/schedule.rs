//! The learning rate as a pure function of the step.

use burn::lr_scheduler::LrScheduler;
use burn::optim::LearningRate;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

/// How the learning rate falls after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Linearly to zero, starting at the peak: Microsoft's `warmup_linear_shift`.
    Linear,
    /// Linearly to zero, but along the line that starts at step 0, so the rate drops when the
    /// warm-up ends: Microsoft's `warmup_linear`.
    LinearFromStart,
    /// Along half a cosine to zero.
    Cosine,
    /// Not at all.
    Constant,
}

/// Configuration to create a [`Schedule`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Highest learning rate. Default: 1e-4
    pub peak_lr: f64,
    /// Steps of linear warm-up. Default: 1000
    pub warmup_steps: usize,
    /// How the rate falls afterwards. Default: linear
    pub decay: Decay,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            peak_lr: 1e-4,
            warmup_steps: 1000,
            decay: Decay::Linear,
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
    /// warm-up   lr = peak · (step + 1) / w               step < w
    /// linear    lr = peak · (T − step) / (T − w)         w ≤ step < T
    /// ```
    /// where `w` is `warmup_steps` and `T` the length of the run. The first and the last update
    /// have a rate above zero, the peak is reached, and from `T` on the rate is zero (or the
    /// peak, if it is constant).
    ///
    /// # Deviation
    ///
    /// Microsoft's schedules warm up along `step / w`, so the first update does nothing.
    /// [`Decay::LinearFromStart`] keeps that, as it exists to reproduce them.
    pub fn lr_at(&self, step: usize) -> f64 {
        let (step, total) = (step as f64, self.total_steps as f64);
        let warmup = self.config.warmup_steps as f64;
        let after_warmup = ((step - warmup) / (total - warmup)).clamp(0.0, 1.0);
        let factor = match self.config.decay {
            Decay::LinearFromStart if step < warmup => step / warmup,
            _ if step < warmup => (step + 1.0) / warmup,
            Decay::Constant => 1.0,
            _ if step >= total => 0.0,
            Decay::Linear => 1.0 - after_warmup,
            Decay::LinearFromStart => 1.0 - step / total,
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * after_warmup).cos()),
        };
        self.config.peak_lr * factor
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
