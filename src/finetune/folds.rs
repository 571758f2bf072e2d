//! A run per fold: every training example is predicted by the model that did not see it.

use deberta_model::DebertaAutodiffBackend;
use deberta_model::heads::TaskModel;
use deberta_train::objective::TrainableNetwork;
use deberta_train::run::{CrossValidation, TrainError, cross_validate};

use super::data::groups;
use super::predicted::{Form, Predicted};
use super::train::{PREDICTIONS_DIR, SeedScores, Training};
use super::{FinetuneError, FinetuneOutcome, Progress, Stage};

impl Training<'_> {
    /// Trains once per fold and writes metrics and predictions of all examples together.
    ///
    /// Examples with the same context stay together, as do the windows over a text. As with held-out
    /// files, the checkpoint of a fold is the one that does best on the part left out.
    pub(super) fn run_folds<B, M>(
        &self,
        folds: usize,
        device: &B::Device,
        progress: &mut dyn Progress,
    ) -> Result<FinetuneOutcome, FinetuneError>
    where
        B: DebertaAutodiffBackend,
        M: TrainableNetwork<B> + TaskModel<B>,
    {
        let seed = self.job.seeds[0];
        let set = &self.held_out[0];
        let groups = groups(&set.examples);
        let items = &set.encoded.items;
        let validation = CrossValidation {
            examples: set.encoded.clone(),
            metrics: self.metrics(),
            folds,
            groups: Some(items.iter().map(|item| groups[item.example]).collect()),
        };
        let learnt = items.len() - items.len() / folds;
        let (first, config) = self.build::<B, M>(seed, learnt, device)?;
        drop(first);
        let build = |seed| {
            let built = self.build::<B, M>(seed, learnt, device);
            Ok(built.map_err(|error| TrainError::Build(error.into()))?.0)
        };
        let options = self.training_options(self.run_dir);
        let result = cross_validate::<B, M>(&config, build, &validation, &options, device);
        let result = match result {
            Err(TrainError::Stopped) => return Ok(self.outcome(false, Vec::new())),
            result => result?,
        };

        progress.stage(Stage::Predict);
        let predicted = Predicted::new(set.clone(), result.logits, 0);
        self.write_predictions(set, predicted.predictions(), self.run_dir)?;
        let mut lines = Vec::new();
        predicted.write(Form::JsonLines, &mut lines)?;
        let dir = self.run_dir.join(PREDICTIONS_DIR);
        super::write_file(&dir.join(predicted.file_name(Form::JsonLines)), &lines)?;

        let mut outcome = self.outcome(true, Vec::new());
        outcome.folds = result.fold_scores;
        let scores = SeedScores {
            step: config.run.steps,
            scores: vec![result.scores],
            predictions: Vec::new(),
        };
        outcome.sets = self.summaries(&[(seed, scores)]);
        outcome.write(self.task.name(), self.run_dir)?;
        Ok(outcome)
    }
}
