//! This program as a worker of `compare.py` and `gpu.py`.
//!
//! Requests are lines of JSON on standard input, see `protocol.py`; `--golden` and `--losses` print one
//! answer and end.

mod golden;
mod inference;
mod losses;
mod training;

use std::fs;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use burn::tensor::backend::{Backend, BackendTypes};
use burn::tensor::{DType, Distribution, Tensor};
use clap::{Parser, ValueEnum};
use deberta::backend::DefaultBackend as B;
use deberta::train::objective::Precision;
use serde_json::{Value, json};

type Device = <B as BackendTypes>::Device;

/// What every program of this project sets.
#[global_allocator]
static ALLOCATOR: deberta::allocator::Allocator = deberta::allocator::Allocator;

#[derive(Parser)]
#[command(group(clap::ArgGroup::new("task").required(true)))]
struct Args {
    /// Folder with config.json, model.safetensors and check.safetensors
    #[arg(group = "task")]
    folder: Option<PathBuf>,
    /// Training steps of that network instead of forward passes
    #[arg(long, requires = "folder")]
    train: bool,
    /// Compute layers again in the backward pass
    #[arg(long, requires = "train")]
    recompute: bool,
    /// Rates of matrix products
    #[arg(long, group = "task")]
    sgemm: bool,
    /// Compare with the golden files below this folder
    #[arg(long, group = "task", value_name = "FIXTURES")]
    golden: Option<PathBuf>,
    /// Pre-train as without any settings, in this folder, and print the loss of each step
    #[arg(long, group = "task", value_name = "FOLDER")]
    losses: Option<PathBuf>,
    /// Steps whose losses to print
    #[arg(long, default_value_t = 200)]
    steps: usize,
    /// Pre-train on the CPU, whatever backend the program has besides
    #[arg(long, requires = "losses")]
    cpu: bool,
    /// Type to compute in
    #[arg(long, default_value = "f32")]
    dtype: Float,
}

#[derive(Clone, Copy, ValueEnum)]
enum Float {
    F32,
    F16,
    Bf16,
}

impl Float {
    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }

    fn precision(self) -> Precision {
        match self {
            Self::F32 => Precision::Full,
            Self::F16 => Precision::F16,
            Self::Bf16 => Precision::Bf16,
        }
    }
}

fn main() -> Result<()> {
    deberta::allocator::keep_freed_memory();
    let args = Args::parse();
    match &args {
        Args {
            folder: Some(folder),
            train: true,
            ..
        } => {
            let mut training =
                training::Training::new(folder, args.dtype.precision(), args.recompute)?;
            serve(|request| training.measure(request))
        }
        Args {
            folder: Some(folder),
            ..
        } => {
            let inference = inference::Inference::new(folder, args.dtype.dtype())?;
            serve(|request| inference.answer(request))
        }
        Args {
            golden: Some(fixtures),
            ..
        } => print(&golden::table(fixtures)?),
        Args {
            losses: Some(folder),
            ..
        } => {
            let precision = args.dtype.precision();
            print(&losses::curve(folder, args.steps, precision, args.cpu)?)
        }
        _ => serve(|request| matrix_product(request, args.dtype.dtype())),
    }
}

/// Answers requests until the input ends.
fn serve(mut answer: impl FnMut(&Value) -> Result<Value>) -> Result<()> {
    print(&json!({ "ready": true }))?;
    for line in std::io::stdin().lock().lines() {
        let request = serde_json::from_str(&line?)?;
        print(&answer(&request)?)?;
        if request["release"] == true {
            B::memory_cleanup(&Device::default());
        }
    }
    Ok(())
}

fn print(answer: &Value) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{answer}")?;
    Ok(out.flush()?)
}

/// Seconds of each call after the warm-up, and the memory that the process took at most.
fn time(request: &Value, mut run: impl FnMut() -> Result<()>) -> Result<Value> {
    let count = |name: &str| request[name].as_u64().with_context(|| format!("no {name}"));
    let mut once = || -> Result<f64> {
        let start = Instant::now();
        run()?;
        B::sync(&Device::default())?;
        Ok(start.elapsed().as_secs_f64())
    };
    for _ in 0..count("warmup")? {
        once()?;
    }
    let times: Result<Vec<f64>> = (0..count("iters")?).map(|_| once()).collect();
    Ok(json!({ "times": times?, "peak_kb": peak_kb()? }))
}

fn lengths(request: &Value) -> Result<Vec<usize>> {
    Ok(serde_json::from_value(request["lengths"].clone())?)
}

/// Unlike `f64::max`, keeps what is not a number.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a >= b { a } else { b }
}

/// GFLOP/s of the matrix product that the network uses.
fn matrix_product(request: &Value, dtype: DType) -> Result<Value> {
    let device = Device::default();
    let [rows, columns, depth]: [usize; 3] = serde_json::from_value(request["shape"].clone())?;
    let random =
        |shape| Tensor::<B, 2>::random(shape, Distribution::Default, (&device, DType::F32));
    let [a, b] = [[rows, depth], [depth, columns]].map(|shape| random(shape).cast(dtype));
    let flops = 2.0 * (rows * columns * depth) as f64;
    let repeats = (4e9 / flops).ceil() as usize;
    let mut times = Vec::new();
    for _ in 0..16 {
        let start = Instant::now();
        for _ in 0..repeats {
            let _product = a.clone().matmul(b.clone());
        }
        B::sync(&device)?;
        times.push(start.elapsed().as_secs_f64());
    }
    let times = &mut times[1..];
    times.sort_by(f64::total_cmp);
    let rate = flops * repeats as f64 / times[times.len() / 2] / 1e9;
    Ok(json!({ "burn": rate }))
}

/// Peak resident memory; 0 where the system does not say.
fn peak_kb() -> Result<u64> {
    let Ok(status) = fs::read_to_string("/proc/self/status") else {
        return Ok(0);
    };
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|it| it.split_whitespace().next());
    Ok(number.context("no VmHWM in /proc/self/status")?.parse()?)
}
