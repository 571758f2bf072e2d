//! Published fine-tuning settings by name, such as `v3-base-mnli`.
//!
//! Source: the scripts below `experiments/` of microsoft/DeBERTa, commit 4d7fe0b. All of them train with
//! XAdam and the schedule that drops at the end of the warm-up.

use crate::objective::SiftConfig;
use crate::optim::AdamWConfig;
use crate::run::{FinetuneConfig, TrainError, steps_of_epochs};
use crate::schedule::{Decay, ScheduleConfig};

/// Settings of one published fine-tuning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recipe {
    /// Size of the network and task, and `-sift` with adversarial training.
    pub name: &'static str,
    /// Most tokens of a sequence.
    pub max_length: usize,
    /// Highest learning rate.
    pub peak_lr: f64,
    /// Sequences per update.
    pub batch_size: usize,
    /// Passes over the training examples.
    pub epochs: usize,
    /// Steps of warm-up from 1 on, a part of the run below.
    pub warmup: f64,
    /// Dropout probability before the classifier.
    pub classifier_dropout: f64,
    /// Starts from the weights that were fine-tuned on MNLI.
    pub from_mnli: bool,
    /// Weight of the penalty of SiFT; 0 without.
    pub sift_weight: f64,
}

const FROM_MNLI: bool = true;
const PLAIN: bool = false;

