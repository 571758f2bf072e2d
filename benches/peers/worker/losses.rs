//! Losses of the pre-training that the bare command does.

use std::path::Path;
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Result, bail};
use burn::tensor::backend::BackendTypes;
use burn::train::Interrupter;
use deberta::backend::{DEFAULT_BACKEND_NAME, DefaultAutodiffBackend};
use deberta::model::DebertaAutodiffBackend;
use deberta::pretrain::{self, PretrainJob, RunOptions};
use deberta::train::objective::Precision;
use deberta::train::run::{Display, read_metrics};
use serde_json::{Value, json};

/// Pause between two looks at the log.
const PAUSE: Duration = Duration::from_millis(100);

/// Losses of the first steps; the run is stopped after them, so that its learning rates are those of
/// the whole.
pub(crate) fn curve(
    folder: &Path,
    steps: usize,
    precision: Precision,
    on_cpu: bool,
) -> Result<Value> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let mut job = PretrainJob::demo();
    let run = &mut job.train.run;
    (run.log_every, run.precision) = (1, precision);
    // Neither changes what is learnt.
    (run.eval_every, run.save_every) = (run.steps, run.steps);
    let losses = if on_cpu {
        on_the_cpu(&job, folder, steps)?
    } else {
        train::<DefaultAutodiffBackend>(&job, folder, steps)?
    };
    let backend = if on_cpu { "cpu" } else { DEFAULT_BACKEND_NAME };
    Ok(json!({ "backend": backend, "losses": losses }))
}

#[cfg(feature = "flex")]
fn on_the_cpu(job: &PretrainJob, folder: &Path, steps: usize) -> Result<Vec<f64>> {
    train::<burn::backend::Autodiff<burn::backend::Flex>>(job, folder, steps)
}

#[cfg(not(feature = "flex"))]
fn on_the_cpu(_: &PretrainJob, _: &Path, _: usize) -> Result<Vec<f64>> {
    bail!("`--cpu` needs a program with the feature `flex`")
}

fn train<B: DebertaAutodiffBackend>(
    job: &PretrainJob,
    folder: &Path,
    steps: usize,
) -> Result<Vec<f64>> {
    let interrupter = Interrupter::new();
    let options = RunOptions {
        resume: false,
        display: Display::Nothing,
        interrupter: interrupter.clone(),
    };
    let device = <B as BackendTypes>::Device::default();
    thread::scope(|scope| {
        let running =
            scope.spawn(|| pretrain::run::<B>(job, folder, &options, &device, &mut ()).map(drop));
        while !running.is_finished() {
            if losses(folder)?.len() >= steps {
                interrupter.stop(None);
            }
            thread::sleep(PAUSE);
        }
        match running.join() {
            Ok(ended) => ended?,
            Err(_) => bail!("the run panicked"),
        }
        let mut losses = losses(folder)?;
        losses.truncate(steps);
        Ok(losses)
    })
}

/// Losses that are in the log by now.
fn losses(folder: &Path) -> Result<Vec<f64>> {
    let lines = read_metrics(folder)?.into_iter();
    let training = lines.filter(|line| line.split == "train");
    Ok(training
        .filter_map(|line| line.values.get("loss").copied())
        .collect())
}
