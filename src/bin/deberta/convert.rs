//! `deberta convert`: from one format of checkpoint to another.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use deberta::hub::Parts;
use deberta::model::checkpoint::{ConvertOptions, FloatType, WeightsFormat, convert};
use deberta::model::hf_config::RtdPart;

use crate::stdout::stdout;
use crate::{source, target};

/// Write a checkpoint in the layout of the Hub, in another format, float type or number of files.
///
/// Reads whatever can be loaded: safetensors and PyTorch files, whole or in parts, Microsoft's
/// releases, older names. Numbers are copied bit by bit unless `--dtype` says otherwise; at most one
/// tensor is in memory. The tokenizer's files are copied along.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folder of the checkpoint, or its name on the Hub
    source: String,
    /// Folder to write; made if it is not there
    target: PathBuf,
    /// Write in the place of weights that the folder has
    #[arg(long)]
    force: bool,
    /// Float type to write: f64, f32, f16 or bf16; each tensor's own by default
    #[arg(long)]
    dtype: Option<FloatType>,
    /// Format to write
    #[arg(long, default_value = "safetensors")]
    format: Format,
    /// Most bytes of tensors in one file, such as 5GB or 500MB; one file by default
    #[arg(long, value_parser = bytes)]
    max_part_size: Option<u64>,
    /// Which network to take, where a checkpoint has two
    #[arg(long, default_value = "discriminator")]
    part: Part,
}

const EXAMPLES: &str = "\
Examples:
  deberta convert deberta-v3-base/ v3-base-f16/ --dtype f16
  deberta convert old/ new/ --max-part-size 2GB";

/// Format of weights files.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// model.safetensors
    Safetensors,
    /// pytorch_model.bin
    Pytorch,
}

/// A network of a replaced-token-detection checkpoint.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Part {
    /// The masked language model that proposes tokens
    Generator,
    /// The network that is published
    Discriminator,
}

/// Parses `5GB`, `500MB`, `20kB` or a number of bytes; powers of ten, as on the Hub.
fn bytes(text: &str) -> Result<u64> {
    let number = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let unit = match &text[number.len()..] {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        other => bail!("unknown unit `{other}`, expected kB, MB or GB"),
    };
    let number: u64 = number.parse().context("expected a number such as 5GB")?;
    let bytes = number.checked_mul(unit).filter(|bytes| *bytes > 0);
    bytes.context("expected a positive size that fits into 64 bits")
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut options = ConvertOptions::new()
        .format(match args.format {
            Format::Safetensors => WeightsFormat::Safetensors,
            Format::Pytorch => WeightsFormat::PyTorch,
        })
        .part(match args.part {
            Part::Generator => RtdPart::Generator,
            Part::Discriminator => RtdPart::Discriminator,
        });
    options.dtype = args.dtype;
    options.max_part_bytes = args.max_part_size;
    target::check_free(&args.target, args.force)?;
    let folder = source::path(&args.source, Parts::All)?;
    let report = convert(&folder, &args.target, &options)?;
    writeln!(
        stdout(),
        "{} tensors, {} parameters",
        report.tensors,
        report.parameters
    )?;
    for file in &report.files {
        writeln!(stdout(), "  {}", args.target.join(file).display())?;
    }
    if !report.left_aside.is_empty() {
        writeln!(stdout(), "left aside: {}", report.left_aside.join(", "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_ten() {
        assert_eq!(bytes("5GB").unwrap(), 5_000_000_000);
        assert_eq!(bytes("20kB").unwrap(), 20_000);
        assert_eq!(bytes("17").unwrap(), 17);
        for wrong in ["", "GB", "5TB", "-1", "0", "99999999999999GB", "5 GB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
