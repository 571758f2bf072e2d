//! candle-transformers' DeBERTa v2, as a worker of compare.py: `candle-worker FOLDER/NAME`.

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::debertav2::{Config, DebertaV2Model};
use serde_json::{Value, json};

/// The same allocator as ours: with the system's, candle loses another factor to page faults.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).context("no folder given")?;
    let folder = Path::new(&folder);
    let config: Config =
        serde_json::from_str(&std::fs::read_to_string(folder.join("config.json"))?)?;
    let weights = candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu)?;
    let builder = VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu);
    let model = DebertaV2Model::load(builder, &config)?;

    println!("{}", json!({ "ready": true }));
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let answer = match request.get("check") {
            Some(_) => check(&model, folder)?,
            None => measure(&model, &request)?,
        };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Largest difference to the reference output at real tokens.
fn check(model: &DebertaV2Model, folder: &Path) -> Result<Value> {
    let reference =
        candle_core::safetensors::load(folder.join("check.safetensors"), &Device::Cpu)?;
    let ids = reference["input_ids"].to_dtype(DType::U32)?;
    let mask = &reference["attention_mask"];
    let states = model.forward(&ids, None, Some(mask.clone()))?;
    let real = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
    let difference = (states - &reference["last_hidden_state"])?.broadcast_mul(&real)?;
    let difference = difference.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
    Ok(json!({ "difference": difference }))
}

fn measure(model: &DebertaV2Model, request: &Value) -> Result<Value> {
    let lengths: Vec<usize> = serde_json::from_value(request["lengths"].clone())?;
    let count = |name: &str| request[name].as_u64().context("a count is missing");
    let seq_len = lengths.iter().copied().max().context("no sequence")?;
    let shape = (lengths.len(), seq_len);
    let mut state: u32 = 12345;
    let (mut ids, mut mask) = (Vec::new(), Vec::new());
    for &length in &lengths {
        for position in 0..seq_len {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ids.push(if position < length { 5 + (state >> 8) % 30_000 } else { 0 });
            mask.push(i64::from(position < length));
        }
    }
    let ids = Tensor::from_vec(ids, shape, &Device::Cpu)?;
    let mask = Tensor::from_vec(mask, shape, &Device::Cpu)?;
    let run = || model.forward(&ids, None, Some(mask.clone()));
    for _ in 0..count("warmup")? {
        run()?;
    }
    let mut times = Vec::new();
    for _ in 0..count("iters")? {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(json!({ "times": times, "peak_kb": peak_kb()? }))
}

fn peak_kb() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|it| it.split_whitespace().next());
    Ok(number.context("no VmHWM in /proc/self/status")?.parse()?)
}
