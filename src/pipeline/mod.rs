//! Text in, answers out: tokenizer, network and decoding in one.
//!
//! | type | what it gives for a text |
//! |---|---|
//! | [`TextClassifier`] | labels, or the value of a regression |
//! | [`ZeroShotClassifier`] | labels that the network was never told |
//! | [`Reranker`] | how well a document answers a query |
//! | [`TokenClassifier`] | entities with their places |
//! | [`QuestionAnswerer`] | the part of a context that answers a question |
//! | [`FillMask`] | what may stand in the place of `[MASK]` |
//! | [`ReplacedTokens`] | which words look wrong |
//! | [`Embedder`] | a vector |
//!
//! All of them open a folder or a name on the Hub, take any number of texts, group those of similar
//! length into batches, and give answers in the order of the texts that do not depend on the company
//! of other texts, rounding aside. They can be shared by threads:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use deberta::backend::DefaultBackend;
//! use deberta::pipeline::TextClassifier;
//!
//! let device = Default::default();
//! let classifier = TextClassifier::<DefaultBackend>::from_pretrained("my-model/", &device)?;
//! let classifier = Arc::new(classifier);
//! for request in ["I liked it.", "Never again."] {
//!     let classifier = Arc::clone(&classifier);
//!     std::thread::spawn(move || classifier.predict(&[request]));
//! }
//! # Ok::<(), deberta::pipeline::PipelineError>(())
//! ```
//!
//! Offsets count characters (Unicode scalar values), as Python does.

mod aggregate;
mod answer_spans;
mod base;
mod embedder;
mod fill_mask;
mod question_answerer;
mod replaced_tokens;
mod reranker;
mod score;
mod text_classifier;
mod token_classifier;
mod windows;
mod zero_shot;

use std::path::PathBuf;

use deberta_data::tokenizer::TokenizerError;
use deberta_model::checkpoint::CheckpointError;

use crate::VocabularyMismatch;
use crate::hub::HubError;

pub use embedder::{Embedder, Pooling};
pub use fill_mask::{FillMask, FilledMask, MaskCandidate};
pub use question_answerer::{Answer, QuestionAnswerer};
pub use replaced_tokens::{ReplacedTokens, WordScore};
pub use reranker::{RankedDocument, Reranker};
pub use score::ScoreFunction;
pub use text_classifier::{LabelScore, LongTexts, TextClassifier, TextInput};
pub use token_classifier::{Aggregation, Entity, TokenClassifier};
pub use zero_shot::{DEFAULT_TEMPLATE, ZeroShotClassifier};

/// A pipeline that could not be opened, or a text that it cannot answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The model could not be found or downloaded.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The weights or their configuration could not be loaded.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The tokenizer could not be loaded, or failed on a text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The tokenizer has ids that the network has no row for.
    #[error(transparent)]
    VocabularyMismatch(#[from] VocabularyMismatch),
    /// A text without anything to fill in.
    #[error("text {index} has no {mask}: {text:?}")]
    NoMask {
        /// Position of the text among those given.
        index: usize,
        /// How the tokenizer spells the mask.
        mask: String,
        /// The text.
        text: String,
    },
    /// A text of more tokens than the network has positions for.
    #[error("text {index} has {tokens} tokens with its two markers, the network takes {limit}")]
    TooLong {
        /// Position of the text among those given.
        index: usize,
        /// Its tokens.
        tokens: usize,
        /// The largest number that is possible.
        limit: usize,
    },
    /// A text that cannot be encoded, or not within the length.
    #[error("text {index}: {source}")]
    Text {
        /// Position of the text among those given.
        index: usize,
        /// What is in the way.
        source: TokenizerError,
    },
    /// A length that sequences cannot be limited to.
    #[error("sequences cannot be limited to {length} tokens, expected 8 to {limit}")]
    MaxLength {
        /// The length asked for.
        length: usize,
        /// The largest one.
        limit: usize,
    },
    /// Windows that would not make progress.
    #[error("windows cannot have {stride} tokens in common, expected at most {limit}")]
    Stride {
        /// The number asked for.
        stride: usize,
        /// The largest one.
        limit: usize,
    },
    /// A network that was not made for natural-language inference.
    #[error(
        "{}: no label is called entailment, found {}; zero-shot classification needs a network for \
         natural-language inference",
        dir.display(),
        labels.join(", ")
    )]
    NoEntailment {
        /// The checkpoint folder.
        dir: PathBuf,
        /// Its labels.
        labels: Vec<String>,
    },
    /// A template without a place for the label.
    #[error("the template {template:?} has no {{}} for the label")]
    Template {
        /// The template.
        template: String,
    },
    /// A label that the checkpoint does not have.
    #[error("no label is called {label:?}, found {}", labels.join(", "))]
    UnknownLabel {
        /// The label asked for.
        label: String,
        /// Labels of the checkpoint.
        labels: Vec<String>,
    },
    /// Nothing to choose from.
    #[error("there are no labels, expected at least one")]
    NoLabels,
    /// A network that does not score pairs.
    #[error(
        "{}: a reranker has one label or two, found {}: {}",
        dir.display(),
        labels.len(),
        labels.join(", ")
    )]
    NotAReranker {
        /// The checkpoint folder.
        dir: PathBuf,
        /// Its labels.
        labels: Vec<String>,
    },
}
