//! From logits back to what a task wants to know.

use std::collections::BTreeMap;

use deberta_data::decoding::{AnswerConfig, AnswerWindow, DecodedAnswer, char_slice};
use deberta_data::task::{Example, Prediction, Task, TaskKind};
use deberta_train::objective::ExampleLogits;

use super::encode::{Alignment, Encoded, Item};

/// Examples with their encoding.
#[derive(Clone, Copy)]
pub(super) struct Decoder<'a> {
    pub(super) task: &'a Task,
    pub(super) answers: &'a AnswerConfig,
    pub(super) examples: &'a [Example],
    pub(super) encoded: &'a Encoded,
    /// Probability above which a label holds, where any number of them may.
    pub(super) threshold: f64,
}

/// Logits of an item.
type Output<'a> = (&'a Item, &'a ExampleLogits);

impl<'a> Decoder<'a> {
    /// The items of each example that has logits, in their order.
    fn by_example(&self, logits: &'a [ExampleLogits]) -> BTreeMap<usize, Vec<Output<'a>>> {
        let mut outputs: BTreeMap<usize, Vec<Output<'a>>> = BTreeMap::new();
        for it in logits {
            let item = &self.encoded.items[it.example];
            outputs.entry(item.example).or_default().push((item, it));
        }
        outputs
    }

    /// What the logits say about each example that has any, by its index.
    pub(super) fn predictions(&self, logits: &'a [ExampleLogits]) -> Vec<(usize, Prediction)> {
        let outputs = self.by_example(logits).into_iter();
        outputs
            .map(|(index, outputs)| (index, self.prediction(index, &outputs)))
            .collect()
    }

    /// What the logits of all items say about all examples, also those that have no items.
    pub(super) fn all_predictions(&self, logits: &'a [ExampleLogits]) -> Vec<Prediction> {
        let outputs = self.by_example(logits);
        let of = |index| outputs.get(&index).map_or(&[][..], Vec::as_slice);
        (0..self.examples.len())
            .map(|index| self.prediction(index, of(index)))
            .collect()
    }

    fn prediction(&self, index: usize, outputs: &[Output<'_>]) -> Prediction {
        let first = outputs
            .first()
            .map_or(&[][..], |(_, logits)| &logits.values);
        match self.task.kind() {
            TaskKind::Classification | TaskKind::MultipleChoice => Prediction::Label(argmax(first)),
            TaskKind::Regression => {
                Prediction::Score(first.first().map_or(f64::NAN, |it| f64::from(*it)))
            }
            TaskKind::MultiLabel => {
                let least = (self.threshold / (1.0 - self.threshold)).ln();
                let labels = first.iter().enumerate();
                let labels = labels.filter(|(_, logit)| f64::from(**logit) > least);
                Prediction::Labels(labels.map(|(label, _)| label).collect())
            }
            TaskKind::TokenClassification => self.tags(index, outputs),
            TaskKind::QuestionAnswering => self.answer(index, outputs),
            TaskKind::EntityCloze => entity(outputs),
        }
    }

    /// The tag of each word in the window that shows most around it; words without a token are
    /// outside of everything.
    fn tags(&self, index: usize, outputs: &[Output<'_>]) -> Prediction {
        let words = match &self.examples[index] {
            Example::Tokens(example) => example.words.len(),
            _ => 0,
        };
        let outside = self.task.labels().iter().position(|label| label == "O");
        let mut tags = vec![outside.unwrap_or(0); words];
        let mut seen = vec![None; words];
        for (item, logits) in outputs {
            let Alignment::Words(aligned) = &item.alignment else {
                continue;
            };
            for word in aligned {
                if seen[word.word].is_none_or(|context| word.context > context) {
                    seen[word.word] = Some(word.context);
                    let row = word.token * logits.width;
                    tags[word.word] = argmax(&logits.values[row..row + logits.width]);
                }
            }
        }
        Prediction::Tags(tags)
    }

    fn answer(&self, index: usize, outputs: &[Output<'_>]) -> Prediction {
        let decoded = self.decode(outputs);
        let says_something = decoded.has_answer || !self.task.allows_no_answer();
        let best = decoded.best().filter(|_| says_something);
        let text = match (best, &self.examples[index]) {
            (Some(best), Example::Question(example)) => {
                char_slice(&example.context, best.start, best.end)
            }
            _ => "",
        };
        Prediction::Answer {
            text: text.to_owned(),
            no_answer_prob: match self.task.allows_no_answer() {
                true => decoded.no_answer_prob,
                false => 0.0,
            },
        }
    }

    fn decode(&self, outputs: &[Output<'_>]) -> DecodedAnswer {
        let windows = outputs.iter().filter_map(|(item, logits)| {
            let Alignment::Context { first, offsets } = &item.alignment else {
                return None;
            };
            let (starts, ends) = logits.values.split_at(logits.width);
            Some(AnswerWindow {
                starts,
                ends,
                context: *first..first + offsets.len(),
                offsets,
            })
        });
        self.answers.decode(&windows.collect::<Vec<_>>())
    }

    /// The best answers to each question that has logits, by the index of its example.
    pub(super) fn answer_lists(&self, logits: &'a [ExampleLogits]) -> Vec<(usize, DecodedAnswer)> {
        let outputs = self.by_example(logits).into_iter();
        outputs
            .map(|(index, outputs)| (index, self.decode(&outputs)))
            .collect()
    }
}

/// The candidate of which the head is surest that it is right.
fn entity(outputs: &[Output<'_>]) -> Prediction {
    let lead = |logits: &ExampleLogits| match logits.values.as_slice() {
        [wrong, right] => right - wrong,
        _ => f32::NEG_INFINITY,
    };
    let mut best: Option<(&str, f32)> = None;
    for (item, logits) in outputs {
        if let Alignment::Candidate(text) = &item.alignment
            && best.is_none_or(|(_, known)| lead(logits) > known)
        {
            best = Some((text, lead(logits)));
        }
    }
    Prediction::Answer {
        text: best.map_or("", |(text, _)| text).to_owned(),
        no_answer_prob: 0.0,
    }
}

/// Index of the largest number, the first of several.
pub(super) fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}
