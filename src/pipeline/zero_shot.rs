//! Any labels, without training: each is put into a sentence, and an NLI model says whether it follows.

use std::path::{Path, PathBuf};

use burn::tensor::backend::Backend;
use deberta_data::tokenizer::{Encoding, Sequence, Truncation};
use deberta_model::DebertaBackend;

use super::PipelineError;
use super::base::{Rows, common_methods, in_parallel};
use super::score::softmax;
use super::text_classifier::{LabelScore, Selection, SequenceBase, open_sequence_model};

/// Sentence that a label is put into unless another is given.
pub const DEFAULT_TEMPLATE: &str = "This example is {}.";

/// A network for natural-language inference, used to classify texts by labels it was never told.
///
/// The label of entailment is the one whose name begins with `entail`, that of contradiction the one
/// that begins with `contra` or `not`; case does not matter. A text that is too long loses its end,
/// never the hypothesis.
///
/// # Deviation from the transformers library
///
/// Its pipeline takes the first label for contradiction (the last if the first is entailment),
/// whatever it is called. A network whose labels have other names still gets that rule here.
///
/// ```no_run
/// use deberta::backend::DefaultBackend;
/// use deberta::pipeline::ZeroShotClassifier;
///
/// let device = Default::default();
/// let model = "MoritzLaurer/deberta-v3-base-zeroshot-v1";
/// let classifier = ZeroShotClassifier::<DefaultBackend>::from_pretrained(model, &device)?
///     .with_template("This text is about {}.")?;
/// let answers = classifier.predict(&["The match was lost."], &["sport", "politics"])?;
/// println!("{}", answers[0][0].label);
/// # Ok::<(), deberta::pipeline::PipelineError>(())
/// ```
#[derive(Debug)]
pub struct ZeroShotClassifier<B: Backend> {
    base: SequenceBase<B>,
    inference: Inference,
    template: String,
    multi_label: bool,
    selection: Selection,
}

/// Which logits say whether a hypothesis follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inference {
    entailment: usize,
    contradiction: usize,
}

common_methods!(ZeroShotClassifier);

impl<B: DebertaBackend> ZeroShotClassifier<B> {
    /// Opens a checkpoint folder with its tokenizer.
    ///
    /// # Errors
    ///
    /// If weights, configuration or tokenizer cannot be read, do not belong together, or none of
    /// the labels is called entailment.
    pub fn open(dir: &Path, device: &B::Device) -> Result<Self, PipelineError> {
        let (base, head) = open_sequence_model(dir, device)?;
        let inference = Inference::of(&head.labels);
        let inference = inference.ok_or_else(|| PipelineError::NoEntailment {
            dir: PathBuf::from(dir),
            labels: head.labels,
        })?;
        Ok(Self {
            base,
            inference,
            template: DEFAULT_TEMPLATE.into(),
            multi_label: false,
            selection: Selection::default(),
        })
    }

    /// Puts labels into this sentence, in the place of `{}`.
    ///
    /// # Errors
    ///
    /// If there is no `{}`.
    pub fn with_template(mut self, template: &str) -> Result<Self, PipelineError> {
        if !template.contains("{}") {
            return Err(PipelineError::Template {
                template: template.into(),
            });
        }
        self.template = template.into();
        Ok(self)
    }

    /// Whether each label holds or not, on its own (entailment against contradiction), instead of
    /// exactly one of them. Default: false.
    pub fn with_multi_label(mut self, multi_label: bool) -> Self {
        self.multi_label = multi_label;
        self
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

    /// The labels of each text with their scores, the highest first, in the order of the texts.
    ///
    /// # Errors
    ///
    /// If there is no label, or a label leaves no room for the text.
    pub fn predict(
        &self,
        texts: &[&str],
        labels: &[&str],
    ) -> Result<Vec<Vec<LabelScore>>, PipelineError> {
        if labels.is_empty() {
            return Err(PipelineError::NoLabels);
        }
        let hypotheses: Vec<String> = labels
            .iter()
            .map(|label| self.template.replace("{}", label))
            .collect();
        let hypotheses: Vec<&str> = hypotheses.iter().map(String::as_str).collect();
        let hypotheses = self.base.encode(&hypotheses)?;
        let premises = self.base.encode(texts)?;
        let pairs = in_parallel(&premises, |_, premise| self.pairs(premise, &hypotheses))?;
        let sequences: Vec<Sequence> = pairs.into_iter().flatten().collect();
        let logits = self
            .base
            .run(&sequences, Rows::OfSequences, |model, input| {
                model.forward(input)
            });
        let answers = logits.chunks(labels.len()).map(|of_text| {
            let scores = self.inference.scores(of_text, self.multi_label);
            let scored = labels.iter().zip(scores).map(|(label, score)| LabelScore {
                label: (*label).into(),
                score,
            });
            self.selection.of(scored.collect())
        });
        Ok(answers.collect())
    }

    fn pairs(
        &self,
        premise: &Encoding,
        hypotheses: &[Encoding],
    ) -> Result<Vec<Sequence>, deberta_data::tokenizer::TokenizerError> {
        let config = self.base.sequences(Truncation::OnlyFirst, 0);
        let pair = |hypothesis| config.assemble(&self.base.tokenizer, premise, Some(hypothesis));
        hypotheses.iter().map(pair).collect()
    }
}

impl Inference {
    fn of(labels: &[String]) -> Option<Self> {
        let named = |starts: &[&str]| {
            labels.iter().position(|label| {
                let label = label.to_lowercase();
                starts.iter().any(|start| label.starts_with(start))
            })
        };
        let entailment = named(&["entail"])?;
        let by_place = if entailment == 0 { labels.len() - 1 } else { 0 };
        Some(Self {
            entailment,
            contradiction: named(&["contra", "not"]).unwrap_or(by_place),
        })
    }

    /// One score per hypothesis from the logits of each.
    fn scores(self, logits: &[Vec<f32>], multi_label: bool) -> Vec<f64> {
        if multi_label || logits.len() == 1 {
            let alone = |it: &Vec<f32>| softmax(&[it[self.contradiction], it[self.entailment]])[1];
            return logits.iter().map(alone).collect();
        }
        let entailment: Vec<f32> = logits.iter().map(|it| it[self.entailment]).collect();
        softmax(&entailment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inference(labels: &[&str]) -> Option<(usize, usize)> {
        let labels: Vec<String> = labels.iter().map(|&it| it.into()).collect();
        Inference::of(&labels).map(|it| (it.entailment, it.contradiction))
    }

    #[test]
    fn entailment_and_contradiction_are_found_by_name() {
        let mnli = ["CONTRADICTION", "NEUTRAL", "ENTAILMENT"];
        assert_eq!(inference(&mnli), Some((2, 0)));
        let cross_encoder = ["contradiction", "entailment", "neutral"];
        assert_eq!(inference(&cross_encoder), Some((1, 0)));
        assert_eq!(inference(&["entailment", "not_entailment"]), Some((0, 1)));
        // The first label is not contradiction here.
        let neutral_first = ["neutral", "entailment", "contradiction"];
        assert_eq!(inference(&neutral_first), Some((1, 2)));
        assert_eq!(inference(&["entailed", "other"]), Some((0, 1)));
        assert_eq!(inference(&["yes", "no"]), None);
    }
}
