//! The concrete tokenizer: one engine, its vocabulary, and the files it came from.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::added::Finder;
use super::byte_level::ByteLevelBpe;
use super::files::TokenizerFiles;
use super::hub::{self, Hub};
use super::open::{self, Ids, Opened};
use super::sentencepiece::SentencePiece;
use super::sidecar::{self, Description, Sidecar};
use super::{
    AddedToken, Encoding, PieceKind, SpecialTokens, Tokenize, TokenizerError, VocabInfo, WordMark,
};

/// What happens to a text before the model of `spm.model` or `vocab.json` sees it.
///
/// A `tokenizer.json` says these things itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenizerOptions {
    /// Lower-cases, character by character (`do_lower_case`). Default: false.
    pub lower_case: bool,
    /// Makes each punctuation character a word of its own (`split_by_punct`); for `spm.model` only.
    /// Default: false.
    pub split_by_punct: bool,
    /// Whether `[CLS]`, `[SEP]`, `[PAD]` and `[UNK]` inside a text stand for themselves, as in the
    /// transformers library. Default: false, as in Microsoft's code: a text cannot forge markers. In a
    /// `tokenizer.json` they usually do, whatever this says.
    pub markers_in_text: bool,
}

/// A tokenizer opened from files or trained from a corpus.
///
/// ```no_run
/// use deberta_data::tokenizer::{AddedToken, Tokenize, Tokenizer};
///
/// let mut tokenizer = Tokenizer::open("deberta-v3-base".as_ref())?;
/// let encoding = tokenizer.encode("A [MASK] day.")?;
/// assert_eq!(encoding.ids[1], tokenizer.special().mask);
///
/// // Two more rows of the embedding table.
/// let ids = tokenizer.add_tokens(&["<<ENT>>", "<<SEP>>"].map(AddedToken::special))?;
/// assert_eq!(ids, [128_001, 128_002]);
/// # Ok::<(), deberta_data::tokenizer::TokenizerError>(())
/// ```
#[derive(Debug)]
pub struct Tokenizer {
    pub(super) engine: Engine,
    lookup: Lookup,
    files: TokenizerFiles,
    pub(super) options: TokenizerOptions,
    added: BTreeMap<u32, AddedToken>,
    /// Finds the added tokens in a text as it is.
    pub(super) verbatim: Finder,
    /// Finds those that are looked for after lower-casing.
    pub(super) normalized: Finder,
    max_length: Option<usize>,
    fingerprint: String,
}

/// What cuts plain text into pieces.
#[derive(Debug)]
pub(super) enum Engine {
    SentencePiece(Box<SentencePiece>),
    ByteLevel(Box<ByteLevelBpe>),
    /// Finds added tokens itself.
    Hub(Box<Hub>),
}

impl Engine {
    /// Pieces of the model itself.
    pub(super) fn base(&self) -> &[(String, PieceKind)] {
        match self {
            Self::SentencePiece(model) => model.pieces(),
            Self::ByteLevel(model) => model.pieces(),
            Self::Hub(model) => model.pieces(),
        }
    }
}

/// Pieces by id and ids by piece.
#[derive(Debug)]
pub(super) struct Lookup {
    pieces: Vec<(String, PieceKind)>,
    ids: HashMap<String, u32>,
    mark: WordMark,
    vocab: VocabInfo,
}

impl Lookup {
    pub(super) fn new(
        pieces: Vec<(String, PieceKind)>,
        mark: WordMark,
        special: SpecialTokens,
    ) -> Self {
        let kinds = pieces.iter().map(|(piece, kind)| (piece.as_str(), *kind));
        let vocab = VocabInfo::new(kinds, mark, special);
        let names = pieces.iter().map(|(piece, _)| piece.clone());
        Self {
            ids: names
                .zip(0..)
                .filter(|(name, _)| !name.is_empty())
                .collect(),
            pieces,
            mark,
            vocab,
        }
    }
}