/// All recipes. Columns: name, longest sequence, learning rate, batch, epochs, warm-up, dropout, first
/// weights, weight of the penalty.
#[rustfmt::skip]
const RECIPES: &[Recipe] = &[
    row("base-mnli", 256, 3e-5, 64, 3, 1000.0, 0.1, PLAIN, 0.0),
    row("large-mnli", 256, 1e-5, 64, 3, 1000.0, 0.2, PLAIN, 0.0),
    row("xlarge-mnli", 256, 5e-6, 64, 3, 1000.0, 0.3, PLAIN, 0.0),
    row("v2-xlarge-mnli", 256, 4e-6, 64, 3, 1000.0, 0.25, PLAIN, 0.0),
    row("v2-xxlarge-mnli", 256, 3e-6, 64, 3, 1000.0, 0.3, PLAIN, 0.0),
    row("v3-large-mnli", 256, 7e-6, 64, 2, 500.0, 0.3, PLAIN, 0.0),
    row("base-cola", 64, 2e-5, 32, 6, 100.0, 0.15, PLAIN, 0.0),
    row("large-cola", 64, 7e-6, 32, 6, 100.0, 0.15, PLAIN, 0.0),
    row("xlarge-cola", 64, 5e-6, 32, 8, 100.0, 0.2, PLAIN, 0.0),
    row("v2-xlarge-cola", 64, 3e-6, 32, 8, 100.0, 0.2, PLAIN, 0.0),
    row("v2-xxlarge-cola", 64, 2.5e-6, 32, 10, 100.0, 0.2, PLAIN, 0.0),
    row("v3-large-cola", 64, 5.5e-6, 32, 10, 50.0, 0.1, PLAIN, 0.0),
    row("base-mrpc", 128, 2e-5, 32, 6, 50.0, 0.15, FROM_MNLI, 0.0),
    row("large-mrpc", 128, 1e-5, 32, 6, 50.0, 0.15, FROM_MNLI, 0.0),
    row("xlarge-mrpc", 128, 7e-6, 32, 8, 50.0, 0.3, FROM_MNLI, 0.0),
    row("v2-xlarge-mrpc", 128, 3.5e-6, 32, 6, 50.0, 0.2, FROM_MNLI, 0.0),
    row("v2-xxlarge-mrpc", 128, 2e-6, 32, 6, 50.0, 0.2, FROM_MNLI, 0.0),
    row("v3-large-mrpc", 128, 6e-6, 32, 6, 50.0, 0.2, PLAIN, 0.0),
    row("base-qnli", 512, 2e-5, 32, 4, 500.0, 0.15, PLAIN, 0.0),
    row("large-qnli", 512, 1e-5, 32, 4, 500.0, 0.15, PLAIN, 0.0),
    row("xlarge-qnli", 512, 7e-6, 32, 4, 500.0, 0.2, PLAIN, 0.0),
    row("v2-xlarge-qnli", 512, 4e-6, 64, 4, 500.0, 0.2, PLAIN, 0.0),
    row("v2-xxlarge-qnli", 512, 3e-6, 64, 4, 500.0, 0.2, PLAIN, 0.0),
    row("v3-large-qnli", 512, 7e-6, 64, 6, 200.0, 0.2, PLAIN, 0.0),
    row("base-qqp", 320, 2e-5, 64, 8, 500.0, 0.15, PLAIN, 0.0),
    row("large-qqp", 320, 1e-5, 64, 8, 500.0, 0.15, PLAIN, 0.0),
    row("xlarge-qqp", 320, 7e-6, 64, 8, 500.0, 0.2, PLAIN, 0.0),
    row("v2-xlarge-qqp", 320, 4e-6, 64, 10, 1000.0, 0.2, PLAIN, 0.0),
    row("v2-xxlarge-qqp", 320, 3e-6, 64, 10, 1000.0, 0.2, PLAIN, 0.0),
    row("v3-large-qqp", 320, 1e-5, 64, 6, 1000.0, 0.2, PLAIN, 0.0),
    row("base-rte", 320, 2e-5, 32, 6, 100.0, 0.2, FROM_MNLI, 0.0),
    row("large-rte", 320, 1e-5, 32, 6, 50.0, 0.2, FROM_MNLI, 0.0),
    row("xlarge-rte", 320, 5e-6, 48, 6, 50.0, 0.2, FROM_MNLI, 0.0),
    row("v2-xlarge-rte", 320, 4e-6, 48, 6, 50.0, 0.2, FROM_MNLI, 0.0),
    row("v2-xxlarge-rte", 320, 3e-6, 48, 6, 50.0, 0.2, FROM_MNLI, 0.0),
    row("v3-large-rte", 320, 1e-5, 32, 6, 50.0, 0.3, PLAIN, 0.0),
    row("base-sst-2", 128, 2e-5, 32, 6, 500.0, 0.15, PLAIN, 0.0),
    row("large-sst-2", 128, 1e-5, 32, 6, 500.0, 0.15, PLAIN, 0.0),
    row("xlarge-sst-2", 128, 3e-6, 32, 6, 500.0, 0.2, PLAIN, 0.0),
    row("v2-xlarge-sst-2", 128, 4e-6, 32, 4, 500.0, 0.2, PLAIN, 0.0),
    row("v2-xxlarge-sst-2", 128, 3e-6, 32, 4, 500.0, 0.2, PLAIN, 0.0),
    row("v3-large-sst-2", 128, 6e-6, 32, 8, 500.0, 0.1, PLAIN, 0.0),
    row("base-sts-b", 128, 2e-5, 32, 6, 100.0, 0.15, FROM_MNLI, 0.0),
    row("large-sts-b", 128, 7e-6, 32, 4, 100.0, 0.15, FROM_MNLI, 0.0),
    row("xlarge-sts-b", 128, 7e-6, 32, 4, 100.0, 0.2, FROM_MNLI, 0.0),
    row("v2-xlarge-sts-b", 128, 4e-6, 32, 4, 100.0, 0.2, FROM_MNLI, 0.0),
    row("v2-xxlarge-sts-b", 128, 3e-6, 32, 4, 100.0, 0.2, FROM_MNLI, 0.0),
    row("v3-large-sts-b", 128, 7e-6, 32, 4, 50.0, 0.1, PLAIN, 0.0),
    row("base-ner", 512, 2e-5, 16, 15, 0.1, 0.0, PLAIN, 0.0),
    row("large-ner", 512, 1e-5, 16, 15, 0.1, 0.0, PLAIN, 0.0),
    row("xlarge-ner", 512, 7e-6, 16, 15, 0.1, 0.0, PLAIN, 0.0),
    row("v2-xlarge-ner", 512, 4e-6, 16, 15, 0.1, 0.0, PLAIN, 0.0),
    row("v2-xxlarge-ner", 512, 2.5e-6, 16, 15, 0.1, 0.0, PLAIN, 0.0),
    row("v3-large-ner", 512, 9e-6, 16, 10, 10.0, 0.0, PLAIN, 0.0),
    row("base-record", 512, 2e-5, 64, 3, 1000.0, 0.3, PLAIN, 0.0),
    row("large-record", 512, 1e-5, 64, 3, 1000.0, 0.3, PLAIN, 0.0),
    row("xlarge-record", 512, 7e-6, 64, 3, 1000.0, 0.3, PLAIN, 0.0),
    row("v2-xlarge-record", 512, 5e-6, 64, 3, 1000.0, 0.15, PLAIN, 0.0),
    row("v2-xxlarge-record", 512, 3e-6, 64, 3, 1000.0, 0.15, PLAIN, 0.0),
    row("v3-large-record", 512, 7e-6, 64, 3, 500.0, 0.1, PLAIN, 0.0),
    row("base-copa", 136, 1e-5, 32, 3, 50.0, 0.1, FROM_MNLI, 0.0),
    row("large-copa", 136, 5e-6, 16, 4, 30.0, 0.1, FROM_MNLI, 0.0),
    row("xlarge-copa", 136, 3e-6, 24, 4, 30.0, 0.1, FROM_MNLI, 0.0),
    row("v2-xlarge-copa", 136, 2e-6, 24, 4, 30.0, 0.1, FROM_MNLI, 0.0),
    row("v2-xxlarge-copa", 136, 1e-6, 24, 8, 30.0, 0.1, FROM_MNLI, 0.0),
    row("base-race", 320, 2e-5, 32, 6, 100.0, 0.2, FROM_MNLI, 0.0),
    row("large-race", 320, 8e-6, 32, 6, 100.0, 0.2, FROM_MNLI, 0.0),
    row("xlarge-race", 320, 7e-6, 48, 6, 100.0, 0.2, FROM_MNLI, 0.0),
    row("v2-xlarge-race", 320, 4e-6, 48, 6, 100.0, 0.2, FROM_MNLI, 0.0),
    row("v2-xxlarge-race", 320, 3e-6, 48, 6, 100.0, 0.2, FROM_MNLI, 0.0),
    row("base-alphanli", 70, 2e-5, 64, 6, 1000.0, 0.2, FROM_MNLI, 0.0),
    row("large-alphanli", 70, 8e-6, 64, 6, 1000.0, 0.2, FROM_MNLI, 0.0),
    row("xlarge-alphanli", 70, 7e-6, 64, 6, 1000.0, 0.2, FROM_MNLI, 0.0),
    row("v2-xlarge-alphanli", 70, 4e-6, 128, 6, 1000.0, 0.2, FROM_MNLI, 0.0),
    row("v2-xxlarge-alphanli", 70, 8e-6, 256, 6, 500.0, 0.1, FROM_MNLI, 0.0),
    row("v3-large-alphanli", 70, 7e-6, 256, 10, 1000.0, 0.1, FROM_MNLI, 0.0),
    row("v3-xsmall-mnli", 256, 4.5e-5, 64, 3, 1000.0, 0.1, PLAIN, 0.0),
    row("v3-small-mnli", 256, 4.5e-5, 64, 3, 1500.0, 0.2, PLAIN, 0.0),
    row("v3-base-mnli", 256, 1.5e-5, 64, 3, 1000.0, 0.1, PLAIN, 0.0),
    row("v3-xsmall-mnli-sift", 256, 5e-5, 64, 10, 1500.0, 0.1, PLAIN, 3.0),
    row("v3-small-mnli-sift", 256, 3.5e-5, 64, 6, 1000.0, 0.1, PLAIN, 5.0),
    row("v3-base-mnli-sift", 256, 1.5e-5, 64, 6, 1000.0, 0.1, PLAIN, 5.0),
    row("base-mnli-sift", 256, 1.5e-5, 64, 6, 1000.0, 0.1, PLAIN, 5.0),
    row("v2-xxlarge-mnli-sift", 256, 3e-6, 64, 6, 1000.0, 0.3, PLAIN, 5.0),
];

