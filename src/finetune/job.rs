//! What to fine-tune, on what, and how.

use std::fs;
use std::path::{Path, PathBuf};

use deberta_data::decoding::AnswerConfig;
use deberta_data::task::{BadLines, ReadOptions, Task, TaskError, TaskSpec};
use deberta_data::tokenizer::{SequenceConfig, Truncation, TruncationSide};
use deberta_model::DebertaConfig;
use deberta_model::heads::HeadConfig;
use deberta_train::objective::{LossConfig, SiftConfig};
use deberta_train::optim::AdamWConfig;
use deberta_train::recipe::{self, Recipe};
use deberta_train::run::{FinetuneConfig, RunConfig, TrainError, steps_of_epochs};
use deberta_train::schedule::ScheduleConfig;
use serde::{Deserialize, Serialize};

use super::FinetuneError;
use crate::settings;

/// Everything that decides the outcome of a run, as one JSON file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinetuneJob {
    /// What is to be learnt.
    pub task: TaskSettings,
    /// The files.
    pub data: DataSettings,
    /// The weights to start from.
    pub model: ModelSettings,
    /// How texts become sequences.
    #[serde(default)]
    pub text: TextSettings,
    /// How start and end scores become answers, for questions.
    #[serde(default)]
    pub answers: AnswerConfig,
    /// Seeds of the head's weights, the order of examples, and dropout: a run for each.
    pub seeds: Vec<u64>,
    /// Train on all but one of so many parts of the training examples, once for each, and predict
    /// the part left out; `null` for one training on all of them. Default: `null`
    #[serde(default)]
    pub folds: Option<usize>,
    /// Optimiser, schedule, batches.
    #[serde(default)]
    pub train: TrainingSettings,
}

/// What is to be learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskSettings {
    /// A published task by name, such as `sst-2`.
    Named(String),
    /// A task in files of one's own.
    Own(Box<TaskSpec>),
}

impl TaskSettings {
    /// A published task, or one of one's own with columns of the usual names, see
    /// [`TaskSpec::named`].
    pub fn named(name: &str) -> Self {
        match TaskSpec::named(name) {
            Some(spec) => Self::Own(Box::new(spec)),
            None => Self::Named(name.to_owned()),
        }
    }

    /// The task, whose labels may not be known yet.
    ///
    /// # Errors
    ///
    /// If there is no such task or its description makes no sense.
    pub fn to_task(&self) -> Result<Task, TaskError> {
        match self {
            Self::Named(name) => Task::named(name),
            Self::Own(spec) => Task::custom((**spec).clone()),
        }
    }
}

/// The files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSettings {
    /// Folder of the task or of the benchmark, for the files that are not named.
    pub folder: Option<PathBuf>,
    /// Files to learn from, read one after the other.
    pub train: Vec<PathBuf>,
    /// Files to choose checkpoints by.
    pub dev: Vec<PathBuf>,
    /// Learn from this part of the training examples, in (0, 1), and hold the rest out in place of
    /// `dev`. Examples with the same context stay together. Default: `null`
    pub train_part: Option<f64>,
    /// Learn from so many of the training examples, chosen at random. Default: `null`, all
    pub max_train_examples: Option<usize>,
    /// Chooses the examples of `train_part` and `max_train_examples`; the same for all `seeds`.
    /// Default: 1
    pub split_seed: u64,
    /// Leave out and count lines that are not examples, instead of stopping at the first. Default:
    /// false
    pub skip_bad_lines: bool,
}

impl Default for DataSettings {
    fn default() -> Self {
        Self {
            folder: None,
            train: Vec::new(),
            dev: Vec::new(),
            train_part: None,
            max_train_examples: None,
            split_seed: 1,
            skip_bad_lines: false,
        }
    }
}

impl DataSettings {
    pub(super) fn read_options(&self) -> ReadOptions {
        ReadOptions {
            bad_lines: if self.skip_bad_lines {
                BadLines::Skip
            } else {
                BadLines::Fail
            },
            ..ReadOptions::default()
        }
    }
}

/// The weights to start from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// Folder, or name on the Hugging Face Hub.
    pub path: String,
    /// Take configuration and tokenizer, but draw all weights at random. Default: false
    #[serde(default)]
    pub random_encoder: bool,
    /// Dropout of hidden states in the encoder. Default: `null`, that of the checkpoint
    #[serde(default)]
    pub hidden_dropout: Option<f64>,
    /// Dropout of attention probabilities. Default: `null`, that of the checkpoint
    #[serde(default)]
    pub attention_dropout: Option<f64>,
    /// Take the whole head from the checkpoint too, which must have the labels of the task. Default:
    /// false, the output layer starts at random
    #[serde(default)]
    pub keep_head: bool,
}

