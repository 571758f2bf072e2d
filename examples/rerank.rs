//! Documents by how well they answer a query.
//!
//! ```console
//! cargo run --release --example rerank -- mixedbread-ai/mxbai-rerank-xsmall-v1 "Who?" "It was Ada." "It rained."
//! ```
#![allow(clippy::print_stdout, reason = "prints results")]

use anyhow::Context;
use deberta::backend::DefaultBackend;
use deberta::pipeline::Reranker;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let expected = "expected a model, a query and documents";
    let model = arguments.next().context(expected)?;
    let query = arguments.next().context(expected)?;
    let documents: Vec<String> = arguments.collect();
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();

    let reranker = Reranker::<DefaultBackend>::from_pretrained(&model, &Default::default())?;
    for it in reranker.rank(&query, &documents)? {
        println!("{:.3} {}", it.score, documents[it.index]);
    }
    Ok(())
}
