//! The examples of a job: read, limited, held out.

use std::collections::HashMap;
use std::path::PathBuf;

use deberta_data::task::{Example, FileSet, Skipped, Split, Task};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::model::Source;
use super::{DataSettings, FinetuneError, FinetuneJob, Progress};

/// Examples that are scored together.
#[derive(Debug, Clone)]
pub(super) struct ExampleSet {
    /// The split, or which of several it is.
    pub(super) name: String,
    pub(super) examples: Vec<Example>,
}

/// Everything that the files of a job say.
#[derive(Debug)]
pub(super) struct TaskData {
    /// With its labels.
    pub(super) task: Task,
    pub(super) train: Vec<Example>,
    /// The first set chooses checkpoints; empty if there are folds.
    pub(super) held_out: Vec<ExampleSet>,
    /// Lines that were left out, training files first.
    pub(super) skipped_lines: [u64; 2],
}

impl TaskData {
    /// Reads the files of a job.
    pub(super) fn read(
        job: &FinetuneJob,
        source: &Source,
        progress: &mut dyn Progress,
    ) -> Result<Self, FinetuneError> {
        let data = &job.data;
        let task = job.task.to_task()?;
        let train = join(files(&task, data, Split::Train)?);
        let task = task.with_labels_from(&train.paths, &data.read_options())?;
        let task = match job.model.keep_head {
            true => source.labels_of_head(task)?,
            false => task,
        };
        let mut reader = Reader {
            task: &task,
            data,
            progress,
            skipped: 0,
        };
        let all = reader.read(&train, Split::Train)?;
        let skipped_train = std::mem::take(&mut reader.skipped);
        let (train, held_out) = match data.train_part {
            Some(part) => split(all, part, data.split_seed)?,
            None if job.folds.is_some() => (all, Vec::new()),
            None => {
                let sets = files(&task, data, Split::Dev)?;
                let sets = sets.iter().map(|set| reader.read(set, Split::Dev));
                (all, sets.collect::<Result<Vec<_>, _>>()?)
            }
        };
        let skipped_lines = [skipped_train, reader.skipped];
        let train = limited(train.examples, data);
        Ok(Self {
            train,
            held_out,
            skipped_lines,
            task,
        })
    }
}

/// Examples of some files by name of the set, or of the files of a split.
///
/// - `given`: files that take the place of those of the task
pub(super) fn read_sets(
    task: &Task,
    data: &DataSettings,
    split: Split,
    given: &[PathBuf],
    progress: &mut dyn Progress,
) -> Result<(Vec<ExampleSet>, u64), FinetuneError> {
    let sets = match given {
        [] => files(task, data, split)?,
        given => vec![FileSet {
            name: split.name().into(),
            paths: given.into(),
        }],
    };
    let mut reader = Reader {
        task,
        data,
        progress,
        skipped: 0,
    };
    let sets = sets.iter().map(|set| reader.read(set, split));
    let sets = sets.collect::<Result<Vec<_>, _>>()?;
    Ok((sets, reader.skipped))
}

/// The files that are named, or those that the folder has.
fn files(task: &Task, data: &DataSettings, split: Split) -> Result<Vec<FileSet>, FinetuneError> {
    let given = match split {
        Split::Train => data.train.as_slice(),
        Split::Dev => data.dev.as_slice(),
        Split::Test => &[],
    };
    if !given.is_empty() {
        return Ok(vec![FileSet {
            name: split.name().into(),
            paths: given.into(),
        }]);
    }
    let Some(folder) = &data.folder else {
        return Err(FinetuneError::Setting {
            setting: "data.folder",
            found: "not set".into(),
            expected: format!(
                "the folder of the task, as no {} files are named",
                split.name()
            ),
        });
    };
    Ok(task.files(folder, split)?)
}

/// All sets as one.
fn join(sets: Vec<FileSet>) -> FileSet {
    FileSet {
        name: Split::Train.name().into(),
        paths: sets.into_iter().flat_map(|set| set.paths).collect(),
    }
}

struct Reader<'a> {
    task: &'a Task,
    data: &'a DataSettings,
    progress: &'a mut dyn Progress,
    skipped: u64,
}

impl Reader<'_> {
    fn read(&mut self, set: &FileSet, split: Split) -> Result<ExampleSet, FinetuneError> {
        let read = self.task.load(set, split, &self.data.read_options())?;
        self.note(&read.name, &read.skipped);
        Ok(ExampleSet {
            name: read.name,
            examples: read.examples,
        })
    }

    fn note(&mut self, set: &str, skipped: &Skipped) {
        self.skipped += skipped.count();
        if skipped.count() > 0 {
            self.progress.note(&format!("{set}: {skipped}"));
        }
    }
}

/// What examples must share to be on the same side of a split: the text that is asked about.
fn group(example: &Example) -> Option<String> {
    match example {
        Example::Question(example) => Some(example.context.clone()),
        Example::Cloze(example) => Some(example.passage.clone()),
        Example::Sequence(example) => example.candidate.map(|it| it.passage.to_string()),
        Example::Choice(_) | Example::Tokens(_) => None,
    }
}

