//! Any labels, without training, by natural-language inference.
//!
//! ```console
//! cargo run --release --example zero_shot -- MoritzLaurer/deberta-v3-base-zeroshot-v1 "They lost." sport politics
//! ```
#![allow(clippy::print_stdout, reason = "prints results")]

use anyhow::Context;
use deberta::backend::DefaultBackend;
use deberta::pipeline::ZeroShotClassifier;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let expected = "expected a model, a text and labels";
    let model = arguments.next().context(expected)?;
    let text = arguments.next().context(expected)?;
    let labels: Vec<String> = arguments.collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();

    let device = Default::default();
    let classifier = ZeroShotClassifier::<DefaultBackend>::from_pretrained(&model, &device)?
        .with_template("This text is about {}.")?;
    for it in &classifier.predict(&[text.as_str()], &labels)?[0] {
        println!("{:.3} {}", it.score, it.label);
    }
    Ok(())
}
