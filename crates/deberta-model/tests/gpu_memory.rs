//! Device memory of one attention, forward and backward, with the kernel and without.
//!
//! A program of its own, so that nothing else asks for memory meanwhile. Each measurement starts with
//! a fresh memory manager that never gives anything back, so what it holds in the end is the peak.
//! `DEBERTA_MEMORY_LENGTHS=512,2048` prints other lengths than those that are checked. One tensor of the
//! reference path takes 4 bytes a pair, so a device may not have it for long sequences: a length whose
//! pairs exceed `LARGEST_REFERENCE` is run with the kernel only.
#![cfg(feature = "test-wgpu")]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test helpers; tables and what is skipped are printed"
)]

use burn::backend::wgpu::graphics::AutoGraphicsApi;
use burn::backend::wgpu::{
    MemoryConfiguration, RuntimeOptions, WgpuDevice, WgpuRuntime, WgpuSetup, init_device,
    init_setup,
};
use burn::backend::{Autodiff, Wgpu};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor};
use burn_cubecl::cubecl::Runtime;
use deberta_model::attention::AttentionMask;
use deberta_model::relative_position::RelativePositions;
use deberta_model::{DebertaBackend, DebertaConfig};

const HEAD_DIM: usize = 64;

/// So long that all rows of the table are within reach, equally far apart, and so short that the tiles of
/// the kernel are not measured.
const LENGTHS: &str = "512,1024,1536";

/// Pairs of one head that a software Vulkan has a buffer for.
const LARGEST_REFERENCE: usize = 4096 * 4096;

#[derive(Clone, Copy)]
enum Path {
    Kernel,
    Reference,
}

#[derive(Clone, Copy)]
enum Passes {
    Forward,
    Both,
}

fn options() -> RuntimeOptions {
    RuntimeOptions {
        memory_config: MemoryConfiguration::ExclusivePages,
        ..RuntimeOptions::default()
    }
}

/// One head's output for `states` `[tokens, head_dim]` and live rows of the table.
fn attention<B: DebertaBackend>(path: Path, states: Tensor<B, 2>) -> Tensor<B, 3> {
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
        Path::Kernel => attention.forward(input, &keys, positions, &mask),
        Path::Reference => {
            // What `forward` does without a kernel; the states stand for the values.
            let probs = attention.probabilities(input.clone(), &keys, positions, &mask);
            probs.matmul(input.unsqueeze_dim(1)).squeeze_dim::<3>(1)
        }
    }
}

/// Bytes that one head of one sequence of `len` tokens takes at most.
fn peak(setup: &WgpuSetup, path: Path, passes: Passes, len: usize) -> u64 {
    let device = init_device(setup.clone(), options());
    let shape = [len, HEAD_DIM];
    let sum: f32 = match passes {
        Passes::Forward => {
            let states = Tensor::random(shape, Distribution::Default, &device);
            attention::<Wgpu>(path, states).abs().sum().into_scalar()
        }
        Passes::Both => {
            let states = Tensor::random(shape, Distribution::Default, &device).require_grad();
            let output = attention::<Autodiff<Wgpu>>(path, states.clone());
            let gradients = output.sum().backward();
            let gradient = states.grad(&gradients).unwrap();
            gradient.abs().sum().into_scalar()
        }
    };
    assert!(sum > 0.0);
    <Wgpu>::sync(&device).unwrap();
    let usage = WgpuRuntime::client(&device).memory_usage().unwrap();
    usage.bytes_reserved
}

#[test]
fn memory_grows_with_the_length_and_not_with_its_square() {
    let setup = init_setup::<AutoGraphicsApi>(&WgpuDevice::DefaultDevice, options());
    let lengths = std::env::var("DEBERTA_MEMORY_LENGTHS");
    let lengths = lengths.as_deref().unwrap_or(LENGTHS);
    let lengths_are_others = lengths != LENGTHS;
    let lengths: Vec<usize> = lengths.split(',').map(|it| it.parse().unwrap()).collect();
    println!("MiB, forward and with the backward pass:");
    println!("| tokens | kernel | kernel, both | reference | reference, both |");
    println!("|---|---|---|---|---|");
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let mut peaks = Vec::new();
    for &len in &lengths {
        let both = [Passes::Forward, Passes::Both];
        let kernel = both.map(|passes| peak(&setup, Path::Kernel, passes, len));
        let reference = (len * len <= LARGEST_REFERENCE)
            .then(|| both.map(|passes| peak(&setup, Path::Reference, passes, len)));
        let cells = kernel.iter().copied().map(mib).collect::<Vec<_>>();
        let other = reference.map_or(vec!["-".to_owned(); 2], |it| it.map(mib).to_vec());
        println!("| {len} | {} | {} |", cells.join(" | "), other.join(" | "));
        peaks.push((kernel, reference));
    }
    if lengths_are_others {
        return;
    }
    // How far the peaks are from a line. One `[len, len]` tensor in f32 would bend it by 2 MiB.
    let bend = |peak: &dyn Fn(usize) -> u64| {
        let [short, middle, long] = [0, 1, 2].map(|index| peak(index) as f64);
        short - 2.0 * middle + long
    };
    let one = (2 << 20) as f64;
    for passes in [0, 1] {
        let kernel = bend(&|index| peaks[index].0[passes]);
        assert!(kernel.abs() < one / 2.0, "{kernel} bytes");
        let reference = bend(&|index| peaks[index].1.unwrap()[passes]);
        assert!(reference > 2.0 * one, "{reference} bytes");
    }
}
