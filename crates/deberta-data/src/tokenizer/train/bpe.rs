//! Byte-level BPE, with the trainer of the `tokenizers` library.

use serde_json::{Value, json};
use tokenizers::AddedToken;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::{FIRST_SPECIALS, LAST_SPECIAL, added_tokens, failed, words};
use crate::tokenizer::TokenizerError;

/// The library counts pairs in 32 bits.
const MAX_PAIRS: u64 = 1 << 30;
/// A pair seen only once is not worth a piece.
const MIN_FREQUENCY: u64 = 2;

/// Learns merges and returns the whole `tokenizer.json`.
pub(super) fn train(
    vocab_size: usize,
    lines: impl Iterator<Item = String>,
) -> Result<Value, TokenizerError> {
    let alphabet: std::collections::HashSet<char> = ByteLevel::alphabet().into_iter().collect();
    let smallest = alphabet.len() + FIRST_SPECIALS.len() + 1;
    if vocab_size < smallest {
        return Err(failed(format!(
            "vocab_size is {vocab_size}, byte-level BPE needs at least {smallest}"
        )));
    }
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true,
    });
    let mut file = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
    });
    let words = words::count(&file, lines)?;

    let pairs: u64 = words
        .iter()
        .map(|(word, count)| word.len() as u64 * count)
        .sum();
    let scale = pairs.div_ceil(MAX_PAIRS).max(1);
    let words = words
        .iter()
        .map(|(word, count)| (word.as_str().into(), count.div_ceil(scale)));
    let specials = FIRST_SPECIALS.map(|name| AddedToken::from(name, true));
    let trainer = BpeTrainer::builder()
        .vocab_size(vocab_size - 1)
        .min_frequency(MIN_FREQUENCY)
        .show_progress(false)
        .special_tokens(specials.into())
        .initial_alphabet(alphabet)
        .build();
    let mut model = BPE::default();
    trainer
        .do_train(&words.collect(), &mut model)
        .map_err(|error| failed(error.to_string()))?;

    let mut model = serde_json::to_value(&model).map_err(|error| failed(error.to_string()))?;
    let mask = model["vocab"].as_object().map_or(0, |vocab| vocab.len());
    model["vocab"][LAST_SPECIAL] = json!(mask);
    file["added_tokens"] = added_tokens(mask, true);
    file["model"] = model;
    Ok(file)
}