#[allow(clippy::too_many_arguments, reason = "a row of the table above")]
const fn row(
    name: &'static str,
    max_length: usize,
    peak_lr: f64,
    batch_size: usize,
    epochs: usize,
    warmup: f64,
    classifier_dropout: f64,
    from_mnli: bool,
    sift_weight: f64,
) -> Recipe {
    Recipe {
        name,
        max_length,
        peak_lr,
        batch_size,
        epochs,
        warmup,
        classifier_dropout,
        from_mnli,
        sift_weight,
    }
}

/// The recipe of that name.
pub fn by_name(name: &str) -> Option<&'static Recipe> {
    RECIPES.iter().find(|recipe| recipe.name == name)
}

/// Names of all recipes.
pub fn names() -> impl Iterator<Item = &'static str> {
    RECIPES.iter().map(|recipe| recipe.name)
}

impl Recipe {
    /// Sets what the recipe says for a training set of so many examples.
    ///
    /// `run.grad_accumulation` stays, and `run.batch_size` becomes the batch of the recipe divided by it.
    /// `max_length` is for the tokenizer.
    ///
    /// # Errors
    ///
    /// [`TrainError::Setting`] if the batch cannot be divided so.
    pub fn apply(&self, config: &mut FinetuneConfig, examples: usize) -> Result<(), TrainError> {
        let parts = config.run.grad_accumulation;
        if parts == 0 || !self.batch_size.is_multiple_of(parts) {
            return Err(TrainError::Setting {
                field: "run.grad_accumulation",
                value: parts.to_string(),
                expected: "a divisor of the batch of the recipe",
            });
        }
        config.optimizer = AdamWConfig::xadam();
        config.schedule = ScheduleConfig {
            peak_lr: self.peak_lr,
            decay: Decay::LinearFromStart,
            ..ScheduleConfig::default()
        };
        match self.warmup >= 1.0 {
            true => config.schedule.warmup_steps = self.warmup as usize,
            false => config.schedule.warmup_fraction = Some(self.warmup),
        }
        config.head.classifier_dropout = self.classifier_dropout;
        config.sift = (self.sift_weight > 0.0).then(|| SiftConfig {
            weight: self.sift_weight,
            ..SiftConfig::default()
        });
        let run = &mut config.run;
        run.batch_size = self.batch_size / parts;
        run.steps = steps_of_epochs(self.epochs as f64, examples, run);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deberta_model::heads::HeadConfig;
    use deberta_model::presets;

    /// The table as text, to be compared with the scripts by eye and with itself by machine.
    #[test]
    fn the_table_is_the_recorded_one() {
        let line = |recipe: &Recipe| {
            let Recipe {
                name,
                max_length,
                peak_lr,
                batch_size,
                epochs,
                warmup,
                classifier_dropout,
                from_mnli,
                sift_weight,
            } = recipe;
            format!(
                "{name} {max_length} {peak_lr:e} {batch_size} {epochs} {warmup} \
                 {classifier_dropout} {from_mnli} {sift_weight}\n"
            )
        };
        let table: String = RECIPES.iter().map(line).collect();
        assert_eq!(table, include_str!("../tests/fixtures/recipes.txt"));
    }

    #[test]
    fn names_are_unique() {
        let unique: std::collections::BTreeSet<_> = names().collect();
        assert_eq!(unique.len(), RECIPES.len());
    }

    #[test]
    fn a_recipe_becomes_a_configuration() {
        let model = presets::by_name("deberta-v3-base").unwrap();
        let labels = ["contradiction", "neutral", "entailment"];
        let head = HeadConfig::new(&model, labels.map(str::to_owned).into());
        let mut config = FinetuneConfig::new(model, head);
        config.run.grad_accumulation = 4;
        let recipe = by_name("v3-base-mnli-sift").unwrap();
        recipe.apply(&mut config, 392_702).unwrap();
        assert_eq!((config.run.batch_size, config.run.steps), (16, 36_816));
        assert_eq!(config.sift.as_ref().unwrap().weight, 5.0);
        assert_eq!(config.schedule.warmup_steps, 1000);
        assert!(!config.optimizer.bias_correction);
        assert!(by_name("v3-base-nothing").is_none());

        // 3 times 21 sequences would be another batch.
        config.run.grad_accumulation = 3;
        let error = recipe.apply(&mut config, 392_702).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`run.grad_accumulation` = 3, expected a divisor of the batch of the recipe"
        );
    }
}
