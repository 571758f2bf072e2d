//! Every published file of the tasks that is at hand: it has to parse whole, with known counts.
//!
//! The files may not be distributed. They are looked for in the folder named by `DEBERTA_DATA`; the
//! expected numbers were counted by another program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use deberta_data::task::{
    Example, FileSet, Prediction, ReadOptions, SequenceExample, Split, Target, Task,
};

/// The folder of data, or a word that the test is skipped.
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("DEBERTA_DATA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: DEBERTA_DATA is not set");
    }
    folder
}

/// Reads files, none of whose lines may be bad.
#[track_caller]
fn read(task: &str, split: Split, files: &[PathBuf]) -> Vec<Example> {
    let set = FileSet {
        name: split.name().to_owned(),
        paths: files.to_vec(),
    };
    let task = Task::named(task).unwrap();
    let data = task.load(&set, split, &ReadOptions::default()).unwrap();
    assert_eq!(data.skipped.count(), 0);
    data.examples
}

fn label(example: &Example) -> Option<usize> {
    match example {
        Example::Sequence(SequenceExample {
            target: Some(Target::Label(label)),
            ..
        }) => Some(*label),
        Example::Choice(choice) => choice.label,
        _ => None,
    }
}

/// How many examples have each label.
#[track_caller]
fn check(task: &str, file: PathBuf, histogram: &[usize]) {
    let examples = read(task, Split::Dev, std::slice::from_ref(&file));
    let mut found = vec![0; histogram.len()];
    for example in &examples {
        found[label(example).unwrap()] += 1;
    }
    assert_eq!(found, histogram, "{}", file.display());
    assert_eq!(examples.len(), histogram.iter().sum::<usize>());
}

#[test]
fn glue_parses_whole_with_known_labels() {
    let Some(glue) = data().map(|it| it.join("glue")) else {
        return;
    };
    check("cola", glue.join("CoLA/train.tsv"), &[2528, 6023]);
    check("cola", glue.join("CoLA/dev.tsv"), &[322, 721]);
    check("cola", glue.join("CoLA/in_domain_dev.tsv"), &[160, 367]);
    check("cola", glue.join("CoLA/out_of_domain_dev.tsv"), &[162, 354]);
    check("sst-2", glue.join("SST-2/train_part1.tsv"), &[26786, 33828]);
    check("sst-2", glue.join("SST-2/train_part2.tsv"), &[2994, 3741]);
    check("sst-2", glue.join("SST-2/dev.tsv"), &[428, 444]);
    check(
        "mrpc",
        glue.join("MRPC/msr_paraphrase_train.txt"),
        &[1323, 2753],
    );
    check(
        "mrpc",
        glue.join("MRPC/msr_paraphrase_test.txt"),
        &[578, 1147],
    );
    check("rte", glue.join("RTE/train.tsv"), &[1241, 1249]);
    check("rte", glue.join("RTE/dev.tsv"), &[131, 146]);
    check("qnli", glue.join("QNLI/dev.tsv"), &[2761, 2702]);
    check(
        "mnli",
        glue.join("MNLI/dev_matched.hans.tsv"),
        &[3213, 3123, 3479],
    );
}

#[test]
fn scores_of_similarity_have_their_known_mean() {
    let Some(folder) = data().map(|it| it.join("glue/STS-B")) else {
        return;
    };
    for (file, count, mean) in [
        ("sts-train.csv", 5749, 2.7009990253653497),
        ("sts-dev.csv", 1500, 2.363907555555555),
        ("sts-test.csv", 1379, 2.6079166062364036),
    ] {
        let examples = read("sts-b", Split::Dev, &[folder.join(file)]);
        assert_eq!(examples.len(), count);
        let scores = examples.iter().map(|example| match example {
            Example::Sequence(SequenceExample {
                target: Some(Target::Score(score)),
                pair: Some(_),
                ..
            }) => *score,
            other => panic!("{other:?}"),
        });
        assert!((scores.sum::<f64>() / count as f64 - mean).abs() < 1e-9);
    }
}

