//! Classifies the lines of standard input with a checkpoint folder, on the ndarray backend.
//!
//! ```console
//! echo "I liked it." | cargo run --release -- my-model/
//! ```

use std::io::BufRead;

use deberta::backend::DefaultBackend;
use deberta::pipeline::TextClassifier;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = std::env::args()
        .nth(1)
        .ok_or("expected a checkpoint folder")?;
    let classifier =
        TextClassifier::<DefaultBackend>::from_pretrained(&model, &Default::default())?;
    let lines = std::io::stdin()
        .lock()
        .lines()
        .collect::<Result<Vec<_>, _>>()?;
    let texts: Vec<&str> = lines.iter().map(String::as_str).collect();
    for (text, labels) in texts.iter().zip(classifier.predict(&texts)?) {
        if let Some(best) = labels.first() {
            println!("{}\t{:.4}\t{text}", best.label, best.score);
        }
    }
    Ok(())
}