impl Tokenizer {
    /// Opens a folder or a file.
    ///
    /// - A folder: `spm.model` if there is one, else `vocab.json` with `merges.txt`, else
    ///   `tokenizer.json`, else GPT-2's `encoder.json` and `vocab.bpe` with fairseq's `dict.txt`.
    ///   Repositories that have several keep them equivalent, and the first two are what the model
    ///   was trained with. Added tokens and options are read from `tokenizer_config.json`,
    ///   `special_tokens_map.json` and `added_tokens.json` beside them.
    /// - `*.model`: SentencePiece. `vocab.json` or `merges.txt`: byte-level BPE, the other file
    ///   beside it. Any other `*.json`: a file of the `tokenizers` library.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::NotFound`], [`Io`](TokenizerError::Io),
    /// [`Malformed`](TokenizerError::Malformed) or
    /// [`MissingSpecials`](TokenizerError::MissingSpecials), each with the path.
    pub fn open(path: &Path) -> Result<Self, TokenizerError> {
        let (files, sidecar) = TokenizerFiles::locate(path)?;
        Self::from_parts(files, sidecar, path)
    }

    /// Opens a folder or a file with these options in place of those of `tokenizer_config.json`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Malformed`](TokenizerError::Malformed) if the files are of a
    /// kind that an option does not apply to.
    pub fn open_with(path: &Path, options: TokenizerOptions) -> Result<Self, TokenizerError> {
        let (files, mut sidecar) = TokenizerFiles::locate(path)?;
        if matches!(files, TokenizerFiles::Json { .. }) && options != TokenizerOptions::default() {
            let reason = format!("options do not apply to a tokenizer.json, found {options:?}");
            return Err(TokenizerError::malformed(path, reason));
        }
        sidecar.options = options;
        Self::from_parts(files, sidecar, path)
    }