/// How texts become sequences.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextSettings {
    /// Most tokens of a sequence with its markers. Default: 256
    pub max_length: usize,
    /// Tokens that neighbouring windows over a long sentence or context share; `null` for a third of
    /// `max_length`. Default: `null`
    pub stride: Option<usize>,
    /// Which text of a pair gives way if it is too long. Default: the longer one
    pub truncation: Truncation,
    /// Which end of it is cut off. Default: right
    pub side: TruncationSide,
    /// A question before a context is cut to so many tokens. Default: 64
    pub max_question_tokens: usize,
}

impl Default for TextSettings {
    fn default() -> Self {
        Self {
            max_length: 256,
            stride: None,
            truncation: Truncation::default(),
            side: TruncationSide::default(),
            max_question_tokens: 64,
        }
    }
}

impl TextSettings {
    /// Sequences that are cut.
    pub(super) fn cut(&self) -> SequenceConfig {
        SequenceConfig {
            max_length: Some(self.max_length),
            truncation: self.truncation,
            side: self.side,
            stride: 0,
        }
    }

    /// Windows over one text.
    pub(super) fn windows(&self, truncation: Truncation) -> SequenceConfig {
        SequenceConfig {
            max_length: Some(self.max_length),
            truncation,
            side: TruncationSide::Right,
            stride: self.stride.unwrap_or(self.max_length / 3),
        }
    }
}

/// Optimiser, schedule, batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingSettings {
    /// Passes over the training examples; `null` for `run.steps`. Default: 3
    pub epochs: Option<f64>,
    /// Evaluations and checkpoints of a run, evenly spaced; `null` for `run.eval_every` and
    /// `run.save_every`. Default: 10
    pub evaluations: Option<usize>,
    /// Metric that chooses the best checkpoint, the largest value or the smallest error. Default:
    /// `null`, the main one of the task
    pub best_by: Option<String>,
    /// Dropout probability before the output layer. Default: `null`, that of the encoder
    pub classifier_dropout: Option<f64>,
    /// How targets count.
    pub loss: LossConfig,
    /// Weigh classes by how rare they are in training, in place of `loss.class_weights`. Default:
    /// false
    pub balanced_classes: bool,
    /// Adversarial training; `null` for none. Default: `null`
    pub sift: Option<SiftConfig>,
    /// The optimiser.
    pub optimizer: AdamWConfig,
    /// The learning rate.
    pub schedule: ScheduleConfig,
    /// Batches, and what happens how often.
    pub run: RunConfig,
}

impl Default for TrainingSettings {
    fn default() -> Self {
        Self {
            epochs: Some(3.0),
            evaluations: Some(10),
            best_by: None,
            classifier_dropout: None,
            loss: LossConfig::default(),
            balanced_classes: false,
            sift: None,
            optimizer: AdamWConfig::default(),
            schedule: ScheduleConfig {
                peak_lr: 3e-5,
                warmup_fraction: Some(0.1),
                ..ScheduleConfig::default()
            },
            run: RunConfig {
                bucket_batches: 16,
                ..RunConfig::default()
            },
        }
    }
}

impl TrainingSettings {
    /// The configuration of a run on so many examples.
    pub(super) fn config(
        &self,
        model: DebertaConfig,
        head: HeadConfig,
        examples: usize,
    ) -> FinetuneConfig {
        let mut run = self.run.clone();
        if let Some(epochs) = self.epochs {
            run.steps = steps_of_epochs(epochs, examples, &run);
        }
        if let Some(evaluations) = self.evaluations {
            run.eval_every = run.steps.div_ceil(evaluations.max(1)).max(1);
            run.save_every = run.eval_every;
        }
        FinetuneConfig {
            loss: self.loss.clone(),
            sift: self.sift.clone(),
            optimizer: self.optimizer.clone(),
            schedule: self.schedule.clone(),
            run,
            best_by: self.best_by.clone(),
            ..FinetuneConfig::new(model, head)
        }
    }
}

impl FinetuneJob {
    /// A job with the defaults.
    ///
    /// - `model`: folder, or name on the Hub
    pub fn new(task: TaskSettings, model: impl Into<String>) -> Self {
        Self {
            task,
            data: DataSettings::default(),
            model: ModelSettings {
                path: model.into(),
                random_encoder: false,
                hidden_dropout: None,
                attention_dropout: None,
                keep_head: false,
            },
            text: TextSettings::default(),
            answers: AnswerConfig::default(),
            seeds: vec![1],
            folds: None,
            train: TrainingSettings::default(),
        }
    }

