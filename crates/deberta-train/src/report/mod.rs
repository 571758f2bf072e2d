//! After the run: learning curve and confusion matrix as pictures, and a page of text.

mod confusion;
mod curve;
mod text;

pub use confusion::confusion_matrix;
pub use curve::{learning_curve, score_curve};

use std::path::{Path, PathBuf};

use crate::checkpoint::storage::write_atomic;
use crate::run::{RunReport, TrainError, read_metrics};

/// Name of the picture inside a run folder.
const PICTURE: &str = "curve.svg";

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
}

/// Writes `report.md` and `curve.svg` into a run folder.
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
    let files = ReportFiles {
        text: run_dir.join(TEXT),
        picture: run_dir.join(PICTURE),
    };
    let picture = learning_curve(&lines, baselines)?;
    write_atomic(&files.picture, picture.as_bytes()).map_err(TrainError::io(&files.picture))?;
    let text = text::page(title, report, baselines, PICTURE);
    write_atomic(&files.text, text.as_bytes()).map_err(TrainError::io(&files.text))?;
    Ok(files)
}
