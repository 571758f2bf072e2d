//! What to pre-train, on what, and how.

use std::fs;
use std::path::{Path, PathBuf};

use deberta_data::corpus::synthetic::SyntheticConfig;
use deberta_data::masking::{MaskingConfig, MlmMasker};
use deberta_data::tokenizer::{Tokenize, TokenizerKind};
use deberta_model::config::AbsolutePositions;
use deberta_model::{DebertaConfig, presets};
use deberta_train::objective::RtdConfig;
use deberta_train::optim::AdamWConfig;
use deberta_train::run::{PretrainConfig, PretrainObjective, RunConfig};
use deberta_train::schedule::ScheduleConfig;
use serde::{Deserialize, Serialize};

use super::{PretrainError, start};
use crate::files;
use crate::hub::DownloadProgress;
use crate::settings;

/// Vocabularies are padded to a multiple of this, which matrix products like.
const VOCAB_MULTIPLE: usize = 64;

/// Everything that decides the outcome of a run, as one JSON file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainJob {
    /// Checkpoint to start from, a folder or a model on the Hub, with its tokenizer; `None` for random
    /// weights. `train.model` is its network, of which only dropout may be changed.
    #[serde(default)]
    pub init: Option<String>,
    /// Checkpoint that the generator of replaced-token detection starts from, beside `init`; `None` for
    /// random weights with the embeddings of `init`.
    #[serde(default)]
    pub init_generator: Option<String>,
    /// Text to train on.
    pub corpus: CorpusSettings,
    /// Vocabulary.
    pub tokenizer: TokenizerSettings,
    /// How text becomes examples.
    pub packing: PackingSettings,
    /// Network, masking, optimiser, schedule and run. The vocabulary size follows from the tokenizer.
    pub train: PretrainConfig,
}

/// Text to train on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorpusSettings {
    /// Files and folders of text, JSON Lines or Parquet; none for the built-in language.
    pub paths: Vec<PathBuf>,
    /// Files and folders held out; none to hold out every `held_out_every`-th document.
    pub held_out_paths: Vec<PathBuf>,
    /// One document in this many is held out. Default: 50
    pub held_out_every: u64,
    /// Held-out examples that are evaluated. Default: 256
    pub max_held_out_examples: usize,
    /// Field or column that holds the text in JSON Lines and Parquet. Default: `text`
    pub text_field: String,
    /// Skip and count malformed rows instead of stopping at the first. Default: false
    pub skip_bad_rows: bool,
    /// The built-in language.
    pub synthetic: SyntheticConfig,
}

impl Default for CorpusSettings {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            held_out_paths: Vec::new(),
            held_out_every: 50,
            max_held_out_examples: 256,
            text_field: "text".into(),
            skip_bad_rows: false,
            synthetic: SyntheticConfig::default(),
        }
    }
}

/// Vocabulary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenizerSettings {
    /// File or folder of a tokenizer; `None` to train one on the corpus.
    pub path: Option<PathBuf>,
    /// Most pieces of a trained tokenizer. Default: 4000
    pub vocab_size: usize,
    /// Kind of a trained tokenizer. Default: unigram
    pub kind: TokenizerKind,
}

impl Default for TokenizerSettings {
    fn default() -> Self {
        Self {
            path: None,
            vocab_size: 4000,
            kind: TokenizerKind::Unigram,
        }
    }
}

/// How text becomes examples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PackingSettings {
    /// Tokens of an example with its two markers. Default: 128
    pub seq_len: usize,
    /// Whether an example never holds text of two documents. Default: false
    pub document_boundaries: bool,
}

impl Default for PackingSettings {
    fn default() -> Self {
        Self {
            seq_len: 128,
            document_boundaries: false,
        }
    }
}

/// Sizes for a CPU, besides the published ones: name, hidden size, layers, heads.
const SMALL_SIZES: [(&str, usize, usize, usize); 2] = [("nano", 192, 4, 4), ("mini", 256, 6, 4)];

/// The network of a named size: `nano`, `mini`, or a published one such as `deberta-v3-small`.
///
/// # Errors
///
/// If there is no such size; the message lists those there are.
fn network(size: &str) -> Result<DebertaConfig, PretrainError> {
    let small = SMALL_SIZES
        .iter()
        .find(|(name, ..)| *name == size)
        // The vocabulary is a placeholder until the tokenizer is known.
        .map(|&(_, hidden, layers, heads)| DebertaConfig::v3(1, hidden, layers, heads));
    small
        .or_else(|| presets::by_name(size))
        .ok_or_else(|| PretrainError::UnknownSize {
            name: size.into(),
            expected: SMALL_SIZES
                .iter()
                .map(|(name, ..)| *name)
                .chain(presets::NAMES)
                .collect(),
        })
}

