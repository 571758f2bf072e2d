//! Labels of texts, or values.

use std::path::Path;

use burn::tensor::backend::Backend;
use deberta_data::tokenizer::{Sequence, Tokenize, TokenizerError, Truncation};
use deberta_model::DebertaBackend;
use deberta_model::checkpoint::{Compatibility, load_task_model};
use deberta_model::heads::classification::DebertaForSequenceClassification;
use deberta_model::heads::{HeadConfig, ProblemType};
use serde::{Deserialize, Serialize};

use super::PipelineError;
use super::base::{Base, Rows, common_methods};
use super::score::ScoreFunction;

/// A text, or two that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextInput<'a> {
    /// The text.
    pub text: &'a str,
    /// The second text.
    pub pair: Option<&'a str>,
}

impl<'a> From<&'a str> for TextInput<'a> {
    fn from(text: &'a str) -> Self {
        Self { text, pair: None }
    }
}

impl<'a> From<(&'a str, &'a str)> for TextInput<'a> {
    fn from((text, pair): (&'a str, &'a str)) -> Self {
        Self {
            text,
            pair: Some(pair),
        }
    }
}

/// A label with its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelScore {
    /// Name of the label, from `id2label` in `config.json`.
    pub label: String,
    /// Probability in [0, 1], or the value of a regression.
    pub score: f64,
}

/// What becomes of a text that is longer than the network takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LongTexts {
    /// Its end is cut off; of a pair the longer text gives way.
    #[default]
    Truncate,
    /// Windows that overlap by a quarter; each label gets the largest of its scores. For things that
    /// may stand anywhere in the text, such as an attack.
    ///
    /// The scores come from different windows, so they do not sum to one, and the highest need not be
    /// the verdict: one window may be harmless beyond doubt and another an attack. Ask for the label
    /// that is looked for, see [`with_labels`](TextClassifier::with_labels).
    Max,
    /// Such windows, and the mean of their scores. For properties of the whole text.
    Mean,
}

/// A sequence classifier with its tokenizer.
///
/// Scores follow from `problem_type` in `config.json` as in the transformers library: values as they
/// are for a regression, a sigmoid for multi-label classification or a single label, else a softmax.
///
/// ```no_run
/// use deberta::backend::DefaultBackend;
/// use deberta::pipeline::TextClassifier;
///
/// let device = Default::default();
/// let classifier = TextClassifier::<DefaultBackend>::from_pretrained("my-model/", &device)?;
/// for labels in classifier.predict(&["I liked it.", "Never again."])? {
///     println!("{} {:.3}", labels[0].label, labels[0].score);
/// }
/// # Ok::<(), deberta::pipeline::PipelineError>(())
/// ```
#[derive(Debug)]
pub struct TextClassifier<B: Backend> {
    base: Base<B, DebertaForSequenceClassification<B>>,
    labels: Vec<String>,
    /// Labels to give, as places among all of them.
    wanted: Vec<usize>,
    function: ScoreFunction,
    selection: Selection,
    long_texts: LongTexts,
}

common_methods!(TextClassifier);

impl<B: DebertaBackend> TextClassifier<B> {
    /// Opens a checkpoint folder with its tokenizer.
    ///
    /// # Errors
    ///
    /// If weights, configuration or tokenizer cannot be read, or do not belong together.
    pub fn open(dir: &Path, device: &B::Device) -> Result<Self, PipelineError> {
        let (base, head) = open_sequence_model(dir, device)?;
        Ok(Self {
            base,
            function: score_function(&head),
            wanted: (0..head.labels.len()).collect(),
            labels: head.labels,
            selection: Selection::default(),
            long_texts: LongTexts::default(),
        })
    }

    /// Gives the `top_k` labels of the highest scores only. Default: all.
    pub fn with_top_k(mut self, top_k: usize) -> Self {
        self.selection.top_k = top_k;
        self
    }

    /// Gives labels whose score is at least this. Default: all.
    pub fn with_threshold(mut self, threshold: f64) -> Self {
        self.selection.threshold = threshold;
        self
    }

