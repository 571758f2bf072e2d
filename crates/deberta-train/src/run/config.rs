//! The configuration of a run.

use deberta_data::masking::MaskingConfig;
use deberta_model::DebertaConfig;
use serde::{Deserialize, Serialize};

use super::TrainError;
use crate::objective::{Precision, RtdConfig};
use crate::optim::AdamWConfig;
use crate::schedule::ScheduleConfig;

/// Everything that decides the outcome of a pre-training run, as JSON in the run folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainConfig {
    /// The network; of two, the discriminator.
    pub model: DebertaConfig,
    /// What it learns.
    #[serde(default)]
    pub objective: PretrainObjective,
    /// Replaced-token detection, if that is the objective.
    #[serde(default)]
    pub rtd: RtdConfig,
    /// Which tokens are hidden.
    #[serde(default)]
    pub masking: MaskingConfig,
    /// The optimiser.
    #[serde(default)]
    pub optimizer: AdamWConfig,
    /// The learning rate.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// Length, batches, and what happens how often.
    #[serde(default)]
    pub run: RunConfig,
}

/// What a network is pre-trained to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PretrainObjective {
    /// Masked language modelling: to restore masked tokens.
    #[default]
    Mlm,
    /// Replaced-token detection: to tell which tokens a generator has put in.
    Rtd,
}

impl PretrainConfig {
    /// Checks what can be checked without data.
    ///
    /// # Errors
    ///
    /// [`TrainError::Model`] or [`TrainError::Setting`], for the first field that makes no sense.
    pub fn validate(&self) -> Result<(), TrainError> {
        self.model.validate()?;
        self.run.validate()?;
        check_number("rtd.lambda", self.rtd.lambda, "a positive number", positive)?;
        check_number(
            "rtd.temperature",
            self.rtd.temperature,
            "a positive number",
            positive,
        )?;
        self.rtd.generator(&self.model).validate()?;
        check_optimization(&self.optimizer, &self.schedule)
    }
}

const BELOW_1: &str = "at least 0 and below 1";

/// Checks the numbers of optimiser and schedule.
pub(super) fn check_optimization(
    optimizer: &AdamWConfig,
    schedule: &ScheduleConfig,
) -> Result<(), TrainError> {
    check_optimizer(optimizer)?;
    let warmup = schedule.warmup_fraction.unwrap_or(0.0);
    check_number(
        "schedule.peak_lr",
        schedule.peak_lr,
        "a positive number",
        positive,
    )?;
    check_number("schedule.warmup_fraction", warmup, BELOW_1, fraction)?;
    check_number(
        "schedule.end_factor",
        schedule.end_factor,
        BELOW_1,
        fraction,
    )
}

fn check_optimizer(optimizer: &AdamWConfig) -> Result<(), TrainError> {
    let (number, not_below) = ("a positive number", "at least 0");
    let layers = ("optimizer.layer_rate_decay", optimizer.layer_rate_decay);
    let is_decay = |it| it > 0.0 && it <= 1.0;
    let decay = optimizer.weight_decay;
    check_number("optimizer.beta_1", optimizer.beta_1, BELOW_1, fraction)?;
    check_number("optimizer.beta_2", optimizer.beta_2, BELOW_1, fraction)?;
    check_number("optimizer.epsilon", optimizer.epsilon, number, positive)?;
    check_number("optimizer.weight_decay", decay, not_below, not_negative)?;
    check_number(layers.0, layers.1, "above 0 and at most 1", is_decay)?;
    if let Some(norm) = optimizer.max_grad_norm {
        check_number("optimizer.max_grad_norm", norm, number, positive)?;
    }
    for factor in optimizer.rate_factors.values() {
        check_number("optimizer.rate_factors", *factor, not_below, not_negative)?;
    }
    Ok(())
}

/// Length of a run, its batches, and what happens how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// Updates to make. Default: 1000
    pub steps: usize,
    /// Sequences in a micro-batch, which goes through the network at once. Default: 32
    pub batch_size: usize,
    /// Micro-batches per update. Default: 1
    pub grad_accumulation: usize,
    /// Seed of the initial weights, the order of examples, and dropout. Default: 1
    pub seed: u64,
    /// Steps between two lines of the log; the device is waited for as often. Default: 10
    pub log_every: usize,
    /// Steps between two evaluations on held-out examples. Default: 200
    pub eval_every: usize,
    /// Steps between two checkpoints. Default: 200
    pub save_every: usize,
    /// Newest checkpoints that are kept; the best is kept besides. Default: 2
    pub keep_last: usize,
    /// End the run after so many evaluations in a row that were not the best. Default: `null`
    pub patience: Option<usize>,
    /// Exchange examples among so many batches, so that sequences of a batch have similar lengths;
    /// 0 leaves each where chance put it. Default: 0
    pub bucket_batches: usize,
    /// Type to compute in; parameters keep theirs. Default: full
    pub precision: Precision,
    /// Keep only the inputs of layers and compute them again in the backward pass: a fraction of the
    /// memory for a third more time. Default: false
    pub gradient_checkpointing: bool,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            steps: 1000,
            batch_size: 32,
            grad_accumulation: 1,
            seed: 1,
            log_every: 10,
            eval_every: 200,
            save_every: 200,
            keep_last: 2,
            patience: None,
            bucket_batches: 0,
            precision: Precision::Full,
            gradient_checkpointing: false,
        }
    }
}

