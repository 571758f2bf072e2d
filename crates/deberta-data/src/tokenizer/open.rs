//! From files to a [`Tokenizer`]: which ids exist, which names stand for them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::byte_level::ByteLevelBpe;
use super::facade::{Engine, Lookup};
use super::files::TokenizerFiles;
use super::hub::{self, Hub};
use super::sentencepiece::SentencePiece;
use super::sidecar::Sidecar;
use super::{AddedToken, PieceKind, SpecialTokens, TokenizerError, WordMark, special};

/// Ids that a vocabulary may leave out before an added token.
const MAX_GAP: usize = 1024;

/// A model with the ids around it.
pub(super) struct Opened {
    pub(super) engine: Engine,
    pub(super) lookup: Lookup,
    /// Tokens that are looked for in texts, the mask among them.
    pub(super) added: BTreeMap<u32, AddedToken>,
}

/// Builds the model of the files and numbers what stands beside it; `path` is for messages only.
pub(super) fn open(
    path: &Path,
    files: &TokenizerFiles,
    sidecar: Sidecar,
) -> Result<Opened, TokenizerError> {
    let engine = match files {
        TokenizerFiles::SentencePiece { model } => {
            Engine::SentencePiece(Box::new(SentencePiece::from_bytes(path, model)?))
        }
        TokenizerFiles::Bpe { vocab, merges } => {
            Engine::ByteLevel(Box::new(ByteLevelBpe::from_bytes(path, vocab, merges)?))
        }
        TokenizerFiles::Json { json } => return open_hub(path, json, &sidecar),
    };
    let mut ids = Ids::new(engine.base());
    let malformed = |reason| TokenizerError::malformed(path, reason);
    let Sidecar {
        names,
        placed,
        unplaced,
        ..
    } = sidecar;
    for (id, token) in &placed {
        ids.place(*id, token).map_err(malformed)?;
    }
    // A SentencePiece model has no mask: it gets the id after the last piece.
    let is_spm = matches!(engine, Engine::SentencePiece(_));
    let mask_otherwise = is_spm.then(|| ids.next());
    let special = special::find(path, &names, |name| ids.get(name), mask_otherwise)?;
    let mask_name = match ids.name(special.mask) {
        Some(name) => name.to_owned(),
        None => names[4]
            .clone()
            .unwrap_or_else(|| special::MASK[0].to_owned()),
    };
    let mut added = placed;
    // The mask of v1 stands for a word with the space before it.
    let mask = added.remove(&special.mask).unwrap_or_else(|| AddedToken {
        lstrip: !is_spm,
        ..AddedToken::special(mask_name)
    });
    ids.place(special.mask, &mask).map_err(malformed)?;
    added.insert(special.mask, mask);
    for token in unplaced {
        let id = ids.get(&token.content).unwrap_or(ids.end());
        ids.place(id, &token).map_err(malformed)?;
        added.insert(id, token);
    }
    for id in [special.pad, special.cls, special.sep, special.unk] {
        added.remove(&id);
    }
    let mark = match is_spm {
        true => WordMark::Metaspace,
        false => WordMark::ByteLevel,
    };
    Ok(Opened {
        lookup: ids.finish(mark, special),
        engine,
        added,
    })
}

/// A `tokenizer.json` says itself which tokens are added.
fn open_hub(path: &Path, json: &[u8], sidecar: &Sidecar) -> Result<Opened, TokenizerError> {
    let mut hub = Hub::from_json(path, json)?;
    let special = special::find(path, &sidecar.names, |name| hub.id(name), None)?;
    hub.recognise(special.mask);
    let lookup = Lookup::new(hub.pieces().to_vec(), hub.word_mark(), special);
    Ok(Opened {
        lookup,
        added: hub::read_added(json).into_iter().collect(),
        engine: Engine::Hub(Box::new(hub)),
    })
}

/// Pieces by id while tokens are being added.
pub(super) struct Ids {
    pieces: Vec<(String, PieceKind)>,
    ids: HashMap<String, u32>,
    base: usize,
}

impl Ids {
    /// Starts from the pieces of a model or of an opened tokenizer.
    pub(super) fn new(pieces: &[(String, PieceKind)]) -> Self {
        let names = pieces.iter().map(|(piece, _)| piece.clone());
        Self {
            ids: names
                .zip(0..)
                .filter(|(name, _)| !name.is_empty())
                .collect(),
            base: pieces.len(),
            pieces: pieces.to_vec(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    fn name(&self, id: u32) -> Option<&str> {
        let name = &self.pieces.get(id as usize)?.0;
        (!name.is_empty()).then_some(name)
    }

    /// The id after the last one.
    pub(super) fn end(&self) -> u32 {
        u32::try_from(self.pieces.len()).unwrap_or(u32::MAX)
    }

    /// The id after the model's last one, if it is free.
    fn next(&self) -> u32 {
        match self.pieces.get(self.base) {
            Some((name, _)) if !name.is_empty() => self.end(),
            _ => u32::try_from(self.base).unwrap_or(u32::MAX),
        }
    }

    /// Gives a token its id; the error says what has it already.
    pub(super) fn place(&mut self, id: u32, token: &AddedToken) -> Result<(), String> {
        let AddedToken {
            content, special, ..
        } = token;
        let index = id as usize;
        match self.get(content) {
            Some(known) if known != id => {
                return Err(format!(
                    "`{content}` is added with the id {id}, the vocabulary gives it {known}"
                ));
            }
            Some(_) => {
                if *special {
                    self.pieces[index].1 = PieceKind::Special;
                }
                return Ok(());
            }
            None => {}
        }
        if index > self.pieces.len() + MAX_GAP {
            return Err(format!(
                "`{content}` is added with the id {id}, far beyond the {} of the vocabulary",
                self.pieces.len()
            ));
        }
        if index >= self.pieces.len() {
            self.pieces
                .resize(index + 1, (String::new(), PieceKind::Unused));
        }
        if let Some(other) = self.name(id) {
            return Err(format!(
                "`{content}` is added with the id {id} of `{other}`"
            ));
        }
        let kind = match special {
            true => PieceKind::Special,
            false => PieceKind::Normal,
        };
        self.pieces[index] = (content.clone(), kind);
        self.ids.insert(content.clone(), id);
        Ok(())
    }

    pub(super) fn finish(self, mark: WordMark, special: SpecialTokens) -> Lookup {
        Lookup::new(self.pieces, mark, special)
    }
}