    /// The job with the settings of a [recipe](deberta_train::recipe).
    ///
    /// # Errors
    ///
    /// If there is no such recipe, the message lists those there are; and if `train.run.grad_accumulation`
    /// does not divide its batch.
    pub fn with_recipe(&self, name: &str) -> Result<Self, FinetuneError> {
        let recipe = recipe::by_name(name).ok_or_else(|| FinetuneError::UnknownRecipe {
            name: name.into(),
            known: recipe::names().collect::<Vec<_>>().join(", "),
        })?;
        let mut job = self.clone();
        job.text.max_length = recipe.max_length;
        job.train.apply(recipe)?;
        Ok(job)
    }

    /// Reads a job from a file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or has an unknown or missing field.
    pub fn open(path: &Path) -> Result<Self, FinetuneError> {
        let text = fs::read_to_string(path).map_err(FinetuneError::io(path))?;
        serde_json::from_str(&text).map_err(FinetuneError::json(path))
    }

    /// The job that the run in `run_dir` began with; `None` if there is no run.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn of_run(run_dir: &Path) -> Result<Option<Self>, FinetuneError> {
        let path = run_dir.join(super::JOB_FILE);
        path.exists().then(|| Self::open(&path)).transpose()
    }

    /// The job with one setting changed, `train.schedule.peak_lr=1e-4`.
    ///
    /// The value is JSON, or text where it is not. `train.run.steps` replaces `train.epochs`, and
    /// `train.run.eval_every` and `train.run.save_every` replace `train.evaluations`.
    ///
    /// # Errors
    ///
    /// If there is no such setting or it cannot have this value.
    pub fn with_setting(&self, setting: &str) -> Result<Self, FinetuneError> {
        let changed = settings::with_setting(self, setting);
        let mut job = changed.map_err(|message| FinetuneError::Job {
            path: setting.into(),
            message,
        })?;
        match setting.split_once('=').map(|(name, _)| name) {
            Some("train.run.steps") => job.train.epochs = None,
            Some("train.run.eval_every" | "train.run.save_every") => job.train.evaluations = None,
            _ => {}
        }
        Ok(job)
    }

    /// Writes the job, replacing what is there.
    pub(super) fn write(&self, path: &Path) -> Result<(), FinetuneError> {
        let text = serde_json::to_string_pretty(self).map_err(FinetuneError::json(path))?;
        super::write_file(path, text.as_bytes())
    }

    /// Checks what can be checked without files; training checks its own part.
    pub(super) fn validate(&self) -> Result<(), FinetuneError> {
        let refuse = |setting, found: String, expected: &str| {
            Err(FinetuneError::Setting {
                setting,
                found,
                expected: expected.into(),
            })
        };
        if self.seeds.is_empty() {
            return refuse("seeds", "empty".into(), "at least one number");
        }
        let mut unique = self.seeds.clone();
        unique.sort_unstable();
        unique.dedup();
        if unique.len() != self.seeds.len() {
            let found = format!("{:?}", self.seeds);
            return refuse("seeds", found, "each number once");
        }
        if let Some(folds) = self.folds {
            self.check_folds(folds)?;
        }
        if self.train.balanced_classes && self.train.loss.class_weights.is_some() {
            let found = "set beside `train.loss.class_weights`".into();
            return refuse("train.balanced_classes", found, "one way to weigh classes");
        }
        match self.data.train_part {
            Some(part) if !(part > 0.0 && part < 1.0) => {
                refuse("data.train_part", part.to_string(), "above 0 and below 1")
            }
            Some(_) if !self.data.dev.is_empty() => refuse(
                "data.train_part",
                "set beside `data.dev`".into(),
                "one way to hold examples out",
            ),
            _ => Ok(()),
        }?;
        match self.train.epochs {
            Some(epochs) if !(epochs > 0.0 && epochs.is_finite()) => {
                refuse("train.epochs", epochs.to_string(), "a positive number")
            }
            _ => Ok(()),
        }
    }
}

impl FinetuneJob {
    /// All examples are held out once, by one seed.
    fn check_folds(&self, folds: usize) -> Result<(), FinetuneError> {
        let (setting, found, expected) = if folds < 2 {
            ("folds", folds.to_string(), "at least 2")
        } else if self.seeds.len() > 1 {
            (
                "seeds",
                format!("{:?}", self.seeds),
                "one number beside `folds`",
            )
        } else if self.data.train_part.is_some() {
            let found = "set beside `folds`".to_owned();
            ("data.train_part", found, "one way to hold examples out")
        } else if !self.data.dev.is_empty() {
            let found = "set beside `folds`".to_owned();
            ("data.dev", found, "no files, as each fold is held out once")
        } else {
            return Ok(());
        };
        Err(FinetuneError::Setting {
            setting,
            found,
            expected: expected.into(),
        })
    }
}