#[test]
fn texts_are_what_the_files_say() {
    let Some(glue) = data().map(|it| it.join("glue")) else {
        return;
    };
    let first = |task: &str, file: &str| match &read(task, Split::Dev, &[glue.join(file)])[0] {
        Example::Sequence(it) => (it.id.clone(), it.text.clone(), it.pair.clone()),
        other => panic!("{other:?}"),
    };
    let (id, text, pair) = first("cola", "CoLA/dev.tsv");
    assert_eq!((id.as_str(), pair), ("0", None));
    assert_eq!(text, "Somebody just left - guess who.");
    let (_, text, _) = first("sst-2", "SST-2/train_part1.tsv");
    assert_eq!(text, "when are bears bears and ");
    let (_, text, pair) = first("sts-b", "STS-B/sts-train.csv");
    assert_eq!(text, "A plane is taking off.");
    assert_eq!(pair.unwrap(), "An air plane is taking off.");
    // The sentence comes before the question.
    let (_, text, pair) = first("qnli", "QNLI/dev.tsv");
    assert!(text.starts_with("As of that day"));
    assert!(pair.unwrap().starts_with("What came into force"));
    let (_, text, _) = first("mrpc", "MRPC/msr_paraphrase_train.txt");
    assert!(text.starts_with("Amrozi accused his brother, whom he called \"the witness\", of"));
}

#[test]
fn folders_are_found_by_the_name_of_the_task() {
    let Some(folder) = data() else {
        return;
    };
    let glue = folder.join("glue");
    let cases: [(&str, PathBuf, Split, usize); 14] = [
        ("sst-2", glue.clone(), Split::Train, 67_349),
        ("mrpc", glue.join("MRPC"), Split::Train, 4_076),
        ("sts-b", glue.clone(), Split::Test, 1_379),
        ("mnli", glue.clone(), Split::Dev, 9_815),
        ("rte", glue, Split::Train, 2_490),
        ("boolq", folder.join("superglue"), Split::Dev, 3_270),
        ("wsc", folder.join("superglue"), Split::Test, 146),
        (
            "copa",
            folder.join("multiple-choice/copa"),
            Split::Train,
            500,
        ),
        (
            "copa",
            folder.join("multiple-choice/copa"),
            Split::Test,
            500,
        ),
        ("codah", folder.join("multiple-choice"), Split::Train, 1_665),
        ("piqa", folder.join("multiple-choice"), Split::Dev, 1_838),
        ("wnut17", folder.join("ner"), Split::Test, 1_287),
        ("squad", folder.join("squad/v1.1-subset"), Split::Dev, 1_062),
        (
            "squad2",
            folder.join("squad/v2.0-cs224n"),
            Split::Test,
            5_915,
        ),
    ];
    for (name, folder, split, count) in cases {
        let task = Task::named(name).unwrap();
        let sets = task.files(&folder, split).unwrap();
        let loaded = sets.iter().map(|set| {
            let data = task.load(set, split, &ReadOptions::default()).unwrap();
            assert_eq!(data.skipped.count(), 0);
            data.examples.len()
        });
        assert_eq!(loaded.sum::<usize>(), count, "{name}");
    }
}

#[test]
fn superglue_parses_whole_with_known_labels() {
    let Some(folder) = data().map(|it| it.join("superglue")) else {
        return;
    };
    let files: [(&str, &str, [&[usize]; 3]); 5] = [
        ("boolq", "BoolQ", [&[1237, 2033], &[14, 18], &[13, 19]]),
        ("cb", "CB", [&[28, 5, 23], &[10, 3, 19], &[13, 2, 17]]),
        ("copa", "COPA", [&[55, 45], &[14, 18], &[15, 17]]),
        ("wic", "WiC", [&[319, 319], &[15, 17], &[16, 16]]),
        ("multirc", "MultiRC", [&[2773, 2075], &[86, 68], &[93, 74]]),
    ];
    for (task, name, histograms) in files {
        for (file, histogram) in ["val", "train32", "dev32"].iter().zip(histograms) {
            check(
                task,
                folder.join(name).join(format!("{file}.jsonl")),
                histogram,
            );
        }
    }
    check("wsc", folder.join("WSC/train.jsonl"), &[295, 259]);
    check("wsc", folder.join("WSC/val.jsonl"), &[66, 38]);
    let unlabelled = read("wsc", Split::Test, &[folder.join("WSC/test.jsonl")]);
    assert!(unlabelled.iter().all(|example| label(example).is_none()));
}

