//! What a step of fine-tuning costs in time and memory: plain, with SiFT, with gradient checkpointing.
//!
//! ```console
//! cargo run --release -p deberta-train --example step_cost -- plain
//! cargo run --release -p deberta-train --example step_cost -- sift 8 128
//! ```
//!
//! Arguments: `plain`, `sift`, `balanced` or `sift-balanced`, then sequences per batch and tokens per
//! sequence. One kind per process, so that the largest memory is that of the kind.

#![allow(clippy::print_stdout, reason = "it prints what it measures")]

use std::time::Instant;

use burn::backend::autodiff::checkpoint::strategy::BalancedCheckpointing;
use burn::backend::{Autodiff, Flex};
use burn::optim::Optimizer;
use burn::train::TrainStep;
use burn::train::metric::ItemLazy;
use deberta_model::heads::classification::DebertaForSequenceClassification;
use deberta_model::heads::{HeadConfig, TaskModel};
use deberta_model::{ConfigError, DebertaAutodiffBackend, DebertaConfig};
use deberta_train::objective::{
    Rows, SiftConfig, Step, Targets, TaskBatch, TaskObjective, TaskSettings,
};
use deberta_train::optim::AdamWConfig;

const VOCAB: usize = 1000;
const STEPS: u32 = 10;

fn main() -> Result<(), ConfigError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let kind = arguments.first().map_or("plain", String::as_str);
    let number = |place: usize, default| {
        let argument = arguments.get(place).and_then(|it| it.parse().ok());
        argument.unwrap_or(default)
    };
    let batch = batch(number(1, 8), number(2, 128));
    let sift = kind.starts_with("sift").then(SiftConfig::default);
    match kind.ends_with("balanced") {
        true => measure::<Autodiff<Flex, BalancedCheckpointing>>(kind, sift, &batch),
        false => measure::<Autodiff<Flex>>(kind, sift, &batch),
    }
}

/// Tokens without a meaning.
fn batch(sequences: usize, seq_len: usize) -> TaskBatch {
    let ids = (0..sequences * seq_len).map(|it| (3 + it * 7919 % (VOCAB - 3)) as i32);
    TaskBatch {
        examples: (0..sequences).collect(),
        choices: 1,
        seq_len,
        input_ids: ids.collect(),
        type_ids: None,
        lengths: vec![seq_len; sequences],
        targets: Targets::Classes((0..sequences).map(|it| it as i32 % 3).collect()),
    }
}

fn measure<B: DebertaAutodiffBackend>(
    kind: &str,
    sift: Option<SiftConfig>,
    batch: &TaskBatch,
) -> Result<(), ConfigError> {
    type Model<B> = DebertaForSequenceClassification<B>;
    let config = DebertaConfig::v3(VOCAB, 384, 6, 6);
    let head = HeadConfig::new(&config, ["a", "b", "c"].map(str::to_owned).into());
    let settings = TaskSettings {
        sift,
        ..TaskSettings::new(&head, Rows::Sequences)
    };
    let model = Model::<B>::init(&config, &head, 1, &Default::default())?;
    let mut objective = TaskObjective::new(model, settings);
    let mut optimizer = AdamWConfig::default().init::<B, TaskObjective<B, Model<B>>>();
    let mut update = |objective: TaskObjective<B, Model<B>>| {
        let output = TrainStep::step(&objective, Step::new(vec![batch.clone()]));
        let reading = output.item.sync();
        assert!(reading.tally.loss_nats().is_finite());
        optimizer.step(1e-5, objective, output.grads)
    };
    objective = update(objective);
    let start = Instant::now();
    for _ in 0..STEPS {
        objective = update(objective);
    }
    let milliseconds = start.elapsed().as_secs_f64() * 1e3 / f64::from(STEPS);
    println!(
        "{kind}: {milliseconds:.1} ms per step, {} at most",
        peak_memory()
    );
    Ok(())
}

/// Largest memory of the process, where the system tells.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or("unknown memory", str::trim).to_owned()
}
