//! A fine-tuned model, asked about files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::backend::Backend;
use deberta_data::task::{Split, Task, TaskKind};
use deberta_model::DebertaBackend;
use deberta_model::checkpoint::{LoadOptions, TASK_FILE, load_task_model_with};
use deberta_model::heads::classification::{
    DebertaForMultipleChoice, DebertaForSequenceClassification,
};
use deberta_model::heads::question_answering::DebertaForQuestionAnswering;
use deberta_model::heads::token_classification::DebertaForTokenClassification;
use deberta_model::heads::{HeadConfig, TaskModel};
use deberta_train::objective::{self, ExampleLogits, TaskBatch, TaskNetwork, TaskObjective};
use deberta_train::run::{ExampleSource, RunConfig, predict};

use super::data::{ExampleSet, read_sets};
use super::encode::Encoder;
use super::model::{Source, has_labels, with_labels_of};
use super::predicted::Predicted;
use super::scoring::{EncodedSet, THRESHOLD};
use super::{
    AnswerConfig, DataSettings, FinetuneError, Progress, Stage, TaskFile, TaskSettings,
    TextSettings,
};
use crate::sequence_length::usual_length;

/// The networks that heads of tasks make.
enum Network<B: Backend> {
    Sequence(TaskObjective<B, DebertaForSequenceClassification<B>>),
    Choice(TaskObjective<B, DebertaForMultipleChoice<B>>),
    Token(TaskObjective<B, DebertaForTokenClassification<B>>),
    Span(TaskObjective<B, DebertaForQuestionAnswering<B>>),
}

/// A fine-tuned model with its tokenizer and its task.
pub struct Predictor<B: Backend> {
    source: Source,
    file: TaskFile,
    task: Arc<Task>,
    network: Network<B>,
    batch_size: usize,
    threshold: f64,
}

/// Which files to predict.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// The files themselves, if they are named.
    pub paths: Vec<PathBuf>,
    /// Folder of the task or of the benchmark, whose files of `split` are taken otherwise.
    pub folder: Option<PathBuf>,
    /// Leave out and count lines that are not examples, instead of stopping at the first.
    pub skip_bad_lines: bool,
}

impl<B: DebertaBackend> Predictor<B> {
    /// Opens a model by folder or by name on the Hub.
    ///
    /// Sequences are as long as in training, or as the files of the model say if it was not trained
    /// here.
    ///
    /// - `task`: what the model was trained for; if `None`, its `task.json` says it
    ///
    /// # Errors
    ///
    /// If the model cannot be had or loaded, or nothing says what it was trained for.
    pub fn open(
        model: &str,
        task: Option<TaskSettings>,
        device: &B::Device,
        progress: &mut dyn Progress,
    ) -> Result<Self, FinetuneError> {
        progress.stage(Stage::OpenModel);
        let source = Source::open(model, progress)?;
        let file = match (task, TaskFile::of_model(&source.dir)?) {
            (None, Some(file)) => file,
            (Some(task), Some(file)) => TaskFile { task, ..file },
            (Some(task), None) => TaskFile {
                task,
                text: TextSettings {
                    max_length: usual_length(&source.tokenizer, &source.config),
                    ..TextSettings::default()
                },
                answers: AnswerConfig::default(),
            },
            (None, None) => {
                return Err(FinetuneError::Setting {
                    setting: "task",
                    found: "not set".into(),
                    expected: format!("a task, as {} has no {}", source.dir.display(), TASK_FILE),
                });
            }
        };
        source.check_length(&file.text)?;
        let head = source.head()?;
        let task = with_labels_of(file.task.to_task()?, &head);
        let network = match task.kind() {
            TaskKind::MultipleChoice => Network::Choice(load(&source.dir, &head, device)?),
            TaskKind::TokenClassification => Network::Token(load(&source.dir, &head, device)?),
            TaskKind::QuestionAnswering => Network::Span(load(&source.dir, &head, device)?),
            _ => Network::Sequence(load(&source.dir, &head, device)?),
        };
        Ok(Self {
            source,
            file,
            task: Arc::new(task),
            network,
            batch_size: RunConfig::default().batch_size,
            threshold: THRESHOLD,
        })
    }

