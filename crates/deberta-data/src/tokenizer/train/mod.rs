//! New tokenizers from a corpus.
//!
//! The special pieces take the places that DeBERTa gives them: `[PAD]` 0, `[CLS]` 1, `[SEP]` 2,
//! `[UNK]` 3 and `[MASK]` last. The result is the same on every run and any number of cores.

mod bpe;
mod lattice;
mod seeds;
mod unigram;
mod words;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::files::TokenizerFiles;
use super::{Tokenizer, TokenizerError, vocab::SPACE_MARK};

/// Special pieces before the text pieces, in the order of their ids.
const FIRST_SPECIALS: [&str; 4] = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"];
/// Special piece after the text pieces.
const LAST_SPECIAL: &str = "[MASK]";

/// Kind of tokenizer to train.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenizerKind {
    /// Unigram language model over words marked with `▁`, as DeBERTa v2 and v3.
    #[default]
    Unigram,
    /// Byte-level BPE, as DeBERTa v1: any text can be written, nothing is unknown.
    ByteLevelBpe,
}

/// Settings of [`Tokenizer::train`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainTokenizerConfig {
    /// Most pieces to learn, the five special ones included. A small corpus yields fewer.
    /// Default: 8000.
    pub vocab_size: usize,
    /// What to train. Default: unigram.
    pub kind: TokenizerKind,
}

impl Default for TrainTokenizerConfig {
    fn default() -> Self {
        Self {
            vocab_size: 8000,
            kind: TokenizerKind::Unigram,
        }
    }
}

impl Tokenizer {
    /// Trains a tokenizer on lines of text, on all cores.
    ///
    /// Lines are read once and only the distinct words are kept, so the corpus may be larger than
    /// memory.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Training`] if the vocabulary is too small for the alphabet or the lines
    /// hold no text.
    pub fn train(
        config: &TrainTokenizerConfig,
        lines: impl Iterator<Item = String>,
    ) -> Result<Self, TokenizerError> {
        let mut file = match config.kind {
            TokenizerKind::Unigram => train_unigram(config.vocab_size, lines)?,
            TokenizerKind::ByteLevelBpe => bpe::train(config.vocab_size, lines)?,
        };
        file["post_processor"] = markers();
        let files = TokenizerFiles::Json {
            json: format!("{file:#}\n").into_bytes(),
        };
        Self::from_files(files, Path::new("the trained tokenizer"))
    }
}

fn train_unigram(
    vocab_size: usize,
    lines: impl Iterator<Item = String>,
) -> Result<Value, TokenizerError> {
    // A word is a run of letters, a run of digits or a single other character, with the space
    // before it. Pieces never mix them: otherwise `▁mall.` would be one piece and one mask.
    let word = format!(
        r"{SPACE_MARK}?[\p{{L}}\p{{M}}]+|{SPACE_MARK}?\p{{N}}+|{SPACE_MARK}?[^\p{{L}}\p{{M}}\p{{N}}{SPACE_MARK}]|{SPACE_MARK}"
    );
    let metaspace = json!({
        "type": "Metaspace", "replacement": SPACE_MARK, "prepend_scheme": "always", "split": true,
    });
    let mut file = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "normalizer": { "type": "NFKC" },
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "WhitespaceSplit" },
            metaspace,
            {
                "type": "Split", "pattern": { "Regex": word }, "behavior": "Isolated",
                "invert": false,
            },
        ] },
        "post_processor": null,
        "decoder": metaspace,
    });
    let words = words::count(&file, lines)?;
    let text_pieces = vocab_size.saturating_sub(FIRST_SPECIALS.len() + 1);
    let pieces = unigram::train(&words, text_pieces)?;

    let specials = FIRST_SPECIALS.map(|name| (name.to_owned(), 0.0));
    let mut vocab: Vec<(String, f64)> = specials.into();
    vocab.extend(pieces);
    vocab.push((LAST_SPECIAL.to_owned(), 0.0));
    file["added_tokens"] = added_tokens(vocab.len() - 1, false);
    file["model"] =
        json!({ "type": "Unigram", "unk_id": 3, "vocab": vocab, "byte_fallback": false });
    Ok(file)
}

/// The `post_processor` section: `[CLS] A [SEP]` and `[CLS] A [SEP] B [SEP]`, as published. This
/// library places the markers itself; others read it here.
fn markers() -> Value {
    let [_, cls, sep, _] = FIRST_SPECIALS;
    let special = |name: &str, part: usize| json!({"SpecialToken": {"id": name, "type_id": part}});
    let text = |name: &str, part: usize| json!({"Sequence": {"id": name, "type_id": part}});
    let (start, end) = (special(cls, 0), special(sep, 0));
    let describe = |name: &str| {
        let id = FIRST_SPECIALS.iter().position(|it| *it == name);
        json!({"id": name, "ids": [id], "tokens": [name]})
    };
    json!({
        "type": "TemplateProcessing",
        "single": [start, text("A", 0), end],
        "pair": [start, text("A", 0), end, text("B", 1), special(sep, 1)],
        "special_tokens": { cls: describe(cls), sep: describe(sep) },
    })
}

/// The `added_tokens` section: the five special pieces. Where spaces belong to words, a mask takes
/// the space before it.
fn added_tokens(mask: usize, mask_takes_space: bool) -> Value {
    let names = FIRST_SPECIALS
        .into_iter()
        .enumerate()
        .chain([(mask, LAST_SPECIAL)]);
    let tokens = names.map(|(id, name)| {
        json!({
            "id": id, "content": name, "single_word": false,
            "lstrip": mask_takes_space && name == LAST_SPECIAL, "rstrip": false,
            "normalized": false, "special": true,
        })
    });
    tokens.collect()
}

fn failed(reason: impl Into<String>) -> TokenizerError {
    TokenizerError::Training {
        reason: reason.into(),
    }
}
