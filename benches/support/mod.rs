//! What the benchmarks share: settings, sizes and inputs.

#![allow(dead_code, reason = "each benchmark uses a part")]

use std::time::Duration;

use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor};
use criterion::{Criterion, Throughput};
use deberta::backend::DefaultBackend;
use deberta::model::attention::AttentionMask;
use deberta::model::{DebertaConfig, presets};
use deberta::train::objective::MlmBatch;

/// Backend under test.
pub(crate) type B = DefaultBackend;

/// Device under test.
pub(crate) type Device = <B as burn::tensor::backend::BackendTypes>::Device;

/// Runs benchmarks with the settings of this project, and what the command line asks for.
///
/// A pass through a network takes long and varies little, so few samples are enough.
pub(crate) fn run(benchmarks: impl FnOnce(&mut Criterion)) {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5))
        .configure_from_args();
    benchmarks(&mut criterion);
    criterion.final_summary();
}

/// Whether `DEBERTA_BENCH=full` asks for all sizes; the default takes minutes on two cores.
pub(crate) fn is_full() -> bool {
    std::env::var("DEBERTA_BENCH").is_ok_and(|it| it == "full")
}

/// Lengths of 32 sentences as they occur in sentence classification, shortest to longest.
const SENTENCES: [usize; 32] = [
    6, 8, 9, 10, 11, 12, 14, 15, 16, 17, 19, 20, 22, 23, 25, 26, 28, 29, 31, 33, 35, 38, 41, 45,
    49, 54, 60, 68, 77, 90, 108, 128,
];

/// Batches to measure: a name, and the tokens of each sequence.
pub(crate) fn shapes() -> Vec<(String, Vec<usize>)> {
    let uniform = [[1, 128], [8, 128], [1, 512], [4, 512]]
        .map(|[batch, seq_len]| (format!("{batch}x{seq_len}"), vec![seq_len; batch]));
    let mixed = ("32 sentences".to_owned(), SENTENCES.to_vec());
    uniform.into_iter().chain([mixed]).collect()
}

/// Real tokens of a batch: what padding costs shows in their rate.
pub(crate) fn tokens(lengths: &[usize]) -> Throughput {
    Throughput::Elements(lengths.iter().sum::<usize>() as u64)
}

/// Random states `[batch, seq_len, width]` and their mask.
pub(crate) fn states(
    lengths: &[usize],
    width: usize,
    device: &Device,
) -> (Tensor<B, 3>, AttentionMask<B>) {
    let seq_len = lengths.iter().copied().max().unwrap_or(0);
    let mask = AttentionMask::from_lengths(lengths, seq_len, device);
    (random([lengths.len(), seq_len, width], device), mask)
}

/// Normal random numbers, the same each time.
pub(crate) fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<B, D> {
    B::seed(device, 1);
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// A published configuration, without dropout.
pub(crate) fn preset(name: &str) -> DebertaConfig {
    presets::by_name(name).unwrap().without_dropout()
}

/// Sequences of the given lengths, every seventh token masked, the ids spread over the vocabulary.
pub(crate) fn batch(lengths: &[usize], vocab_size: usize) -> MlmBatch {
    let seq_len = lengths.iter().copied().max().unwrap_or(0);
    let id = |row: usize, position: usize| 5 + (row * 7919 + position * 104_729) % (vocab_size - 5);
    let input_ids = lengths.iter().enumerate().flat_map(|(row, &length)| {
        (0..seq_len).map(move |position| {
            if position < length {
                id(row, position) as i32
            } else {
                0
            }
        })
    });
    let positions = |length: usize| (1..length as u32).step_by(7);
    let labels = lengths.iter().enumerate().map(|(row, &length)| {
        positions(length)
            .map(|it| id(row, it as usize) as u32)
            .collect()
    });
    MlmBatch {
        batch: lengths.len(),
        seq_len,
        input_ids: input_ids.collect(),
        lengths: lengths.to_vec(),
        masked_positions: lengths.iter().map(|&it| positions(it).collect()).collect(),
        labels: labels.collect(),
    }
}
