//! This program as a worker of `compare.py`: `peer_worker FOLDER/NAME [--train [--gradient-checkpointing]]`,
//! `peer_worker --sgemm`.
//!
//! Requests are lines of JSON on standard input, see `protocol.py`.

use std::fs;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::optim::Optimizer;
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Int, Tensor, TensorData};
use burn::train::TrainStep;
use deberta::backend::{DefaultAutodiffBackend, DefaultBackend as B};
use deberta::model::attention::AttentionMask;
use deberta::model::checkpoint::{CONFIG_FILE, Compatibility, load_model};
use deberta::model::config::AbsolutePositions;
use deberta::model::{DebertaInput, DebertaModel, HfConfig};
use deberta::train::objective::{MlmBatch, MlmObjective, MlmStep};
use deberta::train::optim::{AdamWConfig, clip_global_norm};
use safetensors::SafeTensors;
use serde_json::{Value, json};

type Device = <B as burn::tensor::backend::BackendTypes>::Device;

/// What every program of this project sets.
#[global_allocator]
static ALLOCATOR: deberta::allocator::Allocator = deberta::allocator::Allocator;

fn main() -> Result<()> {
    deberta::allocator::keep_freed_memory();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--sgemm"] => serve(sgemm),
        [folder] => {
            let folder = PathBuf::from(folder);
            let (mut model, _) =
                load_model::<B>(&folder, Compatibility::HuggingFace, &Device::default())?;
            model.prepare();
            serve(|request| match request.get("check") {
                Some(_) => check(&model, &folder),
                None => forward(&model, request),
            })
        }
        [folder, "--train", ref rest @ ..] if matches!(rest, [] | ["--gradient-checkpointing"]) => {
            let mut training = Training::new(Path::new(folder), !rest.is_empty())?;
            serve(|request| training.measure(request))
        }
        _ => bail!(
            "usage: peer_worker FOLDER [--train [--gradient-checkpointing]] | peer_worker --sgemm"
        ),
    }
}

/// Answers requests until the input ends.
fn serve(mut answer: impl FnMut(&Value) -> Result<Value>) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", json!({ "ready": true }))?;
    for line in std::io::stdin().lock().lines() {
        writeln!(out, "{}", answer(&serde_json::from_str(&line?)?)?)?;
        out.flush()?;
    }
    Ok(())
}

/// Seconds of each call after the warm-up, and the memory that the process took at most.
fn time(request: &Value, mut run: impl FnMut()) -> Result<Value> {
    let count = |name: &str| request[name].as_u64().with_context(|| format!("no {name}"));
    (0..count("warmup")?).for_each(|_| run());
    let times: Vec<f64> = (0..count("iters")?)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    Ok(json!({ "times": times, "peak_kb": peak_kb()? }))
}

fn lengths(request: &Value) -> Result<Vec<usize>> {
    Ok(serde_json::from_value(request["lengths"].clone())?)
}

fn forward(model: &DebertaModel<B>, request: &Value) -> Result<Value> {
    let device = Device::default();
    let lengths = lengths(request)?;
    let seq_len = lengths.iter().copied().max().context("no sequence")?;
    let ids = Tensor::<B, 2, Int>::random(
        [lengths.len(), seq_len],
        Distribution::Uniform(5.0, 30_000.0),
        &device,
    );
    time(request, || {
        let input = DebertaInput {
            mask: AttentionMask::from_lengths(&lengths, seq_len, &device),
            ..DebertaInput::new(ids.clone())
        };
        let _states = model.forward(input);
        B::sync(&device).ok();
    })
}

