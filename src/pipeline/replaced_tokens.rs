//! Words that do not belong where they stand.

use std::path::Path;

use burn::tensor::backend::Backend;
use deberta_data::tokenizer::{Sequence, Truncation};
use deberta_model::DebertaBackend;
use deberta_model::checkpoint::{Compatibility, load_task_model};
use deberta_model::heads::replaced_token::DebertaForReplacedTokenDetection;
use serde::{Deserialize, Serialize};

use super::PipelineError;
use super::base::{Base, Rows, common_methods};
use super::score::sigmoid;
use super::windows::{Characters, most_context};

/// A word with the probability that it was put in the place of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WordScore {
    /// The word; for SentencePiece that is what stands between spaces.
    pub text: String,
    /// The largest of the probabilities of its tokens.
    pub score: f64,
    /// First character.
    pub start: usize,
    /// The character after the last one.
    pub end: usize,
}

/// The discriminator of DeBERTaV3 with its tokenizer: which words look wrong.
///
/// Long texts are cut into windows that overlap by a quarter; a token counts in the window in which it
/// has most context.
///
/// ```no_run
/// use deberta::backend::DefaultBackend;
/// use deberta::pipeline::ReplacedTokens;
///
/// let device = Default::default();
/// let model = "microsoft/deberta-v3-base";
/// let detector = ReplacedTokens::<DefaultBackend>::from_pretrained(model, &device)?;
/// for word in &detector.predict(&["Paris is the capital of Tuesday."])?[0] {
///     println!("{:.2} {}", word.score, word.text);
/// }
/// # Ok::<(), deberta::pipeline::PipelineError>(())
/// ```
#[derive(Debug)]
pub struct ReplacedTokens<B: Backend> {
    base: Base<B, DebertaForReplacedTokenDetection<B>>,
}

common_methods!(ReplacedTokens);

impl<B: DebertaBackend> ReplacedTokens<B> {
    /// Opens a checkpoint folder with its tokenizer.
    ///
    /// # Errors
    ///
    /// If weights, configuration or tokenizer cannot be read, or do not belong together.
    pub fn open(dir: &Path, device: &B::Device) -> Result<Self, PipelineError> {
        let (mut model, config, _): (DebertaForReplacedTokenDetection<B>, _, _) =
            load_task_model(dir, Compatibility::AsConfigured, device)?;
        model.deberta.prepare();
        Ok(Self {
            base: Base::new(dir, (model, config), device)?,
        })
    }

    /// The words of each text with their scores, in the order in which they stand there.
    ///
    /// # Errors
    ///
    /// If a text cannot be encoded.
    pub fn predict(&self, texts: &[&str]) -> Result<Vec<Vec<WordScore>>, PipelineError> {
        let config = self
            .base
            .sequences(Truncation::OnlyFirst, self.base.max_length / 4);
        self.base.run_windows(
            texts,
            |text| config.windows(&self.base.tokenizer, text, None),
            Rows::OfTokens,
            DebertaForReplacedTokenDetection::forward,
            |text, windows, logits| self.words(text, windows, logits),
        )
    }

    /// The words of a text from the logits `[seq_len]` of each of its windows.
    fn words(&self, text: &str, windows: &[Sequence], logits: &[Vec<f32>]) -> Vec<WordScore> {
        let characters = Characters::of(text);
        let mut words: Vec<WordScore> = Vec::new();
        for (window, place) in most_context(windows) {
            let (start, end) = windows[window].offsets[place];
            let score = sigmoid(logits[window][place]);
            match words.last_mut() {
                Some(word) if !self.base.begins_word(&characters, &windows[window], place) => {
                    word.end = word.end.max(end);
                    word.score = word.score.max(score);
                }
                _ => words.push(WordScore {
                    text: String::new(),
                    score,
                    start,
                    end,
                }),
            }
        }
        for word in &mut words {
            (word.start, word.end) = characters.trim(word.start, word.end);
            word.text = characters.slice(word.start, word.end);
        }
        words
    }
}
