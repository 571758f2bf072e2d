//! Answers to questions, as parts of a context.

use std::path::Path;

use burn::tensor::{Tensor, backend::Backend};
use deberta_data::tokenizer::{Sequence, Tokenize, TokenizerError, Truncation};
use deberta_model::DebertaBackend;
use deberta_model::checkpoint::{Compatibility, load_task_model};
use deberta_model::heads::question_answering::DebertaForQuestionAnswering;
use serde::{Deserialize, Serialize};

use super::PipelineError;
use super::answer_spans::{Scored, best_spans};
use super::base::{Base, Rows, common_methods};
use super::text_classifier::sort_by_score;
use super::windows::Characters;

/// Tokens of a window unless told otherwise, as in the transformers library.
const MAX_LENGTH: usize = 384;
/// Tokens that two windows of a long context have in common, unless half a window is less.
const STRIDE: usize = 128;

/// A part of a context that answers a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The characters; empty for "no answer".
    pub text: String,
    /// Probability of its start times that of its end, summed over windows that find the same text.
    pub score: f64,
    /// First character of the context.
    pub start: usize,
    /// The character after the last one.
    pub end: usize,
}

/// An extractive question answerer with its tokenizer.
///
/// # Long contexts
///
/// They are cut into windows of at most 384 tokens with the question, which overlap by 128, and the
/// best answers of all windows are compared by their probabilities within their windows. The same
/// text found twice, case aside, is one answer, whose scores are added. So does the transformers
/// library (its last release with this pipeline is 4.57).
///
/// ```no_run
/// use deberta::backend::DefaultBackend;
/// use deberta::pipeline::QuestionAnswerer;
///
/// let device = Default::default();
/// let model = "deepset/deberta-v3-base-squad2";
/// let answerer = QuestionAnswerer::<DefaultBackend>::from_pretrained(model, &device)?
///     .with_no_answer(true);
/// let answers = answerer.predict(&[("Who wrote it?", "It was written by Ada Lovelace.")])?;
/// println!("{}", answers[0][0].text);
/// # Ok::<(), deberta::pipeline::PipelineError>(())
/// ```
#[derive(Debug)]
pub struct QuestionAnswerer<B: Backend> {
    base: Base<B, DebertaForQuestionAnswering<B>>,
    top_k: usize,
    max_answer_tokens: usize,
    no_answer: bool,
    whole_words: bool,
}

common_methods!(QuestionAnswerer);

impl<B: DebertaBackend> QuestionAnswerer<B> {
    /// Opens a checkpoint folder with its tokenizer.
    ///
    /// # Errors
    ///
    /// If weights, configuration or tokenizer cannot be read, or do not belong together.
    pub fn open(dir: &Path, device: &B::Device) -> Result<Self, PipelineError> {
        let (mut model, config, _): (DebertaForQuestionAnswering<B>, _, _) =
            load_task_model(dir, Compatibility::AsConfigured, device)?;
        model.deberta.prepare();
        let mut base = Base::new(dir, (model, config), device)?;
        base.max_length = base.max_length.min(MAX_LENGTH);
        Ok(Self {
            base,
            top_k: 1,
            max_answer_tokens: 15,
            no_answer: false,
            whole_words: true,
        })
    }

    /// Gives the `top_k` best answers. Default: 1.
    pub fn with_top_k(mut self, top_k: usize) -> Self {
        self.top_k = top_k;
        self
    }

    /// Most tokens of an answer. Default: 15.
    pub fn with_max_answer_tokens(mut self, tokens: usize) -> Self {
        self.max_answer_tokens = tokens;
        self
    }

    /// Whether "no answer" is an answer, with the least of its probabilities in all windows. Default:
    /// false.
    pub fn with_no_answer(mut self, no_answer: bool) -> Self {
        self.no_answer = no_answer;
        self
    }