/// Number of the group of each example; the numbers have no gaps.
pub(super) fn groups(examples: &[Example]) -> Vec<usize> {
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut next = 0;
    let number = |example| {
        let number = match group(example) {
            Some(group) => *numbers.entry(group).or_insert(next),
            None => next,
        };
        next = next.max(number + 1);
        number
    };
    examples.iter().map(number).collect()
}

/// Splits examples at random into those to learn from and those held out, both in their order.
///
/// As many groups go to the first part as it takes to reach its size.
fn split(
    set: ExampleSet,
    part: f64,
    seed: u64,
) -> Result<(ExampleSet, Vec<ExampleSet>), FinetuneError> {
    let total = set.examples.len();
    let groups = groups(&set.examples);
    let mut members = vec![Vec::new(); groups.iter().map(|it| it + 1).max().unwrap_or(0)];
    for (index, group) in groups.into_iter().enumerate() {
        members[group].push(index);
    }
    members.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut is_train = vec![false; total];
    let mut count = 0;
    for group in &members {
        if count as f64 >= part * total as f64 {
            break;
        }
        count += group.len();
        for &index in group {
            is_train[index] = true;
        }
    }
    if count == 0 || count == total {
        return Err(FinetuneError::Setting {
            setting: "data.train_part",
            found: part.to_string(),
            expected: format!("a part that leaves some of {total} examples on both sides"),
        });
    }
    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for (example, is_train) in set.examples.into_iter().zip(is_train) {
        match is_train {
            true => train.push(example),
            false => held_out.push(example),
        }
    }
    let train = ExampleSet {
        name: set.name,
        examples: train,
    };
    let held_out = ExampleSet {
        name: Split::Dev.name().into(),
        examples: held_out,
    };
    Ok((train, vec![held_out]))
}

/// As many examples as are wanted, chosen at random, in their order.
fn limited(mut examples: Vec<Example>, data: &DataSettings) -> Vec<Example> {
    let Some(limit) = data.max_train_examples.filter(|it| *it < examples.len()) else {
        return examples;
    };
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(data.split_seed));
    let mut is_kept = vec![false; examples.len()];
    for index in order.into_iter().take(limit.max(1)) {
        is_kept[index] = true;
    }
    let mut kept = is_kept.into_iter();
    examples.retain(|_| kept.next().unwrap_or(false));
    examples
}

#[cfg(test)]
mod tests {
    use super::*;
    use deberta_data::task::{QuestionExample, SequenceExample};

    fn set(examples: Vec<Example>) -> ExampleSet {
        ExampleSet {
            name: "train".into(),
            examples,
        }
    }

    fn text(id: usize) -> Example {
        Example::Sequence(SequenceExample {
            id: id.to_string(),
            text: "text".into(),
            pair: None,
            target: None,
            spans: Vec::new(),
            candidate: None,
        })
    }

    fn question(id: usize, context: &str) -> Example {
        Example::Question(QuestionExample {
            id: id.to_string(),
            question: "who?".into(),
            context: context.into(),
            answers: Vec::new(),
            is_impossible: true,
        })
    }

    fn ids(examples: &[Example]) -> Vec<usize> {
        examples.iter().map(|it| it.id().parse().unwrap()).collect()
    }

    #[test]
    fn a_split_is_random_but_always_the_same() {
        let all = set((0..100).map(text).collect());
        let (train, held_out) = split(all.clone(), 0.8, 1).unwrap();
        let (train, held_out) = (ids(&train.examples), ids(&held_out[0].examples));
        assert_eq!((train.len(), held_out.len()), (80, 20));
        assert!(train.is_sorted() && held_out.is_sorted());
        let mut both = [train.clone(), held_out].concat();
        both.sort_unstable();
        assert_eq!(both, (0..100).collect::<Vec<_>>());
        assert_eq!(ids(&split(all.clone(), 0.8, 1).unwrap().0.examples), train);
        assert_ne!(ids(&split(all, 0.8, 2).unwrap().0.examples), train);
    }

    #[test]
    fn questions_about_one_text_stay_together() {
        let contexts = ["a", "b", "c", "d", "e"];
        let all = (0..50).map(|id| question(id, contexts[id % 5])).collect();
        let (train, held_out) = split(set(all), 0.5, 7).unwrap();
        let side = |examples: &[Example]| {
            let groups = examples.iter().filter_map(group);
            groups.collect::<std::collections::BTreeSet<_>>()
        };
        let (train, held_out) = (side(&train.examples), side(&held_out[0].examples));
        assert_eq!((train.len(), held_out.len()), (3, 2));
        assert!(train.is_disjoint(&held_out));
    }

    #[test]
    fn a_split_needs_two_sides() {
        let all = (0..9).map(|id| question(id, "a")).collect();
        let error = split(set(all), 0.5, 1).unwrap_err().to_string();
        assert!(error.contains("both sides"), "{error}");
    }

    #[test]
    fn fewer_examples_are_chosen_at_random() {
        let data = DataSettings {
            max_train_examples: Some(10),
            ..DataSettings::default()
        };
        let some = ids(&limited((0..100).map(text).collect(), &data));
        assert_eq!(some.len(), 10);
        assert!(some.is_sorted() && some != (0..10).collect::<Vec<_>>());
        assert_eq!(limited(vec![text(0)], &data).len(), 1);
    }
}
