//! The learning curve.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Baseline;
use crate::metric::Quantity;
use crate::objective::entropy_nats;
use crate::run::{MetricsLine, TrainError};

const SIZE: (u32, u32) = (900, 560);
const SCORES_SIZE: (u32, u32) = (900, 320);
/// Height of the panel with the learning rate.
const RATE_HEIGHT: i32 = 130;
const TRAIN_COLOR: RGBColor = RGBColor(120, 150, 190);
const VALID_COLOR: RGBColor = RGBColor(200, 80, 30);
const BASELINE_COLOR: RGBColor = RGBColor(90, 90, 90);
const RATE_COLOR: RGBColor = RGBColor(60, 130, 90);
const FONT: (&str, u32) = ("sans-serif", 15);

/// Draws loss over steps as an SVG picture: training, held out, and the baselines as horizontal
/// lines; below it the learning rate.
///
/// # Errors
///
/// [`TrainError::Picture`] if there is nothing to draw.
pub fn learning_curve(lines: &[MetricsLine], baselines: &[Baseline]) -> Result<String, TrainError> {
    let curves = Curves {
        train: series(lines, "train", "loss"),
        valid: series(lines, "valid", "loss"),
        rate: series(lines, "train", "learning_rate"),
        baselines,
    };
    if curves.train.is_empty() && curves.valid.is_empty() {
        return Err(TrainError::Picture {
            message: "nothing was logged".to_owned(),
        });
    }
    let mut picture = String::new();
    curves
        .draw(SVGBackend::with_string(&mut picture, SIZE))
        .map_err(|error| TrainError::Picture {
            message: error.to_string(),
        })?;
    Ok(picture)
}

/// Draws a metric of the task over the steps of its evaluations as an SVG picture.
///
/// # Errors
///
/// [`TrainError::Picture`] if it was never logged.
pub fn score_curve(lines: &[MetricsLine], name: &str) -> Result<String, TrainError> {
    let points = series(lines, "valid", name);
    if points.is_empty() {
        return Err(not_logged(name));
    }
    scores(name, &[("held out", VALID_COLOR, points)])
}

/// Draws the loss of a discriminator over the steps of its evaluations as an SVG picture, beside the
/// loss of giving every token the share of replaced ones, which depends on the generator.
///
/// # Errors
///
/// [`TrainError::Picture`] if it was never logged.
pub fn detection_curve(lines: &[MetricsLine]) -> Result<String, TrainError> {
    let name = Quantity::DetectionLoss.key();
    let losses = series(lines, "valid", &name);
    if losses.is_empty() {
        return Err(not_logged(&name));
    }
    let shares = series(lines, "valid", &Quantity::Replaced.key());
    let shares = shares.into_iter();
    let majority = shares.map(|(step, share)| (step, entropy_nats(share)));
    let curves = [
        ("discriminator", VALID_COLOR, losses),
        (
            "share of replaced tokens",
            BASELINE_COLOR,
            majority.collect(),
        ),
    ];
    scores("loss in nats", &curves)
}

fn not_logged(name: &str) -> TrainError {
    TrainError::Picture {
        message: format!("`{name}` was not logged"),
    }
}

/// A curve with its name.
type Curve<'a> = (&'a str, RGBColor, Vec<(f64, f64)>);

