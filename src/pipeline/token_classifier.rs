//! Entities of texts.

use std::path::Path;

use burn::tensor::{Tensor, backend::Backend};
use deberta_data::tokenizer::{Sequence, Tokenize, TokenizerError, Truncation};
use deberta_model::checkpoint::{CheckpointError, Compatibility, load_task_model};
use deberta_model::heads::HeadConfig;
use deberta_model::heads::token_classification::{
    DebertaForEntityRecognition, DebertaForTokenClassification,
};
use deberta_model::{DebertaBackend, DebertaConfig, DebertaInput};
use serde::{Deserialize, Serialize};

use super::PipelineError;
use super::aggregate::{Grouping, Span, Token, cover, merge_windows};
use super::base::{Base, Rows, common_methods};
use super::score::softmax;
use super::windows::{Characters, most_context};

/// How the labels of tokens become entities; the names are those of the transformers library.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// Not at all: one entity per token, with the label as it is (`B-PER`).
    None,
    /// Tokens side by side whose labels continue each other.
    Simple,
    /// As `Simple`, of words; a word has the label of its first token.
    #[default]
    First,
    /// As `Simple`, of words; a word has the label of its token of the highest score.
    Max,
    /// As `Simple`, of words; the probabilities of a word are the means over its tokens.
    Average,
}

/// A part of a text with a label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// Name of the label, without `B-` and the like unless there is no aggregation.
    pub label: String,
    /// Mean probability of its tokens or words.
    pub score: f64,
    /// First character. Where the tokenizer counts the space before a word to it, so does this, so
    /// `start..end` may be one character more than `text`.
    pub start: usize,
    /// The character after the last one.
    pub end: usize,
    /// The characters of the text, without white space at the ends.
    pub text: String,
}

/// A token classifier with its tokenizer.
///
/// Labels follow IOB (`B-` begins, `I-` continues) as the transformers library reads them, or BIOES
/// and BILOU (`E-` or `L-` ends, `S-` or `U-` stands alone) if the checkpoint has such labels. Labels
/// without a prefix continue each other. Words are what stands between spaces.
///
/// # Long texts
///
/// They are cut into windows that overlap by a quarter of their length (or as
/// [`with_stride`](Self::with_stride) says). Of entities in the overlap that share characters the
/// longer one stays, of equal ones the one with the higher score; without aggregation a token is
/// labelled by the window in which it has most context.
///
/// ```no_run
/// use deberta::backend::DefaultBackend;
/// use deberta::pipeline::TokenClassifier;
///
/// let device = Default::default();
/// let classifier = TokenClassifier::<DefaultBackend>::from_pretrained("my-model/", &device)?;
/// for entity in &classifier.predict(&["Ada Lovelace lived in London."])?[0] {
///     println!("{} {} {}..{}", entity.label, entity.text, entity.start, entity.end);
/// }
/// # Ok::<(), deberta::pipeline::PipelineError>(())
/// ```
#[derive(Debug)]
pub struct TokenClassifier<B: Backend> {
    base: Base<B, Network<B>>,
    grouping: Grouping,
    aggregation: Aggregation,
    ignored: Vec<String>,
    threshold: f64,
    stride: Option<usize>,
}

/// The two heads that checkpoints have.
#[derive(Debug)]
enum Network<B: Backend> {
    Linear(Box<DebertaForTokenClassification<B>>),
    /// Microsoft's.
    TwoLayers(Box<DebertaForEntityRecognition<B>>),
}

impl<B: DebertaBackend> Network<B> {
    fn open(
        dir: &Path,
        device: &B::Device,
    ) -> Result<(Self, DebertaConfig, HeadConfig), CheckpointError> {
        let compatibility = Compatibility::AsConfigured;
        // A checkpoint without the first of the two layers has the other head.
        let loaded =
            load_task_model::<B, DebertaForEntityRecognition<B>>(dir, compatibility, device);
        if let Ok((mut model, config, head)) = loaded {
            model.deberta.prepare();
            return Ok((Self::TwoLayers(Box::new(model)), config, head));
        }
        let (mut model, config, head): (DebertaForTokenClassification<B>, _, _) =
            load_task_model(dir, compatibility, device)?;
        model.deberta.prepare();
        Ok((Self::Linear(Box::new(model)), config, head))
    }

    /// Logits `[batch, seq_len, labels]`.
    fn forward(&self, input: DebertaInput<B>) -> Tensor<B, 3> {
        match self {
            Self::Linear(model) => model.forward(input),
            Self::TwoLayers(model) => model.forward(input),
        }
    }
}

common_methods!(TokenClassifier);

impl<B: DebertaBackend> TokenClassifier<B> {
    /// Opens a checkpoint folder with its tokenizer.
    ///
    /// # Errors
    ///
    /// If weights, configuration or tokenizer cannot be read, or do not belong together.
    pub fn open(dir: &Path, device: &B::Device) -> Result<Self, PipelineError> {
        let (model, config, head) = Network::open(dir, device)?;
        Ok(Self {
            base: Base::new(dir, (model, config), device)?,
            grouping: Grouping::new(head.labels),
            aggregation: Aggregation::default(),
            ignored: vec!["O".into()],
            threshold: f64::NEG_INFINITY,
            stride: None,
        })
    }

