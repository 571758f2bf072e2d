//! The network to start from, and where it ends up.

use std::path::{Path, PathBuf};

use burn::tensor::backend::Backend;
use deberta_data::task::{Task, TaskKind};
use deberta_data::tokenizer::{Tokenize, Tokenizer};
use deberta_model::checkpoint::{LoadOptions, TASK_FILE, load_task_model_with, save_task_model};
use deberta_model::config::AbsolutePositions;
use deberta_model::heads::{HeadConfig, ProblemType, TaskModel};
use deberta_model::{DebertaConfig, HfConfig};
use serde::{Deserialize, Serialize};

use super::{
    AnswerConfig, FinetuneError, FinetuneJob, ModelSettings, Progress, TaskSettings, TextSettings,
};
use crate::VocabularyMismatch;
use crate::hub::{self, HubOptions};

/// Parameters that checkpoints of other heads lack, or have for another purpose.
const POOLER: &str = "pooler.";

/// What a model was trained for: all that a prediction needs besides weights and labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskFile {
    /// What it learnt.
    pub task: TaskSettings,
    /// How texts became sequences.
    pub text: TextSettings,
    /// How start and end scores become answers, for questions.
    pub answers: AnswerConfig,
}

impl TaskFile {
    /// Reads the file of a model folder; `None` if it has none.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or understood.
    pub fn of_model(dir: &Path) -> Result<Option<Self>, FinetuneError> {
        let path = dir.join(TASK_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(FinetuneError::io(&path))?;
        let file = serde_json::from_str(&text).map_err(FinetuneError::json(&path))?;
        Ok(Some(file))
    }

    fn write(&self, dir: &Path) -> Result<(), FinetuneError> {
        let path = dir.join(TASK_FILE);
        let text = serde_json::to_string_pretty(self).map_err(FinetuneError::json(&path))?;
        super::write_file(&path, text.as_bytes())
    }
}

/// A checkpoint folder with its tokenizer.
pub(super) struct Source {
    pub(super) dir: PathBuf,
    pub(super) tokenizer: Tokenizer,
    pub(super) config: DebertaConfig,
    file: HfConfig,
}

impl Source {
    pub(super) fn open(model: &str, progress: &mut dyn Progress) -> Result<Self, FinetuneError> {
        let dir = hub::resolve(model, &HubOptions::from_env(), progress)?;
        let tokenizer = Tokenizer::open(&dir)?;
        let file = HfConfig::of_folder(&dir)?;
        let config = file.to_config()?;
        VocabularyMismatch::check(&dir, &tokenizer, &config)?;
        Ok(Self {
            dir,
            tokenizer,
            config,
            file,
        })
    }

    pub(super) fn has_types(&self) -> bool {
        self.config.type_vocab_size > 0
    }

    /// The head that the checkpoint describes.
    pub(super) fn head(&self) -> Result<HeadConfig, FinetuneError> {
        Ok(self.file.to_head_config()?)
    }

    /// Absolute positions have an end, and windows of more tokens than the limit have no place.
    pub(super) fn check_length(&self, text: &TextSettings) -> Result<(), FinetuneError> {
        let limit = self.config.max_position_embeddings;
        let is_limited = self.config.absolute_positions == AbsolutePositions::Input;
        if is_limited && text.max_length > limit {
            return Err(FinetuneError::Setting {
                setting: "text.max_length",
                found: text.max_length.to_string(),
                expected: format!("at most {limit}, the positions that the network has"),
            });
        }
        Ok(())
    }

    /// The task with its labels in the order of the head that is kept.
    pub(super) fn labels_of_head(&self, task: Task) -> Result<Task, FinetuneError> {
        let labels = self.head()?.labels;
        let sorted = |labels: &[String]| {
            let mut labels = labels.to_vec();
            labels.sort();
            labels
        };
        if !has_labels(task.kind()) || sorted(&labels) == sorted(task.labels()) {
            return Ok(match has_labels(task.kind()) {
                true => task.with_labels(labels),
                false => task,
            });
        }
        Err(FinetuneError::Labels {
            dir: self.dir.clone(),
            found: labels.join(", "),
            expected: task.labels().join(", "),
        })
    }

    /// A network for training, whose new weights follow from `seed`.
    pub(super) fn build<B: Backend, M: TaskModel<B>>(
        &self,
        settings: &ModelSettings,
        head: &HeadConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<(M, DebertaConfig), FinetuneError> {
        let (hidden, attention) = (settings.hidden_dropout, settings.attention_dropout);
        if settings.random_encoder {
            let mut config = self.config.clone();
            config.hidden_dropout_prob = hidden.unwrap_or(config.hidden_dropout_prob);
            config.attention_probs_dropout_prob =
                attention.unwrap_or(config.attention_probs_dropout_prob);
            let model = M::init(&config, head, seed, device)?;
            return Ok((model, config));
        }
        let options = LoadOptions::new().head(head.clone()).seed(seed);
        let options = options.dropout(hidden, attention);
        let options = match settings.keep_head {
            true => options,
            false => M::PARAMETERS
                .iter()
                .filter(|name| **name != POOLER)
                .fold(options.allow_missing(POOLER), |options, name| {
                    options.start_fresh(*name)
                }),
        };
        let loaded = load_task_model_with::<B, M>(&self.dir, &options, device)?;
        Ok((loaded.model, loaded.config))
    }
}

pub(super) fn has_labels(kind: TaskKind) -> bool {
    matches!(
        kind,
        TaskKind::Classification | TaskKind::MultiLabel | TaskKind::TokenClassification
    )
}

/// The task with the labels of a model that was trained for it.
pub(super) fn with_labels_of(task: Task, head: &HeadConfig) -> Task {
    match has_labels(task.kind()) {
        true => task.with_labels(head.labels.clone()),
        false => task,
    }
}

/// The head that a task needs.
pub(super) fn head_of(job: &FinetuneJob, task: &Task, config: &DebertaConfig) -> HeadConfig {
    let owned = |labels: &[&str]| labels.iter().map(|it| (*it).to_owned()).collect();
    let labels: Vec<String> = match task.kind() {
        TaskKind::Regression => owned(&["LABEL_0"]),
        TaskKind::EntityCloze => owned(&["false", "true"]),
        TaskKind::MultipleChoice | TaskKind::QuestionAnswering => owned(&["LABEL_0", "LABEL_1"]),
        _ => task.labels().to_vec(),
    };
    let mut head = HeadConfig::new(config, labels);
    head.problem_type = match task.kind() {
        TaskKind::Classification | TaskKind::EntityCloze => {
            Some(ProblemType::SingleLabelClassification)
        }
        TaskKind::Regression => Some(ProblemType::Regression),
        TaskKind::MultiLabel => Some(ProblemType::MultiLabelClassification),
        _ => None,
    };
    let dropout = job.train.classifier_dropout.or(job.model.hidden_dropout);
    if let Some(dropout) = dropout {
        head.classifier_dropout = dropout;
    }
    head
}

/// Writes a model with its tokenizer and what it was trained for.
pub(super) fn save<B: Backend, M: TaskModel<B>>(
    model: &M,
    config: &DebertaConfig,
    head: &HeadConfig,
    tokenizer: &Tokenizer,
    job: &FinetuneJob,
    dir: &Path,
) -> Result<(), FinetuneError> {
    save_task_model(model, config, head, dir)?;
    tokenizer.save(dir)?;
    let file = TaskFile {
        task: job.task.clone(),
        text: job.text.clone(),
        answers: job.answers,
    };
    file.write(dir)
}