impl TrainingSettings {
    /// Takes over what a recipe says; steps follow once the number of examples is known.
    fn apply(&mut self, recipe: &Recipe) -> Result<(), TrainError> {
        // The network plays no part: a recipe changes nothing of it.
        let model = DebertaConfig::v3(1, 1, 1, 1);
        let head = HeadConfig::new(&model, vec![String::new()]);
        let mut config = self.config(model, head, 1);
        recipe.apply(&mut config, 1)?;
        self.epochs = Some(recipe.epochs as f64);
        self.classifier_dropout = Some(recipe.classifier_dropout);
        self.optimizer = config.optimizer;
        self.schedule = config.schedule;
        self.sift = config.sift;
        self.run.batch_size = config.run.batch_size;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> FinetuneJob {
        FinetuneJob::new(TaskSettings::named("sst-2"), "model")
    }

    #[test]
    fn a_job_survives_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.json");
        let mut own = FinetuneJob::new(TaskSettings::named("Multi_Label"), "model");
        own.train.sift = Some(SiftConfig::default());
        for job in [job(), own] {
            job.write(&path).unwrap();
            assert_eq!(FinetuneJob::open(&path).unwrap(), job);
        }
    }

    #[test]
    fn settings_are_changed_by_name() {
        let job = job().with_setting("train.run.steps=7").unwrap();
        assert_eq!((job.train.epochs, job.train.run.steps), (None, 7));
        for name in ["multilabel", "MULTI-LABEL", "Multi_Label"] {
            let task = TaskSettings::named(name);
            assert_eq!(task, TaskSettings::named("multi-label"), "{name}");
        }
        let own = FinetuneJob::new(TaskSettings::named("pair"), "model");
        let own = own.with_setting("task.own.columns.text=premise").unwrap();
        let TaskSettings::Own(spec) = own.task else {
            panic!("not a task of one's own");
        };
        assert_eq!(spec.columns.text, "premise");
        let error = job.with_setting("train.rum.steps=7").unwrap_err();
        assert_eq!(
            error.to_string(),
            "train.rum.steps=7: there is no setting `train.rum.steps`"
        );
    }

    #[test]
    fn a_recipe_is_resolved_into_settings() {
        let job = job().with_recipe("v3-small-mnli-sift").unwrap();
        assert_eq!(job.text.max_length, 256);
        assert_eq!(job.train.epochs, Some(6.0));
        assert_eq!(job.train.schedule.peak_lr, 3.5e-5);
        assert_eq!(job.train.sift.as_ref().unwrap().weight, 5.0);
        let model = DebertaConfig::v3(8, 8, 1, 1);
        let head = HeadConfig::new(&model, vec!["a".into(), "b".into()]);
        assert_eq!(job.train.config(model, head, 6400).run.steps, 600);
        let error = job.with_recipe("v9").unwrap_err().to_string();
        assert!(error.contains("v3-base-mnli"), "{error}");
    }

    #[test]
    fn jobs_without_sense_are_refused() {
        let refused = |change: &dyn Fn(&mut FinetuneJob)| {
            let mut job = job();
            job.validate().unwrap();
            change(&mut job);
            job.validate().unwrap_err().to_string()
        };
        assert_eq!(
            refused(&|job| job.seeds = vec![1, 2, 1]),
            "`seeds` is [1, 2, 1], expected each number once"
        );
        assert_eq!(
            refused(&|job| job.data.train_part = Some(1.0)),
            "`data.train_part` is 1, expected above 0 and below 1"
        );
        assert_eq!(
            refused(&|job| job.folds = Some(1)),
            "`folds` is 1, expected at least 2"
        );
        assert_eq!(
            refused(&|job| (job.folds, job.seeds) = (Some(2), vec![1, 2])),
            "`seeds` is [1, 2], expected one number beside `folds`"
        );
        assert_eq!(
            refused(&|job| (job.folds, job.data.train_part) = (Some(2), Some(0.5))),
            "`data.train_part` is set beside `folds`, expected one way to hold examples out"
        );
        assert_eq!(
            refused(&|job| {
                job.train.balanced_classes = true;
                job.train.loss.class_weights = Some(vec![1.0]);
            }),
            "`train.balanced_classes` is set beside `train.loss.class_weights`, expected one way to \
             weigh classes"
        );
        assert_eq!(
            refused(&|job| job.train.epochs = Some(0.0)),
            "`train.epochs` is 0, expected a positive number"
        );
    }
}
