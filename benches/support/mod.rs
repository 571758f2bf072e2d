//! What the benchmarks share: settings, sizes and inputs.

#![allow(dead_code, reason = "each benchmark uses a part")]

use std::time::Duration;

use criterion::Criterion;
use deberta::backend::DefaultBackend;
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

/// Batches to measure, as sequences and tokens per sequence.
pub(crate) fn shapes() -> Vec<[usize; 2]> {
    let mut shapes = vec![[1, 128], [8, 128], [1, 512]];
    if is_full() {
        shapes.push([4, 512]);
    }
    shapes
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
