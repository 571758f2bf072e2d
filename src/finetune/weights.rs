//! Weights of classes by how rare they are.

use deberta_data::task::{Example, Target, Task, TaskKind};

use super::FinetuneError;

/// Weight of each label: examples over labels that occur and examples of the label, as
/// scikit-learn's `balanced` has it.
///
/// ```text
/// w_c = n / (k n_c)
/// ```
///
/// For words with tags, words are counted. A label that does not occur has weight 1.
///
/// # Errors
///
/// If an example may have several labels, or none at all.
pub(super) fn balanced(task: &Task, train: &[Example]) -> Result<Vec<f64>, FinetuneError> {
    let has_classes = matches!(
        task.kind(),
        TaskKind::Classification | TaskKind::TokenClassification
    );
    if !has_classes {
        return Err(FinetuneError::Setting {
            setting: "train.balanced_classes",
            found: "true".into(),
            expected: "false for a task whose examples or words have not one label each".into(),
        });
    }
    let mut counts = vec![0_u64; task.labels().len()];
    for example in train {
        match example {
            Example::Sequence(example) => {
                if let Some(Target::Label(label)) = example.target {
                    counts[label] += 1;
                }
            }
            Example::Tokens(example) => {
                for tag in example.tags.iter().flatten() {
                    counts[*tag] += 1;
                }
            }
            Example::Choice(_) | Example::Question(_) | Example::Cloze(_) => {}
        }
    }
    let total: u64 = counts.iter().sum();
    let occurring = counts.iter().filter(|count| **count > 0).count();
    let weights = counts.into_iter().map(|count| match count {
        0 => 1.0,
        count => total as f64 / (occurring as f64 * count as f64),
    });
    Ok(weights.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use deberta_data::task::{SequenceExample, TaskSpec, TokensExample};

    /// `compute_class_weight("balanced", ...)` of scikit-learn gives the same for 6, 3 and 1.
    #[test]
    fn rare_classes_weigh_more() {
        let mut spec = TaskSpec::new("mine", TaskKind::Classification);
        spec.labels = ["a", "b", "c", "d"].map(str::to_owned).into();
        let task = Task::custom(spec).unwrap();
        let labels = [0, 0, 1, 0, 3, 0, 1, 0, 1, 0];
        let examples: Vec<Example> = labels
            .iter()
            .map(|label| {
                Example::Sequence(SequenceExample {
                    id: String::new(),
                    text: "text".into(),
                    pair: None,
                    target: Some(Target::Label(*label)),
                    spans: Vec::new(),
                    candidate: None,
                })
            })
            .collect();
        let expected = [10.0 / 18.0, 10.0 / 9.0, 1.0, 10.0 / 3.0];
        assert_eq!(balanced(&task, &examples).unwrap(), expected);
    }

    #[test]
    fn tags_are_counted_by_words() {
        let task = Task::named("wnut17").unwrap();
        let sentence = Example::Tokens(TokensExample {
            id: "0".into(),
            words: vec!["word".into(); 4],
            tags: Some(vec![0, 0, 0, 2]),
        });
        let weights = balanced(&task, &[sentence]).unwrap();
        assert_eq!(weights[..3], [4.0 / 6.0, 1.0, 2.0]);
    }

    #[test]
    fn tasks_without_classes_have_no_weights() {
        for name in ["sts-b", "copa", "squad", "record"] {
            let task = Task::named(name).unwrap();
            let error = balanced(&task, &[]).unwrap_err().to_string();
            assert!(
                error.starts_with("`train.balanced_classes` is true"),
                "{error}"
            );
        }
    }
}