impl PretrainJob {
    /// The bare command's job: a nano model on the built-in language, some minutes on two cores.
    pub fn demo() -> Self {
        // So short a training never overfits: dropout would only slow it down.
        let mut model = DebertaConfig::v3(1, 192, 4, 4).without_dropout();
        model.max_position_embeddings = 128;
        Self {
            init: None,
            init_generator: None,
            corpus: CorpusSettings::default(),
            tokenizer: TokenizerSettings::default(),
            packing: PackingSettings {
                document_boundaries: true,
                ..PackingSettings::default()
            },
            train: PretrainConfig {
                model,
                objective: PretrainObjective::Mlm,
                rtd: RtdConfig::default(),
                masking: MaskingConfig::default(),
                optimizer: AdamWConfig::default(),
                schedule: ScheduleConfig {
                    peak_lr: 1.5e-3,
                    warmup_steps: 60,
                    ..ScheduleConfig::default()
                },
                run: RunConfig {
                    steps: 1000,
                    batch_size: 16,
                    eval_every: 100,
                    save_every: 200,
                    ..RunConfig::default()
                },
            },
        }
    }

    /// A job on a corpus of the user's, with a network of the named size.
    ///
    /// # Errors
    ///
    /// If there is no such size.
    pub fn on_corpus(paths: Vec<PathBuf>, size: &str) -> Result<Self, PretrainError> {
        let model = network(size)?;
        let demo = Self::demo();
        Ok(Self {
            init: None,
            init_generator: None,
            corpus: CorpusSettings {
                paths,
                ..CorpusSettings::default()
            },
            tokenizer: TokenizerSettings {
                vocab_size: 16_000,
                ..TokenizerSettings::default()
            },
            packing: PackingSettings::default(),
            train: PretrainConfig {
                model,
                ..demo.train
            },
        })
    }

    /// A job that goes on training a published model, or one of the user's, on a corpus: its network,
    /// weights and tokenizer, at a learning rate of 5e-5 that warms up over 6 % of the run.
    ///
    /// # Errors
    ///
    /// If the model cannot be had or is no checkpoint.
    pub fn continuing(
        paths: Vec<PathBuf>,
        model: &str,
        progress: &mut dyn DownloadProgress,
    ) -> Result<Self, PretrainError> {
        let mut job = Self::on_corpus(paths, SMALL_SIZES[0].0)?;
        job.train.schedule.peak_lr = 5e-5;
        job.train.schedule.warmup_fraction = Some(0.06);
        job.starting_from(model, progress)
    }

    /// The job with the network of a checkpoint, to start from its weights.
    ///
    /// # Errors
    ///
    /// If the model cannot be had or is no checkpoint.
    pub fn starting_from(
        mut self,
        model: &str,
        progress: &mut dyn DownloadProgress,
    ) -> Result<Self, PretrainError> {
        let dir = start::folder(model, progress)?;
        self.train.model = start::config_of(&dir)?;
        self.init = Some(model.into());
        Ok(self)
    }

    /// The job with the generator of replaced-token detection of a checkpoint, to start from its weights.
    ///
    /// # Errors
    ///
    /// If the model cannot be had or is no checkpoint.
    pub fn with_generator(
        mut self,
        model: &str,
        progress: &mut dyn DownloadProgress,
    ) -> Result<Self, PretrainError> {
        let dir = start::folder(model, progress)?;
        let generator = start::generator_config_of(&dir)?;
        self.train.rtd.generator_layers = Some(generator.num_hidden_layers);
        // A table that only a mask decoder reads may be with the generator alone.
        let positions = &mut self.train.model.absolute_positions;
        if *positions == AbsolutePositions::None {
            *positions = generator.absolute_positions;
        }
        self.init_generator = Some(model.into());
        Ok(self)
    }

    /// The job with this objective; if it had another, masked as that objective is published.
    ///
    /// For replaced-token detection tokens are masked one by one, and all of them by `[MASK]`.
    pub fn with_objective(mut self, objective: PretrainObjective) -> Self {
        if self.train.objective == objective {
            return self;
        }
        let default = MaskingConfig::default();
        let published = match objective {
            PretrainObjective::Mlm => default,
            PretrainObjective::Rtd => MaskingConfig {
                keep_prob: 0.0,
                random_prob: 0.0,
                max_ngram: 1,
                whole_word: false,
                ..default
            },
        };
        let before = &self.train.masking;
        self.train.masking = MaskingConfig {
            mask_prob: before.mask_prob,
            max_predictions: before.max_predictions,
            algorithm: before.algorithm,
            ..published
        };
        self.train.objective = objective;
        self
    }

