//! `[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]`: what a network is fed with.

mod batch;
mod truncation;

use std::ops::Range;

pub use batch::{PadTo, PaddedBatch};
use serde::{Deserialize, Serialize};
use truncation::{Cut, windows};

use super::{Encoding, SpecialTokens, Tokenize, TokenizerError};

/// Which text gives way when a sequence is too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncation {
    /// The longer text, down to the length of the other, then both alike.
    ///
    /// Lengths are those of the `tokenizers` library: if both are cut and an odd number of tokens is
    /// left, the text that was longer gets one more, the second if they were the same. Microsoft's
    /// `_truncate_segments` sorts by length and removes tokens at random places; it is not followed.
    #[default]
    LongestFirst,
    /// The first text; the second stays whole.
    OnlyFirst,
    /// The second text; the first stays whole: for a question and its context.
    OnlySecond,
    /// None: a long sequence is an error.
    #[serde(rename = "none")]
    Never,
}

/// The end of a text that is cut off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TruncationSide {
    /// The beginning of the text is lost.
    Left,
    /// The end of the text is lost.
    #[default]
    Right,
}

/// How texts become sequences.
///
/// ```no_run
/// use deberta_data::tokenizer::{SequenceConfig, Tokenizer, Truncation};
///
/// let tokenizer = Tokenizer::open("deberta-v3-base".as_ref())?;
/// let config = SequenceConfig {
///     max_length: Some(384),
///     truncation: Truncation::OnlySecond,
///     stride: 128,
///     ..SequenceConfig::default()
/// };
/// let (question, context) = ("Who wrote it?", "A long text …");
/// for window in config.windows(&tokenizer, question, Some(context))? {
///     assert!(window.len() <= 384);
/// }
/// # Ok::<(), deberta_data::tokenizer::TokenizerError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SequenceConfig {
    /// Most tokens of a sequence, markers included. Default: no limit.
    pub max_length: Option<usize>,
    /// Which text gives way. Default: the longer one.
    pub truncation: Truncation,
    /// Which end of it is cut off. Default: right.
    pub side: TruncationSide,
    /// Tokens that a window has in common with the one before it; for [`windows`](Self::windows)
    /// only. Default: 0.
    pub stride: usize,
}

/// One text or two with their markers; all lists have one entry per token.
///
/// Pairs have a single `[SEP]` between the texts, for v1 too.
///
/// # Deviation from the transformers library
///
/// Its release 5 puts two `[SEP]` between the texts of a pair for v1, as RoBERTa has it. Microsoft's
/// code, which the models were trained with, puts one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sequence {
    /// Ids, markers included.
    pub ids: Vec<u32>,
    /// Pieces, as the vocabulary spells them.
    pub tokens: Vec<String>,
    /// Characters `start..end` of the text that the token comes from; `(0, 0)` for markers.
    pub offsets: Vec<(usize, usize)>,
    /// 0 for `[CLS] a [SEP]`, 1 for `b [SEP]` (`token_type_ids`).
    pub type_ids: Vec<u32>,
    /// Which text the token comes from: 0, 1, or none for markers (`sequence_ids`).
    pub texts: Vec<Option<u8>>,
    /// Whether the token is a marker that was added (`special_tokens_mask`).
    pub markers: Vec<bool>,
    /// For each text, which of its tokens are here: all, or what cutting has left.
    pub kept: Vec<Range<usize>>,
}

impl Sequence {
    /// Number of tokens, all of which are attended to: padding is the business of a batch.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no tokens, not even markers.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    fn marker(&mut self, id: u32, name: &str, type_id: u32) {
        self.ids.push(id);
        self.tokens.push(name.to_owned());
        self.offsets.push((0, 0));
        self.type_ids.push(type_id);
        self.texts.push(None);
        self.markers.push(true);
    }

    fn text(&mut self, text: &Encoding, kept: Range<usize>, number: u8) {
        self.ids.extend(&text.ids[kept.clone()]);
        self.tokens.extend_from_slice(&text.tokens[kept.clone()]);
        self.offsets.extend(&text.offsets[kept.clone()]);
        let len = self.ids.len();
        self.type_ids.resize(len, u32::from(number));
        self.texts.resize(len, Some(number));
        self.markers.resize(len, false);
        self.kept.push(kept);
    }
}

impl SequenceConfig {
    /// Encodes a text, or a pair, as one sequence; what does not fit is cut off.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::TooLong`] if the sequence is too long and may not be cut,
    /// [`CannotCut`](TokenizerError::CannotCut) if the text that gives way is not long enough or
    /// not there, or whatever [`Tokenize::encode`] returns.
    pub fn encode(
        &self,
        tokenizer: &(impl Tokenize + ?Sized),
        first: &str,
        second: Option<&str>,
    ) -> Result<Sequence, TokenizerError> {
        let first = tokenizer.encode(first)?;
        let second = second.map(|text| tokenizer.encode(text)).transpose()?;
        self.assemble(tokenizer, &first, second.as_ref())
    }

