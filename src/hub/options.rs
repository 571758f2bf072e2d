//! Where models come from and where they are kept.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The public Hub.
const HUB: &str = "https://huggingface.co";

/// What Python's library takes for yes.
const YES: [&str; 4] = ["1", "ON", "YES", "TRUE"];

/// Which files of a model are needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Parts {
    /// Configuration, weights, and the tokenizer if the model has one.
    #[default]
    All,
    /// Configuration and weights.
    Network,
    /// Configuration, and the tokenizer if the model has one.
    Metadata,
}

/// Settings of [`resolve`](super::resolve).
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// Address of the Hub. Default: `https://huggingface.co`.
    pub endpoint: String,
    /// The cache that is shared with Python's `huggingface_hub`; `None` if no place for it is known.
    pub cache_dir: Option<PathBuf>,
    /// Sent to the endpoint, and to no other host.
    pub token: Option<Token>,
    /// Makes no request at all. Default: false.
    pub offline: bool,
    /// Which files to get. Default: all.
    pub parts: Parts,
    /// Longest silence of a server, for a connection, an answer or the next bytes of one. Default: 30 s.
    pub timeout: Duration,
    /// How often in a row a download may stop before it has received another mebibyte. Default: 5.
    pub retries: u32,
}

impl HubOptions {
    /// Settings by the environment, under the same names as Python's `huggingface_hub`.
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `HF_ENDPOINT` | address of the Hub |
    /// | `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE` | folder of the cache; else `hub` in `HF_HOME` |
    /// | `HF_HOME` | else `huggingface` in `XDG_CACHE_HOME`, else in `~/.cache` |
    /// | `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN` | the token; else the file `HF_TOKEN_PATH`, else `token` in `HF_HOME` |
    /// | `HF_HUB_DISABLE_IMPLICIT_TOKEN` | `1` to leave the token's file alone |
    /// | `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE` | `1` for no request at all |
    pub fn from_env() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// As [`from_env`](Self::from_env), with a function in place of the environment.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let first = |names: [&str; 2]| names.into_iter().find_map(set);
        let yes = |value: Option<String>| {
            value.is_some_and(|it| YES.contains(&it.to_ascii_uppercase().as_str()))
        };
        let user = first(["HOME", "USERPROFILE"]).map(PathBuf::from);
        let folder = |name: &str| set(name).map(|path| expand(&path, user.as_deref()));

        let home = folder("HF_HOME").or_else(|| {
            let cache = folder("XDG_CACHE_HOME").or_else(|| Some(user.as_ref()?.join(".cache")));
            Some(cache?.join("huggingface"))
        });
        let cache_dir = folder("HF_HUB_CACHE")
            .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(home.as_ref()?.join("hub")));
        let token_file = folder("HF_TOKEN_PATH").or_else(|| Some(home.as_ref()?.join("token")));
        let token_file = token_file.filter(|_| !yes(set("HF_HUB_DISABLE_IMPLICIT_TOKEN")));
        Self {
            endpoint: set("HF_ENDPOINT").unwrap_or_else(|| HUB.into()),
            cache_dir,
            token: first(["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
                .or_else(|| std::fs::read_to_string(token_file?).ok())
                .and_then(|token| Token::new(&token)),
            offline: yes(first(["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])),
            parts: Parts::All,
            timeout: Duration::from_secs(30),
            retries: 5,
        }
    }
}

/// A leading `~` stands for the user's folder.
fn expand(path: &str, user: Option<&Path>) -> PathBuf {
    let below = path
        .strip_prefix('~')
        .filter(|rest| rest.is_empty() || rest.starts_with('/'));
    match (below, user) {
        (Some(rest), Some(user)) => user.join(rest.trim_start_matches('/')),
        _ => path.into(),
    }
}

/// A secret that opens private and gated models; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token without space around it; `None` if nothing is left, or if it cannot be a token.
    pub fn new(token: &str) -> Option<Self> {
        let token = token.trim();
        if !token.bytes().all(|it| it.is_ascii_graphic()) {
            log::warn!("the token for the Hub has letters that no token has and is not used");
            return None;
        }
        (!token.is_empty()).then(|| Self(token.into()))
    }

    #[cfg(feature = "hub")]
    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}
