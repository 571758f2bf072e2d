//! DeBERTa v1's vocabulary from the files it was built of: GPT-2's and fairseq's.
//!
//! GPT-2 numbers its pieces in `encoder.json`; fairseq's `dict.txt` lists those numbers by frequency,
//! and the line decides the id. Four special pieces come first, the mask comes last
//! (microsoft/DeBERTa `gpt2_tokenizer.py`).

use std::collections::{BTreeMap, HashMap};

/// Pieces that no line of `dict.txt` names.
const FIRST: [&str; 4] = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"];
const LAST: &str = "[MASK]";

/// Writes `vocab.json` from `encoder.json` and `dict.txt`; the error names file and line.
pub(super) fn vocab_json(encoder: &[u8], dict: &[u8]) -> Result<Vec<u8>, String> {
    let encoder: BTreeMap<String, u32> =
        serde_json::from_slice(encoder).map_err(|error| format!("encoder.json: {error}"))?;
    let pieces: HashMap<u32, &str> = encoder
        .iter()
        .map(|(piece, number)| (*number, piece.as_str()))
        .collect();
    let dict = std::str::from_utf8(dict).map_err(|error| format!("dict.txt: {error}"))?;

    let mut names: Vec<&str> = FIRST.to_vec();
    for (line, text) in (1..).zip(dict.lines()) {
        let symbol = text.split_once(' ').map(|(symbol, _)| symbol);
        let symbol = symbol.ok_or_else(|| {
            format!("dict.txt: line {line} is `{text}`, expected a symbol and its count")
        })?;
        // Symbols that are no numbers, `madeupword0000` and so on, fill up to a round size.
        names.push(match symbol.parse() {
            Ok(number) => pieces.get(&number).copied().ok_or_else(|| {
                format!("dict.txt: line {line} names piece {number}, which encoder.json lacks")
            })?,
            Err(_) => symbol,
        });
    }
    names.push(LAST);

    let mut json = String::from("{");
    for (id, name) in names.iter().enumerate() {
        let separator = if id == 0 { "" } else { ", " };
        let name = serde_json::to_string(name).map_err(|error| error.to_string())?;
        json.push_str(&format!("{separator}{name}: {id}"));
    }
    json.push('}');
    Ok(json.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_dictionary_decides_the_id() {
        let encoder = r#"{"a": 0, "\u0120b": 1, "\"": 2}"#;
        let json = vocab_json(encoder.as_bytes(), b"2 9\n0 5\nmadeupword0000 0\n1 0\n").unwrap();
        let ids: BTreeMap<String, u32> = serde_json::from_slice(&json).unwrap();
        let ids: Vec<_> = [
            "[PAD]",
            "[UNK]",
            "\"",
            "a",
            "madeupword0000",
            "Ġb",
            "[MASK]",
        ]
        .map(|name| ids[name])
        .to_vec();
        assert_eq!(ids, [0, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let check = |dict: &str, expected| {
            assert_eq!(
                vocab_json(b"{\"a\": 0}", dict.as_bytes()).unwrap_err(),
                expected
            );
        };
        check(
            "0 1\n7 1\n",
            "dict.txt: line 2 names piece 7, which encoder.json lacks",
        );
        check(
            "0\n",
            "dict.txt: line 1 is `0`, expected a symbol and its count",
        );
    }
}
