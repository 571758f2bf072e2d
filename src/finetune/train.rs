//! A run per seed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use deberta_data::task::{Prediction, Split, Task, TaskKind};
use deberta_model::DebertaAutodiffBackend;
use deberta_model::heads::TaskModel;
use deberta_train::objective::{Scores, TaskBatch, TaskObjective, TrainableNetwork};
use deberta_train::run::{
    ExampleSource, FinetuneConfig, FinetuneData, Finetuned, RunOptions as TrainingOptions,
    RunReport, SeedResult, SeedSummary, TaskMetrics, fine_tune, predict,
};

use super::baseline::Majority;
use super::data::{ExampleSet, TaskData};
use super::encode::{Encoded, Encoder};
use super::model::{Source, head_of, save};
use super::report::{self, Page};
use super::scoring::{EncodedSet, HeldOutMetrics, THRESHOLD};
use super::weights;
use super::{
    FinetuneError, FinetuneJob, FinetuneOutcome, MODEL_DIR, Progress, RunOptions, SetOutcome,
    Stage, seed_dir,
};

/// Folder of the predictions inside a run folder.
pub(super) const PREDICTIONS_DIR: &str = "predictions";

/// Everything that all seeds have in common.
pub(super) struct Training<'a> {
    pub(super) job: &'a FinetuneJob,
    pub(super) run_dir: &'a Path,
    pub(super) options: &'a RunOptions,
    pub(super) source: Source,
    pub(super) task: Arc<Task>,
    train: Arc<Encoded>,
    train_examples: usize,
    /// Weights of the classes, if they are balanced.
    class_weights: Option<Vec<f64>>,
    /// With folds, the training examples.
    pub(super) held_out: Vec<EncodedSet>,
    majority: Vec<Scores>,
    skipped_lines: [u64; 2],
}

/// What the run of a seed came to.
struct SeedRun {
    report: RunReport,
    /// `None` if it was stopped.
    result: Option<SeedScores>,
}

/// The best model of a seed.
pub(super) struct SeedScores {
    pub(super) step: usize,
    /// Metrics of each set.
    pub(super) scores: Vec<Scores>,
    /// What it says about the first set.
    pub(super) predictions: Vec<Prediction>,
}

impl<'a> Training<'a> {
    /// Opens the model, reads and tokenises the examples.
    pub(super) fn prepare(
        job: &'a FinetuneJob,
        run_dir: &'a Path,
        options: &'a RunOptions,
        progress: &mut dyn Progress,
    ) -> Result<Self, FinetuneError> {
        progress.stage(Stage::OpenModel);
        let mut source = Source::open(&job.model.path, progress)?;
        source.check_length(&job.text)?;
        // What is saved is to be asked with sequences as long as those it learns from.
        source.tokenizer.set_max_length(Some(job.text.max_length));
        progress.stage(Stage::Read);
        let data = TaskData::read(job, &source, progress)?;
        progress.stage(Stage::Encode);
        let task = Arc::new(data.task);
        let encoder = Encoder {
            task: &task,
            tokenizer: &source.tokenizer,
            text: &job.text,
            has_types: source.has_types(),
        };
        let majority = Majority::new(&task, &data.train);
        let balanced = job.train.balanced_classes;
        let class_weights = balanced.then(|| weights::balanced(&task, &data.train));
        let train = Arc::new(encoder.encode(&data.train)?);
        train.note_cut("training", &job.text, progress);
        let train_examples = data.train.len();
        let mut sets = Vec::new();
        for set in data.held_out {
            let encoded = encoder.encode(&set.examples)?;
            encoded.note_cut(&set.name, &job.text, progress);
            sets.push((set, Arc::new(encoded)));
        }
        if job.folds.is_some() {
            let set = ExampleSet {
                name: Split::Train.name().into(),
                examples: data.train,
            };
            sets.push((set, Arc::clone(&train)));
        }
        let (mut held_out, mut baselines) = (Vec::new(), Vec::new());
        for (ExampleSet { name, examples }, encoded) in sets {
            let constant: Vec<_> = examples.iter().map(|it| majority.predict(it)).collect();
            let set = EncodedSet {
                name,
                task: Arc::clone(&task),
                answers: job.answers,
                examples: Arc::new(examples),
                encoded,
                threshold: THRESHOLD,
            };
            baselines.push(set.scores(&constant)?);
            held_out.push(set);
        }
        Ok(Self {
            job,
            run_dir,
            options,
            train_examples,
            train,
            class_weights: class_weights.transpose()?,
            majority: baselines,
            skipped_lines: data.skipped_lines,
            source,
            task,
            held_out,
        })
    }

