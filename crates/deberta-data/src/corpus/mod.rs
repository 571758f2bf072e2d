//! Text as a stream of documents, whatever it is stored in.
//!
//! A [`Corpus`] is a list of files (plain text, JSON Lines, Parquet), texts in memory, or the
//! built-in [synthetic language](synthetic). It is read as a stream: memory stays bounded however
//! large the files are.
//!
//! ```
//! # fn main() -> Result<(), deberta_data::corpus::CorpusError> {
//! use deberta_data::corpus::Corpus;
//!
//! let corpus = Corpus::from_texts(["A store opened.", "A mall closed."]);
//! for document in corpus.documents() {
//!     assert!(document?.text.ends_with('.'));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # How plain text becomes documents
//!
//! Files are read as paragraphs, and by default one file is one document made of its paragraphs
//! ([`TextUnit`]). In most files a line is a paragraph. A hard-wrapped file (novels at 70 columns)
//! is recognised by its lines: at most 120 characters wide, mostly full, mostly not ending like a
//! sentence. There, lines are joined until a blank line, an indented line, or a line broken so
//! early that the next word would have fitted; `smoking-` + `room` joins to `smoking-room`.
//! [`CorpusOptions::hard_wrapped`] overrides the guess. A byte-order mark and carriage returns are
//! dropped.
//!
//! A text longer than [`CorpusOptions::max_piece_bytes`] arrives as several [`Document`] values
//! cut at white space; only the first has `starts_document`.

mod discover;
mod documents;
mod error;
pub(crate) mod fingerprint;
mod jsonl;
pub(crate) mod lines;
mod parquet;
mod split;
pub mod synthetic;
mod text;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use discover::SourceFile;
pub use documents::Documents;
pub use error::{BadRow, CorpusError, SkippedRows};
pub use split::{HeldOut, Part};
use synthetic::{SyntheticConfig, SyntheticLanguage};

/// A piece of text and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The text, not empty for files of text, without line breaks at its ends.
    pub text: String,
    /// The file.
    pub path: Arc<Path>,
    /// Line (row for Parquet, number for texts in memory) on which it begins, from 1.
    pub line: u64,
    /// `false` if this goes on with the document of the piece before it.
    pub starts_document: bool,
}

/// What to do with a row that cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnBadRow {
    /// Stop with an error that names the file and line.
    #[default]
    Fail,
    /// Leave it out and count it; see [`Documents::skipped`].
    Skip,
}

/// What one document of a plain text file is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TextUnit {
    /// The file.
    #[default]
    File,
    /// Each paragraph: each line, if the file is not hard-wrapped.
    Paragraph,
}

/// How a corpus is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorpusOptions {
    /// Field of JSONL rows and column of Parquet files that holds the text. Default: `text`
    pub text_field: String,
    /// What one document of a plain text file is. Default: the file
    pub text_unit: TextUnit,
    /// Whether lines of plain text are joined into paragraphs. Default: `None`, judged per file
    pub hard_wrapped: Option<bool>,
    /// What to do with a row that cannot be read. Default: fail
    pub on_bad_row: OnBadRow,
    /// Longer texts are cut at white space, in bytes, at least 64. Default: 1 MiB
    pub max_piece_bytes: usize,
    /// Longer JSONL rows are bad rows, in bytes, at least 64. Default: 64 MiB
    pub max_row_bytes: usize,
    /// Side of the train/held-out split to yield. Default: everything
    pub part: Part,
}

impl Default for CorpusOptions {
    fn default() -> Self {
        Self {
            text_field: "text".to_owned(),
            text_unit: TextUnit::File,
            hard_wrapped: None,
            on_bad_row: OnBadRow::Fail,
            max_piece_bytes: 1 << 20,
            max_row_bytes: 64 << 20,
            part: Part::All,
        }
    }
}

/// A text collection that can be streamed any number of times.
#[derive(Debug, Clone)]
pub struct Corpus {
    source: Source,
    options: CorpusOptions,
}

#[derive(Debug, Clone)]
enum Source {
    Files(Vec<SourceFile>),
    Texts(Arc<[String]>),
    Synthetic(Arc<SyntheticLanguage>, Range<u64>),
}

