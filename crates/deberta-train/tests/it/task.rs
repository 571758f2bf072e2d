//! A tiny task: which of two kinds of token a sequence has more of.

use std::path::Path;
use std::sync::Arc;

use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;
use deberta_model::DebertaConfig;
use deberta_model::heads::classification::DebertaForSequenceClassification;
use deberta_model::heads::{HeadConfig, TaskModel};
use deberta_train::objective::{ExampleLogits, Precision, Scores, SiftConfig, Targets, TaskBatch};
use deberta_train::run::{
    ExampleId, ExampleSource, FinetuneConfig, FinetuneData, Finetuned, MetricsFn, RunConfig,
    SourceError, TaskMetrics, TrainError, fine_tune,
};
use deberta_train::schedule::ScheduleConfig;

use crate::toy::{Hook, TestBackend, options};

const VOCAB: usize = 21;
const LONGEST: usize = 14;

pub(crate) type Classifier = DebertaForSequenceClassification<TestBackend>;
pub(crate) type Trained = Finetuned<<Classifier as AutodiffModule<TestBackend>>::InnerModule>;

/// Sequences of tokens 3 to 20; label 1 if more of them are odd than even.
#[derive(Clone)]
pub(crate) struct Majority {
    pub(crate) first: usize,
    pub(crate) examples: usize,
    pub(crate) hook: Hook,
}

impl Majority {
    pub(crate) fn new(first: usize, examples: usize) -> Self {
        Self {
            first,
            examples,
            hook: Arc::new(|_| Ok(())),
        }
    }

    fn ids(&self, index: usize) -> Vec<i32> {
        let index = self.first + index;
        let length = 5 + 2 * (index * 7 % 5);
        let tokens = (1..length as u64).map(|position| {
            let mixed = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (position << 20);
            3 + (mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as i32 % 18
        });
        std::iter::once(1).chain(tokens).collect()
    }

    pub(crate) fn label(&self, index: usize) -> i32 {
        let ids = self.ids(index);
        let odd = ids[1..].iter().filter(|id| *id % 2 == 1).count();
        i32::from(2 * odd > ids.len() - 1)
    }
}

impl ExampleSource<TaskBatch> for Majority {
    fn len(&self) -> usize {
        self.examples
    }

    fn tokens(&self, index: usize) -> usize {
        self.ids(index).len()
    }

    fn batch(&self, examples: &[ExampleId]) -> Result<TaskBatch, SourceError> {
        (self.hook)(examples)?;
        let rows: Vec<Vec<i32>> = examples.iter().map(|it| self.ids(it.index)).collect();
        let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
        let seq_len = lengths.iter().copied().max().unwrap_or(0);
        assert!(seq_len <= LONGEST);
        let padded = rows.into_iter().flat_map(|mut row| {
            row.resize(seq_len, 0);
            row
        });
        Ok(TaskBatch {
            examples: examples.iter().map(|it| it.index).collect(),
            choices: 1,
            seq_len,
            input_ids: padded.collect(),
            type_ids: None,
            lengths,
            targets: Targets::Classes(examples.iter().map(|it| self.label(it.index)).collect()),
        })
    }
}

/// The share of examples whose larger logit is right.
pub(crate) fn accuracy(source: &Majority) -> Arc<dyn TaskMetrics> {
    let source = source.clone();
    Arc::new(MetricsFn::new(
        &["accuracy"],
        move |logits: &[ExampleLogits]| {
            let right = logits.iter().filter(|it| {
                let predicted = i32::from(it.values[1] > it.values[0]);
                predicted == source.label(it.example)
            });
            let accuracy = right.count() as f64 / logits.len() as f64;
            Ok(Scores::from([("accuracy".to_owned(), accuracy)]))
        },
    ))
}

pub(crate) fn data(hook: Hook) -> FinetuneData {
    let held_out = Majority::new(10_000, 60);
    FinetuneData {
        train: Arc::new(Majority {
            hook,
            ..Majority::new(0, 50)
        }),
        metrics: accuracy(&held_out),
        held_out: Arc::new(held_out),
    }
}

/// With dropout, SiFT, accumulation, buckets, and an epoch that ends in the middle of a step.
pub(crate) fn config(steps: usize) -> FinetuneConfig {
    let model = DebertaConfig::v3(VOCAB, 16, 2, 2);
    let head = HeadConfig::new(&model, vec!["even".into(), "odd".into()]);
    FinetuneConfig {
        sift: Some(SiftConfig::default()),
        schedule: ScheduleConfig {
            peak_lr: 3e-3,
            warmup_fraction: Some(0.1),
            ..ScheduleConfig::default()
        },
        run: RunConfig {
            steps,
            batch_size: 4,
            grad_accumulation: 2,
            seed: 11,
            log_every: 5,
            eval_every: 5,
            save_every: 10,
            bucket_batches: 3,
            precision: Precision::Full,
            ..RunConfig::default()
        },
        best_by: Some("accuracy".into()),
        ..FinetuneConfig::new(model, head)
    }
}

pub(crate) fn build(config: &FinetuneConfig, seed: u64) -> Result<Classifier, TrainError> {
    Ok(Classifier::init(
        &config.model,
        &config.head,
        seed,
        &Default::default(),
    )?)
}

pub(crate) fn train(
    config: &FinetuneConfig,
    data: &FinetuneData,
    run_dir: &Path,
    resume: bool,
) -> Result<Trained, TrainError> {
    let model = build(config, config.run.seed)?;
    let options = options(run_dir, resume);
    fine_tune::<TestBackend, _>(config, model, data, &options, &Default::default())
}

/// The backend without autodiff.
pub(crate) type Inner = <TestBackend as AutodiffBackend>::InnerBackend;
