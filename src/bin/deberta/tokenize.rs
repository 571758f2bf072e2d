//! `deberta tokenize`: lines in, ids, pieces and offsets out.

use std::io::{BufRead, BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use deberta::data::tokenizer::{SequenceConfig, Tokenize, Tokenizer, Truncation};
use deberta::hub::Parts;
use serde_json::json;

use crate::stdout::stdout;
use crate::{lines, source};

/// Print the tokens of each line as one line of JSON: `ids`, `tokens`, `offsets` (characters of the
/// line).
///
/// With `--pair` a line is two texts with a tab between them. Markers (`[CLS]`, `[SEP]`) are added
/// unless `--bare`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folder or file of the tokenizer (spm.model, vocab.json with merges.txt, tokenizer.json), or a
    /// name on the Hub
    #[arg(long, short)]
    model: String,
    /// Files to read; standard input by default
    files: Vec<PathBuf>,
    /// Each line is two texts with a tab between them
    #[arg(long)]
    pair: bool,
    /// No markers
    #[arg(long, conflicts_with_all = ["pair", "max_length"])]
    bare: bool,
    /// Most tokens, markers included
    #[arg(long)]
    max_length: Option<usize>,
    /// Which text gives way when there are more
    #[arg(long, default_value = "longest-first")]
    truncation: Cut,
}

const EXAMPLES: &str = "\
Examples:
  echo 'Hello world' | deberta tokenize --model deberta-v3-base/
  deberta tokenize --model deberta-v3-base/ --pair --max-length 256 pairs.tsv";

/// Which text gives way.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Cut {
    /// The longer one
    LongestFirst,
    /// The first
    OnlyFirst,
    /// The second
    OnlySecond,
    /// None: too long is an error
    Never,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let tokenizer = Tokenizer::open(&source::path(&args.model, Parts::Metadata)?)?;
    let config = SequenceConfig {
        max_length: args.max_length,
        truncation: match args.truncation {
            Cut::LongestFirst => Truncation::LongestFirst,
            Cut::OnlyFirst => Truncation::OnlyFirst,
            Cut::OnlySecond => Truncation::OnlySecond,
            Cut::Never => Truncation::Never,
        },
        ..SequenceConfig::default()
    };
    let mut out = BufWriter::new(stdout());
    for source in lines::sources(&args.files)? {
        let name = source.name;
        for (number, line) in (1..).zip(source.reader.lines()) {
            let place = || format!("{name}, line {number}");
            let line = line.with_context(place)?;
            let value = encode(args, &config, &tokenizer, &line).with_context(place)?;
            writeln!(out, "{value}")?;
        }
    }
    out.flush()?;
    Ok(())
}

fn encode(
    args: &Args,
    config: &SequenceConfig,
    tokenizer: &Tokenizer,
    line: &str,
) -> Result<serde_json::Value> {
    if args.bare {
        let encoding = tokenizer.encode(line)?;
        return Ok(json!({
            "ids": encoding.ids, "tokens": encoding.tokens, "offsets": encoding.offsets,
        }));
    }
    let (first, second) = match line.split_once('\t') {
        Some((first, second)) if args.pair => (first, Some(second)),
        None if args.pair => bail!("expected two texts with a tab between them"),
        _ => (line, None),
    };
    let sequence = config.encode(tokenizer, first, second)?;
    Ok(json!({
        "ids": sequence.ids, "tokens": sequence.tokens, "offsets": sequence.offsets,
        "type_ids": sequence.type_ids,
    }))
}
