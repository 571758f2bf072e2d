//! Progress as plain lines, for logs and pipes.

use std::collections::HashMap;
use std::io::Write;
use std::time::{Duration, Instant};

use burn::train::metric::{LearningRateMetric, Metric, MetricDefinition, MetricId};
use burn::train::renderer::{
    EvaluationName, EvaluationProgress, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining, ProgressType, TrainingProgress,
};

use crate::metric::Quantity;

/// Numbers of a discriminator, and what they are called.
const DETECTION: [(Quantity, &str); 4] = [
    (Quantity::DetectionAccuracy, "accuracy"),
    (Quantity::DetectionPrecision, "precision"),
    (Quantity::DetectionRecall, "recall"),
    (Quantity::Replaced, "replaced"),
];

/// Writes a line every few seconds, and one per evaluation.
///
/// ```text
/// step    120/1000 | loss 5.1234 | accuracy 12.3% | perplexity 168 | lr 9.8e-5 | 1234 tokens/s | 0:12:34 left
/// step    120/1000 | held out: loss 5.2103 | accuracy 11.9% | perplexity 183
/// ```
pub struct ProgressLines {
    writer: Box<dyn Write + Send + Sync>,
    interval: Duration,
    names: HashMap<MetricId, String>,
    train: HashMap<String, f64>,
    valid: HashMap<String, f64>,
    started: Option<(Instant, usize)>,
    last_line: Option<Instant>,
}

impl ProgressLines {
    /// Writes to `writer`, at most one training line per `interval`.
    pub fn new(writer: impl Write + Send + Sync + 'static, interval: Duration) -> Self {
        Self {
            writer: Box::new(writer),
            interval,
            names: HashMap::new(),
            train: HashMap::new(),
            valid: HashMap::new(),
            started: None,
            last_line: None,
        }
    }

    /// Nobody may be reading any more; the run goes on without.
    fn write(&mut self, line: &str) {
        let _ = writeln!(self.writer, "{line}").and_then(|()| self.writer.flush());
    }

    fn numeric(&self, state: &MetricState) -> Option<(String, f64)> {
        match state {
            MetricState::Generic(_) => None,
            MetricState::Numeric(entry, value) => {
                Some((self.names.get(&entry.metric_id)?.clone(), value.current()))
            }
        }
    }

    /// Whether a training line is due: the first, the last, or the interval is over.
    fn is_due(&self, step: usize, total: usize) -> bool {
        step >= total
            || self
                .last_line
                .is_none_or(|line| line.elapsed() >= self.interval)
    }
}

impl MetricsRendererTraining for ProgressLines {
    fn update_train(&mut self, state: MetricState) {
        self.train.extend(self.numeric(&state));
    }

    fn update_valid(&mut self, state: MetricState) {
        self.valid.extend(self.numeric(&state));
    }

    fn render_train(&mut self, item: TrainingProgress, _indicators: Vec<ProgressType>) {
        let (step, total) = step_of(&item);
        let (started, first_step) = *self.started.get_or_insert((Instant::now(), step));
        if !self.is_due(step, total) {
            return;
        }
        let left = time_left(started.elapsed(), step - first_step, total - step);
        let lr = self
            .train
            .get(LearningRateMetric::new().name().as_str())
            .copied();
        let mut line = format!("{} | {}", position(step, total), quality(&self.train));
        line += &lr.map(|lr| format!(" | lr {lr:.2e}")).unwrap_or_default();
        if let Some(rate) = self.train.get(Quantity::TokensPerSecond.name()) {
            line += &format!(" | {rate:.0} tokens/s");
        }
        line += &left
            .map(|left| format!(" | {} left", clock(left)))
            .unwrap_or_default();
        self.write(&line);
        self.last_line = Some(Instant::now());
    }

    fn render_valid(&mut self, item: TrainingProgress, _indicators: Vec<ProgressType>) {
        let (step, total) = step_of(&item);
        let line = format!(
            "{} | held out: {}",
            position(step, total),
            quality(&self.valid)
        );
        self.write(&line);
    }
}

impl MetricsRendererEvaluation for ProgressLines {
    /// Training never evaluates on a test split.
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}

    fn render_test(&mut self, _item: EvaluationProgress, _indicators: Vec<ProgressType>) {}
}

impl MetricsRenderer for ProgressLines {
    /// There is no window to close.
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        self.names.insert(definition.metric_id, definition.name);
    }
}

fn step_of(item: &TrainingProgress) -> (usize, usize) {
    let progress = item.progress.as_ref().unwrap_or(&item.global_progress);
    (
        item.iteration.unwrap_or(progress.items_processed),
        progress.items_total,
    )
}

fn position(step: usize, total: usize) -> String {
    let width = total.to_string().len();
    format!("step {step:>width$}/{total}")
}

