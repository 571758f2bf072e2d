//! One layer of the encoder as it runs at inference: attention and feed-forward, without padding.
//!
//! `DEBERTA_BENCH=full` adds the sizes of the published networks.

#![allow(
    clippy::unwrap_used,
    reason = "without its set-up there is nothing to measure"
)]

mod support;

use burn::tensor::backend::Backend;
use criterion::{BenchmarkId, Criterion};
use deberta::model::{DebertaConfig, DebertaModel};

use support::{B, Device};

fn main() {
    support::run(|criterion| {
        let heads: &[usize] = if support::is_full() {
            &[6, 12, 16, 24]
        } else {
            &[12]
        };
        for &heads in heads {
            layer(criterion, heads);
        }
    });
}

/// Heads of 64, as in every published network.
fn layer(criterion: &mut Criterion, heads: usize) {
    let device = Device::default();
    let hidden = 64 * heads;
    let config = DebertaConfig::v3(64, hidden, 1, heads).without_dropout();
    let mut model: DebertaModel<B> = config.init(1, &device).unwrap();
    model.prepare();

    let mut group = criterion.benchmark_group("layer");
    for (shape, lengths) in support::shapes() {
        let (states, mask) = support::states(&lengths, hidden, &device);
        group.throughput(support::tokens(&lengths));
        group.bench_function(
            BenchmarkId::new(format!("{hidden} wide"), shape),
            |bencher| {
                bencher.iter(|| {
                    let output = model.encoder.forward(states.clone(), mask.clone());
                    B::sync(&device).unwrap();
                    output
                });
            },
        );
    }
}