    /// Opens a byte-level BPE whose two files have names or places of their own.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn from_bpe_files(vocab: &Path, merges: &Path) -> Result<Self, TokenizerError> {
        Self::from_files(TokenizerFiles::read_bpe(vocab, merges)?, vocab)
    }

    /// Builds a tokenizer without anything beside its files; `path` is for messages only.
    pub(super) fn from_files(files: TokenizerFiles, path: &Path) -> Result<Self, TokenizerError> {
        Self::from_parts(files, Sidecar::default(), path)
    }

    fn from_parts(
        files: TokenizerFiles,
        sidecar: Sidecar,
        path: &Path,
    ) -> Result<Self, TokenizerError> {
        let options = match files {
            TokenizerFiles::Json { .. } => TokenizerOptions::default(),
            _ => sidecar.options,
        };
        if options.split_by_punct && !matches!(files, TokenizerFiles::SentencePiece { .. }) {
            let reason = "split_by_punct is for spm.model only";
            return Err(TokenizerError::malformed(path, reason));
        }
        let max_length = sidecar.max_length;
        let opened = open::open(path, &files, sidecar)?;
        let mut tokenizer = Self::build(opened, files, options)
            .ok_or_else(|| TokenizerError::malformed(path, "the added tokens are too long"))?;
        tokenizer.max_length = max_length;
        Ok(tokenizer)
    }

    fn build(opened: Opened, files: TokenizerFiles, options: TokenizerOptions) -> Option<Self> {
        let mut tokenizer = Self {
            engine: opened.engine,
            lookup: opened.lookup,
            files,
            options,
            added: opened.added,
            verbatim: Finder::default(),
            normalized: Finder::default(),
            max_length: None,
            fingerprint: String::new(),
        };
        (tokenizer.verbatim, tokenizer.normalized) = tokenizer.finders()?;
        tokenizer.fingerprint = tokenizer.files.fingerprint(&tokenizer.beside());
        Some(tokenizer)
    }

    /// Adds tokens that stand for themselves wherever their names occur in a text, and returns
    /// their ids. A name that is in the vocabulary keeps its id, others get the next free ones.
    ///
    /// A model needs as many rows of its embedding table as [`vocab_size`](Tokenize::vocab_size)
    /// says. [`save`](Tokenize::save) keeps the tokens.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::CannotAdd`] for an empty name or one that is there with other settings;
    /// no token is added then.
    pub fn add_tokens(&mut self, tokens: &[AddedToken]) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = Ids::new(&self.lookup.pieces);
        let mut added = self.added.clone();
        let mut new = Vec::new();
        let mut result = Vec::with_capacity(tokens.len());
        for token in tokens {
            let cannot = |reason: String| TokenizerError::CannotAdd {
                token: token.content.clone(),
                reason,
            };
            if token.content.is_empty() {
                return Err(cannot("its name is empty".to_owned()));
            }
            let id = ids.get(&token.content).unwrap_or(ids.end());
            ids.place(id, token).map_err(cannot)?;
            match added.insert(id, token.clone()) {
                Some(other) if other != *token => {
                    return Err(cannot("it is there with other settings".to_owned()));
                }
                Some(_) => {}
                None => new.push((id, token.clone())),
            }
            result.push(id);
        }
        self.take_over(ids, added, &new)?;
        Ok(result)
    }

    fn take_over(
        &mut self,
        ids: Ids,
        added: BTreeMap<u32, AddedToken>,
        new: &[(u32, AddedToken)],
    ) -> Result<(), TokenizerError> {
        if let TokenizerFiles::Json { json } = &self.files {
            let path = Path::new("the tokenizer with its added tokens");
            let json = hub::with_added(path, json, new)?;
            let max_length = self.max_length;
            *self = Self::from_files(TokenizerFiles::Json { json }, path)?;
            self.max_length = max_length;
            return Ok(());
        }
        let before = std::mem::replace(&mut self.added, added);
        let Some(finders) = self.finders() else {
            self.added = before;
            return Err(TokenizerError::CannotAdd {
                token: new
                    .first()
                    .map_or_else(String::new, |(_, it)| it.content.clone()),
                reason: "the names are too long together".to_owned(),
            });
        };
        (self.verbatim, self.normalized) = finders;
        self.lookup = ids.finish(self.lookup.mark, self.special());
        self.fingerprint = self.files.fingerprint(&self.beside());
        Ok(())
    }

    /// Tokens that stand for themselves in texts, by id; the mask is among them.
    pub fn added_tokens(&self) -> impl Iterator<Item = (u32, &AddedToken)> {
        self.added.iter().map(|(id, token)| (*id, token))
    }

    /// Most tokens of a sequence that the model was made for, markers included, if
    /// `tokenizer_config.json` says so (`model_max_length`). [`save`](Tokenize::save) keeps it;
    /// nothing here cuts by it.
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// Changes what [`max_length`](Self::max_length) says.
    pub fn set_max_length(&mut self, max_length: Option<usize>) {
        self.max_length = max_length;
    }

    /// Names of the files with the vocabulary itself, as [`save`](Tokenize::save) writes them.
    pub fn file_names(&self) -> Vec<&'static str> {
        let parts = self.files.parts().into_iter();
        parts.map(|(name, _)| name).collect()
    }

    /// What happens to a text first.
    pub fn options(&self) -> TokenizerOptions {
        self.options
    }

    fn finders(&self) -> Option<(Finder, Finder)> {
        if let Engine::Hub(_) = self.engine {
            return Some(Default::default());
        }
        let mut tokens: Vec<_> = self.added().collect();
        if self.options.markers_in_text {
            tokens.extend(self.markers());
        }
        let (mut normalized, verbatim): (Vec<_>, Vec<_>) =
            tokens.into_iter().partition(|(_, token)| token.normalized);
        if self.options.lower_case {
            for (_, token) in &mut normalized {
                token.content = token.content.chars().flat_map(char::to_lowercase).collect();
            }
        }
        Some((Finder::new(verbatim)?, Finder::new(normalized)?))
    }

    fn added(&self) -> impl Iterator<Item = (u32, AddedToken)> {
        self.added_tokens().map(|(id, token)| (id, token.clone()))
    }

    fn markers(&self) -> impl Iterator<Item = (u32, AddedToken)> {
        let special = self.special();
        let ids = [special.pad, special.cls, special.sep, special.unk];
        ids.into_iter()
            .filter_map(|id| Some((id, AddedToken::special(self.token(id)?))))
    }

    /// What tells this tokenizer from one that has the same files and nothing beside them.
    fn beside(&self) -> Vec<u8> {
        let mask = self.special().mask;
        let name = self.token(mask).unwrap_or_default();
        let usual = AddedToken {
            lstrip: matches!(self.engine, Engine::ByteLevel(_)),
            ..AddedToken::special(name)
        };
        let is_usual = self
            .added
            .iter()
            .all(|(id, it)| *id == mask && *it == usual);
        let is_hub = matches!(self.engine, Engine::Hub(_));
        if is_hub || (is_usual && self.options == TokenizerOptions::default()) {
            return Vec::new();
        }
        serde_json::to_vec(&(self.options, &self.added)).unwrap_or_default()
    }
}

