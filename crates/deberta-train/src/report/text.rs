//! The report as Markdown.

use super::{Baseline, DETECTION_PICTURE};
use crate::objective::Detection;
use crate::run::RunReport;

/// Writes the page.
pub(super) fn page(
    title: &str,
    report: &RunReport,
    baselines: &[Baseline],
    picture: &str,
) -> String {
    let mut page = format!("# {title}\n\n{}\n\n", summary(report));
    page += "| | loss (nats) | perplexity | masked accuracy |\n|---|--:|--:|--:|\n";
    if let Some(tally) = &report.evaluation {
        let name = match tally.detection.tokens {
            0 => "this model",
            _ => "this generator",
        };
        page += &row(name, tally.loss_nats(), tally.accuracy());
    }
    for baseline in baselines {
        page += &row(&baseline.name, baseline.loss_nats, baseline.accuracy);
    }
    page += "\nMeasured on the masked tokens of the held-out examples.\n\n";
    page += &format!("![Learning curve]({picture})\n\n");
    let detection = report.evaluation.map(|it| it.detection);
    if let Some(detection) = detection.filter(|it| it.tokens > 0) {
        page += &discriminator(&detection);
    }
    page += &facts(report);
    page
}

fn summary(report: &RunReport) -> String {
    let step = report.state.step;
    match report.completed {
        true => format!("The run is complete: {step} steps."),
        false => format!("The run was stopped after step {step} and can be resumed."),
    }
}

fn row(name: &str, loss_nats: f64, accuracy: f64) -> String {
    let (perplexity, percent) = (loss_nats.exp(), 100.0 * accuracy);
    format!("| {name} | {loss_nats:.4} | {perplexity:.2} | {percent:.2} % |\n")
}

/// What stands beside the numbers above, which are then the generator's.
fn discriminator(detection: &Detection) -> String {
    let percent = |share: f64| match share.is_nan() {
        true => String::new(),
        false => format!("{:.2} %", 100.0 * share),
    };
    format!(
        "Of all held-out tokens, {} are replaced by those of the generator:\n\n\
         | | loss (nats) | accuracy | precision | recall |\n|---|--:|--:|--:|--:|\n\
         | this discriminator | {:.4} | {} | {} | {} |\n\
         | always `original` | {:.4} | {} | | 0.00 % |\n\n\
         The loss of the second is that of giving every token the share of replaced ones.\n\n\
         ![Learning curve of the discriminator]({DETECTION_PICTURE})\n\n",
        percent(1.0 - detection.majority_accuracy()),
        detection.loss_nats(),
        percent(detection.accuracy()),
        percent(detection.precision()),
        percent(detection.recall()),
        detection.majority_loss_nats(),
        percent(detection.majority_accuracy()),
    )
}

fn facts(report: &RunReport) -> String {
    let training = report.training_time.as_secs_f64();
    let share = |part: std::time::Duration| 100.0 * part.as_secs_f64() / training;
    let mut facts = format!("- latest checkpoint: `{}`\n", report.checkpoint.display());
    if let Some(best) = report.state.best {
        facts += &format!(
            "- best evaluation: {:.4} nats at step {}\n",
            best.loss_nats, best.step
        );
    }
    if training > 0.0 {
        facts += &format!(
            "- this process: {} tokens in {training:.1} s of training, {:.0} tokens per second\n\
             - data: {:.2} % of the training time spent waiting, {:.2} % worked on a thread beside\n",
            report.tokens,
            report.tokens_per_second(),
            share(report.data_wait),
            share(report.data_work),
        );
    }
    if let Some(step) = report.resumed_from {
        facts += &format!("- resumed from step {step}\n");
    }
    for rejected in &report.rejected_checkpoints {
        facts += &format!("- a checkpoint was not used: {rejected}\n");
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discriminator_is_compared_with_always_saying_original() {
        let text = discriminator(&Detection {
            loss_sum: 20.0,
            tokens: 100,
            replaced: 10,
            flagged: 8,
            hits: 6,
        });
        assert!(text.contains("10.00 % are replaced"), "{text}");
        assert!(text.contains("| this discriminator | 0.2000 | 94.00 % | 75.00 % | 60.00 % |"));
        assert!(text.contains("| always `original` | 0.3251 | 90.00 % | | 0.00 % |"));
    }
    use crate::checkpoint::{Best, TrainState};
    use crate::objective::{Scores, Tally};
    use std::time::Duration;

    #[test]
    fn the_page_compares_the_model_with_its_baselines() {
        let mut state = TrainState::start(1, 10);
        state.step = 200;
        state.best = Some(Best {
            step: 150,
            loss_nats: 1.5,
            score: None,
        });
        let report = RunReport {
            state,
            completed: true,
            evaluation: Some(Tally {
                loss_sum: 160.0,
                weight: 100.0,
                targets: 100,
                correct: 61,
                ..Tally::default()
            }),
            checkpoint: "run/checkpoints/step-0000200".into(),
            scores: Scores::new(),
            resumed_from: Some(100),
            rejected_checkpoints: Vec::new(),
            tokens: 12_000,
            training_time: Duration::from_secs(8),
            data_wait: Duration::from_millis(20),
            data_work: Duration::from_millis(60),
        };
        let unigram = Baseline {
            name: "unigram".to_owned(),
            loss_nats: 6.5,
            accuracy: 0.05,
        };

        let expected = "\
# A small model

The run is complete: 200 steps.

| | loss (nats) | perplexity | masked accuracy |
|---|--:|--:|--:|
| this model | 1.6000 | 4.95 | 61.00 % |
| unigram | 6.5000 | 665.14 | 5.00 % |

Measured on the masked tokens of the held-out examples.

![Learning curve](curve.svg)

- latest checkpoint: `run/checkpoints/step-0000200`
- best evaluation: 1.5000 nats at step 150
- this process: 12000 tokens in 8.0 s of training, 1500 tokens per second
- data: 0.25 % of the training time spent waiting, 0.75 % worked on a thread beside
- resumed from step 100
";
        assert_eq!(
            page("A small model", &report, &[unigram], "curve.svg"),
            expected
        );
    }
}