#[test]
fn multirc_keeps_answers_with_their_questions() {
    let Some(folder) = data().map(|it| it.join("superglue/MultiRC")) else {
        return;
    };
    let examples = read("multirc", Split::Dev, &[folder.join("val.jsonl")]);
    let mut questions = BTreeMap::new();
    for example in &examples {
        let Example::Sequence(example) = example else {
            panic!("{example:?}");
        };
        let candidate = example.candidate.unwrap();
        *questions
            .entry((candidate.passage, candidate.question))
            .or_insert(0) += 1;
    }
    assert_eq!(questions.len(), 953);
    // Everything said to be right: each right answer is found, and most wrong ones are taken.
    let task = Task::named("multirc").unwrap();
    let all_right = vec![Prediction::Label(1); examples.len()];
    let report = task.score(&all_right, &examples).unwrap();
    let precision = 2075.0 / 4848.0;
    let f1a = 2.0 * precision / (1.0 + precision);
    assert!((report.value("f1a").unwrap() - f1a).abs() < 1e-12);
}

/// The marked words of an example.
fn spans(example: &Example) -> Vec<String> {
    let Example::Sequence(example) = example else {
        panic!("{example:?}");
    };
    let spans = example.spans.iter().map(|span| {
        let text = if span.in_pair {
            example.pair.as_ref().unwrap()
        } else {
            &example.text
        };
        let part = text.chars().skip(span.start).take(span.end - span.start);
        let mark = text.chars().nth(span.start - 1).unwrap();
        assert!(mark == '*' || mark == '#');
        assert_eq!(text.chars().nth(span.end), Some(mark));
        // A part may contain the other one with its marks.
        part.filter(|c| !matches!(c, '*' | '#')).collect()
    });
    spans.collect()
}

#[test]
fn marks_stand_around_the_words_in_question() {
    let Some(folder) = data().map(|it| it.join("superglue")) else {
        return;
    };
    let examples = read("wic", Split::Dev, &[folder.join("WiC/val.jsonl")]);
    assert_eq!(spans(&examples[0]), ["class", "class"]);
    for example in &examples {
        assert!(spans(example).iter().all(|word| word == word.trim()));
    }
    for (file, known_bad) in [("train", 0), ("val", 0), ("test", 2)] {
        let path = folder.join("WSC").join(format!("{file}.jsonl"));
        let rows = std::fs::read_to_string(&path).unwrap();
        let examples = read("wsc", Split::Test, &[path]);
        let mut unlike = Vec::new();
        for (example, row) in examples.iter().zip(rows.lines()) {
            let row: serde_json::Value = serde_json::from_str(row).unwrap();
            for (span, name) in spans(example).iter().zip(["span1_text", "span2_text"]) {
                let words = row["target"][name].as_str().unwrap();
                let words: Vec<&str> = words.split_whitespace().collect();
                let wanted = words.join(" ").to_lowercase();
                let wanted = wanted.trim_end_matches(['.', ',']);
                if span.to_lowercase().trim_matches(['.', ',']) != wanted {
                    unlike.push((span.clone(), words.join(" ")));
                }
            }
        }
        // Two phrases of the test file do not stand in their text at all.
        assert_eq!(unlike.len(), known_bad, "{file}: {unlike:?}");
    }
}

