//! What may stand in the place of `[MASK]`, by the enhanced mask decoder.
//!
//! ```console
//! cargo run --release --example fill_mask -- microsoft/deberta-v3-base "Paris is the [MASK] of France."
//! ```
#![allow(clippy::print_stdout, reason = "prints results")]

use anyhow::Context;
use deberta::backend::DefaultBackend;
use deberta::pipeline::FillMask;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().context("expected a model and texts")?;
    let texts: Vec<String> = arguments.collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();

    let fill = FillMask::<DefaultBackend>::from_pretrained(&model, &Default::default())?;
    for (text, masks) in texts.iter().zip(fill.predict(&texts, 5)?) {
        println!("{text}");
        for candidate in masks.iter().flat_map(|mask| &mask.candidates) {
            println!("    {:.3} {}", candidate.probability, candidate.text);
        }
    }
    Ok(())
}