    /// Gives these labels only; their scores are what they are among all labels. Default: all.
    ///
    /// # Errors
    ///
    /// If the checkpoint has no such label.
    pub fn with_labels(mut self, labels: &[&str]) -> Result<Self, PipelineError> {
        let place = |label: &&str| {
            let found = self.labels.iter().position(|it| it == label);
            found.ok_or_else(|| PipelineError::UnknownLabel {
                label: (*label).into(),
                labels: self.labels.clone(),
            })
        };
        self.wanted = labels.iter().map(place).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// What becomes of texts that are too long. Default: their ends are cut off.
    ///
    /// Windows of a pair move over its longer text; the shorter one stays whole in each of them.
    pub fn with_long_texts(mut self, long_texts: LongTexts) -> Self {
        self.long_texts = long_texts;
        self
    }

    /// Makes scores of the logits in this way, whatever `config.json` says.
    pub fn with_function(mut self, function: ScoreFunction) -> Self {
        self.function = function;
        self
    }

    /// Names of the labels, in the order of the logits.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The labels of each text, the highest score first, in the order of the texts.
    ///
    /// Takes texts, or pairs of them.
    ///
    /// # Errors
    ///
    /// If a text cannot be encoded, or windows have no room beside the shorter text of a pair.
    pub fn predict<'a, T>(&self, texts: &[T]) -> Result<Vec<Vec<LabelScore>>, PipelineError>
    where
        T: Into<TextInput<'a>> + Copy + Sync,
    {
        self.base.run_windows(
            texts,
            |text| self.windows((*text).into()),
            Rows::OfSequences,
            DebertaForSequenceClassification::forward,
            |_, _, logits| {
                let windows: Vec<Vec<f64>> =
                    logits.iter().map(|it| self.function.apply(it)).collect();
                self.ranked(&windows)
            },
        )
    }

    fn windows(&self, input: TextInput<'_>) -> Result<Vec<Sequence>, TokenizerError> {
        let tokenizer = &self.base.tokenizer;
        if self.long_texts == LongTexts::Truncate {
            let config = self.base.sequences(Truncation::LongestFirst, 0);
            return Ok(vec![config.encode(tokenizer, input.text, input.pair)?]);
        }
        let first = tokenizer.encode(input.text)?;
        let second = input.pair.map(|it| tokenizer.encode(it)).transpose()?;
        // Windows move over the longer text; markers and the other text are in each of them.
        let (truncation, fixed) = match &second {
            None => (Truncation::OnlyFirst, 2),
            Some(second) if second.ids.len() < first.ids.len() => {
                (Truncation::OnlyFirst, 3 + second.ids.len())
            }
            Some(_) => (Truncation::OnlySecond, 3 + first.ids.len()),
        };
        let room = self.base.max_length.saturating_sub(fixed);
        let stride = (self.base.max_length / 4).min(room / 2);
        let config = self.base.sequences(truncation, stride);
        config.assemble_windows(tokenizer, &first, second.as_ref())
    }

    /// The scores of all windows as one list of labels.
    fn ranked(&self, windows: &[Vec<f64>]) -> Vec<LabelScore> {
        let scored = self.wanted.iter().map(|&id| {
            let scores = windows.iter().map(|window| window[id]);
            let score = match self.long_texts {
                LongTexts::Mean => scores.sum::<f64>() / windows.len() as f64,
                LongTexts::Max | LongTexts::Truncate => scores.fold(f64::NEG_INFINITY, f64::max),
            };
            LabelScore {
                label: self.labels[id].clone(),
                score,
            }
        });
        self.selection.of(scored.collect())
    }
}

/// Which of the labels of a text are given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Selection {
    /// How many at most.
    pub(super) top_k: usize,
    /// Lowest score.
    pub(super) threshold: f64,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            top_k: usize::MAX,
            threshold: f64::NEG_INFINITY,
        }
    }
}

impl Selection {
    /// The labels that are given, the highest score first.
    pub(super) fn of(self, mut scored: Vec<LabelScore>) -> Vec<LabelScore> {
        // What is not a number is no reason to be silent.
        scored.retain(|it| it.score.total_cmp(&self.threshold).is_ge());
        sort_by_score(&mut scored, |it| it.score);
        scored.truncate(self.top_k);
        scored
    }
}

/// The highest score first; equal ones keep their order.
pub(super) fn sort_by_score<T>(scored: &mut [T], score: impl Fn(&T) -> f64) {
    scored.sort_by(|a, b| score(b).total_cmp(&score(a)));
}

/// A sequence classifier of any kind.
pub(super) type SequenceBase<B> = Base<B, DebertaForSequenceClassification<B>>;

/// Opens a sequence classifier of any kind.
pub(super) fn open_sequence_model<B: DebertaBackend>(
    dir: &Path,
    device: &B::Device,
) -> Result<(SequenceBase<B>, HeadConfig), PipelineError> {
    let (mut model, config, head): (DebertaForSequenceClassification<B>, _, _) =
        load_task_model(dir, Compatibility::AsConfigured, device)?;
    model.deberta.prepare();
    Ok((Base::new(dir, (model, config), device)?, head))
}

/// What the transformers library makes of the logits.
fn score_function(head: &HeadConfig) -> ScoreFunction {
    match head.problem_type {
        Some(ProblemType::Regression) => ScoreFunction::Raw,
        Some(ProblemType::MultiLabelClassification) => ScoreFunction::Sigmoid,
        _ if head.labels.len() == 1 => ScoreFunction::Sigmoid,
        _ => ScoreFunction::Softmax,
    }
}