impl RunConfig {
    /// Examples that one update consumes.
    pub fn examples_per_step(&self) -> usize {
        self.batch_size * self.grad_accumulation
    }

    pub(super) fn validate(&self) -> Result<(), TrainError> {
        let positive = [
            ("run.steps", self.steps),
            ("run.batch_size", self.batch_size),
            ("run.grad_accumulation", self.grad_accumulation),
            ("run.log_every", self.log_every),
            ("run.eval_every", self.eval_every),
            ("run.save_every", self.save_every),
            ("run.keep_last", self.keep_last),
            ("run.patience", self.patience.unwrap_or(1)),
        ];
        match positive.into_iter().find(|(_, value)| *value == 0) {
            None => Ok(()),
            Some((field, _)) => {
                let (value, expected) = ("0".to_owned(), "at least 1");
                Err(TrainError::Setting {
                    field,
                    value,
                    expected,
                })
            }
        }
    }
}

pub(super) fn positive(value: f64) -> bool {
    value > 0.0 && value.is_finite()
}

pub(super) fn not_negative(value: f64) -> bool {
    value >= 0.0 && value.is_finite()
}

pub(super) fn fraction(value: f64) -> bool {
    (0.0..1.0).contains(&value)
}

pub(super) fn check_number(
    field: &'static str,
    value: f64,
    expected: &'static str,
    is_allowed: impl Fn(f64) -> bool,
) -> Result<(), TrainError> {
    match is_allowed(value) {
        true => Ok(()),
        false => Err(TrainError::Setting {
            field,
            value: value.to_string(),
            expected,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> PretrainConfig {
        PretrainConfig {
            model: DebertaConfig::v3(100, 32, 2, 2),
            objective: PretrainObjective::Mlm,
            rtd: RtdConfig::default(),
            masking: MaskingConfig::default(),
            optimizer: AdamWConfig::default(),
            schedule: ScheduleConfig::default(),
            run: RunConfig::default(),
        }
    }

    #[track_caller]
    fn check_refused(change: impl Fn(&mut PretrainConfig), message: &str) {
        let mut config = config();
        config.validate().unwrap();
        change(&mut config);
        assert_eq!(config.validate().unwrap_err().to_string(), message);
    }

    #[test]
    fn senseless_settings_are_named() {
        check_refused(
            |it| it.run.batch_size = 0,
            "`run.batch_size` = 0, expected at least 1",
        );
        check_refused(
            |it| it.optimizer.beta_2 = 1.0,
            "`optimizer.beta_2` = 1, expected at least 0 and below 1",
        );
        check_refused(
            |it| it.schedule.peak_lr = f64::NAN,
            "`schedule.peak_lr` = NaN, expected a positive number",
        );
        check_refused(
            |it| it.rtd.lambda = -1.0,
            "`rtd.lambda` = -1, expected a positive number",
        );
        check_refused(
            |it| it.rtd.temperature = 0.0,
            "`rtd.temperature` = 0, expected a positive number",
        );
        check_refused(
            |it| it.model.hidden_size = 0,
            "the configuration of the model is not usable",
        );
    }

    #[test]
    fn a_configuration_survives_json_to_the_bit() {
        let mut config = config();
        config.schedule.peak_lr = 0.1 + 0.2;
        config.optimizer.epsilon = 1e-6 / 3.0;
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<PretrainConfig>(&json).unwrap(),
            config
        );
    }

    #[test]
    fn missing_parts_have_defaults_and_misspelt_fields_are_errors() {
        let model = serde_json::to_value(DebertaConfig::v3(100, 32, 2, 2)).unwrap();
        let json = serde_json::json!({ "model": model, "run": { "steps": 7 } });
        let config: PretrainConfig = serde_json::from_value(json.clone()).unwrap();
        assert_eq!((config.run.steps, config.run.batch_size), (7, 32));

        let mut misspelt = json;
        misspelt["run"]["step"] = 8.into();
        let error = serde_json::from_value::<PretrainConfig>(misspelt).unwrap_err();
        assert!(error.to_string().contains("unknown field `step`"));
    }
}