fn scores(name: &str, curves: &[Curve<'_>]) -> Result<String, TrainError> {
    let mut picture = String::new();
    let backend = SVGBackend::with_string(&mut picture, SCORES_SIZE);
    let drawn = draw_scores(backend, name, curves);
    drawn.map_err(|error| TrainError::Picture {
        message: error.to_string(),
    })?;
    Ok(picture)
}

/// One curve needs no legend.
fn draw_scores<B: DrawingBackend>(backend: B, name: &str, curves: &[Curve<'_>]) -> Drawn<B> {
    let area = backend.into_drawing_area();
    area.fill(&WHITE)?;
    let points = || curves.iter().flat_map(|(_, _, points)| points);
    let (low, high) = bounds(points().map(|(_, score)| *score));
    let margin = 0.1 * (high - low).max(0.01);
    let last = points().map(|(step, _)| *step).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(&area)
        .margin(14)
        .x_label_area_size(34)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..last, low - margin..high + margin)?;
    let mut mesh = chart.configure_mesh();
    mesh.light_line_style(TRANSPARENT)
        .label_style(FONT)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .x_desc("step")
        .y_desc(name)
        .draw()?;
    for (name, color, points) in curves {
        let line = LineSeries::new(points.iter().copied(), color.stroke_width(2)).point_size(3);
        let drawn = chart.draw_series(line)?;
        if curves.len() > 1 {
            drawn.label(*name).legend(|it| legend(it, *color));
        }
    }
    if curves.len() > 1 {
        draw_legend(&mut chart)?;
    }
    area.present()
}

fn series(lines: &[MetricsLine], split: &str, value: &str) -> Vec<(f64, f64)> {
    let lines = lines.iter().filter(|line| line.split == split);
    lines
        .filter_map(|line| Some((line.step as f64, *line.values.get(value)?)))
        .collect()
}

/// Smallest and largest of some numbers, or a stretch around zero if there are none.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), it| {
        (low.min(it), high.max(it))
    });
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

struct Curves<'a> {
    train: Vec<(f64, f64)>,
    valid: Vec<(f64, f64)>,
    rate: Vec<(f64, f64)>,
    baselines: &'a [Baseline],
}

type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;
type Area<B> = DrawingArea<B, plotters::coord::Shift>;

impl Curves<'_> {
    fn draw<B: DrawingBackend>(&self, backend: B) -> Drawn<B> {
        let area = backend.into_drawing_area();
        area.fill(&WHITE)?;
        let (losses, rates) = area.split_vertically(SIZE.1 as i32 - RATE_HEIGHT);
        self.draw_losses(&losses)?;
        self.draw_rates(&rates)?;
        area.present()
    }

    fn last_step(&self) -> f64 {
        let points = self.train.iter().chain(&self.valid);
        points.map(|(step, _)| *step).fold(1.0, f64::max)
    }

    fn draw_losses<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        let points = self.train.iter().chain(&self.valid).map(|(_, loss)| *loss);
        let (low, high) = bounds(points.chain(self.baselines.iter().map(|it| it.loss_nats)));
        let margin = 0.05 * (high - low).max(0.1);
        let steps = 0.0..self.last_step();
        let mut chart = ChartBuilder::on(area)
            .margin(14)
            .x_label_area_size(24)
            .y_label_area_size(56)
            .build_cartesian_2d(steps.clone(), low - margin..high + margin)?;
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(TRANSPARENT)
            .label_style(FONT)
            .x_label_formatter(&|step| format!("{step:.0}"))
            .y_desc("loss in nats")
            .draw()?;

        for baseline in self.baselines {
            let line = [steps.start, steps.end].map(|step| (step, baseline.loss_nats));
            chart.draw_series(DashedLineSeries::new(line, 6, 4, BASELINE_COLOR.into()))?;
            let style = FONT
                .into_text_style(area)
                .pos(Pos::new(HPos::Left, VPos::Bottom));
            let label = Text::new(baseline.name.clone(), line[0], style);
            chart.draw_series([label])?;
        }
        chart
            .draw_series(LineSeries::new(self.train.iter().copied(), &TRAIN_COLOR))?
            .label("training")
            .legend(|it| legend(it, TRAIN_COLOR));
        chart
            .draw_series(
                LineSeries::new(self.valid.iter().copied(), VALID_COLOR.stroke_width(2))
                    .point_size(2),
            )?
            .label("held out")
            .legend(|it| legend(it, VALID_COLOR));
        draw_legend(&mut chart)
    }

    fn draw_rates<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        let (_, high) = bounds(self.rate.iter().map(|(_, rate)| *rate));
        let mut chart = ChartBuilder::on(area)
            .margin(14)
            .x_label_area_size(34)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..self.last_step(), 0.0..high * 1.05)?;
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(TRANSPARENT)
            .label_style(FONT)
            .x_label_formatter(&|step| format!("{step:.0}"))
            .y_labels(3)
            .y_label_formatter(&|rate| format!("{rate:.0e}"))
            .x_desc("step")
            .y_desc("learning rate")
            .draw()?;
        chart.draw_series(LineSeries::new(self.rate.iter().copied(), &RATE_COLOR))?;
        Ok(())
    }
}

