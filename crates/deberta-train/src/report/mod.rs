//! After the run: learning curve and confusion matrix as pictures, and a page of text.

mod confusion;
mod curve;
mod text;

pub use confusion::confusion_matrix;
pub use curve::{detection_curve, learning_curve, score_curve};

use std::path::{Path, PathBuf};

use crate::checkpoint::storage::write_atomic;
use crate::run::{RunReport, TrainError, read_metrics};

/// Name of the picture inside a run folder.
const PICTURE: &str = "curve.svg";

/// Name of the picture of a discriminator inside a run folder.
const DETECTION_PICTURE: &str = "detection.svg";

/// Name of the text inside a run folder.
const TEXT: &str = "report.md";

/// Something simple that a trained model has to beat, measured on the same held-out tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    /// What it is, such as `unigram`.
    pub name: String,
    /// Mean loss of a masked token, in nats.
    pub loss_nats: f64,
    /// Share of masked tokens predicted correctly, in [0, 1].
    pub accuracy: f64,
}

/// Files written by [`write_report`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFiles {
    /// The text, in Markdown, which shows the picture.
    pub text: PathBuf,
    /// The learning curve.
    pub picture: PathBuf,
    /// The learning curve of a discriminator, if there is one.
    pub detection: Option<PathBuf>,
}

/// Writes `report.md` and `curve.svg` into a run folder, and `detection.svg` if there is a
/// discriminator.
///
/// # Errors
///
/// [`TrainError::Io`] if a file cannot be read or written.
pub fn write_report(
    run_dir: &Path,
    title: &str,
    report: &RunReport,
    baselines: &[Baseline],
) -> Result<ReportFiles, TrainError> {
    let lines = read_metrics(run_dir)?;
    let detects = report.evaluation.is_some_and(|it| it.detection.tokens > 0);
    let files = ReportFiles {
        text: run_dir.join(TEXT),
        picture: run_dir.join(PICTURE),
        detection: detects.then(|| run_dir.join(DETECTION_PICTURE)),
    };
    if let Some(path) = &files.detection {
        let picture = detection_curve(&lines)?;
        write_atomic(path, picture.as_bytes()).map_err(TrainError::io(path))?;
    }
    let picture = learning_curve(&lines, baselines)?;
    write_atomic(&files.picture, picture.as_bytes()).map_err(TrainError::io(&files.picture))?;
    let text = text::page(title, report, baselines, PICTURE);
    write_atomic(&files.text, text.as_bytes()).map_err(TrainError::io(&files.text))?;
    Ok(files)
}
