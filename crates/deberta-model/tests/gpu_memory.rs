//! Device memory of one attention, forward and backward, with the kernel and without.
//!
//! Each measurement is a process of its own, whose memory manager gives nothing back and has a page for
//! each tensor that no earlier one of its size leaves free. What it holds in the end is the peak.
//! `DEBERTA_MEMORY_LENGTHS=512,8192` prints other lengths than those that are checked. Launches that do
//! nothing are counted like others: `scripts/cuda_check` has a driver for lengths that take too long in
//! software, or whose pairs of tokens it has no buffer for.
#![cfg(any(feature = "test-wgpu", feature = "test-cuda"))]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test helpers; tables and what is skipped are printed"
)]

use std::process::Command;

use burn::backend::Autodiff;
#[cfg(all(feature = "test-cuda", not(feature = "test-wgpu")))]
use burn::backend::Cuda as Accelerator;
#[cfg(feature = "test-wgpu")]
use burn::backend::Wgpu as Accelerator;
use burn::tensor::{Distribution, ElementConversion, Tensor};
use burn_cubecl::cubecl::Runtime;
use burn_cubecl::cubecl::config::memory::PersistentMemory;
use burn_cubecl::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
#[cfg(all(feature = "test-cuda", not(feature = "test-wgpu")))]
use burn_cubecl::cubecl::cuda::CudaRuntime as AcceleratorRuntime;
#[cfg(feature = "test-wgpu")]
use burn_cubecl::cubecl::wgpu::WgpuRuntime as AcceleratorRuntime;
use deberta_model::attention::AttentionMask;
use deberta_model::relative_position::RelativePositions;
use deberta_model::{DebertaBackend, DebertaConfig};

const HEAD_DIM: usize = 64;

/// So long that all rows of the table are within reach, equally far apart, and so short that the tiles of
/// the kernel are not measured.
const LENGTHS: &str = "512,1024,1536";

/// What a process of its own measures.
const CASE: &str = "DEBERTA_MEMORY_CASE";

const PATHS: [&str; 2] = ["kernel", "reference"];
const PASSES: [&str; 2] = ["forward", "both"];

/// One head's output for `states` `[tokens, head_dim]` and live rows of the table.
fn attention<B: DebertaBackend>(path: &str, states: Tensor<B, 2>) -> Tensor<B, 3> {
    let device = states.device();
    let config = DebertaConfig::v3(16, HEAD_DIM, 1, 1).without_dropout();
    let table = config.relative_positions.unwrap();
    let model = config.init::<B>(1, &device).unwrap();
    let attention = &model.encoder.layers[0].attention.self_attention;
    let [len, _] = states.dims();
    let relative = RelativePositions::consecutive(&table, len, len, &device);
    let shape = [relative.live.len(), HEAD_DIM];
    let rows = Tensor::random(shape, Distribution::Default, &device);
    let rows = rows.set_require_grad(states.is_require_grad());
    let input = states.unsqueeze::<3>();
    let keys = attention.keys_values(input.clone());
    let projections = attention.project_positions(rows);
    let positions = Some((&projections, &relative));
    let mask = AttentionMask::Full;
    match path {
        "kernel" => attention.forward(input, &keys, positions, &mask),
        _ => {
            // What `forward` does without a kernel; the states stand for the values.
            let probs = attention.probabilities(input.clone(), &keys, positions, &mask);
            probs.matmul(input.unsqueeze_dim(1)).squeeze_dim::<3>(1)
        }
    }
}

/// Bytes that one head of one sequence of `len` tokens takes at most, in a process that did nothing else.
fn measure(path: &str, passes: &str, len: usize) -> u64 {
    let mut config = CubeClRuntimeConfig::default().override_from_env();
    config.memory.persistent_memory = PersistentMemory::Enforced;
    CubeClRuntimeConfig::set(config);
    let device = Default::default();
    let shape = [len, HEAD_DIM];
    let sum = match passes {
        "forward" => {
            let states = Tensor::random(shape, Distribution::Default, &device);
            attention::<Accelerator>(path, states).abs().sum()
        }
        _ => {
            let states = Tensor::random(shape, Distribution::Default, &device).require_grad();
            let output = attention::<Autodiff<Accelerator>>(path, states.clone());
            let gradients = output.sum().backward();
            states.grad(&gradients).unwrap().abs().sum()
        }
    };
    let sum: f32 = sum.into_scalar().elem();
    assert!(sum.is_finite());
    AcceleratorRuntime::client(&device)
        .memory_usage()
        .unwrap()
        .bytes_reserved
}

/// The same, of this test run again.
fn peak(path: &str, passes: &str, len: usize) -> u64 {
    let test = std::thread::current().name().unwrap().to_owned();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env(CASE, format!("{path} {passes} {len}"))
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let bytes = stdout.lines().find_map(|it| it.strip_prefix("bytes "));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let bytes = bytes.unwrap_or_else(|| panic!("{path} {passes} {len}: {stderr}"));
    bytes.parse().unwrap()
}

#[test]
fn memory_grows_with_the_length_and_not_with_its_square() {
    if let Ok(case) = std::env::var(CASE) {
        let case: Vec<_> = case.split(' ').collect();
        let [path, passes, len] = case[..] else {
            panic!("{CASE}: {case:?}");
        };
        let len = len.parse().unwrap();
        let bytes = measure(path, passes, len);
        println!("\nbytes {bytes}");
        return;
    }
    let lengths = std::env::var("DEBERTA_MEMORY_LENGTHS");
    let lengths = lengths.as_deref().unwrap_or(LENGTHS);
    let lengths_are_others = lengths != LENGTHS;
    println!("MiB, forward and with the backward pass:");
    println!("| tokens | kernel | kernel, both | reference | reference, both |");
    println!("|--:|--:|--:|--:|--:|");
    let lengths: Vec<usize> = lengths.split(',').map(|it| it.parse().unwrap()).collect();
    let mut peaks = Vec::new();
    for &len in &lengths {
        let row = PATHS.map(|path| PASSES.map(|passes| peak(path, passes, len)));
        let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
        let cells: Vec<_> = row.as_flattened().iter().copied().map(mib).collect();
        println!("| {len} | {} |", cells.join(" | "));
        peaks.push(row);
    }
    if lengths_are_others {
        return;
    }
    // One `[len, len]` tensor in f32 would bend the line by 2 MiB; the reference path has several.
    for passes in [0, 1] {
        let kernel = |index: usize| peaks[index][0][passes] as f64;
        let bend = kernel(0) - 2.0 * kernel(1) + kernel(2);
        assert!(bend.abs() < f64::from(1 << 20), "{bend} bytes");
        for (len, peak) in lengths.iter().zip(&peaks) {
            let reference = peak[1][passes] as usize;
            assert!(
                reference > 3 * len * len * size_of::<f32>(),
                "{reference} bytes"
            );
        }
    }
}