    /// How the labels of tokens become entities. Default: [`Aggregation::First`].
    pub fn with_aggregation(mut self, aggregation: Aggregation) -> Self {
        self.aggregation = aggregation;
        self
    }

    /// Leaves out entities with these labels. Default: `O`.
    pub fn with_ignored_labels(mut self, labels: Vec<String>) -> Self {
        self.ignored = labels;
        self
    }

    /// Leaves out entities whose score is less than this. Default: none.
    ///
    /// Before the entities of windows are compared: an unlikely one does not hide a likely one.
    pub fn with_threshold(mut self, threshold: f64) -> Self {
        self.threshold = threshold;
        self
    }

    /// Tokens that two windows of a long text have in common. Default: a quarter of a window.
    ///
    /// # Errors
    ///
    /// If windows would not make progress.
    pub fn with_stride(mut self, stride: usize) -> Result<Self, PipelineError> {
        // Two markers.
        let limit = self.base.max_length.saturating_sub(3);
        if stride > limit {
            return Err(PipelineError::Stride { stride, limit });
        }
        self.stride = Some(stride);
        Ok(self)
    }

    /// Names of the labels, in the order of the logits.
    pub fn labels(&self) -> &[String] {
        self.grouping.labels()
    }

    /// The entities of each text in the order in which they stand there.
    ///
    /// # Errors
    ///
    /// If a text cannot be encoded.
    pub fn predict(&self, texts: &[&str]) -> Result<Vec<Vec<Entity>>, PipelineError> {
        self.base.run_windows(
            texts,
            |text| self.windows(text),
            Rows::OfTokens,
            Network::forward,
            |text, windows, logits| self.entities(text, windows, logits),
        )
    }

    /// Each text with its entities replaced by their labels: `[PER] lived in [LOC].`
    ///
    /// Where entities of two windows share characters, all of their characters go.
    ///
    /// # Errors
    ///
    /// If a text cannot be encoded.
    pub fn redact(&self, texts: &[&str]) -> Result<Vec<String>, PipelineError> {
        self.base.run_windows(
            texts,
            |text| self.windows(text),
            Rows::OfTokens,
            Network::forward,
            |text, windows, logits| {
                let characters = Characters::of(text);
                let spans = self.spans(&characters, windows, logits);
                redacted(&characters, cover(spans))
            },
        )
    }

    fn windows(&self, text: &str) -> Result<Vec<Sequence>, TokenizerError> {
        let stride = self.stride.unwrap_or(self.base.max_length / 4);
        let config = self.base.sequences(Truncation::OnlyFirst, stride);
        config.windows(&self.base.tokenizer, text, None)
    }

    /// The entities of a text from the logits `[seq_len, labels]` of each of its windows.
    fn entities(&self, text: &str, windows: &[Sequence], logits: &[Vec<f32>]) -> Vec<Entity> {
        let characters = Characters::of(text);
        let mut spans = self.spans(&characters, windows, logits);
        if windows.len() > 1 && self.aggregation != Aggregation::None {
            spans = merge_windows(spans);
        }
        let entity = |span: Span| {
            let (start, end) = characters.trim(span.start, span.end);
            Entity {
                text: characters.slice(start, end),
                label: span.label,
                score: span.score,
                start: span.start,
                end: span.end,
            }
        };
        spans.into_iter().map(entity).collect()
    }

    /// What counts as an entity in any of the windows.
    fn spans(&self, text: &Characters, windows: &[Sequence], logits: &[Vec<f32>]) -> Vec<Span> {
        let token = |window: usize, place: usize| {
            self.token(text, &windows[window], &logits[window], place)
        };
        let mut spans: Vec<Span> = if self.aggregation == Aggregation::None {
            let places = most_context(windows);
            let tokens = places
                .into_iter()
                .map(|(window, place)| token(window, place));
            self.grouping
                .spans(&tokens.collect::<Vec<_>>(), self.aggregation)
        } else {
            let of_window = |window: usize| {
                let tokens = 1..windows[window].len() - 1;
                let tokens: Vec<Token> = tokens.map(|place| token(window, place)).collect();
                self.grouping.spans(&tokens, self.aggregation)
            };
            (0..windows.len()).flat_map(of_window).collect()
        };
        spans.retain(|span| {
            let counts = span.score.total_cmp(&self.threshold).is_ge();
            counts && !self.ignored.contains(&span.label)
        });
        spans
    }

    fn token(&self, text: &Characters, window: &Sequence, logits: &[f32], place: usize) -> Token {
        let labels = self.grouping.labels().len();
        let (start, end) = window.offsets[place];
        let unknown = window.ids[place] == self.base.tokenizer.special().unk;
        Token {
            scores: softmax(&logits[place * labels..(place + 1) * labels]),
            start,
            end,
            continues_word: !unknown && text.continues_word(start),
        }
    }
}

/// The text with spans, in order and apart from each other, replaced by their labels.
fn redacted(text: &Characters, spans: Vec<Span>) -> String {
    let mut redacted = String::new();
    let mut at = 0;
    for span in spans {
        // The space before a word stays.
        let (start, end) = text.trim(span.start, span.end);
        if start < end {
            redacted.push_str(&text.slice(at, start));
            redacted.push_str(&format!("[{}]", span.label));
            at = end;
        }
    }
    redacted + &text.slice(at, usize::MAX)
}