#[test]
fn multiple_choice_parses_whole_with_known_labels() {
    let Some(folder) = data().map(|it| it.join("multiple-choice")) else {
        return;
    };
    check(
        "codah",
        folder.join("codah/full_data.tsv"),
        &[689, 684, 697, 706],
    );
    check(
        "codah",
        folder.join("codah/fold_0/dev.tsv"),
        &[149, 140, 124, 143],
    );
    check("piqa", folder.join("piqa/valid.jsonl"), &[910, 928]);
    for file in ["copa-dev.xml", "copa-test.xml"] {
        check("copa", folder.join("copa").join(file), &[250, 250]);
        let examples = read("copa", Split::Dev, &[folder.join("copa").join(file)]);
        let causes = examples.iter().filter(|example| match example {
            Example::Choice(choice) => choice.choice_first,
            _ => false,
        });
        assert_eq!(causes.count(), 250);
    }
    let fold = |name: &str| {
        read(
            "codah",
            Split::Dev,
            &[folder.join("codah/fold_0").join(name)],
        )
    };
    assert_eq!(
        fold("train.tsv").len() + fold("test.tsv").len(),
        1_665 + 555
    );
}

#[test]
fn questions_parse_whole_and_answers_stand_in_their_contexts() {
    let Some(folder) = data().map(|it| it.join("squad")) else {
        return;
    };
    for (task, file, questions, impossible, answers) in [
        ("squad2", "v2.0-cs224n/dev-v2.0.json", 6_078, 3_168, 10_052),
        ("squad", "v1.1-subset/dev_orig.json", 1_062, 0, 3_485),
    ] {
        let examples = read(task, Split::Dev, &[folder.join(file)]);
        assert_eq!(examples.len(), questions);
        let (mut without, mut spans) = (0, 0);
        let mut predictions = Vec::new();
        for example in &examples {
            let Example::Question(example) = example else {
                panic!("{example:?}");
            };
            without += usize::from(example.is_impossible);
            spans += example.answers.len();
            for answer in &example.answers {
                let context = example.context.chars().skip(answer.start);
                let there: String = context.take(answer.text.chars().count()).collect();
                assert_eq!(there, answer.text);
            }
            let text = example.answers.first().map(|it| it.text.clone());
            predictions.push(Prediction::Answer {
                text: text.unwrap_or_default(),
                no_answer_prob: 0.0,
            });
        }
        assert_eq!((without, spans), (impossible, answers));
        // Whoever copies the references has everything right.
        let report = Task::named(task)
            .unwrap()
            .score(&predictions, &examples)
            .unwrap();
        assert_eq!(report.main().value, 100.0);
    }
}

#[test]
fn sentences_with_tags_have_known_counts() {
    let Some(folder) = data().map(|it| it.join("ner/wnut17")) else {
        return;
    };
    for (file, sentences, words, people) in [
        ("wnut17train.conll", 3_394, 62_730, 660),
        ("emerging.dev.conll", 1_009, 15_733, 470),
        ("emerging.test.annotated", 1_287, 23_394, 429),
    ] {
        let path = folder.join(file);
        let examples = read("wnut17", Split::Dev, std::slice::from_ref(&path));
        assert_eq!(examples.len(), sentences);
        let task = Task::named("wnut17").unwrap();
        let person = task.labels().iter().position(|it| it == "B-person");
        let tags: Vec<usize> = examples
            .iter()
            .flat_map(|example| match example {
                Example::Tokens(example) => example.tags.clone().unwrap(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(tags.len(), words);
        let found = tags.iter().filter(|tag| Some(**tag) == person);
        assert_eq!(found.count(), people);
        // The labels are those that the files have.
        let found = Task::named("ner").unwrap();
        let found = found
            .with_labels_from(&[path], &ReadOptions::default())
            .unwrap();
        let sorted = |task: &Task| -> std::collections::BTreeSet<String> {
            task.labels().iter().cloned().collect()
        };
        assert_eq!(found.labels()[0], "O");
        assert_eq!(sorted(&found), sorted(&task));
    }
}

#[test]
fn no_file_of_a_task_is_left_unread() {
    let Some(folder) = data() else {
        return;
    };
    let count = |folder: &Path| std::fs::read_dir(folder).unwrap().count();
    // What the tests above name; more files mean that they should name more.
    assert_eq!(count(&folder.join("glue")), 7);
    assert_eq!(count(&folder.join("superglue")), 6);
    assert_eq!(count(&folder.join("multiple-choice")), 3);
    assert_eq!(count(&folder.join("squad")), 2);
}
