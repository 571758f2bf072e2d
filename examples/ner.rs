//! Entities with their places in the text.
//!
//! ```console
//! cargo run --release --example ner -- my-ner/ "Ada Lovelace lived in London."
//! ```
#![allow(clippy::print_stdout, reason = "prints results")]

use anyhow::Context;
use deberta::backend::DefaultBackend;
use deberta::pipeline::{Aggregation, TokenClassifier};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().context("expected a model and texts")?;
    let texts: Vec<String> = arguments.collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();

    let device = Default::default();
    let classifier = TokenClassifier::<DefaultBackend>::from_pretrained(&model, &device)?
        .with_aggregation(Aggregation::Average);
    for (text, entities) in texts.iter().zip(classifier.predict(&texts)?) {
        println!("{text}");
        for it in entities {
            println!(
                "    {:.3} {} {}..{} {}",
                it.score, it.label, it.start, it.end, it.text
            );
        }
    }
    Ok(())
}
