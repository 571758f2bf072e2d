//! What one can say without reading: the answer that is most frequent.

use std::collections::BTreeMap;

use deberta_data::task::{Example, Prediction, Target, Task, TaskKind};

/// The same prediction for every example, learnt from the labels alone.
pub(super) struct Majority {
    kind: TaskKind,
    label: usize,
    mean: f64,
    labels: Vec<usize>,
}

impl Majority {
    /// Learns from the training examples.
    pub(super) fn new(task: &Task, train: &[Example]) -> Self {
        let (mut counts, mut sets) = (BTreeMap::new(), BTreeMap::new());
        let (mut sum, mut number) = (0.0, 0);
        for example in train {
            match example {
                Example::Sequence(example) => match &example.target {
                    Some(Target::Label(label)) => count(&mut counts, *label),
                    Some(Target::Labels(labels)) => count(&mut sets, labels.clone()),
                    Some(Target::Score(score)) => {
                        sum += score;
                        number += 1;
                    }
                    None => {}
                },
                Example::Choice(example) => {
                    if let Some(label) = example.label {
                        count(&mut counts, label);
                    }
                }
                Example::Tokens(example) => {
                    for tag in example.tags.iter().flatten() {
                        count(&mut counts, *tag);
                    }
                }
                Example::Question(_) | Example::Cloze(_) => {}
            }
        }
        Self {
            kind: task.kind(),
            label: most_frequent(counts).unwrap_or(0),
            mean: if number > 0 {
                sum / f64::from(number)
            } else {
                0.0
            },
            labels: most_frequent(sets).unwrap_or_default(),
        }
    }

    /// What it says about an example. Questions have no answer; a gap is filled with the entity that
    /// the passage mentions most.
    pub(super) fn predict(&self, example: &Example) -> Prediction {
        let answer = |text: &str| Prediction::Answer {
            text: text.to_owned(),
            no_answer_prob: 0.0,
        };
        match example {
            Example::Tokens(example) => Prediction::Tags(vec![self.label; example.words.len()]),
            Example::Question(_) => answer(""),
            Example::Cloze(example) => {
                let mut counts = BTreeMap::new();
                for entity in &example.entities {
                    count(&mut counts, entity.text.as_str());
                }
                answer(most_frequent(counts).unwrap_or(""))
            }
            Example::Choice(_) => Prediction::Label(self.label),
            Example::Sequence(_) => match self.kind {
                TaskKind::Regression => Prediction::Score(self.mean),
                TaskKind::MultiLabel => Prediction::Labels(self.labels.clone()),
                _ => Prediction::Label(self.label),
            },
        }
    }
}

fn count<T: Ord>(counts: &mut BTreeMap<T, usize>, value: T) {
    *counts.entry(value).or_insert(0) += 1;
}

/// The first of the most frequent values.
fn most_frequent<T: Ord>(counts: BTreeMap<T, usize>) -> Option<T> {
    let mut best: Option<(T, usize)> = None;
    for (value, count) in counts {
        if best.as_ref().is_none_or(|(_, most)| count > *most) {
            best = Some((value, count));
        }
    }
    best.map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use deberta_data::task::TokensExample;

    #[test]
    fn the_most_frequent_tag_is_said_of_every_word() {
        let task = Task::named("wnut17").unwrap();
        let sentence = |tags: &[usize]| {
            Example::Tokens(TokensExample {
                id: "0".into(),
                words: vec!["word".into(); tags.len()],
                tags: Some(tags.to_vec()),
            })
        };
        let majority = Majority::new(&task, &[sentence(&[3, 0, 3]), sentence(&[0, 0])]);
        assert_eq!(
            majority.predict(&sentence(&[1, 1, 1])),
            Prediction::Tags(vec![0; 3])
        );
    }

    #[test]
    fn of_equally_frequent_values_the_first_is_taken() {
        let counts = BTreeMap::from([(1, 2), (4, 3), (7, 3)]);
        assert_eq!(most_frequent(counts), Some(4));
        assert_eq!(most_frequent(BTreeMap::<u8, usize>::new()), None);
    }
}
