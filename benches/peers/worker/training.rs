//! Steps of masked language modelling without the mask decoder, as transformers has it.

use std::path::Path;

use anyhow::{Context, Result};
use burn::optim::Optimizer;
use burn::train::TrainStep;
use deberta::backend::DefaultAutodiffBackend;
use deberta::model::HfConfig;
use deberta::model::checkpoint::CONFIG_FILE;
use deberta::model::config::AbsolutePositions;
use deberta::train::objective::{MlmBatch, MlmObjective, MlmStep, Precision};
use deberta::train::optim::{AdamWConfig, clip_global_norm};
use serde_json::Value;

use crate::{Device, lengths, time};

type Objective = MlmObjective<DefaultAutodiffBackend>;

pub(crate) struct Training {
    objective: Option<Objective>,
    update: Box<dyn FnMut(Objective, MlmStep) -> Objective>,
    vocab_size: usize,
}

impl Training {
    pub(crate) fn new(folder: &Path, precision: Precision, recompute: bool) -> Result<Self> {
        let hf = HfConfig::open(&folder.join(CONFIG_FILE))?;
        let mut config = hf.to_config()?;
        config.absolute_positions = AbsolutePositions::None;
        let model = config.init_masked_lm(1, &Device::default())?;
        let mut optimizer = AdamWConfig::default().init();
        let objective = MlmObjective::new(model)
            .with_precision(precision)
            .with_gradient_checkpointing(recompute);
        Ok(Self {
            objective: Some(objective),
            update: Box::new(move |before, step| {
                let output = TrainStep::step(&before, step);
                let (grads, _) = clip_global_norm(&before, output.grads, 1.0);
                optimizer.step(1e-4, before, grads)
            }),
            vocab_size: config.vocab_size,
        })
    }

    pub(crate) fn measure(&mut self, request: &Value) -> Result<Value> {
        let step = MlmStep::new(vec![self.batch(&lengths(request)?)]);
        time(request, || {
            let before = self.objective.take().context("an update failed")?;
            self.objective = Some((self.update)(before, step.clone()));
            Ok(())
        })
    }

    /// Every seventh token is masked, as for the peers.
    fn batch(&self, lengths: &[usize]) -> MlmBatch {
        let seq_len = lengths.iter().copied().max().unwrap_or(0);
        let id = |row: usize, position: usize| {
            5 + (row * 7919 + position * 104_729) % (self.vocab_size.min(30_000) - 5)
        };
        let masked = |length: usize| (1..length as u32).step_by(7);
        let rows = lengths.iter().enumerate();
        MlmBatch {
            batch: lengths.len(),
            seq_len,
            input_ids: rows
                .clone()
                .flat_map(|(row, &length)| {
                    (0..seq_len).map(move |it| if it < length { id(row, it) as i32 } else { 0 })
                })
                .collect(),
            lengths: lengths.to_vec(),
            masked_positions: lengths.iter().map(|&it| masked(it).collect()).collect(),
            labels: rows
                .map(|(row, &length)| {
                    masked(length)
                        .map(|it| id(row, it as usize) as u32)
                        .collect()
                })
                .collect(),
        }
    }
}
