//! The files behind a tokenizer: finding, fingerprinting and saving them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::sidecar::Sidecar;
use super::{TokenizerError, fairseq};

const SPM_MODEL: &str = "spm.model";
const VOCAB_JSON: &str = "vocab.json";
const MERGES_TXT: &str = "merges.txt";
const TOKENIZER_JSON: &str = "tokenizer.json";
/// GPT-2's vocabulary and merges, and fairseq's list of them.
const ENCODER_JSON: &str = "encoder.json";
const VOCAB_BPE: &str = "vocab.bpe";
const DICT_TXT: &str = "dict.txt";
/// The same three in one pickle, as Microsoft ships v1.
const BPE_ENCODER_BIN: &str = "bpe_encoder.bin";

/// No tokenizer file in use comes near this; a larger one is a mistake.
const MAX_BYTES: u64 = 64 << 20;

/// The bytes that define a tokenizer.
#[derive(Debug)]
pub(super) enum TokenizerFiles {
    SentencePiece { model: Vec<u8> },
    Bpe { vocab: Vec<u8>, merges: Vec<u8> },
    Json { json: Vec<u8> },
}

impl TokenizerFiles {
    /// Reads the files that `path` stands for; a folder also says how they are used.
    pub(super) fn locate(path: &Path) -> Result<(Self, Sidecar), TokenizerError> {
        if path.is_dir() {
            return Ok((Self::locate_in(path)?, Sidecar::read(path)?));
        }
        Ok((Self::locate_file(path)?, Sidecar::default()))
    }

    fn locate_file(path: &Path) -> Result<Self, TokenizerError> {
        let not_found = || TokenizerError::NotFound {
            path: path.to_owned(),
        };
        if !path.exists() {
            return Err(not_found());
        }
        let name = path.file_name().and_then(|name| name.to_str());
        match name.unwrap_or_default() {
            VOCAB_JSON => Self::read_bpe(path, &path.with_file_name(MERGES_TXT)),
            MERGES_TXT => Self::read_bpe(&path.with_file_name(VOCAB_JSON), path),
            ENCODER_JSON | VOCAB_BPE | DICT_TXT => {
                Self::read_fairseq(path, |name| path.with_file_name(name))
            }
            BPE_ENCODER_BIN => Err(refuse_pickle(path)),
            name if name.ends_with(".model") => Ok(Self::SentencePiece { model: read(path)? }),
            name if name.ends_with(".json") => Ok(Self::Json { json: read(path)? }),
            _ => Err(not_found()),
        }
    }

    fn locate_in(dir: &Path) -> Result<Self, TokenizerError> {
        let at = |name: &str| dir.join(name);
        let all = |names: &[&str]| names.iter().all(|name| at(name).exists());
        if all(&[SPM_MODEL]) {
            Ok(Self::SentencePiece {
                model: read(&at(SPM_MODEL))?,
            })
        } else if all(&[VOCAB_JSON, MERGES_TXT]) {
            Self::read_bpe(&at(VOCAB_JSON), &at(MERGES_TXT))
        } else if all(&[TOKENIZER_JSON]) {
            Ok(Self::Json {
                json: read(&at(TOKENIZER_JSON))?,
            })
        } else if all(&[ENCODER_JSON, VOCAB_BPE, DICT_TXT]) {
            Self::read_fairseq(dir, at)
        } else if all(&[BPE_ENCODER_BIN]) {
            Err(refuse_pickle(&at(BPE_ENCODER_BIN)))
        } else {
            Err(TokenizerError::NotFound {
                path: dir.to_owned(),
            })
        }
    }

    /// Reads GPT-2's files in fairseq's order; they are saved as the Hub has them.
    fn read_fairseq(path: &Path, at: impl Fn(&str) -> PathBuf) -> Result<Self, TokenizerError> {
        let vocab = fairseq::vocab_json(&read(&at(ENCODER_JSON))?, &read(&at(DICT_TXT))?)
            .map_err(|reason| TokenizerError::malformed(path, reason))?;
        Ok(Self::Bpe {
            vocab,
            merges: read(&at(VOCAB_BPE))?,
        })
    }

    /// Reads a byte-level BPE.
    pub(super) fn read_bpe(vocab: &Path, merges: &Path) -> Result<Self, TokenizerError> {
        Ok(Self::Bpe {
            vocab: read(vocab)?,
            merges: read(merges)?,
        })
    }

    /// SHA-256 over the kind and the length and bytes of each file, and over what is `beside` them.
    pub(super) fn fingerprint(&self, beside: &[u8]) -> String {
        let mut hash = Sha256::new();
        for (name, bytes) in self.parts() {
            hash.update(name);
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
        hash.update(beside);
        hash.finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Writes the files into a folder, which is made if need be.
    pub(super) fn save(&self, dir: &Path) -> Result<(), TokenizerError> {
        fs::create_dir_all(dir).map_err(TokenizerError::io("create", dir))?;
        self.parts()
            .into_iter()
            .try_for_each(|(name, bytes)| write(&dir.join(name), bytes))
    }

    /// The Python class that opens them.
    pub(super) fn class(&self) -> &'static str {
        match self {
            Self::SentencePiece { .. } => "DebertaV2Tokenizer",
            Self::Bpe { .. } => "DebertaTokenizer",
            Self::Json { .. } => "PreTrainedTokenizerFast",
        }
    }

    /// Names and bytes.
    pub(super) fn parts(&self) -> Vec<(&'static str, &[u8])> {
        match self {
            Self::SentencePiece { model } => vec![(SPM_MODEL, model)],
            Self::Bpe { vocab, merges } => vec![(VOCAB_JSON, vocab), (MERGES_TXT, merges)],
            Self::Json { json } => vec![(TOKENIZER_JSON, json)],
        }
    }
}

/// A pickle is a program; two conversions avoid running it.
fn refuse_pickle(path: &Path) -> TokenizerError {
    let reason = "a pickle, which is not read. Put vocab.json and merges.txt of \
                  microsoft/deberta-base on the Hub beside it, or GPT-2's encoder.json and \
                  vocab.bpe with fairseq's dict.txt: they hold the same";
    TokenizerError::malformed(path, reason)
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, TokenizerError> {
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

pub(super) fn write_json(path: &Path, value: &Value) -> Result<(), TokenizerError> {
    write(path, format!("{value:#}\n").as_bytes())
}