impl Corpus {
    /// Opens files and folders; folders are walked recursively in name order.
    ///
    /// A file that is named itself is read as plain text unless it ends in `.jsonl`, `.ndjson` or
    /// `.parquet`, and refused if its name says that it holds more than its text, such as `.json`,
    /// `.csv` or `.html`. In folders only these and `.txt`, `.text`, `.raw`,
    /// `.tokens` count, and hidden files are left out.
    ///
    /// # Errors
    ///
    /// If a path cannot be read, a folder holds no text, or an option makes no sense. The content
    /// of the files is first read by [`Corpus::documents`].
    pub fn open<P: AsRef<Path>>(paths: &[P], options: CorpusOptions) -> Result<Self, CorpusError> {
        for (field, value) in [
            ("max_piece_bytes", options.max_piece_bytes),
            ("max_row_bytes", options.max_row_bytes),
        ] {
            if value < 64 {
                return Err(CorpusError::Option {
                    field,
                    value,
                    expected: "at least 64",
                });
            }
        }
        let roots: Vec<PathBuf> = paths
            .iter()
            .map(|path| path.as_ref().to_path_buf())
            .collect();
        Ok(Self {
            source: Source::Files(discover::discover(&roots)?),
            options,
        })
    }

    /// A corpus of texts in memory, one document each.
    pub fn from_texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        let texts = texts.into_iter().map(Into::into).collect();
        Self {
            source: Source::Texts(texts),
            options: CorpusOptions::default(),
        }
    }

    /// The training stories of the built-in language.
    pub fn synthetic(config: SyntheticConfig) -> Self {
        let language = SyntheticLanguage::new(config);
        let stories = language.train_stories();
        Self::stories(language, stories)
    }

    /// Stories of the same language that are not among the training stories.
    pub fn synthetic_held_out(config: SyntheticConfig) -> Self {
        let language = SyntheticLanguage::new(config);
        let stories = language.held_out_stories();
        Self::stories(language, stories)
    }

    fn stories(language: SyntheticLanguage, stories: Range<u64>) -> Self {
        let source = Source::Synthetic(Arc::new(language), stories);
        Self {
            source,
            options: CorpusOptions::default(),
        }
    }

    /// The same corpus, yielding one side of a split.
    pub fn with_part(mut self, part: Part) -> Self {
        self.options.part = part;
        self
    }

    /// The documents in order; see [`Document`] and [`OnBadRow`].
    pub fn documents(&self) -> Documents<'_> {
        Documents::new(self)
    }

    /// Size of the corpus: bytes of its files, or of its texts. For progress bars; both sides of a
    /// split have the same total.
    pub fn total_bytes(&self) -> u64 {
        match &self.source {
            Source::Files(files) => files.iter().map(|file| file.bytes).sum(),
            Source::Texts(texts) => texts.iter().map(|text| text.len() as u64).sum(),
            Source::Synthetic(language, stories) => language.bytes_of(stories),
        }
    }

    /// The files that are read, in order; empty for a corpus that is not made of files.
    pub fn files(&self) -> Vec<&Path> {
        match &self.source {
            Source::Files(files) => files.iter().map(|file| file.path.as_ref()).collect(),
            _ => Vec::new(),
        }
    }

    /// A hash that changes when the stream of documents would change.
    ///
    /// It covers the options and, for each file in order, its name below the folder that was
    /// opened, its size and its content; moving or copying the whole corpus changes nothing. Up
    /// to 256 MiB in all every byte is hashed. Beyond, a file counts with its modification time and
    /// 64 evenly spaced blocks of 64 KiB, so an edit that keeps size, time and those blocks goes
    /// unseen, and a copy that does not keep the time looks new.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn fingerprint(&self) -> Result<String, CorpusError> {
        let content = match &self.source {
            Source::Files(files) => fingerprint::of_files(files)?,
            Source::Texts(texts) => {
                let mut hasher = Sha256::new();
                for text in texts.iter() {
                    hasher.update((text.len() as u64).to_le_bytes());
                    hasher.update(text.as_bytes());
                }
                fingerprint::hex(&hasher.finalize())
            }
            Source::Synthetic(language, stories) => {
                format!("{} {stories:?}", language.fingerprint())
            }
        };
        // The version covers the readers of this module: raise it when they yield other text.
        let described = format!("corpus v1 {content} {:?}", self.options);
        Ok(fingerprint::hex(&Sha256::digest(described.as_bytes())))
    }
}
