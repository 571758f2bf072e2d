//! What a `tokenizer.json` must look like before the `tokenizers` library sees it.
//!
//! The library trusts its files: on some it panics, while loading or later in a text, on some it
//! runs out of memory or of stack. Everything it reads is looked at here first.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::tokenizer::sentencepiece::check_charsmap;

/// Longest piece of a unigram model, in bytes: the library nests its trie as deep.
const MAX_PIECE: usize = 512;
/// Bytes of all unigram pieces together: the library takes some hundred bytes for each.
const MAX_PIECES: usize = 8 << 20;
/// Longest regular expression, in bytes.
const MAX_PATTERN: usize = 1024;
/// How many times longer replacements may make a text.
const MAX_GROWTH: usize = 4096;
/// Sequences inside sequences.
const MAX_DEPTH: usize = 4;
/// Steps of a normaliser, pre-tokenizer or decoder.
const MAX_STEPS: usize = 64;

const NORMALIZERS: &[&str] = &[
    "Bert",
    "BertNormalizer",
    "Strip",
    "StripAccents",
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "Sequence",
    "Lowercase",
    "Nmt",
    "Precompiled",
    "Replace",
    "Prepend",
    "ByteLevel",
];
const PRE_TOKENIZERS: &[&str] = &[
    "BertPreTokenizer",
    "ByteLevel",
    "CharDelimiterSplit",
    "Delimiter",
    "Metaspace",
    "Whitespace",
    "Sequence",
    "Split",
    "Punctuation",
    "WhitespaceSplit",
    "Digits",
    "UnicodeScripts",
    "FixedLength",
];
const DECODERS: &[&str] = &[
    "BPEDecoder",
    "ByteLevel",
    "WordPiece",
    "Metaspace",
    "CTC",
    "Sequence",
    "Replace",
    "Fuse",
    "Strip",
    "ByteFallback",
];

type Checked<T = ()> = Result<T, String>;

/// Checks a file, and takes out what packing does and what draws lots.
pub(super) fn sanitise(file: &mut Value) -> Checked {
    let file = file.as_object_mut().ok_or("not a JSON object")?;
    // Markers, cutting and padding are not the tokenizer's business.
    for key in ["truncation", "padding", "post_processor"] {
        file.insert(key.to_owned(), Value::Null);
    }
    for (key, list, types) in [
        ("normalizer", "normalizers", NORMALIZERS),
        ("pre_tokenizer", "pretokenizers", PRE_TOKENIZERS),
        ("decoder", "decoders", DECODERS),
    ] {
        let mut walk = Walk {
            place: key,
            list,
            types,
            steps: 0,
            growth: 1,
        };
        walk.step(file.get(key).unwrap_or(&Value::Null), 0)?;
    }
    if let Some(tokens) = file.get("added_tokens") {
        check_added(tokens)?;
    }
    let model = file.get_mut("model").and_then(Value::as_object_mut);
    check_model(model.ok_or("`model` is missing or no object")?)
}

/// A look at each step of a normaliser, pre-tokenizer or decoder.
struct Walk {
    place: &'static str,
    list: &'static str,
    types: &'static [&'static str],
    steps: usize,
    growth: usize,
}

impl Walk {
    fn step(&mut self, value: &Value, depth: usize) -> Checked {
        let place = self.place;
        if value.is_null() && depth == 0 {
            return Ok(());
        }
        self.steps += 1;
        if self.steps > MAX_STEPS || depth > MAX_DEPTH {
            return Err(format!(
                "`{place}` has over {MAX_STEPS} steps or is nested over {MAX_DEPTH} deep"
            ));
        }
        let kind = value
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !self.types.contains(&kind) {
            return Err(format!(
                "`{place}` has a step of the type `{kind}`, which is unknown"
            ));
        }
        match kind {
            "Sequence" => {
                let steps = value.get(self.list).and_then(Value::as_array);
                let steps = steps.ok_or_else(|| format!("`{place}` lacks `{}`", self.list))?;
                steps.iter().try_for_each(|step| self.step(step, depth + 1))
            }
            "Replace" => self.replacement(value),
            "Split" => self.pattern(value).map(|_| ()),
            "Prepend" => self.text(value, "prepend").map(|_| ()),
            "Precompiled" => {
                let charsmap = self.text_of_any_length(value, "precompiled_charsmap")?;
                let bytes = STANDARD.decode(charsmap);
                let bytes = bytes.map_err(|error| format!("`precompiled_charsmap`: {error}"))?;
                check_charsmap(&bytes)
            }
            "FixedLength" if value.get("length") == Some(&json!(0)) => {
                Err(format!("`{place}` cuts into words of length 0"))
            }
            // It reads before the start of tokens that are shorter.
            "Strip" if place == "decoder" && value.get("stop") != Some(&json!(0)) => {
                Err("a decoder that strips ends is not supported".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Several replacements in a row could double a text dozens of times.
    fn replacement(&mut self, value: &Value) -> Checked {
        let content = self.text(value, "content")?.len();
        let pattern = self.pattern(value)?;
        // The library counts past the end of a text where nothing is replaced by something.
        if pattern == 0 && self.place == "normalizer" {
            return Err(format!(
                "`normalizer` replaces nothing by something: {value}"
            ));
        }
        let growth = content / pattern.max(1) + 1;
        self.growth = self.growth.saturating_mul(growth);
        match self.growth > MAX_GROWTH {
            true => Err(format!(
                "replacements of `{}` make a text over {MAX_GROWTH} times longer",
                self.place
            )),
            false => Ok(()),
        }
    }

    /// Fewest bytes that a pattern takes, as far as can be seen.
    fn pattern(&self, value: &Value) -> Checked<usize> {
        let pattern = value.get("pattern").unwrap_or(&Value::Null);
        let text = |kind| pattern.get(kind).and_then(Value::as_str);
        let (pattern, takes) = match (text("String"), text("Regex")) {
            (Some(literal), None) => (literal, literal.len()),
            (None, Some(regex)) => (regex, shortest_match(regex)),
            _ => return Err(format!("`{}` has the pattern {pattern}", self.place)),
        };
        if pattern.len() > MAX_PATTERN {
            return Err(format!(
                "`{}` has a pattern of {} bytes, expected at most {MAX_PATTERN}",
                self.place,
                pattern.len()
            ));
        }
        Ok(takes)
    }

    fn text<'v>(&self, value: &'v Value, key: &str) -> Checked<&'v str> {
        let text = self.text_of_any_length(value, key)?;
        match text.len() > MAX_PATTERN {
            true => Err(format!(
                "`{key}` of `{}` has {} bytes",
                self.place,
                text.len()
            )),
            false => Ok(text),
        }
    }

    fn text_of_any_length<'v>(&self, value: &'v Value, key: &str) -> Checked<&'v str> {
        let text = value.get(key).and_then(Value::as_str);
        text.ok_or_else(|| format!("`{key}` of `{}` is no text", self.place))
    }
}

