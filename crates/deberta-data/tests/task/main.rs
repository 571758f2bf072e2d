//! Reading tasks: published layouts, own files, bad data, scores and submissions.

#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod damage;
mod data;
mod own;
mod published;
mod score;

use std::fs;
use std::path::PathBuf;

use deberta_data::task::{
    ChoiceExample, Example, QuestionExample, ReadOptions, SequenceExample, Split, Task, TaskError,
};
use tempfile::TempDir;

/// Files in a folder of their own.
struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            folder.write(name, text.as_bytes());
        }
        folder
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn read(&self, task: &Task, split: Split) -> Result<Vec<Example>, TaskError> {
        let mut all = Vec::new();
        for set in task.files(self.0.path(), split)? {
            all.extend(task.load(&set, split, &ReadOptions::default())?.examples);
        }
        Ok(all)
    }
}

/// Reads one file as a split of a task that is known by name.
fn read(task: &str, split: Split, file: &str, text: &str) -> Result<Vec<Example>, TaskError> {
    let files = Files::new(&[(file, text)]);
    files.read(&Task::named(task).unwrap(), split)
}

/// The message of an error without the folder.
#[track_caller]
fn message(task: &str, split: Split, file: &str, text: &str) -> String {
    let message = read(task, split, file, text).unwrap_err().to_string();
    let at = message.find(file).unwrap_or_default();
    message[at..].to_owned()
}

fn sequence(example: &Example) -> &SequenceExample {
    match example {
        Example::Sequence(example) => example,
        other => panic!("{other:?}"),
    }
}

fn choice(example: &Example) -> &ChoiceExample {
    match example {
        Example::Choice(example) => example,
        other => panic!("{other:?}"),
    }
}

fn question(example: &Example) -> &QuestionExample {
    match example {
        Example::Question(example) => example,
        other => panic!("{other:?}"),
    }
}

/// A passage of ReCoRD with three mentions of two people.
const RECORD: &str = "{\"idx\": 3, \"passage\": {\"text\": \"Ånn met Bob. Ånn left.\", \"entities\": \
    [{\"start\": 8, \"end\": 10}, {\"start\": 0, \"end\": 2}, {\"start\": 13, \"end\": 15}]}, \"qas\": \
    [{\"idx\": 11, \"query\": \"@placeholder left\", \"answers\": [{\"start\": 13, \"end\": 15, \
    \"text\": \"Ånn\"}, {\"start\": 0, \"end\": 2, \"text\": \"Ånn\"}]}]}\n";
