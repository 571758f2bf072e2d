//! One disentangled self-attention, forward: with both position terms, and without any.

#![allow(
    clippy::unwrap_used,
    reason = "without its set-up there is nothing to measure"
)]

mod support;

use burn::tensor::backend::Backend;
use criterion::{BenchmarkId, Criterion};
use deberta::model::config::PositionTerms;
use deberta::model::relative_position::RelativePositions;
use deberta::model::{DebertaConfig, DebertaModel};

use support::{B, Device};

/// Heads of 64, as in every published model.
const HIDDEN: usize = 768;
const HEADS: usize = 12;

fn main() {
    support::run(|criterion| {
        attention(criterion, "c2p+p2c", PositionTerms::BOTH);
        attention(criterion, "plain", PositionTerms::NONE);
    });
}

fn attention(criterion: &mut Criterion, name: &str, position_terms: PositionTerms) {
    let device = Device::default();
    let config = DebertaConfig {
        position_terms,
        ..DebertaConfig::v3(64, HIDDEN, 1, HEADS).without_dropout()
    };
    let model: DebertaModel<B> = config.init(1, &device).unwrap();
    let attention = &model.encoder.layers[0].attention.self_attention;
    let table = config.relative_positions.as_ref().unwrap();

    let mut group = criterion.benchmark_group("attention");
    for (shape, lengths) in support::shapes() {
        let (states, mask) = support::states(&lengths, HIDDEN, &device);
        let [_, seq_len, _] = states.dims();
        let relative = RelativePositions::consecutive(table, seq_len, seq_len, &device);
        let rows = support::random([relative.live.len(), HIDDEN], &device);
        group.throughput(support::tokens(&lengths));
        group.bench_function(BenchmarkId::new(name, shape), |bencher| {
            bencher.iter(|| {
                let keys = attention.keys_values(states.clone());
                let positions = attention.project_positions(rows.clone());
                let positions = position_terms.any().then_some((&positions, &relative));
                let output = attention.forward(states.clone(), &keys, positions, &mask);
                B::sync(&device).unwrap();
                output
            });
        });
    }
}