/// The loss, what goes with it, then the metrics of the task in alphabetical order.
fn quality(values: &HashMap<String, f64>) -> String {
    let value = |quantity: Quantity| values.get(quantity.name()).copied();
    let mut line = format!("loss {:.4}", value(Quantity::Loss).unwrap_or(f64::NAN));
    if let Some(penalty) = value(Quantity::Penalty) {
        line += &format!(" | penalty {penalty:.4}");
    }
    if let Some(accuracy) = value(Quantity::Accuracy) {
        line += &format!(" | accuracy {:.1}%", 100.0 * accuracy);
    }
    if let Some(perplexity) = value(Quantity::Perplexity) {
        line += &format!(" | perplexity {perplexity:.1}");
    }
    if let Some(loss) = value(Quantity::DetectionLoss) {
        line += &format!(" | detection: loss {loss:.4}");
    }
    for (quantity, name) in DETECTION {
        if let Some(share) = value(quantity).filter(|it| !it.is_nan()) {
            line += &format!(", {name} {:.1}%", 100.0 * share);
        }
    }
    let is_known = |name: &str| {
        Quantity::ALL.iter().any(|it| it.name() == name)
            || name == LearningRateMetric::new().name().as_str()
    };
    let mut scores: Vec<_> = values.iter().filter(|(name, _)| !is_known(name)).collect();
    scores.sort_by_key(|(name, _)| *name);
    for (name, score) in scores {
        line += &format!(" | {name} {score:.4}");
    }
    line
}

/// Expects the remaining steps to take as long as those done; unknown before the first is done.
fn time_left(elapsed: Duration, done: usize, remaining: usize) -> Option<Duration> {
    let done = u32::try_from(done).ok().filter(|done| *done > 0)?;
    Some(elapsed / done * u32::try_from(remaining).ok()?)
}

fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!(
        "{}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::data::dataloader::Progress;
    use burn::train::metric::{MetricEntry, NumericEntry, SerializedEntry};
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Buffer {
        fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines().map(str::to_owned).collect()
        }
    }

    fn state(name: &str, value: f64) -> MetricState {
        let id = MetricId::new(Arc::new(name.to_owned()));
        let entry = MetricEntry::new(id, SerializedEntry::new(String::new(), String::new()));
        MetricState::Numeric(entry, NumericEntry::Value(value))
    }

    fn renderer(interval: Duration) -> (ProgressLines, Buffer) {
        let buffer = Buffer::default();
        let mut lines = ProgressLines::new(buffer.clone(), interval);
        for name in [
            "Loss",
            "Accuracy",
            "Perplexity",
            "Tokens Per Second",
            "Learning Rate",
        ] {
            lines
                .names
                .insert(MetricId::new(Arc::new(name.to_owned())), name.to_owned());
        }
        (lines, buffer)
    }

    fn progress(step: usize) -> TrainingProgress {
        TrainingProgress {
            progress: Some(Progress::new(step, 1000)),
            global_progress: Progress::new(1, 1),
            iteration: Some(step),
        }
    }

    #[test]
    fn a_line_says_where_the_run_stands() {
        let (mut lines, buffer) = renderer(Duration::ZERO);
        lines.update_train(state("Loss", 5.12344));
        lines.update_train(state("Accuracy", 0.1234));
        lines.update_train(state("Perplexity", 168.04));
        lines.update_train(state("Learning Rate", 9.8e-5));
        lines.update_train(state("Tokens Per Second", 1234.4));
        lines.render_train(progress(120), Vec::new());
        lines.update_valid(state("Loss", 5.5));
        lines.update_valid(state("Accuracy", 0.1));
        lines.update_valid(state("Perplexity", 244.7));
        lines.render_valid(progress(120), Vec::new());

        let expected = [
            "step  120/1000 | loss 5.1234 | accuracy 12.3% | perplexity 168.0 | lr 9.80e-5 | 1234 tokens/s",
            "step  120/1000 | held out: loss 5.5000 | accuracy 10.0% | perplexity 244.7",
        ];
        assert_eq!(buffer.lines(), expected);
    }

    #[test]
    fn between_the_first_and_the_last_line_there_is_a_pause() {
        let (mut lines, buffer) = renderer(Duration::from_secs(3600));
        for step in 1..=1000 {
            lines.render_train(progress(step), Vec::new());
        }
        let lines = buffer.lines();
        assert_eq!(lines.len(), 2);
        assert!(lines[1].starts_with("step 1000/1000") && lines[1].ends_with("0:00:00 left"));
    }

    #[test]
    fn the_time_left_follows_the_pace() {
        let minute = Duration::from_secs(60);
        assert_eq!(time_left(minute, 0, 5), None);
        assert_eq!(time_left(minute, 20, 60), Some(3 * minute));
        assert_eq!(clock(Duration::from_secs(3 * 3600 + 62)), "3:01:02");
    }
}
