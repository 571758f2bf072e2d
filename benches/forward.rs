//! Masked language modelling, forward: encoder, mask decoder, logits of the masked tokens.
//!
//! `DEBERTA_BENCH=full` adds larger networks.

#![allow(
    clippy::unwrap_used,
    reason = "without its set-up there is nothing to measure"
)]

mod support;

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use criterion::{BenchmarkId, Criterion};
use deberta::model::attention::AttentionMask;
use deberta::model::heads::masked_lm::MaskedTokens;
use deberta::model::{DebertaForMaskedLm, DebertaInput, MaskedLmInput};
use deberta::train::objective::MlmBatch;

use support::{B, Device};

fn main() {
    support::run(|criterion| {
        let names: &[&str] = if support::is_full() {
            &[
                "deberta-v3-xsmall",
                "deberta-v3-small",
                "deberta-v3-base",
                "deberta-base",
            ]
        } else {
            &["deberta-v3-xsmall"]
        };
        for name in names {
            forward(criterion, name);
        }
    });
}

fn forward(criterion: &mut Criterion, name: &str) {
    let device = Device::default();
    let config = support::preset(name);
    let model: DebertaForMaskedLm<B> = config.init_masked_lm(1, &device).unwrap();

    let mut group = criterion.benchmark_group("forward");
    for (shape, lengths) in support::shapes() {
        let input = input(&support::batch(&lengths, config.vocab_size), &device);
        group.throughput(support::tokens(&lengths));
        group.bench_function(BenchmarkId::new(name, shape), |bencher| {
            bencher.iter(|| {
                let logits = model.forward(input.clone());
                B::sync(&device).unwrap();
                logits
            });
        });
    }
}

fn input(batch: &MlmBatch, device: &Device) -> MaskedLmInput<B> {
    let ids = TensorData::new(batch.input_ids.clone(), [batch.batch, batch.seq_len]);
    MaskedLmInput {
        tokens: DebertaInput {
            mask: AttentionMask::from_lengths(&batch.lengths, batch.seq_len, device),
            ..DebertaInput::new(Tensor::from_data(ids, device))
        },
        masked: MaskedTokens::new(&batch.masked_positions, batch.seq_len, device),
    }
}
