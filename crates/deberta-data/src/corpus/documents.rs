//! The stream of documents.

use std::path::Path;
use std::sync::Arc;

use super::discover::{Format, SourceFile};
use super::error::{CorpusError, SkippedRows};
use super::jsonl::JsonlReader;
use super::parquet::ParquetReader;
use super::split::{Fate, Splitter};
use super::text::TextReader;
use super::{Corpus, CorpusOptions, Document, OnBadRow, Source};

/// What a reader of one format yields.
pub(super) struct Row {
    pub(super) text: String,
    pub(super) line: u64,
    pub(super) starts_document: bool,
}

/// Reads the rows of one file.
pub(super) trait RowReader {
    /// The next row. After an error that is a [bad row](CorpusError::bad_row) reading can go on.
    fn next_row(&mut self) -> Result<Option<Row>, CorpusError>;

    /// How far into the file reading has come.
    fn bytes_read(&self) -> u64;
}

/// Iterator over the documents of a [`Corpus`], in order; see [`Corpus::documents`].
///
/// It ends after the first error.
pub struct Documents<'a> {
    corpus: &'a Corpus,
    splitter: Splitter,
    skipped: SkippedRows,
    /// Index of the next file, text or story.
    next_source: usize,
    reader: Option<(Box<dyn RowReader + Send>, Arc<Path>)>,
    finished_bytes: u64,
    pieces: Pieces,
    failed: bool,
}

impl<'a> Documents<'a> {
    pub(super) fn new(corpus: &'a Corpus) -> Self {
        Self {
            corpus,
            splitter: Splitter::new(corpus.options.part),
            skipped: SkippedRows::default(),
            next_source: 0,
            reader: None,
            finished_bytes: 0,
            pieces: Pieces::default(),
            failed: false,
        }
    }

    /// Rows skipped so far.
    pub fn skipped(&self) -> SkippedRows {
        self.skipped
    }

    /// Bytes of the corpus read so far, of [`Corpus::total_bytes`].
    pub fn bytes_read(&self) -> u64 {
        let current = self
            .reader
            .as_ref()
            .map_or(0, |(reader, _)| reader.bytes_read());
        self.finished_bytes + current
    }

    fn next_row(&mut self) -> Result<Option<(Row, Arc<Path>)>, CorpusError> {
        match &self.corpus.source {
            Source::Files(files) => self.next_file_row(files),
            Source::Texts(texts) => {
                let text = texts.get(self.next_source).cloned();
                self.next_source += 1;
                Ok(text.map(|text| self.whole_row(text, "memory")))
            }
            Source::Synthetic(language, stories) => {
                if stories.start + self.next_source as u64 >= stories.end {
                    return Ok(None);
                }
                let text = language.story(stories.start + self.next_source as u64);
                self.next_source += 1;
                Ok(Some(self.whole_row(text, "synthetic")))
            }
        }
    }

    fn whole_row(&mut self, text: String, name: &str) -> (Row, Arc<Path>) {
        self.finished_bytes += text.len() as u64;
        let row = Row {
            text,
            line: self.next_source as u64,
            starts_document: true,
        };
        (row, Path::new(name).into())
    }

    fn next_file_row(
        &mut self,
        files: &[SourceFile],
    ) -> Result<Option<(Row, Arc<Path>)>, CorpusError> {
        loop {
            let Some((reader, path)) = &mut self.reader else {
                let Some(file) = files.get(self.next_source) else {
                    return Ok(None);
                };
                self.next_source += 1;
                self.reader = Some((open(file, &self.corpus.options)?, file.path.clone()));
                continue;
            };
            match reader.next_row() {
                Ok(Some(row)) => return Ok(Some((row, path.clone()))),
                Ok(None) => {
                    self.reader = None;
                    self.finished_bytes += files[self.next_source - 1].bytes;
                }
                Err(error) => match (error.bad_row(), self.corpus.options.on_bad_row) {
                    (Some(kind), OnBadRow::Skip) => self.skipped.count(kind),
                    _ => return Err(error),
                },
            }
        }
    }

    fn next_document(&mut self) -> Result<Option<Document>, CorpusError> {
        loop {
            while let Some(mut document) = self.pieces.next() {
                match self
                    .splitter
                    .fate(document.text.len(), document.starts_document)
                {
                    Fate::Drop => continue,
                    Fate::Keep => {}
                    Fate::KeepAsStart => document.starts_document = true,
                }
                return Ok(Some(document));
            }
            let Some((row, path)) = self.next_row()? else {
                return Ok(None);
            };
            self.pieces = Pieces::new(row, path, self.corpus.options.max_piece_bytes);
        }
    }
}

impl Iterator for Documents<'_> {
    type Item = Result<Document, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_document();
        self.failed = next.is_err();
        next.transpose()
    }
}

fn open(
    file: &SourceFile,
    options: &CorpusOptions,
) -> Result<Box<dyn RowReader + Send>, CorpusError> {
    let path = file.path.clone();
    Ok(match file.format {
        Format::Text => Box::new(TextReader::open(path, options)?),
        Format::Jsonl => Box::new(JsonlReader::open(path, options)?),
        Format::Parquet => Box::new(ParquetReader::open(path, options)?),
    })
}

/// Cuts a long text at white space.
#[derive(Default)]
struct Pieces {
    rest: Option<Document>,
    limit: usize,
}

impl Pieces {
    fn new(row: Row, path: Arc<Path>, limit: usize) -> Self {
        let Row {
            text,
            line,
            starts_document,
        } = row;
        Self {
            rest: Some(Document {
                text,
                path,
                line,
                starts_document,
            }),
            limit,
        }
    }

    fn next(&mut self) -> Option<Document> {
        let mut piece = self.rest.take()?;
        if piece.text.len() > self.limit {
            let window = piece.text.floor_char_boundary(self.limit);
            let space = piece.text[..window]
                .rfind(char::is_whitespace)
                .filter(|at| *at > 0);
            let rest = piece.text.split_off(space.unwrap_or(window));
            let path = piece.path.clone();
            let line = piece.line;
            self.rest = Some(Document {
                text: rest,
                path,
                line,
                starts_document: false,
            });
        }
        // An empty text still ends the document before it, so it is not dropped here.
        Some(piece)
    }
}
