//! The files beside a vocabulary that say how it is used: `tokenizer_config.json`,
//! `special_tokens_map.json` and `added_tokens.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::files::{read, write_json};
use super::{AddedToken, TokenizerError, TokenizerOptions};

pub(super) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
pub(super) const SPECIAL_TOKENS_MAP: &str = "special_tokens_map.json";
pub(super) const ADDED_TOKENS: &str = "added_tokens.json";

/// Where the special pieces are named, in the order pad, cls, sep, unk, mask.
pub(super) const ROLES: [&str; 5] = [
    "pad_token",
    "cls_token",
    "sep_token",
    "unk_token",
    "mask_token",
];
/// A longer `model_max_length` stands for "no limit", and so does one without room for markers.
const MAX_LENGTHS: std::ops::RangeInclusive<f64> = 3.0..=1e6;
/// Where further special tokens are listed, in older and newer files.
const LISTS: [&str; 2] = ["additional_special_tokens", "extra_special_tokens"];

/// What the files say. All of them may be missing.
#[derive(Debug, Default)]
pub(super) struct Sidecar {
    pub(super) options: TokenizerOptions,
    /// Names of the special pieces, in the order of [`ROLES`].
    pub(super) names: [Option<String>; 5],
    /// Tokens by id.
    pub(super) placed: BTreeMap<u32, AddedToken>,
    /// Special tokens that get the next free ids.
    pub(super) unplaced: Vec<AddedToken>,
    /// Most tokens of a sequence (`model_max_length`).
    pub(super) max_length: Option<usize>,
}

impl Sidecar {
    /// Reads the files in a folder.
    pub(super) fn read(dir: &Path) -> Result<Self, TokenizerError> {
        let mut sidecar = Self::default();
        let mut tokens = Tokens::default();
        let path = dir.join(ADDED_TOKENS);
        if let Some(file) = read_object(&path)? {
            tokens
                .read_ids(&file)
                .map_err(|reason| TokenizerError::malformed(&path, reason))?;
        }
        for name in [SPECIAL_TOKENS_MAP, TOKENIZER_CONFIG] {
            let path = dir.join(name);
            let Some(file) = read_object(&path)? else {
                continue;
            };
            let malformed = |reason| TokenizerError::malformed(&path, reason);
            tokens.read_map(&file).map_err(malformed)?;
            for (role, name) in ROLES.iter().zip(&mut sidecar.names) {
                let token = file.get(*role).filter(|value| !value.is_null());
                if let Some(token) = token {
                    *name = Some(read_token(role, token, true).map_err(malformed)?.content);
                }
            }
            sidecar.options.read(&file).map_err(malformed)?;
            let said = file.get("model_max_length").and_then(Value::as_f64);
            let said = said.filter(|it| MAX_LENGTHS.contains(it));
            sidecar.max_length = said.map(|it| it as usize).or(sidecar.max_length);
        }
        (sidecar.placed, sidecar.unplaced) = tokens
            .finish()
            .map_err(|reason| TokenizerError::malformed(dir, reason))?;
        Ok(sidecar)
    }
}

impl TokenizerOptions {
    fn read(&mut self, config: &Map<String, Value>) -> Result<(), String> {
        for (key, option) in [
            ("do_lower_case", &mut self.lower_case),
            ("split_by_punct", &mut self.split_by_punct),
        ] {
            match config.get(key) {
                None | Some(Value::Null) => {}
                Some(Value::Bool(value)) => *option = *value,
                Some(other) => return Err(format!("`{key}` is {other}, expected true or false")),
            }
        }
        Ok(())
    }
}

/// Tokens and ids as they are collected from the three files.
#[derive(Default)]
struct Tokens {
    ids: BTreeMap<String, u32>,
    tokens: BTreeMap<String, AddedToken>,
    /// Names of the special pieces.
    roles: BTreeSet<String>,
    /// Names of special tokens without an id yet, in order.
    listed: Vec<String>,
}

impl Tokens {
    /// `added_tokens.json`: names to ids.
    fn read_ids(&mut self, file: &Map<String, Value>) -> Result<(), String> {
        for (name, id) in file {
            self.place(name, read_id(name, id)?)?;
        }
        Ok(())
    }