/// What the lines of a chart are called, in its corner.
fn draw_legend<'a, B: DrawingBackend + 'a, C: CoordTranslate>(
    chart: &mut ChartContext<'a, B, C>,
) -> Drawn<B> {
    let mut labels = chart.configure_series_labels();
    labels
        .position(SeriesLabelPosition::UpperRight)
        .border_style(BASELINE_COLOR)
        .background_style(WHITE)
        .label_font(FONT)
        .draw()
}

fn legend((x, y): (i32, i32), color: RGBColor) -> PathElement<(i32, i32)> {
    PathElement::new(vec![(x, y), (x + 18, y)], color.stroke_width(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: usize, split: &str, loss: f64) -> MetricsLine {
        let mut values = std::collections::BTreeMap::from([("loss".to_owned(), loss)]);
        if split == "train" {
            values.insert("learning_rate".to_owned(), 1e-4);
        }
        MetricsLine {
            step,
            split: split.to_owned(),
            values,
        }
    }

    fn unigram() -> Baseline {
        Baseline {
            name: "unigram".to_owned(),
            loss_nats: 6.5,
            accuracy: 0.05,
        }
    }

    #[test]
    fn the_picture_shows_every_curve() {
        let mut lines: Vec<_> = (1..=10)
            .map(|it| line(it * 10, "train", 7.0 - 0.3 * it as f64))
            .collect();
        lines.push(line(50, "valid", 5.6));
        lines.push(line(100, "valid", 4.2));
        let picture = learning_curve(&lines, &[unigram()]).unwrap();

        for text in [
            "training",
            "held out",
            "unigram",
            "loss in nats",
            "learning rate",
            "step",
        ] {
            assert!(picture.contains(text), "`{text}` is missing");
        }
        let points = |color: &str| {
            let line = picture.lines().find(|line| {
                line.starts_with("<polyline") && line.contains(color) && !line.contains("18,")
            });
            let points = line
                .and_then(|line| line.split("points=\"").nth(1))
                .unwrap_or_default();
            points
                .split('"')
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .count()
        };
        assert_eq!(points("#7896BE"), 10);
        assert_eq!(points("#C8501E"), 2);
        assert_eq!(points("#3C825A"), 10);
    }

    #[test]
    fn a_metric_has_a_point_per_evaluation() {
        let mut lines = vec![line(50, "valid", 5.6), line(100, "valid", 4.2)];
        for (line, score) in lines.iter_mut().zip([0.5, 0.75]) {
            line.values.insert("accuracy".to_owned(), score);
        }
        let picture = score_curve(&lines, "accuracy").unwrap();
        assert!(picture.contains("accuracy"));
        assert_eq!(picture.matches("<circle").count(), 2);
        let error = score_curve(&lines, "f1").unwrap_err().to_string();
        assert_eq!(error, "cannot draw the learning curve: `f1` was not logged");
    }

    #[test]
    fn a_discriminator_is_drawn_beside_what_it_has_to_beat() {
        let mut lines = vec![line(50, "valid", 5.6), line(100, "valid", 4.2)];
        for (line, loss) in lines.iter_mut().zip([0.4, 0.2]) {
            line.values.insert("detection_loss".to_owned(), loss);
            line.values.insert("replaced".to_owned(), 0.1);
        }
        let picture = detection_curve(&lines).unwrap();
        assert!(picture.contains("discriminator") && picture.contains("share of replaced"));
        assert_eq!(picture.matches("<circle").count(), 4);
        assert!(detection_curve(&lines[..0]).is_err());
    }

    #[test]
    fn an_empty_log_has_no_picture() {
        let error = learning_curve(&[], &[unigram()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot draw the learning curve: nothing was logged"
        );
    }

    #[test]
    fn one_point_is_enough() {
        learning_curve(&[line(5, "train", 3.0)], &[]).unwrap();
    }
}
