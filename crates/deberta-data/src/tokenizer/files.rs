//! The files behind a tokenizer: finding, fingerprinting and saving them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::TokenizerError;

const SPM_MODEL: &str = "spm.model";
const VOCAB_JSON: &str = "vocab.json";
const MERGES_TXT: &str = "merges.txt";
const TOKENIZER_JSON: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// No tokenizer file in use comes near this; a larger one is a mistake.
const MAX_BYTES: u64 = 512 << 20;

/// The bytes that define a tokenizer.
#[derive(Debug)]
pub(super) enum TokenizerFiles {
    SentencePiece { model: Vec<u8> },
    Bpe { vocab: Vec<u8>, merges: Vec<u8> },
    Json { json: Vec<u8> },
}

impl TokenizerFiles {
    /// Reads the files that `path` stands for.
    pub(super) fn locate(path: &Path) -> Result<Self, TokenizerError> {
        if path.is_dir() {
            return Self::locate_in(path);
        }
        if !path.exists() {
            return Err(TokenizerError::NotFound {
                path: path.to_owned(),
            });
        }
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        match name {
            VOCAB_JSON => Self::read_bpe(path, &path.with_file_name(MERGES_TXT)),
            MERGES_TXT => Self::read_bpe(&path.with_file_name(VOCAB_JSON), path),
            _ if name.ends_with(".model") => Ok(Self::SentencePiece { model: read(path)? }),
            _ if name.ends_with(".json") => Ok(Self::Json { json: read(path)? }),
            _ => Err(TokenizerError::NotFound {
                path: path.to_owned(),
            }),
        }
    }

    fn locate_in(dir: &Path) -> Result<Self, TokenizerError> {
        let [model, vocab, merges, json] =
            [SPM_MODEL, VOCAB_JSON, MERGES_TXT, TOKENIZER_JSON].map(|name| dir.join(name));
        if model.exists() {
            refuse_lower_casing(&dir.join(TOKENIZER_CONFIG))?;
            Ok(Self::SentencePiece {
                model: read(&model)?,
            })
        } else if vocab.exists() && merges.exists() {
            Self::read_bpe(&vocab, &merges)
        } else if json.exists() {
            Ok(Self::Json { json: read(&json)? })
        } else {
            Err(TokenizerError::NotFound {
                path: dir.to_owned(),
            })
        }
    }

    /// Reads a byte-level BPE.
    pub(super) fn read_bpe(vocab: &Path, merges: &Path) -> Result<Self, TokenizerError> {
        Ok(Self::Bpe {
            vocab: read(vocab)?,
            merges: read(merges)?,
        })
    }

    /// SHA-256 over the kind and the length and bytes of each file.
    pub(super) fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for (name, bytes) in self.parts() {
            hash.update(name);
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
        hash.finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Writes the files and the configuration that makes other libraries open them.
    ///
    /// `names` are the special pieces in the order pad, cls, sep, unk, mask.
    pub(super) fn save(
        &self,
        dir: &Path,
        names: &[String; 5],
        added_mask: Option<u32>,
    ) -> Result<(), TokenizerError> {
        fs::create_dir_all(dir).map_err(TokenizerError::io("create", dir))?;
        for (name, bytes) in self.parts() {
            write(&dir.join(name), bytes)?;
        }
        let [pad, cls, sep, unk, mask] = names;
        let specials = json!({
            "bos_token": cls, "cls_token": cls, "eos_token": sep, "sep_token": sep,
            "mask_token": mask, "pad_token": pad, "unk_token": unk,
        });
        write_json(&dir.join("special_tokens_map.json"), &specials)?;

        let mut config = specials;
        config["do_lower_case"] = json!(false);
        config["tokenizer_class"] = json!(match self {
            Self::SentencePiece { .. } => "DebertaV2Tokenizer",
            Self::Bpe { .. } => "DebertaTokenizer",
            Self::Json { .. } => "PreTrainedTokenizerFast",
        });
        if let Self::SentencePiece { .. } = self {
            config["vocab_type"] = json!("spm");
        }
        write_json(&dir.join(TOKENIZER_CONFIG), &config)?;
        match added_mask {
            Some(id) => write_json(&dir.join("added_tokens.json"), &json!({ mask: id })),
            None => Ok(()),
        }
    }

    fn parts(&self) -> Vec<(&'static str, &[u8])> {
        match self {
            Self::SentencePiece { model } => vec![(SPM_MODEL, model)],
            Self::Bpe { vocab, merges } => vec![(VOCAB_JSON, vocab), (MERGES_TXT, merges)],
            Self::Json { json } => vec![(TOKENIZER_JSON, json)],
        }
    }
}

/// Some repositories ask for lower-casing outside the model file; no published DeBERTa does.
fn refuse_lower_casing(config: &Path) -> Result<(), TokenizerError> {
    let Ok(text) = fs::read(config) else {
        return Ok(());
    };
    let config_value: Value = serde_json::from_slice(&text).unwrap_or_default();
    if config_value["do_lower_case"] == json!(true) {
        let reason = "do_lower_case is true, which is not supported";
        return Err(TokenizerError::malformed(config, reason));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, TokenizerError> {
    let metadata = fs::metadata(path).map_err(TokenizerError::io("read", path))?;
    if metadata.len() > MAX_BYTES {
        let reason = format!("{} bytes, expected at most {MAX_BYTES}", metadata.len());
        return Err(TokenizerError::malformed(path, reason));
    }
    fs::read(path).map_err(TokenizerError::io("read", path))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), TokenizerError> {
    fs::write(path, bytes).map_err(TokenizerError::io("write", path))
}

fn write_json(path: &Path, value: &Value) -> Result<(), TokenizerError> {
    write(path, format!("{value:#}\n").as_bytes())
}
