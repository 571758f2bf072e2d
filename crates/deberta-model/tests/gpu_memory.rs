//! Device memory of one attention, forward and backward, with the kernel and without.
//!
//! A program of its own, so that nothing else asks for memory meanwhile. Each measurement starts with
//! a fresh memory manager that never gives anything back, so what it holds in the end is the peak.
//! `DEBERTA_MEMORY_LENGTHS=512,1024,2048` prints other lengths than those that are checked.
#![cfg(feature = "test-wgpu")]
#![allow(clippy::unwrap_used, reason = "test helpers")]

use burn::backend::wgpu::graphics::AutoGraphicsApi;
use burn::backend::wgpu::{
    MemoryConfiguration, RuntimeOptions, WgpuDevice, WgpuRuntime, WgpuSetup, init_device,
    init_setup,
};
use burn::backend::{Autodiff, Wgpu};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor};
use burn_cubecl::cubecl::Runtime;
use deberta_model::DebertaConfig;
use deberta_model::attention::AttentionMask;
use deberta_model::relative_position::RelativePositions;

type B = Autodiff<Wgpu>;

const HEAD_DIM: usize = 64;

#[derive(Clone, Copy, PartialEq)]
enum Path {
    Kernel,
    Reference,
}

fn options() -> RuntimeOptions {
    RuntimeOptions {
        memory_config: MemoryConfiguration::ExclusivePages,
        ..RuntimeOptions::default()
    }
}

/// Bytes that one head of one sequence of `len` tokens takes at most.
fn peak(setup: &WgpuSetup, path: Path, len: usize) -> u64 {
    let device = init_device(setup.clone(), options());
    let config = DebertaConfig::v3(16, HEAD_DIM, 1, 1).without_dropout();
    let table = config.relative_positions.unwrap();
    let model = config.init::<B>(1, &device).unwrap();
    let attention = &model.encoder.layers[0].attention.self_attention;
    let random = |rows: usize| {
        let numbers = Tensor::<B, 2>::random([rows, HEAD_DIM], Distribution::Default, &device);
        numbers.require_grad()
    };
    let relative = RelativePositions::consecutive(&table, len, len, &device);
    let (states, rows) = (random(len), random(relative.live.len()));
    let input = states.clone().unsqueeze::<3>();
    let keys = attention.keys_values(input.clone());
    let projections = attention.project_positions(rows);
    let positions = Some((&projections, &relative));
    let mask = AttentionMask::Full;
    let output = match path {
        Path::Kernel => attention.forward(input, &keys, positions, &mask),
        Path::Reference => {
            // What `forward` does without a kernel; the states stand for the values.
            let probs = attention.probabilities(input.clone(), &keys, positions, &mask);
            probs.matmul(input.unsqueeze_dim(1)).squeeze_dim::<3>(1)
        }
    };
    let gradients = output.sum().backward();
    let gradient = states.grad(&gradients).unwrap();
    assert!(gradient.abs().sum().into_scalar() > 0.0);
    B::sync(&device).unwrap();
    let usage = WgpuRuntime::client(&device).memory_usage().unwrap();
    usage.bytes_reserved
}

#[test]
fn memory_grows_with_the_length_and_not_with_its_square() {
    let setup = init_setup::<AutoGraphicsApi>(&WgpuDevice::DefaultDevice, options());
    let lengths = std::env::var("DEBERTA_MEMORY_LENGTHS");
    let lengths = lengths.as_deref().unwrap_or("512,1024,2048");
    let lengths: Vec<usize> = lengths.split(',').map(|it| it.parse().unwrap()).collect();
    println!("| tokens | kernel, MiB | reference, MiB | ratio |");
    println!("|---|---|---|---|");
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut peaks = Vec::new();
    for &len in &lengths {
        let [kernel, reference] =
            [Path::Kernel, Path::Reference].map(|path| peak(&setup, path, len));
        println!(
            "| {len} | {:.1} | {:.1} | {:.1} |",
            mib(kernel),
            mib(reference),
            reference as f64 / kernel as f64
        );
        peaks.push((len, kernel, reference));
    }
    let (&(short, kernel_short, _), &(long, kernel_long, reference_long)) =
        (peaks.first().unwrap(), peaks.last().unwrap());
    // A kernel that kept one `[len, len]` tensor would double the allowed growth.
    let growth = (kernel_long as f64 / kernel_short as f64) / (long as f64 / short as f64);
    assert!(growth < 1.5, "{growth}");
    let scores = (long * long * size_of::<f32>()) as u64;
    assert!(kernel_long < scores || long < 2048, "{kernel_long} bytes");
    assert!(reference_long > 2 * scores, "{reference_long} bytes");
}