    pub(super) fn kind(&self) -> TaskKind {
        self.task.kind()
    }

    /// Fine-tunes a model per seed and sums up what is complete.
    pub(super) fn run<B, M>(
        &self,
        device: &B::Device,
        progress: &mut dyn Progress,
    ) -> Result<FinetuneOutcome, FinetuneError>
    where
        B: DebertaAutodiffBackend,
        M: TrainableNetwork<B> + TaskModel<B>,
        M::InnerModule: TaskModel<B::InnerBackend>,
    {
        if let Some(folds) = self.job.folds {
            return self.run_folds::<B, M>(folds, device, progress);
        }
        let (mut reports, mut complete) = (Vec::new(), Vec::new());
        for &seed in &self.job.seeds {
            let run = self.run_seed::<B, M>(seed, device, progress)?;
            reports.push(run.report);
            match run.result {
                Some(result) => complete.push((seed, result)),
                None => break,
            }
        }
        self.finish(reports, complete)
    }

    fn run_seed<B, M>(
        &self,
        seed: u64,
        device: &B::Device,
        progress: &mut dyn Progress,
    ) -> Result<SeedRun, FinetuneError>
    where
        B: DebertaAutodiffBackend,
        M: TrainableNetwork<B> + TaskModel<B>,
        M::InnerModule: TaskModel<B::InnerBackend>,
    {
        let run_dir = seed_dir(self.job, self.run_dir, seed);
        let (model, config) = self.build::<B, M>(seed, self.train.len(), device)?;
        let data = FinetuneData {
            train: self.train.clone(),
            held_out: self.held_out[0].encoded.clone(),
            metrics: self.metrics(),
        };
        let options = self.training_options(&run_dir);
        let tuned = fine_tune::<B, M>(&config, model, &data, &options, device)?;
        let report = tuned.report.clone();
        if !report.completed {
            return Ok(SeedRun {
                report,
                result: None,
            });
        }
        progress.stage(Stage::Predict);
        let result = self.evaluate::<B, M>(&config, tuned, &run_dir)?;
        Ok(SeedRun {
            report,
            result: Some(result),
        })
    }

    /// The network of a seed, and the configuration of its training on so many items.
    pub(super) fn build<B, M>(
        &self,
        seed: u64,
        items: usize,
        device: &B::Device,
    ) -> Result<(M, FinetuneConfig), FinetuneError>
    where
        B: DebertaAutodiffBackend,
        M: TaskModel<B>,
    {
        let head = head_of(self.job, &self.task, &self.source.config);
        let settings = &self.job.model;
        let (model, config) = self.source.build::<B, M>(settings, &head, seed, device)?;
        let mut config = self.job.train.config(config, head, items);
        config.run.seed = seed;
        if self.class_weights.is_some() {
            config.loss.class_weights.clone_from(&self.class_weights);
        }
        let main = self.task.main_metric().to_owned();
        config.best_by = Some(config.best_by.unwrap_or(main));
        Ok((model, config))
    }

    /// Metrics of the set that chooses checkpoints.
    pub(super) fn metrics(&self) -> Arc<dyn TaskMetrics> {
        Arc::new(HeldOutMetrics {
            set: self.held_out[0].clone(),
            names: self.majority[0].keys().cloned().collect(),
        })
    }

    pub(super) fn training_options(&self, run_dir: &Path) -> TrainingOptions {
        TrainingOptions {
            run_dir: run_dir.into(),
            resume: self.options.resume,
            display: self.options.display,
            interrupter: self.options.interrupter.clone(),
        }
    }

    /// Saves the model, asks it about all held-out examples and writes what it says.
    fn evaluate<B, M>(
        &self,
        config: &FinetuneConfig,
        tuned: Finetuned<M::InnerModule>,
        run_dir: &Path,
    ) -> Result<SeedScores, FinetuneError>
    where
        B: DebertaAutodiffBackend,
        M: TrainableNetwork<B>,
        M::InnerModule: TaskModel<B::InnerBackend>,
    {
        let dir = run_dir.join(MODEL_DIR);
        let tokenizer = &self.source.tokenizer;
        save(
            &tuned.model,
            &config.model,
            &config.head,
            tokenizer,
            self.job,
            &dir,
        )?;
        let settings = config.settings(M::ROWS);
        let objective = TaskObjective::<B::InnerBackend, _>::new(tuned.model, settings);
        let (mut scores, mut first) = (Vec::new(), None);
        for set in &self.held_out {
            let source: Arc<dyn ExampleSource<TaskBatch>> = set.encoded.clone();
            let logits = predict(&objective, &source, &config.run)?;
            let predictions = set.predictions(&logits);
            self.write_predictions(set, &predictions, run_dir)?;
            scores.push(set.scores(&predictions)?);
            first.get_or_insert(predictions);
        }
        Ok(SeedScores {
            step: tuned.step,
            scores,
            predictions: first.unwrap_or_default(),
        })
    }

