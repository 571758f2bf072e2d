//! More tokens for a checkpoint: tokenizer and word table together.

use std::path::{Path, PathBuf};

use deberta_data::tokenizer::{AddedToken, Tokenize, Tokenizer, TokenizerError};
use deberta_model::HfConfig;
use deberta_model::checkpoint::{CheckpointError, ConvertOptions, TOKENIZER_FILES, convert};
use deberta_model::config::ConfigError;

/// Written beside `spm.model` and `vocab.json` for other programs.
const TOKENIZER_JSON: &str = "tokenizer.json";

/// Files without a vocabulary: what they said stands in those that are written.
const SETTINGS: [&str; 3] = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];

/// What [`add_tokens`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddTokensReport {
    /// Ids of the tokens, in their order.
    pub ids: Vec<u32>,
    /// Rows of the word table before.
    pub rows_before: usize,
    /// Rows of the word table now; the same where the checkpoint had enough that were not in use.
    pub rows: usize,
    /// Tensors that were not written, as of [`convert`].
    pub left_aside: Vec<String>,
    /// Files of the tokenizer that say the same in another way, but could not be given the tokens, and
    /// so were not written.
    pub files_left_out: Vec<String>,
}

/// Tokens that could not be added to a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddTokensError {
    /// A token that the vocabulary has, or one that was given twice.
    #[error("the token `{token}` is there already, with the id {id}")]
    AlreadyThere {
        /// Its name.
        token: String,
        /// Its id.
        id: u32,
    },
    /// There is nothing to add.
    #[error("no tokens were given, expected at least one")]
    NoTokens,
    /// A file of another tokenizer could not be removed.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The tokenizer could not be opened or saved, or a token has no name.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The configuration is not usable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The weights could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Writes the checkpoint of `source` into `target` with more tokens, which are then one id each
/// wherever they occur in a text.
///
/// Ids follow those of the tokenizer. Rows of the word table that it does not use yet are taken as they
/// are; if there are too few, the table grows, and with it the output bias of a language-model head. New rows
/// follow from `seed`; see [`VocabularyGrowth`](deberta_model::vocabulary::VocabularyGrowth). All
/// other numbers are copied bit by bit. A few rows are in memory at a time.
///
/// transformers reads the folder with the same ids; it is what `tokenizer.add_tokens` and
/// `model.resize_token_embeddings` do there.
///
/// ```no_run
/// use deberta::data::tokenizer::AddedToken;
///
/// let markers = ["[E1]", "[/E1]"].map(AddedToken::special);
/// let (source, target) = ("deberta-v3-base".as_ref(), "with-markers".as_ref());
/// let report = deberta::add_tokens(source, target, &markers, 0)?;
/// // The word table of v3 has 128 100 rows for 128 001 tokens.
/// assert_eq!(report.ids, [128_001, 128_002]);
/// assert_eq!(report.rows, report.rows_before);
/// # Ok::<(), deberta::AddTokensError>(())
/// ```
///
/// # Errors
///
/// If a token has no name or is there already, and as [`convert`]; `target` is not touched by wrong
/// tokens.
pub fn add_tokens(
    source: &Path,
    target: &Path,
    tokens: &[AddedToken],
    seed: u64,
) -> Result<AddTokensReport, AddTokensError> {
    let mut tokenizer = Tokenizer::open(source)?;
    let twin = Twin::open(source, &tokenizer);
    let ids = add_new(&mut tokenizer, tokens)?;
    let rows_before = HfConfig::of_folder(source)?.vocab_size;
    let rows = rows_before.max(tokenizer.vocab_size());
    let options = ConvertOptions::new().vocab_size(rows).seed(seed);
    let converted = convert(source, target, &options)?;

    // Those that were copied, or were there, do not know the tokens.
    let mut removed = Vec::new();
    for name in TOKENIZER_FILES {
        let path = target.join(name);
        match std::fs::remove_file(&path) {
            Ok(()) if source.join(name).is_file() && !SETTINGS.contains(&name) => {
                removed.push(name.to_owned())
            }
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(AddTokensError::Remove { path, source });
            }
            _ => {}
        }
    }
    twin.save(tokens, &ids, target)?;
    tokenizer.save(target)?;
    removed.retain(|name| !target.join(name).is_file());
    Ok(AddTokensReport {
        ids,
        rows_before,
        rows,
        left_aside: converted.left_aside,
        files_left_out: removed,
    })
}

/// Adds tokens that are not there; none if there is one that is.
fn add_new(tokenizer: &mut Tokenizer, tokens: &[AddedToken]) -> Result<Vec<u32>, AddTokensError> {
    if tokens.is_empty() {
        return Err(AddTokensError::NoTokens);
    }
    let already_there = |token: &AddedToken, id| AddTokensError::AlreadyThere {
        token: token.content.clone(),
        id,
    };
    for token in tokens {
        if let Some(id) = tokenizer.id(&token.content) {
            return Err(already_there(token, id));
        }
    }
    let ids = tokenizer.add_tokens(tokens)?;
    let seen = |at: usize| ids[..at].contains(&ids[at]);
    match (0..ids.len()).find(|at| seen(*at)) {
        Some(at) => Err(already_there(&tokens[at], ids[at])),
        None => Ok(ids),
    }
}

/// The `tokenizer.json` beside the files that the tokenizer was opened from, for programs that read
/// nothing else.
struct Twin(Option<Tokenizer>);

impl Twin {
    /// `None` if there is none, the tokenizer was opened from it, or the two have different ids.
    fn open(dir: &Path, tokenizer: &Tokenizer) -> Self {
        let path = dir.join(TOKENIZER_JSON);
        let is_first = tokenizer.file_names().contains(&TOKENIZER_JSON) || !path.is_file();
        let twin = (!is_first).then(|| Tokenizer::open(&path).ok()).flatten();
        Self(twin.filter(|twin| twin.vocab_size() == tokenizer.vocab_size()))
    }

    /// Saves it with the tokens, if they have the same ids.
    fn save(self, tokens: &[AddedToken], ids: &[u32], dir: &Path) -> Result<(), TokenizerError> {
        let Some(mut twin) = self.0 else {
            return Ok(());
        };
        match twin.add_tokens(tokens) {
            Ok(found) if found == ids => twin.save(dir),
            _ => Ok(()),
        }
    }
}
