//! `deberta add-tokens`: more tokens for a checkpoint.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use deberta::data::tokenizer::AddedToken;
use deberta::hub::Parts;

use crate::stdout::stdout;
use crate::{source, target};

/// Write a checkpoint with more tokens, each of them one id wherever it occurs in a text.
///
/// For markers of entities and words of a domain, before fine-tuning. Rows of the word table that the
/// tokenizer does not use yet are taken first; if there are too few, the table grows by rows around the
/// mean of the others. All other numbers are copied bit by bit, and transformers reads the same ids.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folder of the checkpoint, or its name on the Hub
    #[arg(long, short)]
    model: String,
    /// Folder to write; made if it is not there
    #[arg(long, short)]
    out: PathBuf,
    /// Write in the place of weights that the folder has
    #[arg(long)]
    force: bool,
    /// Tokens that steer the model: never masked, and left out when ids are written as text
    #[arg(long)]
    special: bool,
    /// File with one more token on each line
    #[arg(long)]
    file: Option<PathBuf>,
    /// Number that new rows of the word table follow from
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Tokens to add
    #[arg(required_unless_present = "file")]
    tokens: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  deberta add-tokens --model deberta-v3-base/ --out with-markers/ --special '[E1]' '[/E1]' '[E2]' '[/E2]'
  deberta add-tokens --model deberta-v3-base/ --out with-drugs/ --file drugs.txt";

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut names = args.tokens.clone();
    if let Some(file) = &args.file {
        names.extend(read_lines(file)?);
    }
    let token = |name: String| match args.special {
        true => AddedToken::special(name),
        false => AddedToken::text(name),
    };
    let tokens: Vec<AddedToken> = names.into_iter().map(token).collect();
    target::check_free(&args.out, args.force)?;
    let folder = source::path(&args.model, Parts::All)?;
    let report = deberta::add_tokens(&folder, &args.out, &tokens, args.seed)?;

    let mut out = stdout();
    for (id, token) in report.ids.iter().zip(&tokens) {
        writeln!(out, "{id}\t{}", token.content)?;
    }
    match report.rows - report.rows_before {
        0 => writeln!(out, "the word table keeps its {} rows", report.rows)?,
        new => writeln!(
            out,
            "the word table has {} rows, {new} of them new",
            report.rows
        )?,
    }
    if !report.left_aside.is_empty() {
        writeln!(out, "left aside: {}", report.left_aside.join(", "))?;
    }
    if !report.files_left_out.is_empty() {
        let files = report.files_left_out.join(", ");
        writeln!(out, "without the tokens, and so not written: {files}")?;
    }
    Ok(())
}

fn read_lines(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let empty = lines.iter().position(|line| line.trim().is_empty());
    if let Some(at) = empty {
        let line = at + 1;
        anyhow::bail!(
            "{}, line {line}: expected a token, found nothing",
            path.display()
        );
    }
    ensure!(
        !lines.is_empty(),
        "{}: expected a token on each line, found none",
        path.display()
    );
    Ok(lines)
}