impl Tokenize for Tokenizer {
    fn encode(&self, text: &str) -> Result<Encoding, TokenizerError> {
        let mut encoding = Encoding::default();
        self.encode_into(text, &mut encoding)?;
        Ok(encoding)
    }

    fn encode_ids(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = Vec::with_capacity(text.len() / 4);
        self.encode_into(text, &mut ids)?;
        Ok(ids)
    }

    fn decode(&self, ids: &[u32]) -> String {
        let ids = ids.iter().copied();
        let ids: Vec<u32> = ids.filter(|id| !self.vocab().is_special(*id)).collect();
        // Where a mark stands for a space, decoding drops the first: it comes back between runs.
        let spaced = self.lookup.mark == WordMark::Metaspace;
        let is_apart = spaced || !matches!(self.engine, Engine::Hub(_));
        let is_added = |id: &u32| is_apart && self.added.contains_key(id);
        let mut text = String::new();
        for run in ids.chunk_by(|left, right| !is_added(left) && !is_added(right)) {
            if spaced && !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&match (&self.engine, run) {
                (_, [id]) if is_added(id) => self.token(*id).unwrap_or_default().to_owned(),
                (Engine::SentencePiece(model), run) => model.decode(run),
                (Engine::ByteLevel(model), run) => model.decode(run),
                (Engine::Hub(model), run) => model.decode(run),
            });
        }
        text
    }

    fn vocab_size(&self) -> usize {
        self.lookup.pieces.len()
    }

    fn special(&self) -> SpecialTokens {
        self.lookup.vocab.special()
    }

    fn token(&self, id: u32) -> Option<&str> {
        let (piece, _) = self.lookup.pieces.get(usize::try_from(id).ok()?)?;
        // Ids that a vocabulary leaves out have an empty name.
        (!piece.is_empty()).then_some(piece)
    }

    fn id(&self, token: &str) -> Option<u32> {
        self.lookup.ids.get(token).copied()
    }

    fn vocab(&self) -> &VocabInfo {
        &self.lookup.vocab
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn save(&self, dir: &Path) -> Result<(), TokenizerError> {
        self.files.save(dir)?;
        let special = self.special();
        let name = |id| self.token(id).unwrap_or_default();
        let markers: Vec<_> = self.markers().collect();
        let markers = markers.iter().map(|(id, token)| (*id, token));
        let mut tokens: Vec<_> = markers.chain(self.added_tokens()).collect();
        tokens.sort_by_key(|(id, _)| *id);
        tokens.dedup_by_key(|(id, _)| *id);
        let description = Description {
            class: self.files.class(),
            options: self.options,
            names: [
                name(special.pad),
                name(special.cls),
                name(special.sep),
                name(special.unk),
                name(special.mask),
            ],
            tokens,
            base: self.engine.base().len(),
            max_length: self.max_length,
        };
        sidecar::write(dir, &description)
    }
}
