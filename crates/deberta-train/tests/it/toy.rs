//! A tiny network and a tiny language to train it on.

use std::path::Path;
use std::sync::Arc;

use burn::backend::{Autodiff, Flex};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, backend::Backend};
use burn::train::Interrupter;
use deberta_data::masking::MaskingConfig;
use deberta_model::DebertaConfig;
use deberta_train::objective::{MlmBatch, RtdConfig};
use deberta_train::optim::AdamWConfig;
use deberta_train::run::{
    Display, ExampleId, ExampleSource, PretrainConfig, PretrainData, PretrainObjective, RunConfig,
    RunOptions, SourceError,
};
use deberta_train::schedule::{Decay, ScheduleConfig};

pub(crate) type TestBackend = Autodiff<Flex>;

const VOCAB: usize = 19;
const SEQ_LEN: usize = 12;
const MASK_ID: i32 = 2;

/// Ids of the tokens of the language.
pub(crate) const PIECES: [u32; 16] = [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18];

/// Called before a batch is made of the examples that it is given.
pub(crate) type Hook = Arc<dyn Fn(&[ExampleId]) -> Result<(), SourceError> + Send + Sync>;

/// Repeats one token, which the example chooses; the mask depends on the epoch, too.
#[derive(Clone)]
pub(crate) struct Repeating {
    pub(crate) examples: usize,
    pub(crate) hook: Hook,
}

impl Repeating {
    pub(crate) fn new(examples: usize) -> Self {
        Self {
            examples,
            hook: Arc::new(|_| Ok(())),
        }
    }
}

impl ExampleSource<MlmBatch> for Repeating {
    fn len(&self) -> usize {
        self.examples
    }

    fn batch(&self, examples: &[ExampleId]) -> Result<MlmBatch, SourceError> {
        (self.hook)(examples)?;
        let mut batch = MlmBatch {
            batch: examples.len(),
            seq_len: SEQ_LEN,
            input_ids: Vec::new(),
            lengths: Vec::new(),
            masked_positions: Vec::new(),
            labels: Vec::new(),
        };
        for ExampleId { epoch, index } in examples {
            let length = SEQ_LEN - index % 3;
            let id = (3 + index * 5 % (VOCAB - 3)) as i32;
            let first = (index + *epoch as usize) % 4;
            let positions: Vec<u32> = (first..length).step_by(4).map(|it| it as u32).collect();
            let masked = |position: usize| positions.contains(&(position as u32));
            batch
                .input_ids
                .extend((0..SEQ_LEN).map(|position| match position < length {
                    true if masked(position) => MASK_ID,
                    true => id,
                    false => 0,
                }));
            batch.labels.push(vec![id as u32; positions.len()]);
            batch.masked_positions.push(positions);
            batch.lengths.push(length);
        }
        Ok(batch)
    }
}

/// With dropout, accumulation, and an epoch that ends in the middle of a step.
pub(crate) fn config(steps: usize) -> PretrainConfig {
    PretrainConfig {
        model: DebertaConfig::v3(VOCAB, 16, 2, 2),
        objective: PretrainObjective::Mlm,
        rtd: RtdConfig::default(),
        masking: MaskingConfig::default(),
        optimizer: AdamWConfig::default(),
        schedule: ScheduleConfig {
            peak_lr: 5e-3,
            warmup_steps: 4,
            decay: Decay::Linear,
            ..ScheduleConfig::default()
        },
        run: RunConfig {
            steps,
            batch_size: 4,
            grad_accumulation: 2,
            seed: 11,
            log_every: 5,
            eval_every: 10,
            save_every: 10,
            keep_last: 2,
            ..RunConfig::default()
        },
    }
}

pub(crate) fn data() -> PretrainData {
    PretrainData {
        train: Arc::new(Repeating::new(50)),
        held_out: Arc::new(Repeating::new(10)),
    }
}

pub(crate) fn options(run_dir: &Path, resume: bool) -> RunOptions {
    RunOptions {
        run_dir: run_dir.to_owned(),
        resume,
        display: Display::Nothing,
        interrupter: Interrupter::new(),
    }
}

/// All parameters as bytes, in the order of the module tree.
pub(crate) fn weights<B: Backend>(module: &impl Module<B>) -> Vec<u8> {
    struct Collector(Vec<u8>);
    impl<B: Backend> ModuleVisitor<B> for Collector {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.0.extend_from_slice(&param.to_data().bytes);
        }
    }
    let mut collector = Collector(Vec::new());
    module.visit(&mut collector);
    collector.0
}
