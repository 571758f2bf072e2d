//! How alike texts are, by the cosine of their vectors.
//!
//! ```console
//! cargo run --release --example embed -- microsoft/deberta-v3-small "A cat." "A dog." "Stock prices fell."
//! ```
#![allow(clippy::print_stdout, reason = "prints results")]

use anyhow::Context;
use deberta::backend::DefaultBackend;
use deberta::pipeline::{Embedder, Pooling};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().context("expected a model and texts")?;
    let texts: Vec<String> = arguments.collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();

    let embedder = Embedder::<DefaultBackend>::from_pretrained(&model, &Default::default())?
        .with_pooling(Pooling::Mean);
    let vectors = embedder.predict(&texts)?;
    for (text, vector) in texts.iter().zip(&vectors) {
        let cosines = vectors.iter().map(|other| {
            let cosine: f32 = vector.iter().zip(other).map(|(a, b)| a * b).sum();
            format!("{cosine:+.3}")
        });
        println!("{}  {text}", cosines.collect::<Vec<_>>().join(" "));
    }
    Ok(())
}