    /// Reads a job from a file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or has an unknown or missing field.
    pub fn open(path: &Path) -> Result<Self, PretrainError> {
        let text = fs::read_to_string(path).map_err(PretrainError::io(path))?;
        serde_json::from_str(&text).map_err(|error| PretrainError::Job {
            path: path.into(),
            message: error.to_string(),
        })
    }

    /// The job that the run in `run_dir` began with; `None` if there is no run.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn of_run(run_dir: &Path) -> Result<Option<Self>, PretrainError> {
        let path = run_dir.join(super::JOB_FILE);
        path.exists().then(|| Self::open(&path)).transpose()
    }

    /// Whether the network has this [size](Self::on_corpus), whatever its vocabulary.
    ///
    /// # Errors
    ///
    /// If there is no such size; the message lists those there are.
    pub fn has_size(&self, size: &str) -> Result<bool, PretrainError> {
        let shape = |it: &DebertaConfig| {
            let width = [it.hidden_size, it.intermediate_size];
            (it.num_hidden_layers, it.num_attention_heads, width)
        };
        Ok(shape(&network(size)?) == shape(&self.train.model))
    }

    /// The job with one setting changed, `train.run.steps=200`.
    ///
    /// The value is JSON, or text where it is not.
    ///
    /// # Errors
    ///
    /// If there is no such setting or it cannot have this value.
    pub fn with_setting(&self, setting: &str) -> Result<Self, PretrainError> {
        settings::with_setting(self, setting).map_err(|message| PretrainError::Job {
            path: setting.into(),
            message,
        })
    }

    /// The job with the sizes that follow from the tokenizer, unless a checkpoint has them.
    pub(super) fn resolved(&self, tokenizer: &impl Tokenize) -> Self {
        let mut job = self.clone();
        if job.init.is_some() {
            return job;
        }
        job.train.model.vocab_size = tokenizer.vocab_size().next_multiple_of(VOCAB_MULTIPLE);
        job.train.model.pad_token_id = tokenizer.special().pad;
        let positions = &mut job.train.model.max_position_embeddings;
        *positions = (*positions).max(job.packing.seq_len);
        job
    }

    pub(super) fn masker(&self, tokenizer: &impl Tokenize) -> Result<MlmMasker, PretrainError> {
        let vocab = tokenizer.vocab().clone();
        Ok(MlmMasker::new(self.train.masking.clone(), vocab)?)
    }

    /// Writes the job, replacing what is there.
    pub(super) fn write(&self, path: &Path) -> Result<(), PretrainError> {
        let text = serde_json::to_string_pretty(self).map_err(|error| PretrainError::Job {
            path: path.into(),
            message: error.to_string(),
        })?;
        files::replace(path, text.as_bytes()).map_err(PretrainError::io(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_changed_by_name() {
        let job = PretrainJob::demo()
            .with_setting("train.run.steps=7")
            .and_then(|job| job.with_setting("corpus.text_field=body"))
            .and_then(|job| job.with_setting("tokenizer.path=spm.model"))
            .unwrap();
        assert_eq!(job.train.run.steps, 7);
        assert_eq!(job.corpus.text_field, "body");
        assert_eq!(job.tokenizer.path, Some("spm.model".into()));
    }

    #[test]
    fn unknown_settings_and_sizes_are_refused() {
        let refused = |setting| {
            PretrainJob::demo()
                .with_setting(setting)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refused("train.run.step=7"),
            "train.run.step=7: there is no setting `train.run.step`"
        );
        assert!(refused("train.run.steps=many").contains("expected usize"));
        assert!(refused("steps").contains("expected `name=value`"));
        let error = network("huge").unwrap_err().to_string();
        assert!(
            error.contains("nano") && error.contains("deberta-v3-small"),
            "{error}"
        );
    }

    #[test]
    fn a_size_is_told_from_others() {
        let job = PretrainJob::on_corpus(vec!["novels".into()], "mini").unwrap();
        assert!(job.has_size("mini").unwrap());
        assert!(!job.has_size("nano").unwrap());
        assert!(job.has_size("huge").is_err());
    }

    #[test]
    fn a_job_survives_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.json");
        let job = PretrainJob::on_corpus(vec!["novels".into()], "deberta-v3-xsmall").unwrap();
        job.write(&path).unwrap();
        assert_eq!(PretrainJob::open(&path).unwrap(), job);
    }
}