    /// Whether answers are extended to whole words. Default: true.
    ///
    /// Words are what stands between spaces for SentencePiece, and runs of letters, digits or other
    /// characters for byte-level BPE.
    pub fn with_whole_words(mut self, whole_words: bool) -> Self {
        self.whole_words = whole_words;
        self
    }

    /// The best answers to each question about its context, in the order of the pairs.
    ///
    /// There is none for an empty context.
    ///
    /// # Errors
    ///
    /// If a question leaves no room for its context.
    pub fn predict(&self, questions: &[(&str, &str)]) -> Result<Vec<Vec<Answer>>, PipelineError> {
        self.base.run_windows(
            questions,
            |(question, context)| self.windows(question, context),
            Rows::OfTokens,
            |model, input| {
                let logits = model.forward(input);
                Tensor::stack::<3>(vec![logits.start, logits.end], 2)
            },
            |(_, context), windows, logits| self.answers(context, windows, logits),
        )
    }

    fn windows(&self, question: &str, context: &str) -> Result<Vec<Sequence>, TokenizerError> {
        let stride = STRIDE.min(self.base.max_length / 2);
        let mut config = self.base.sequences(Truncation::OnlySecond, stride);
        let question = self.base.tokenizer.encode(question)?;
        let context = self.base.tokenizer.encode(context)?;
        // A long question may leave less room than the windows should have in common.
        let room = self.base.max_length.saturating_sub(question.ids.len() + 3);
        if stride >= room {
            config.stride = room / 2;
        }
        config.assemble_windows(&self.base.tokenizer, &question, Some(&context))
    }

    /// The best answers from the logits `[seq_len, 2]` of each window.
    fn answers(&self, context: &str, windows: &[Sequence], logits: &[Vec<f32>]) -> Vec<Answer> {
        let characters = Characters::of(context);
        let mut answers: Vec<Answer> = Vec::new();
        let mut no_answer = f64::INFINITY;
        for (window, logits) in windows.iter().zip(logits) {
            // Aligned spans may coincide, so more are looked at.
            let wanted = match self.whole_words {
                true => self.top_k.saturating_mul(2).saturating_add(10),
                false => self.top_k,
            };
            let (spans, nothing) = best_spans(window, logits, wanted, self.max_answer_tokens);
            no_answer = no_answer.min(nothing);
            for span in spans {
                self.add(&mut answers, &characters, window, &span);
            }
        }
        if self.no_answer && no_answer.is_finite() {
            answers.push(Answer {
                text: String::new(),
                score: no_answer,
                start: 0,
                end: 0,
            });
        }
        sort_by_score(&mut answers, |it| it.score);
        answers.truncate(self.top_k);
        answers
    }

    fn add(&self, answers: &mut Vec<Answer>, text: &Characters, window: &Sequence, span: &Scored) {
        let (first, last) = match self.whole_words {
            true => self.word_ends(text, window, span),
            false => (span.first, span.last),
        };
        let (start, end) = (window.offsets[first].0, window.offsets[last].1);
        let found = text.slice(start, end);
        let lower = found.to_lowercase();
        match answers
            .iter_mut()
            .find(|it| it.text.to_lowercase() == lower)
        {
            Some(same) => same.score += span.score,
            None => answers.push(Answer {
                text: found,
                score: span.score,
                start,
                end,
            }),
        }
    }

    /// The first token of the word in which the span begins, and the last of that in which it ends.
    fn word_ends(&self, text: &Characters, window: &Sequence, span: &Scored) -> (usize, usize) {
        let in_context = |token: usize| window.texts.get(token) == Some(&Some(1));
        let begins_word = |token: usize| self.base.begins_word(text, window, token);
        let mut first = span.first;
        while !begins_word(first) && in_context(first - 1) {
            first -= 1;
        }
        let mut last = span.last;
        while in_context(last + 1) && !begins_word(last + 1) {
            last += 1;
        }
        (first, last)
    }
}