/// Largest difference to the reference output at real tokens.
fn check(model: &DebertaModel<B>, folder: &Path) -> Result<Value> {
    let device = Device::default();
    let bytes = fs::read(folder.join("check.safetensors"))?;
    let reference = SafeTensors::deserialize(&bytes)?;
    let integers = |name: &str| -> Result<Vec<i64>> {
        let data = reference.tensor(name)?.data();
        Ok(data
            .chunks_exact(8)
            .map(|it| i64::from_le_bytes(it.try_into().unwrap_or_default()))
            .collect())
    };
    let states = reference.tensor("last_hidden_state")?;
    let [batch, seq_len, hidden] = states.shape() else {
        bail!("not three axes")
    };
    let mask = integers("attention_mask")?;
    let lengths: Vec<usize> = mask
        .chunks(*seq_len)
        .map(|row| row.iter().sum::<i64>() as usize)
        .collect();
    let ids = TensorData::new(integers("input_ids")?, [*batch, *seq_len]);
    let input = DebertaInput {
        mask: AttentionMask::from_lengths(&lengths, *seq_len, &device),
        ..DebertaInput::new(Tensor::from_data(ids, &device))
    };
    let ours = model.forward(input).into_data();
    let theirs = states
        .data()
        .chunks_exact(4)
        .map(|it| f32::from_le_bytes(it.try_into().unwrap_or_default()));
    let difference = ours
        .iter::<f32>()
        .zip(theirs)
        .enumerate()
        .filter(|(index, _)| mask[index / hidden] == 1);
    let largest = difference
        .map(|(_, (ours, theirs))| (ours - theirs).abs())
        .fold(0.0, f32::max);
    Ok(json!({ "difference": largest }))
}

/// Masked language modelling without the mask decoder, as transformers has it.
struct Training {
    objective: Option<MlmObjective<DefaultAutodiffBackend>>,
    update: Box<
        dyn FnMut(
            MlmObjective<DefaultAutodiffBackend>,
            MlmStep,
        ) -> MlmObjective<DefaultAutodiffBackend>,
    >,
    vocab_size: usize,
}

impl Training {
    fn new(folder: &Path, gradient_checkpointing: bool) -> Result<Self> {
        let hf = HfConfig::open(&folder.join(CONFIG_FILE))?;
        let mut config = hf.to_config()?;
        config.absolute_positions = AbsolutePositions::None;
        let model = config.init_masked_lm(1, &Device::default())?;
        let mut optimizer = AdamWConfig::default().init();
        Ok(Self {
            objective: Some(
                MlmObjective::new(model).with_gradient_checkpointing(gradient_checkpointing),
            ),
            update: Box::new(move |before, step| {
                let output = TrainStep::step(&before, step);
                let (grads, _) = clip_global_norm(&before, output.grads, 1.0);
                optimizer.step(1e-4, before, grads)
            }),
            vocab_size: config.vocab_size,
        })
    }

    fn measure(&mut self, request: &Value) -> Result<Value> {
        let step = MlmStep::new(vec![self.batch(&lengths(request)?)]);
        time(request, || {
            let before = self.objective.take();
            self.objective = before.map(|it| (self.update)(it, step.clone()));
            B::sync(&Device::default()).ok();
        })
    }

    /// Every seventh token is masked, as for the peers.
    fn batch(&self, lengths: &[usize]) -> MlmBatch {
        let seq_len = lengths.iter().copied().max().unwrap_or(0);
        let id = |row: usize, position: usize| {
            5 + (row * 7919 + position * 104_729) % (self.vocab_size.min(30_000) - 5)
        };
        let masked = |length: usize| (1..length as u32).step_by(7);
        let rows = lengths.iter().enumerate();
        MlmBatch {
            batch: lengths.len(),
            seq_len,
            input_ids: rows
                .clone()
                .flat_map(|(row, &length)| {
                    (0..seq_len).map(move |it| if it < length { id(row, it) as i32 } else { 0 })
                })
                .collect(),
            lengths: lengths.to_vec(),
            masked_positions: lengths.iter().map(|&it| masked(it).collect()).collect(),
            labels: rows
                .map(|(row, &length)| {
                    masked(length)
                        .map(|it| id(row, it as usize) as u32)
                        .collect()
                })
                .collect(),
        }
    }
}

/// GFLOP/s of the matrix product that the network uses.
fn sgemm(request: &Value) -> Result<Value> {
    let device = Device::default();
    let [rows, columns, depth]: [usize; 3] = serde_json::from_value(request["shape"].clone())?;
    let random = |shape| Tensor::<B, 2>::random(shape, Distribution::Default, &device);
    let (a, b) = (random([rows, depth]), random([depth, columns]));
    let flops = 2.0 * (rows * columns * depth) as f64;
    let repeats = (4e9 / flops).ceil() as usize;
    let mut times: Vec<f64> = (0..16)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..repeats {
                let _product = a.clone().matmul(b.clone());
            }
            start.elapsed().as_secs_f64()
        })
        .skip(1)
        .collect();
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
