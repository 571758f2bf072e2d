//! Commands that take seconds in place of minutes or days.

use super::EXAMPLES;

/// Settings under which a network from scratch is tiny.
pub(crate) const TINY_NETWORK: &[&str] = &[
    "--set=corpus.synthetic.train_stories=60",
    "--set=corpus.synthetic.held_out_stories=8",
    "--set=corpus.max_held_out_examples=2",
    "--set=tokenizer.vocab_size=400",
    "--set=packing.seq_len=32",
    "--set=train.model.hidden_size=32",
    "--set=train.model.embedding_size=32",
    "--set=train.model.num_hidden_layers=2",
    "--set=train.model.attention_head_size=8",
    "--set=train.model.intermediate_size=64",
    "--set=train.model.max_position_embeddings=32",
    "--set=train.run.batch_size=2",
];

/// For one that comes with its size.
const FEW_TOKENS: &[&str] = &[
    "--set=corpus.max_held_out_examples=2",
    "--set=packing.seq_len=32",
    "--set=train.run.batch_size=2",
];

const FINETUNE: &str = "--plain --steps 2 --batch-size 2 --max-length 32";

/// The command with a built program in place of `cargo run`, and with little to do.
pub(super) fn line(command: &str) -> String {
    let mut line = command.to_owned();
    for example in EXAMPLES {
        let cargo = format!("cargo run --release --example {example}");
        if let Some(rest) = line.strip_prefix(&cargo) {
            line = format!("{example}{}", rest.strip_prefix(" --").unwrap_or(rest));
        }
    }
    let calls = |name: &str| {
        let by_itself = line.starts_with(name) && line[name.len()..].trim_start().starts_with("--");
        by_itself || line == name || line.starts_with(&format!("deberta {name} "))
    };
    if line.contains("--help") {
        return line;
    }
    if calls("finetune") {
        return format!("{line} {FINETUNE}");
    }
    if !calls("pretrain") {
        return line;
    }
    let settings = if line.contains("--init") {
        FEW_TOKENS
    } else if line.contains("--resume") || line.contains("--config") {
        &[]
    } else {
        TINY_NETWORK
    };
    // One step more for a run that goes on.
    let steps = if line.contains("--resume") { 3 } else { 2 };
    format!(
        "{line} --plain --set train.run.steps={steps} {}",
        settings.join(" ")
    )
    .trim_end()
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn only_training_is_made_smaller() {
        assert_eq!(line("deberta classify -m a b"), "deberta classify -m a b");
        let example = "cargo run --release --example zero_shot -- a \"b\" c";
        assert_eq!(line(example), "zero_shot a \"b\" c");
        assert_eq!(
            line("cargo run --release --example pretrain -- --help"),
            "pretrain --help"
        );
        assert_eq!(
            line("cargo run --release --example pretrain -- --out a --resume"),
            "pretrain --out a --resume --plain --set train.run.steps=3"
        );
        assert!(
            line("cargo run --release --example pretrain").starts_with("pretrain --plain --set")
        );
        assert!(line("deberta pretrain --init a --corpus b").contains("seq_len=32"));
        assert!(!line("deberta pretrain --init a --corpus b").contains("hidden_size"));
        assert!(line("deberta finetune --task rte").ends_with("--max-length 32"));
    }
}
