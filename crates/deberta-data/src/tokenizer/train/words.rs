//! Counting the distinct words of a corpus.

use std::collections::HashMap;

use rayon::prelude::*;
use serde_json::{Value, json};
use tokenizers::tokenizer::{OffsetReferential, OffsetType, PreTokenizedString};
use tokenizers::{NormalizedString, Normalizer, PreTokenizer, Tokenizer as Library};

use super::failed;
use crate::tokenizer::TokenizerError;

/// Lines handed to the cores at a time.
const LINES_PER_ROUND: usize = 8192;
/// Above this many distinct words, those seen once are dropped to bound the memory.
const MAX_WORDS: usize = 1 << 22;

/// Counts words as the normaliser and pre-tokenizer of `file` produce them, sorted by word.
pub(super) fn count(
    file: &Value,
    lines: impl Iterator<Item = String>,
) -> Result<Vec<(String, u64)>, TokenizerError> {
    let mut file = file.clone();
    file["added_tokens"] = json!([]);
    file["model"] = json!({ "type": "WordLevel", "vocab": {}, "unk_token": "" });
    let library =
        Library::from_bytes(file.to_string()).map_err(|error| failed(error.to_string()))?;

    let mut counts: HashMap<String, u64> = HashMap::new();
    let mut lines = lines.peekable();
    while lines.peek().is_some() {
        let round: Vec<String> = lines.by_ref().take(LINES_PER_ROUND).collect();
        let parts: Result<Vec<_>, TokenizerError> = round
            .par_chunks(256)
            .map(|lines| count_chunk(&library, lines))
            .collect();
        for (word, count) in parts?.into_iter().flatten() {
            *counts.entry(word).or_default() += count;
        }
        if counts.len() > MAX_WORDS {
            counts.retain(|_, count| *count > 1);
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable();
    if counts.is_empty() {
        return Err(failed("the lines hold no text"));
    }
    Ok(counts)
}

fn count_chunk(
    library: &Library,
    lines: &[String],
) -> Result<HashMap<String, u64>, TokenizerError> {
    let mut counts = HashMap::new();
    for line in lines {
        let failed = |source| TokenizerError::Encode {
            len: line.len(),
            source,
        };
        let mut text = NormalizedString::from(line.as_str());
        if let Some(normalizer) = library.get_normalizer() {
            normalizer.normalize(&mut text).map_err(failed)?;
        }
        let mut text = PreTokenizedString::from(text);
        if let Some(pre_tokenizer) = library.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut text).map_err(failed)?;
        }
        for (word, ..) in text.get_splits(OffsetReferential::Normalized, OffsetType::None) {
            match counts.get_mut(word) {
                Some(count) => *count += 1,
                None => {
                    counts.insert(word.to_owned(), 1);
                }
            }
        }
    }
    Ok(counts)
}