/// Bytes of the shortest match; 1 where look-around makes that hard to say.
fn shortest_match(regex: &str) -> usize {
    let parsed = regex_syntax::parse(regex).ok();
    parsed
        .and_then(|it| it.properties().minimum_len())
        .unwrap_or(1)
}

fn check_added(tokens: &Value) -> Checked {
    let tokens = tokens.as_array().ok_or("`added_tokens` is no list")?;
    for token in tokens {
        let name = token.get("content").and_then(Value::as_str);
        if name.is_none_or(str::is_empty) {
            return Err("an added token has no content".to_owned());
        }
    }
    Ok(())
}

fn check_model(model: &mut Map<String, Value>) -> Checked {
    // Files of 2020 do not name the type.
    if !model.contains_key("type") {
        let kind = match model.get("vocab") {
            _ if model.contains_key("merges") => "BPE",
            Some(Value::Array(_)) => "Unigram",
            _ if model.contains_key("continuing_subword_prefix") => "WordPiece",
            _ => "WordLevel",
        };
        model.insert("type".to_owned(), json!(kind));
    }
    match model.get("type").and_then(Value::as_str) {
        Some("BPE") => check_bpe(model),
        Some("Unigram") => check_unigram(model),
        Some("WordPiece") => {
            check_vocab(model)?;
            let longest = model
                .get("max_input_chars_per_word")
                .and_then(Value::as_u64);
            match longest {
                Some(longest) if longest > 10_000 => Err(format!(
                    "`max_input_chars_per_word` is {longest}, expected at most 10000"
                )),
                _ => Ok(()),
            }
        }
        Some("WordLevel") => check_vocab(model),
        other => Err(format!("`model` has the type {other:?}, which is unknown")),
    }
}

/// Ids of a vocabulary are not far beyond their number.
fn check_vocab(model: &Map<String, Value>) -> Checked {
    let vocab = model.get("vocab").and_then(Value::as_object);
    let vocab = vocab.ok_or("`vocab` is no object of ids")?;
    let most = 2 * vocab.len() as u64 + 1024;
    let stray = vocab
        .iter()
        .find(|(_, id)| id.as_u64().is_none_or(|id| id > most));
    match stray {
        Some((piece, id)) => Err(format!(
            "`{piece}` has the id {id} in a vocabulary of {}",
            vocab.len()
        )),
        None => Ok(()),
    }
}

fn check_bpe(model: &mut Map<String, Value>) -> Checked {
    // The same text must give the same ids.
    model.insert("dropout".to_owned(), Value::Null);
    check_vocab(model)?;
    let prefix = model
        .get("continuing_subword_prefix")
        .and_then(Value::as_str);
    let prefix = prefix.unwrap_or_default().len();
    let merges = model.get("merges").and_then(Value::as_array);
    for merge in merges.ok_or("`merges` is no list")? {
        let right = match merge {
            Value::String(pair) => pair.split(' ').nth(1),
            pair => pair.get(1).and_then(Value::as_str),
        };
        // The library cuts the prefix off without looking.
        if !right.is_some_and(|right| right.is_char_boundary(prefix)) {
            return Err(format!("`merges` holds {merge}, expected two pieces"));
        }
    }
    Ok(())
}

fn check_unigram(model: &Map<String, Value>) -> Checked {
    let vocab = model.get("vocab").and_then(Value::as_array);
    let mut bytes = 0;
    for entry in vocab.ok_or("`vocab` is no list of pieces and scores")? {
        let piece = entry.get(0).and_then(Value::as_str).unwrap_or_default();
        let score = entry.get(1).and_then(Value::as_f64);
        bytes += piece.len();
        if piece.is_empty() || piece.len() > MAX_PIECE || !score.is_some_and(f64::is_finite) {
            return Err(format!(
                "`vocab` holds {entry}, expected a piece of at most {MAX_PIECE} bytes and a score"
            ));
        }
    }
    match bytes > MAX_PIECES {
        true => Err(format!(
            "the pieces have {bytes} bytes, expected at most {MAX_PIECES}"
        )),
        false => Ok(()),
    }
}