    /// The parts that `special_tokens_map.json` and `tokenizer_config.json` have in common, and
    /// `added_tokens_decoder`: ids to tokens with their settings.
    fn read_map(&mut self, file: &Map<String, Value>) -> Result<(), String> {
        for role in ROLES {
            if let Some(token) = file.get(role).filter(|value| !value.is_null()) {
                let token = read_token(role, token, true)?;
                // A bare name says nothing about the settings.
                self.roles.insert(token.content.clone());
                if file[role].is_object() {
                    self.tokens.insert(token.content.clone(), token);
                }
            }
        }
        for list in LISTS {
            for token in file
                .get(list)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let token = read_token(list, token, true)?;
                self.listed.push(token.content.clone());
                self.tokens.insert(token.content.clone(), token);
            }
        }
        match file.get("added_tokens_decoder") {
            None | Some(Value::Null) => Ok(()),
            Some(Value::Object(decoder)) => decoder.iter().try_for_each(|(id, token)| {
                let token = read_token("added_tokens_decoder", token, false)?;
                let parsed = id.parse().map_err(|_| {
                    format!("`added_tokens_decoder` has the key `{id}`, expected an id")
                })?;
                self.place(&token.content, parsed)?;
                self.tokens.insert(token.content.clone(), token);
                Ok(())
            }),
            Some(other) => Err(format!(
                "`added_tokens_decoder` is {other}, expected an object"
            )),
        }
    }

    fn place(&mut self, name: &str, id: u32) -> Result<(), String> {
        if name.is_empty() {
            return Err(format!("the added token of id {id} has no name"));
        }
        match self.ids.insert(name.to_owned(), id) {
            Some(other) if other != id => Err(format!("`{name}` has the ids {other} and {id}")),
            _ => Ok(()),
        }
    }

    fn finish(mut self) -> Result<(BTreeMap<u32, AddedToken>, Vec<AddedToken>), String> {
        let mut token = |name: &str| match self.tokens.remove(name) {
            Some(token) => token,
            None if self.roles.contains(name) => AddedToken::special(name),
            None => AddedToken::text(name),
        };
        let mut placed: BTreeMap<u32, AddedToken> = BTreeMap::new();
        for (name, id) in &self.ids {
            if let Some(other) = placed.insert(*id, token(name)) {
                return Err(format!(
                    "the added tokens `{}` and `{name}` have the same id {id}",
                    other.content
                ));
            }
        }
        let mut seen: BTreeSet<&String> = self.ids.keys().collect();
        let listed = self.listed.iter().filter(|name| seen.insert(name));
        let unplaced = listed.map(|name| token(name)).collect();
        Ok((placed, unplaced))
    }
}

/// A name, or an object with a name and settings.
fn read_token(place: &str, value: &Value, special: bool) -> Result<AddedToken, String> {
    let token = match value {
        Value::String(name) => AddedToken {
            normalized: !special,
            special,
            ..AddedToken::special(name)
        },
        _ => {
            let mut token: AddedToken = serde_json::from_value(value.clone())
                .map_err(|error| format!("`{place}` holds {value}: {error}"))?;
            token.special |= special;
            token
        }
    };
    match token.content.is_empty() {
        true => Err(format!("`{place}` holds a token without a name")),
        false => Ok(token),
    }
}

fn read_id(name: &str, id: &Value) -> Result<u32, String> {
    id.as_u64()
        .and_then(|id| u32::try_from(id).ok())
        .ok_or_else(|| format!("`{name}` has the id {id}, expected a whole number"))
}

fn read_object(path: &Path) -> Result<Option<Map<String, Value>>, TokenizerError> {
    if !path.exists() {
        return Ok(None);
    }
    let file = serde_json::from_slice(&read(path)?)
        .map_err(|error| TokenizerError::malformed(path, error.to_string()))?;
    match file {
        Value::Object(file) => Ok(Some(file)),
        _ => Err(TokenizerError::malformed(path, "not a JSON object")),
    }
}

/// What [`write`] writes down.
#[derive(Debug)]
pub(super) struct Description<'a> {
    /// The Python class that opens such a folder.
    pub(super) class: &'static str,
    pub(super) options: TokenizerOptions,
    /// Names of the special pieces, in the order of [`ROLES`].
    pub(super) names: [&'a str; 5],
    /// Special pieces inside the vocabulary and tokens beside it.
    pub(super) tokens: Vec<(u32, &'a AddedToken)>,
    /// Number of ids of the vocabulary itself.
    pub(super) base: usize,
    pub(super) max_length: Option<usize>,
}

/// Writes the three files so that other libraries open the folder the same way.
pub(super) fn write(dir: &Path, description: &Description<'_>) -> Result<(), TokenizerError> {
    let [pad, cls, sep, unk, mask] = description.names;
    let mut specials = json!({
        "bos_token": cls, "cls_token": cls, "eos_token": sep, "sep_token": sep,
        "mask_token": mask, "pad_token": pad, "unk_token": unk,
    });
    let further: Vec<_> = description
        .tokens
        .iter()
        .filter(|(_, token)| token.special && !description.names.contains(&&*token.content))
        .map(|(_, token)| &token.content)
        .collect();
    if !further.is_empty() {
        specials["additional_special_tokens"] = json!(further);
    }
    write_json(&dir.join(SPECIAL_TOKENS_MAP), &specials)?;

    let mut config = specials;
    config["do_lower_case"] = json!(description.options.lower_case);
    config["tokenizer_class"] = json!(description.class);
    if let Some(max_length) = description.max_length {
        config["model_max_length"] = json!(max_length);
    }
    if description.class == "DebertaV2Tokenizer" {
        config["split_by_punct"] = json!(description.options.split_by_punct);
        config["vocab_type"] = json!("spm");
    }
    if description.class != "PreTrainedTokenizerFast" {
        let decoder: Map<String, Value> = description
            .tokens
            .iter()
            .map(|(id, token)| (id.to_string(), json!(token)))
            .collect();
        config["added_tokens_decoder"] = Value::Object(decoder);
    }
    write_json(&dir.join(TOKENIZER_CONFIG), &config)?;

    let outside = |id: u32| id as usize >= description.base;
    let added: Map<String, Value> = description
        .tokens
        .iter()
        .filter(|(id, _)| outside(*id))
        .map(|(id, token)| (token.content.clone(), json!(id)))
        .collect();
    if added.is_empty() {
        return Ok(());
    }
    write_json(&dir.join(ADDED_TOKENS), &Value::Object(added))
}
