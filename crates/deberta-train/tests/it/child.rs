//! Runs in processes of their own, which can be killed.
//!
//! The test binary starts itself again with one environment variable set; the test `run` then
//! carries out what the variable says.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use burn::train::Interrupter;
use deberta_train::run::{
    PretrainData, PretrainObjective, RunOptions, RunReport, TrainError, fine_tune, pretrain,
    pretrain_rtd, stop_on_ctrl_c,
};
use serde::{Deserialize, Serialize};

use crate::task;
use crate::toy::{Hook, PIECES, Repeating, TestBackend, config, data, options, weights};

const ORDER: &str = "DEBERTA_TRAIN_CHILD";
const AT_THE_BARRIER: &str = "the barrier is reached";

/// Which kind of run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Task {
    PreTrain,
    ReplacedTokens,
    FineTune,
}

/// What a child has to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) task: Task,
    pub(crate) run_dir: PathBuf,
    pub(crate) steps: usize,
    pub(crate) resume: bool,
    /// Micro-batch before which to say so, and to wait for an interruption.
    pub(crate) barrier: Option<usize>,
}

/// What a child has to say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) error: Option<String>,
    pub(crate) step: usize,
    pub(crate) completed: bool,
    /// Metric of the best evaluation.
    pub(crate) score: Option<f64>,
    pub(crate) resumed_from: Option<usize>,
    pub(crate) rejected: Vec<String>,
}

/// A child at its barrier; its output is kept open so that it can go on writing.
pub(crate) struct Waiting {
    child: Child,
    _stdout: BufReader<ChildStdout>,
}

impl Waiting {
    /// Ends the child with `SIGKILL`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        assert!(!self.child.wait().unwrap().success());
    }

    /// Presses Ctrl-C and waits for a proper end.
    #[cfg(unix)]
    pub(crate) fn interrupt(mut self) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &id])
                .status()
                .unwrap()
                .success()
        );
        assert!(self.child.wait().unwrap().success());
    }
}

impl Orders {
    pub(crate) fn new(run_dir: &Path) -> Self {
        Self {
            task: Task::PreTrain,
            run_dir: run_dir.to_owned(),
            steps: 20,
            resume: false,
            barrier: None,
        }
    }

    fn command(&self, mut command: Command) -> Command {
        command
            .env(ORDER, serde_json::to_string(self).unwrap())
            .stdout(Stdio::piped());
        command
    }

    /// Runs to the end.
    pub(crate) fn run(&self) -> Outcome {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(ARGUMENTS);
        self.run_by(command)
    }

    /// Runs to the end with no file longer than so many blocks, as if the disk were full.
    pub(crate) fn run_with_file_limit(&self, blocks: usize) -> Outcome {
        let exe = std::env::current_exe().unwrap();
        let mut command = Command::new("sh");
        // An ignored SIGXFSZ turns into an error of `write`.
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        command.arg("-c").arg(script).arg(exe).args(ARGUMENTS);
        self.run_by(command)
    }

    fn run_by(&self, command: Command) -> Outcome {
        let output = self.command(command).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        self.outcome()
    }

    /// Starts and returns when the barrier is reached.
    pub(crate) fn start(&self) -> Waiting {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(ARGUMENTS);
        let mut child = self.command(command).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut lines = stdout.by_ref().lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains(AT_THE_BARRIER)));
        Waiting {
            child,
            _stdout: stdout,
        }
    }

    pub(crate) fn outcome(&self) -> Outcome {
        let text = std::fs::read_to_string(self.run_dir.join("outcome.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) fn weights(&self) -> Vec<u8> {
        std::fs::read(self.run_dir.join("weights")).unwrap()
    }
}

const ARGUMENTS: [&str; 3] = ["--exact", "child::run", "--nocapture"];

/// The child's side; without orders there is nothing to do.
#[test]
fn run() {
    let Ok(orders) = std::env::var(ORDER) else {
        return;
    };
    let orders: Orders = serde_json::from_str(&orders).unwrap();
    let interrupter = Interrupter::new();
    stop_on_ctrl_c(&interrupter).unwrap();

    let mut options = options(&orders.run_dir, orders.resume);
    options.interrupter = interrupter.clone();
    let at = orders.barrier;
    let barrier = move |batch: usize| {
        if Some(batch) == at {
            println!("{AT_THE_BARRIER}");
            std::io::stdout().flush().unwrap();
            while !interrupter.should_stop() {
                std::thread::park_timeout(Duration::from_millis(5));
            }
        }
    };
    let batches = std::sync::atomic::AtomicUsize::new(0);
    let hook: Hook = Arc::new(move |_| {
        barrier(batches.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        Ok(())
    });
    let result = match orders.task {
        Task::PreTrain => pre_train(&orders, hook, &options),
        Task::ReplacedTokens => replace_tokens(&orders, hook, &options),
        Task::FineTune => fine_tune_task(&orders, hook, &options),
    };
    let outcome = result.unwrap_or_else(|error| Outcome {
        error: Some(error.to_string()),
        ..Outcome::default()
    });
    let outcome = serde_json::to_string(&outcome).unwrap();
    std::fs::write(orders.run_dir.join("outcome.json"), outcome).unwrap();
}

fn pre_train(orders: &Orders, hook: Hook, options: &RunOptions) -> Result<Outcome, TrainError> {
    let config = config(orders.steps);
    let data = hooked(hook);
    let trained = pretrain::<TestBackend>(&config, &data, options, &Default::default())?;
    std::fs::write(orders.run_dir.join("weights"), weights(&trained.model)).unwrap();
    Ok(outcome(&trained.report))
}

fn replace_tokens(
    orders: &Orders,
    hook: Hook,
    options: &RunOptions,
) -> Result<Outcome, TrainError> {
    let mut config = config(orders.steps);
    config.objective = PretrainObjective::Rtd;
    let (data, device) = (hooked(hook), Default::default());
    let trained = pretrain_rtd::<TestBackend>(&config, &data, &PIECES, options, &device)?;
    let weights = weights(&trained.networks);
    std::fs::write(orders.run_dir.join("weights"), weights).unwrap();
    Ok(outcome(&trained.report))
}

fn hooked(hook: Hook) -> PretrainData {
    let mut train = Repeating::new(50);
    train.hook = hook;
    PretrainData {
        train: Arc::new(train),
        ..data()
    }
}

fn fine_tune_task(
    orders: &Orders,
    hook: Hook,
    options: &RunOptions,
) -> Result<Outcome, TrainError> {
    let config = task::config(orders.steps);
    let model = task::build(&config, config.run.seed)?;
    let data = task::data(hook);
    let tuned = fine_tune::<TestBackend, _>(&config, model, &data, options, &Default::default())?;
    std::fs::write(
        orders.run_dir.join("weights"),
        weights::<task::Inner>(&tuned.model),
    )
    .unwrap();
    Ok(outcome(&tuned.report))
}

fn outcome(report: &RunReport) -> Outcome {
    Outcome {
        error: None,
        step: report.state.step,
        completed: report.completed,
        score: report.state.best.and_then(|best| best.score),
        resumed_from: report.resumed_from,
        rejected: report.rejected_checkpoints.clone(),
    }
}
