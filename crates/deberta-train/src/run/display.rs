//! What is measured and shown while a run goes on.

use std::io;
use std::time::Duration;

use burn::train::metric::LearningRateMetric;
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::{FileApplicationLoggerInstaller, SupervisedTraining};
use deberta_model::DebertaAutodiffBackend;

use super::RunOptions;
use super::lines::ProgressLines;
use super::step_loop::Components;
use crate::metric::{Quantity, ScoreMetric, StepMetric, TallyMetric};
use crate::objective::Objective;

/// Seconds between two progress lines.
const LINE_INTERVAL: Duration = Duration::from_secs(3);

/// What a run shows while it is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Display {
    /// Burn's dashboard, which needs a terminal.
    Dashboard,
    /// A line every few seconds, on the standard error.
    Lines,
    /// Nothing.
    Nothing,
}

impl Display {
    /// The dashboard if it is wanted and the standard output is a terminal, otherwise lines.
    pub fn choose(dashboard_wanted: bool) -> Self {
        let is_terminal = io::IsTerminal::is_terminal(&io::stdout());
        if dashboard_wanted && is_terminal {
            Self::Dashboard
        } else {
            Self::Lines
        }
    }
}

type Training<B, M> = SupervisedTraining<Components<B, M>>;

/// What is shown besides step, learning rate and pace.
pub(super) struct Shown {
    /// In training and evaluation.
    pub(super) quality: Vec<Quantity>,
    /// In training only.
    pub(super) training: Vec<Quantity>,
    /// Metrics of the task, in evaluation only.
    pub(super) scores: Vec<ScoreMetric>,
}

/// Registers what the log and the display receive.
pub(super) fn with_metrics<B: DebertaAutodiffBackend, M: Objective<B>>(
    training: Training<B, M>,
    shown: &Shown,
) -> Training<B, M> {
    let training = training
        .metric_train(StepMetric::new())
        .metric_valid(StepMetric::new())
        .metric_train_numeric(LearningRateMetric::new());
    let training = shown.quality.iter().fold(training, |training, quantity| {
        let metric = TallyMetric::new(*quantity);
        training
            .metric_train_numeric(metric.clone())
            .metric_valid_numeric(metric)
    });
    let training = shown.scores.iter().fold(training, |training, metric| {
        training.metric_valid_numeric(metric.clone())
    });
    let pace = [Quantity::TokensPerSecond, Quantity::GradientNorm];
    let training_only = shown.training.iter().copied().chain(pace);
    training_only.fold(training, |training, quantity| {
        training.metric_train_numeric(TallyMetric::new(quantity))
    })
}

/// Installs the display; only the dashboard needs warnings to go to a file.
pub(super) fn with_display<B: DebertaAutodiffBackend, M: Objective<B>>(
    training: Training<B, M>,
    options: &RunOptions,
) -> Training<B, M> {
    match options.display {
        Display::Dashboard => {
            let log_file = options.run_dir.join("experiment.log");
            let logger = FileApplicationLoggerInstaller::new(log_file);
            let interrupter = options.interrupter.clone();
            training
                .renderer(TuiMetricsRendererWrapper::new(interrupter, None))
                .with_application_logger(Some(Box::new(logger)))
        }
        Display::Lines => training
            .renderer(ProgressLines::new(io::stderr(), LINE_INTERVAL))
            .with_application_logger(None),
        Display::Nothing => training
            .renderer(ProgressLines::new(io::sink(), Duration::MAX))
            .with_application_logger(None),
    }
}
