//! From labelled files to a model, its metrics and predictions, as a user would go.
#![allow(clippy::unwrap_used, reason = "test helpers")]
#![allow(clippy::print_stdout, reason = "says what was skipped")]

mod alignment;
mod bad_data;
mod folds;
mod foreign;
mod kinds;
mod resume;

use std::fs;
use std::path::{Path, PathBuf};

use burn::train::Interrupter;
use deberta::backend::{DefaultAutodiffBackend, DefaultBackend};
use deberta::data::tokenizer::{Tokenize, Tokenizer, TokenizerKind, TrainTokenizerConfig};
use deberta::finetune::{
    self, FinetuneError, FinetuneJob, FinetuneOutcome, Predictor, Progress, RunOptions, Stage,
    TaskSettings,
};
use deberta::hub::DownloadProgress;
use deberta::model::DebertaConfig;
use deberta::model::checkpoint::{SaveOptions, save_model};
use deberta::train::run::Display;

/// Words that texts are made of.
const WORDS: &str = "the a good bad fine poor film book was is very quite Paris Rome Anna Ben lives in \
                     likes who where reads one two three 1990 .";

/// A folder with a tiny checkpoint and the files of a test.
pub(crate) struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    /// Random weights of one narrow layer, and a tokenizer of some hundred pieces.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("model");
        let config = TrainTokenizerConfig {
            vocab_size: 120,
            kind: TokenizerKind::Unigram,
        };
        let lines = (0..30).map(|_| WORDS.to_owned());
        let tokenizer = Tokenizer::train(&config, lines).unwrap();
        let vocab = tokenizer.vocab_size().next_multiple_of(8);
        let mut config = DebertaConfig::v3(vocab, 32, 1, 2).without_dropout();
        config.max_position_embeddings = 64;
        let network = config
            .init::<DefaultBackend>(1, &Default::default())
            .unwrap();
        save_model(&network, &config, &model, &SaveOptions::new()).unwrap();
        tokenizer.save(&model).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A short training with a high learning rate.
    pub(crate) fn job(&self, task: &str, train: PathBuf, dev: PathBuf) -> FinetuneJob {
        let model = self.path("model").to_str().unwrap().to_owned();
        let mut job = FinetuneJob::new(TaskSettings::named(task), model);
        job.data.train = vec![train];
        job.data.dev = vec![dev];
        [
            "text.max_length=48",
            "train.run.steps=30",
            "train.run.batch_size=8",
            "train.evaluations=3",
            "train.schedule.peak_lr=0.004",
        ]
        .into_iter()
        .fold(job, |job, setting| job.with_setting(setting).unwrap())
    }

    pub(crate) fn run(
        &self,
        job: &FinetuneJob,
        out: &str,
    ) -> Result<FinetuneOutcome, FinetuneError> {
        run(
            job,
            &self.path(out),
            false,
            Interrupter::new(),
            &mut Watcher::default(),
        )
    }

    pub(crate) fn predictor(&self, out: &str) -> Predictor<DefaultBackend> {
        let model = self.path(out).join("model");
        let model = model.to_str().unwrap();
        Predictor::open(model, None, &Default::default(), &mut ()).unwrap()
    }
}

pub(crate) fn run(
    job: &FinetuneJob,
    dir: &Path,
    resume: bool,
    interrupter: Interrupter,
    watcher: &mut Watcher,
) -> Result<FinetuneOutcome, FinetuneError> {
    let options = RunOptions {
        resume,
        display: Display::Nothing,
        interrupter,
    };
    finetune::run::<DefaultAutodiffBackend>(job, dir, &options, &Default::default(), watcher)
}

/// Remembers what it was told.
#[derive(Default)]
pub(crate) struct Watcher {
    pub(crate) notes: Vec<String>,
}

impl DownloadProgress for Watcher {
    fn start(&mut self, file: &str, _: u64, _: u64) {
        panic!("{file} is downloaded");
    }
    fn advance(&mut self, _: u64) {}
    fn finish(&mut self, _: &str) {}
}

impl Progress for Watcher {
    fn stage(&mut self, _: Stage) {}

    fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }
}

/// Rows of texts in which one word decides, with its label.
pub(crate) fn reviews(rows: usize) -> String {
    let words = [
        ("good", "yes"),
        ("bad", "no"),
        ("fine", "yes"),
        ("poor", "no"),
    ];
    let nouns = ["film", "book"];
    (0..rows)
        .map(|row| {
            let (word, label) = words[row * 7 % 4];
            format!("the {} was very {word} .\t{label}\n", nouns[row / 4 % 2])
        })
        .collect()
}
