//! `deberta attention`: the attention maps of a text as a picture, Figure 2 of the paper.

mod html;
mod maps;
mod svg;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use deberta::backend::DefaultBackend;
use deberta::hub::Parts;

use crate::source;
use crate::stdout::stdout;
use maps::Maps;

/// Longer texts make pictures that nobody can read, and files that nobody can open.
const MAX_TOKENS: usize = 128;

/// Draw where each head looks, and why: attention maps per layer and head, with the content and
/// position parts of the scores apart.
///
/// The four maps of a head are the attention probabilities and the terms of Eq. (4) that they are
/// the softmax of: content to content, content to position and position to content, each divided by
/// the square root of the scale. A row is a query, a column is a key.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The text
    text: String,
    /// Folder of the checkpoint, or its name on the Hub; its head, if any, does not matter
    #[arg(long, short)]
    model: String,
    /// Picture to write: .html has all layers and heads to choose from, .svg those of one layer
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// Layer of an .svg, from 1; by default the last
    #[arg(long)]
    layer: Option<usize>,
}

const EXAMPLES: &str = "\
Examples:
  deberta attention -m microsoft/deberta-v3-base 'The cat sat on the mat.' --out attention.html
  deberta attention -m my-model/ 'The cat sat on the mat.' --layer 3 --out attention.svg";

pub(crate) fn run(args: &Args) -> Result<()> {
    let extension = args.out.extension().and_then(|it| it.to_str());
    let dir = source::path(&args.model, Parts::All)?;
    let maps = Maps::of_text::<DefaultBackend>(&dir, &args.text, MAX_TOKENS)?;
    let layers = maps.layers.len();
    let layer = args.layer.unwrap_or(layers);
    ensure!(
        (1..=layers).contains(&layer),
        "--layer {layer}: the network has layers 1 to {layers}"
    );
    let picture = match extension {
        Some("html" | "htm") => html::page(&maps, layer - 1)?,
        Some("svg") => svg::picture(&maps, layer - 1),
        _ => bail!(
            "{}: expected a name that ends in .html or .svg",
            args.out.display()
        ),
    };
    std::fs::write(&args.out, picture)
        .with_context(|| format!("cannot write {}", args.out.display()))?;
    writeln!(
        stdout(),
        "{} tokens, {layers} layers of {} heads, into {}",
        maps.tokens.len(),
        maps.layers.first().map_or(0, Vec::len),
        args.out.display()
    )?;
    Ok(())
}

/// The five characters that mean something in markup.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML has no way to write these.
            it if it.is_control() => escaped.push('\u{fffd}'),
            it => escaped.push(it),
        }
    }
    escaped
}
