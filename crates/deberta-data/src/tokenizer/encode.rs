//! A text on its way to tokens: added tokens are taken out, the rest is lower-cased and split as
//! the options say, and the engine cuts what is left.

use super::added::Part;
use super::facade::{Engine, Tokenizer};
use super::prepare::{Lowered, split_at_punctuation};
use super::{Encoding, Tokenize, TokenizerError};

/// What tokens are collected in: with their names and offsets, or ids alone.
pub(super) trait Sink {
    /// Number of tokens so far.
    fn len(&self) -> usize;
    /// Adds the tokens of a plain text, whose first character is number `first_char`.
    fn text(
        &mut self,
        engine: &Engine,
        text: &str,
        first_char: usize,
    ) -> Result<(), TokenizerError>;
    /// Adds one token.
    fn token(&mut self, id: u32, name: &str, offsets: (usize, usize));
    /// Turns offsets of a lower-cased text into those of the raw one.
    fn restore(&mut self, lowered: &Lowered, first_token: usize, first_char: usize);
}

impl Sink for Encoding {
    fn len(&self) -> usize {
        self.ids.len()
    }

    fn text(
        &mut self,
        engine: &Engine,
        text: &str,
        first_char: usize,
    ) -> Result<(), TokenizerError> {
        match engine {
            Engine::SentencePiece(model) => model.encode(text, first_char, self),
            Engine::ByteLevel(model) => model.encode(text, first_char, self),
            Engine::Hub(model) => *self = model.encode(text)?,
        }
        Ok(())
    }

    fn token(&mut self, id: u32, name: &str, offsets: (usize, usize)) {
        self.push(id, name, offsets);
    }

    fn restore(&mut self, lowered: &Lowered, first_token: usize, first_char: usize) {
        lowered.restore(self, first_token, first_char);
    }
}

impl Sink for Vec<u32> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn text(&mut self, engine: &Engine, text: &str, _: usize) -> Result<(), TokenizerError> {
        match engine {
            Engine::SentencePiece(model) => model.encode_ids(text, self),
            Engine::ByteLevel(model) => model.encode_ids(text, self),
            Engine::Hub(model) => *self = model.encode_ids(text)?,
        }
        Ok(())
    }

    fn token(&mut self, id: u32, _: &str, _: (usize, usize)) {
        self.push(id);
    }

    fn restore(&mut self, _: &Lowered, _: usize, _: usize) {}
}

/// Counts the characters up to ascending byte positions of a text.
pub(super) struct Chars<'t> {
    text: &'t str,
    byte: usize,
    chars: usize,
}

impl<'t> Chars<'t> {
    pub(super) fn new(text: &'t str, first_char: usize) -> Self {
        Self {
            text,
            byte: 0,
            chars: first_char,
        }
    }

    pub(super) fn at(&mut self, byte: usize) -> usize {
        if let Some(passed) = self.text.get(self.byte..byte) {
            self.chars += passed.chars().count();
            self.byte = byte;
        }
        self.chars
    }
}

impl Tokenizer {
    /// Adds the tokens of a whole text.
    pub(super) fn encode_into(
        &self,
        text: &str,
        sink: &mut impl Sink,
    ) -> Result<(), TokenizerError> {
        if let Engine::Hub(_) = self.engine {
            return sink.text(&self.engine, text, 0);
        }
        let mut chars = Chars::new(text, 0);
        self.verbatim.split(text, |part| match part {
            Part::Added { id, start, end } => {
                let offsets = (chars.at(start), chars.at(end));
                sink.token(id, self.token(id).unwrap_or_default(), offsets);
                Ok(())
            }
            Part::Text { start, end } => self.encode_part(&text[start..end], chars.at(start), sink),
        })
    }

    fn encode_part(
        &self,
        text: &str,
        first_char: usize,
        sink: &mut impl Sink,
    ) -> Result<(), TokenizerError> {
        if !self.options.lower_case {
            return self.encode_normalized(text, first_char, sink);
        }
        let first_token = sink.len();
        let lowered = Lowered::new(text);
        self.encode_normalized(&lowered.text, first_char, sink)?;
        sink.restore(&lowered, first_token, first_char);
        Ok(())
    }

    fn encode_normalized(
        &self,
        text: &str,
        first_char: usize,
        sink: &mut impl Sink,
    ) -> Result<(), TokenizerError> {
        if self.normalized.is_empty() {
            return self.encode_words(text, first_char, sink);
        }
        let mut chars = Chars::new(text, first_char);
        self.normalized.split(text, |part| match part {
            Part::Added { id, start, end } => {
                let offsets = (chars.at(start), chars.at(end));
                sink.token(id, self.token(id).unwrap_or_default(), offsets);
                Ok(())
            }
            Part::Text { start, end } => {
                self.encode_words(&text[start..end], chars.at(start), sink)
            }
        })
    }

    fn encode_words(
        &self,
        text: &str,
        first_char: usize,
        sink: &mut impl Sink,
    ) -> Result<(), TokenizerError> {
        if !self.options.split_by_punct {
            return sink.text(&self.engine, text, first_char);
        }
        let mut chars = Chars::new(text, first_char);
        let mut result = Ok(());
        split_at_punctuation(text, |word| {
            if result.is_ok() {
                let first_char = chars.at(word.start);
                result = sink.text(&self.engine, &text[word], first_char);
            }
        });
        result
    }
}