    pub(super) fn write_predictions(
        &self,
        set: &EncodedSet,
        predictions: &[Prediction],
        run_dir: &Path,
    ) -> Result<(), FinetuneError> {
        let dir = run_dir.join(PREDICTIONS_DIR);
        fs::create_dir_all(&dir).map_err(FinetuneError::io(&dir))?;
        let name = self.task.submission_file(&set.name);
        let mut bytes = Vec::new();
        self.task
            .write_predictions(&mut bytes, predictions, &set.examples)?;
        super::write_file(&dir.join(name), &bytes)
    }

    /// Metrics of the seeds that are complete, the best model, and the report.
    fn finish(
        &self,
        reports: Vec<RunReport>,
        complete: Vec<(u64, SeedScores)>,
    ) -> Result<FinetuneOutcome, FinetuneError> {
        let completed = complete.len() == self.job.seeds.len();
        let mut outcome = self.outcome(completed, reports);
        let main = |result: &SeedScores| {
            let score = result.scores[0].get(outcome.main_metric).copied();
            score.filter(|it| !it.is_nan()).unwrap_or(f64::NEG_INFINITY)
        };
        let best = complete
            .iter()
            .reduce(|best, other| match main(&other.1) > main(&best.1) {
                true => other,
                false => best,
            });
        let Some((best_seed, best)) = best else {
            return Ok(outcome);
        };
        outcome.sets = self.summaries(&complete);
        outcome.write(self.task.name(), self.run_dir)?;
        outcome.model_dir = Some(self.best_model(*best_seed)?);
        outcome.report_file = Some(report::write(&Page {
            job: self.job,
            task: &self.task,
            run_dir: self.run_dir,
            outcome: &outcome,
            best_seed: *best_seed,
            predictions: &best.predictions,
            set: &self.held_out[0],
        })?);
        Ok(outcome)
    }

    /// What came of a run, as yet without metrics.
    pub(super) fn outcome(&self, completed: bool, reports: Vec<RunReport>) -> FinetuneOutcome {
        FinetuneOutcome {
            completed,
            reports,
            sets: BTreeMap::new(),
            folds: Vec::new(),
            main_metric: self.task.main_metric(),
            train_examples: self.train_examples,
            skipped_lines: self.skipped_lines,
            model_dir: None,
            report_file: None,
            preparation: Duration::ZERO,
        }
    }

    pub(super) fn summaries(&self, complete: &[(u64, SeedScores)]) -> BTreeMap<String, SetOutcome> {
        let sets = self.held_out.iter().zip(&self.majority).enumerate();
        sets.map(|(number, (set, majority))| {
            let runs = complete.iter().map(|(seed, result)| SeedResult {
                seed: *seed,
                step: result.step,
                scores: result.scores[number].clone(),
            });
            let outcome = SetOutcome {
                examples: set.examples.len(),
                majority: majority.clone(),
                summary: SeedSummary::new(runs.collect()),
            };
            (set.name.clone(), outcome)
        })
        .collect()
    }

    /// The folder of the best model, a copy of that of its seed if there are several.
    fn best_model(&self, seed: u64) -> Result<PathBuf, FinetuneError> {
        let source = seed_dir(self.job, self.run_dir, seed).join(MODEL_DIR);
        let target = self.run_dir.join(MODEL_DIR);
        if source == target {
            return Ok(target);
        }
        fs::create_dir_all(&target).map_err(FinetuneError::io(&target))?;
        let files = fs::read_dir(&source).map_err(FinetuneError::io(&source))?;
        for file in files {
            let file = file.map_err(FinetuneError::io(&source))?;
            let path = target.join(file.file_name());
            fs::copy(file.path(), &path).map_err(FinetuneError::io(&path))?;
        }
        Ok(target)
    }
}