    /// Encodes a text, or a pair, as as many sequences as it takes to lose nothing.
    ///
    /// Windows are those of the `tokenizers` library: each but the last is full, each begins
    /// `stride` tokens before the end of the one before it. From the left side, the last window
    /// comes first. A text that fits gives one window.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode), and [`CannotCut`](TokenizerError::CannotCut) if the stride
    /// leaves no progress, or if both texts of a pair would have to be cut.
    pub fn windows(
        &self,
        tokenizer: &(impl Tokenize + ?Sized),
        first: &str,
        second: Option<&str>,
    ) -> Result<Vec<Sequence>, TokenizerError> {
        let first = tokenizer.encode(first)?;
        let second = second.map(|text| tokenizer.encode(text)).transpose()?;
        self.assemble_windows(tokenizer, &first, second.as_ref())
    }

    /// [`encode`](Self::encode) for texts that are encoded already.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn assemble(
        &self,
        tokenizer: &(impl Tokenize + ?Sized),
        first: &Encoding,
        second: Option<&Encoding>,
    ) -> Result<Sequence, TokenizerError> {
        let cut = self.cut(first, second)?;
        let keep = |text: &Encoding, len: usize| match self.side {
            TruncationSide::Right => 0..len,
            TruncationSide::Left => text.ids.len() - len..text.ids.len(),
        };
        let second = second.map(|text| (text, keep(text, cut.second)));
        Ok(join(tokenizer, (first, keep(first, cut.first)), second))
    }

    /// [`windows`](Self::windows) for texts that are encoded already.
    ///
    /// # Errors
    ///
    /// As [`windows`](Self::windows).
    pub fn assemble_windows(
        &self,
        tokenizer: &(impl Tokenize + ?Sized),
        first: &Encoding,
        second: Option<&Encoding>,
    ) -> Result<Vec<Sequence>, TokenizerError> {
        let cut = self.cut(first, second)?;
        let first_len = first.ids.len();
        let second_len = second.map_or(0, |text| text.ids.len());
        let is_first = cut.first < first_len;
        let is_second = cut.second < second_len;
        let pair_in_turn = second.is_some() && self.truncation == Truncation::LongestFirst;
        if (is_first && is_second) || ((is_first || is_second) && pair_in_turn) {
            return Err(self.cannot_cut(
                "windows move over one text: choose `only_first` or `only_second`".to_owned(),
            ));
        }
        let (len, room) = match is_second {
            true => (second_len, cut.second),
            false => (first_len, cut.first),
        };
        if room < len && self.stride >= room {
            return Err(self.cannot_cut(format!(
                "windows have room for {room} tokens of the text, which the stride of {} must stay \
                 below",
                self.stride
            )));
        }
        let all = windows(len, room, self.stride, self.side);
        Ok(all
            .map(|window| match second {
                Some(text) if is_second => {
                    join(tokenizer, (first, 0..first_len), Some((text, window)))
                }
                Some(text) => join(tokenizer, (first, window), Some((text, 0..second_len))),
                None => join(tokenizer, (first, window), None),
            })
            .collect())
    }

    /// How many tokens of each text stay.
    fn cut(&self, first: &Encoding, second: Option<&Encoding>) -> Result<Cut, TokenizerError> {
        let markers = if second.is_some() { 3 } else { 2 };
        let whole = Cut {
            first: first.ids.len(),
            second: second.map_or(0, |text| text.ids.len()),
        };
        let len = whole.first + whole.second + markers;
        let max_length = match self.max_length {
            Some(max_length) if len > max_length => max_length,
            _ => return Ok(whole),
        };
        let Some(room) = max_length.checked_sub(markers) else {
            return Err(self.cannot_cut(format!("the markers alone take {markers}")));
        };
        let remove = len - max_length;
        let shorten = |text: usize, which: &str| match text > remove {
            true => Ok(text - remove),
            false => Err(self.cannot_cut(format!(
                "the {which} text has {text} tokens, {remove} would have to go"
            ))),
        };
        match self.truncation {
            Truncation::Never => Err(TokenizerError::TooLong { len, max_length }),
            Truncation::LongestFirst if second.is_some() => Ok(whole.share(room)),
            Truncation::LongestFirst => Ok(Cut {
                first: room,
                second: 0,
            }),
            Truncation::OnlyFirst => Ok(Cut {
                first: shorten(whole.first, "first")?,
                ..whole
            }),
            Truncation::OnlySecond if second.is_none() => {
                Err(self.cannot_cut("there is no second text".to_owned()))
            }
            Truncation::OnlySecond => Ok(Cut {
                second: shorten(whole.second, "second")?,
                ..whole
            }),
        }
    }

    fn cannot_cut(&self, reason: String) -> TokenizerError {
        TokenizerError::CannotCut {
            max_length: self.max_length.unwrap_or(usize::MAX),
            reason,
        }
    }
}

/// Puts the markers around.
fn join(
    tokenizer: &(impl Tokenize + ?Sized),
    first: (&Encoding, Range<usize>),
    second: Option<(&Encoding, Range<usize>)>,
) -> Sequence {
    let SpecialTokens { cls, sep, .. } = tokenizer.special();
    let name = |id| tokenizer.token(id).unwrap_or_default();
    let mut sequence = Sequence::default();
    sequence.marker(cls, name(cls), 0);
    sequence.text(first.0, first.1, 0);
    sequence.marker(sep, name(sep), 0);
    if let Some((text, kept)) = second {
        sequence.text(text, kept, 1);
        sequence.marker(sep, name(sep), 1);
    }
    sequence
}