    /// The same model with another number of sequences at once. Default: 32
    pub fn with_batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size.max(1);
        self
    }

    /// The same model with sequences of at most so many tokens, markers included.
    ///
    /// # Errors
    ///
    /// If the network has absolute positions, and fewer of them.
    pub fn with_max_length(mut self, max_length: usize) -> Result<Self, FinetuneError> {
        self.file.text.max_length = max_length;
        self.source.check_length(&self.file.text)?;
        Ok(self)
    }

    /// The same model with another probability above which a label holds, for tasks with any number
    /// of labels. Default: 0.5
    ///
    /// # Errors
    ///
    /// If the task is another one, or it is no probability.
    pub fn with_threshold(mut self, threshold: f64) -> Result<Self, FinetuneError> {
        let expected = match self.task.kind() {
            TaskKind::MultiLabel if (0.0..=1.0).contains(&threshold) => {
                self.threshold = threshold;
                return Ok(self);
            }
            TaskKind::MultiLabel => "a probability",
            _ => "none, as the task does not have any number of labels",
        };
        Err(FinetuneError::Setting {
            setting: "threshold",
            found: threshold.to_string(),
            expected: expected.into(),
        })
    }

    /// The same model with other names for its outputs, in their order: those that the files have.
    ///
    /// # Errors
    ///
    /// If the model has another number of labels or none, or a name occurs twice.
    pub fn with_labels(mut self, labels: Vec<String>) -> Result<Self, FinetuneError> {
        let known = self.task.labels();
        let mut unique: Vec<&String> = labels.iter().collect();
        unique.sort_unstable();
        unique.dedup();
        if !has_labels(self.task.kind()) || labels.len() != known.len() {
            return Err(FinetuneError::Labels {
                dir: self.source.dir,
                found: known.join(", "),
                expected: labels.join(", "),
            });
        }
        if unique.len() != labels.len() {
            return Err(FinetuneError::Setting {
                setting: "labels",
                found: labels.join(", "),
                expected: "each label once".into(),
            });
        }
        self.task = Arc::new(Task::clone(&self.task).with_labels(labels));
        Ok(self)
    }

    /// What the model was trained for.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// Predicts all examples of the files, a result for each set of them.
    ///
    /// - `split`: labels must be there unless it is [`Split::Test`]
    ///
    /// # Errors
    ///
    /// If the files cannot be read, or a text does not fit the model.
    pub fn predict(
        &self,
        files: &Files,
        split: Split,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Predicted>, FinetuneError> {
        progress.stage(Stage::Read);
        let data = DataSettings {
            folder: files.folder.clone(),
            skip_bad_lines: files.skip_bad_lines,
            ..DataSettings::default()
        };
        let (sets, skipped) = read_sets(&self.task, &data, split, &files.paths, progress)?;
        let mut all = Vec::new();
        for set in sets {
            all.push(self.predict_set(set, skipped, progress)?);
        }
        Ok(all)
    }

    fn predict_set(
        &self,
        set: ExampleSet,
        skipped_lines: u64,
        progress: &mut dyn Progress,
    ) -> Result<Predicted, FinetuneError> {
        progress.stage(Stage::Encode);
        let encoder = Encoder {
            task: &self.task,
            tokenizer: &self.source.tokenizer,
            text: &self.file.text,
            has_types: self.source.has_types(),
        };
        let encoded = encoder.encode(&set.examples)?;
        encoded.note_cut(&set.name, &self.file.text, progress);
        let set = EncodedSet {
            encoded: Arc::new(encoded),
            name: set.name,
            task: Arc::clone(&self.task),
            answers: self.file.answers,
            examples: Arc::new(set.examples),
            threshold: self.threshold,
        };
        progress.stage(Stage::Predict);
        let source: Arc<dyn ExampleSource<TaskBatch>> = set.encoded.clone();
        let logits = self.logits(&source)?;
        Ok(Predicted::new(set, logits, skipped_lines))
    }

    fn logits(
        &self,
        source: &Arc<dyn ExampleSource<TaskBatch>>,
    ) -> Result<Vec<ExampleLogits>, FinetuneError> {
        let run = RunConfig {
            batch_size: self.batch_size,
            // Any number sorts by length.
            bucket_batches: 1,
            ..RunConfig::default()
        };
        Ok(match &self.network {
            Network::Sequence(network) => predict(network, source, &run),
            Network::Choice(network) => predict(network, source, &run),
            Network::Token(network) => predict(network, source, &run),
            Network::Span(network) => predict(network, source, &run),
        }?)
    }
}

fn load<B: DebertaBackend, M: TaskNetwork<B> + TaskModel<B>>(
    dir: &Path,
    head: &HeadConfig,
    device: &B::Device,
) -> Result<TaskObjective<B, M>, FinetuneError> {
    let options = LoadOptions::new().head(head.clone());
    let mut network = load_task_model_with::<B, M>(dir, &options, device)?.model;
    network.encoder_mut().prepare();
    let settings = objective::TaskSettings::new(head, M::ROWS);
    Ok(TaskObjective::new(network, settings))
}
