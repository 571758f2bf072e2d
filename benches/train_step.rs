//! One update of masked language modelling: forward, backward, clipping, AdamW.
//!
//! `DEBERTA_BENCH=full` adds the published small and base networks.

#![allow(
    clippy::unwrap_used,
    reason = "without its set-up there is nothing to measure"
)]

mod support;

use std::time::Instant;

use burn::optim::Optimizer;
use burn::tensor::backend::Backend;
use burn::train::TrainStep;
use criterion::{BenchmarkId, Criterion};
use deberta::backend::DefaultAutodiffBackend;
use deberta::model::{DebertaConfig, presets};
use deberta::train::objective::{MlmObjective, MlmStep};
use deberta::train::optim::{AdamWConfig, clip_global_norm};

use support::{B, Device};

fn main() {
    support::run(|criterion| {
        // Dropout stays on, as in training.
        train_step(
            criterion,
            "4 layers of 256",
            &DebertaConfig::v3(8192, 256, 4, 4),
        );
        if support::is_full() {
            for name in ["deberta-v3-small", "deberta-v3-base"] {
                train_step(criterion, name, &presets::by_name(name).unwrap());
            }
        }
    });
}

fn train_step(criterion: &mut Criterion, name: &str, config: &DebertaConfig) {
    let device = Device::default();
    let model = config.init_masked_lm::<DefaultAutodiffBackend>(1, &device);
    let mut objective = Some(MlmObjective::new(model.unwrap()));
    let mut optimizer = AdamWConfig::default().init();

    let mut group = criterion.benchmark_group("train_step");
    for (shape, lengths) in support::shapes() {
        let step = MlmStep::new(vec![support::batch(&lengths, config.vocab_size)]);
        group.throughput(support::tokens(&lengths));
        group.bench_function(BenchmarkId::new(name, shape), |bencher| {
            bencher.iter_custom(|iterations| {
                let start = Instant::now();
                for _ in 0..iterations {
                    let before = objective.take().unwrap();
                    let output = TrainStep::step(&before, step.clone());
                    let (grads, _) = clip_global_norm(&before, output.grads, 1.0);
                    objective = Some(optimizer.step(1e-4, before, grads));
                }
                B::sync(&device).unwrap();
                start.elapsed()
            });
        });
    }
}
