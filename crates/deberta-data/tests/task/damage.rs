//! Files with damage: whatever is read, nothing panics.

use deberta_data::task::{BadLines, ReadOptions, Split, Task};
use proptest::prelude::*;

use crate::{Files, RECORD};

/// A valid file of each format, to be damaged.
const VALID: &[(&str, &str, &str)] = &[
    ("cola", "dev.tsv", "s\t1\t\tText one.\ns\t0\t*\tText two.\n"),
    (
        "mrpc",
        "dev.tsv",
        "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t1\t2\ta\tb\n",
    ),
    ("sts-b", "dev.csv", "g\tf\ty\t1\t1.0\ta\tb\n"),
    (
        "swag",
        "val.csv",
        "sent1,sent2,ending0,ending1,ending2,ending3,label\n\"a\nb\",b,c,d,e,f,0\n",
    ),
    ("record", "val.jsonl", RECORD),
    (
        "wic",
        "val.jsonl",
        "{\"sentence1\": \"a word\", \"sentence2\": \"word b\", \"start1\": 2, \"end1\": 6, \"start2\": 0, \"end2\": 4, \"label\": true}\n",
    ),
    (
        "wsc",
        "val.jsonl",
        "{\"text\": \"Ann saw her.\", \"target\": {\"span1_text\": \"Ann\", \"span1_index\": 0, \"span2_text\": \"her\", \"span2_index\": 2}, \"label\": false}\n",
    ),
    (
        "multirc",
        "val.jsonl",
        "{\"idx\": 2, \"passage\": {\"text\": \"p\", \"questions\": [{\"question\": \"q\", \"idx\": 7, \"answers\": [{\"text\": \"a\", \"idx\": 20, \"label\": 1}]}]}}\n",
    ),
    (
        "race",
        "dev.jsonl",
        "{\"article\": \"t\", \"questions\": [\"q\"], \"options\": [[\"a\", \"b\"]], \"answers\": [\"B\"]}\n",
    ),
    (
        "race",
        "dev.txt",
        "{\"article\": \"t\", \"questions\": [\"q\"], \"options\": [[\"a\", \"b\"]], \"answers\": [\"B\"]}",
    ),
    (
        "copa",
        "copa-dev.xml",
        "<?xml version=\"1.0\"?>\n<!DOCTYPE c SYSTEM \"c.dtd\">\n<c><item id=\"1\" asks-for=\"cause\" most-plausible-alternative=\"2\"><p>a &amp; b</p><a1>c</a1><a2>d</a2></item></c>",
    ),
    (
        "squad",
        "dev.json",
        "{\"data\": [{\"paragraphs\": [{\"context\": \"aé b\", \"qas\": [{\"id\": \"q\", \"question\": \"w\", \"answers\": [{\"text\": \"b\", \"answer_start\": 3}]}]}]}]}",
    ),
    (
        "conll",
        "dev.txt",
        "EU NNP B-NP B-ORG\nis VBZ B-VP O\n\nPeter NNP B-NP B-PER\n",
    ),
    ("wnut17", "dev.conll", "EU\tB-group\n\t\nis\tO\n"),
];

#[test]
fn the_files_to_be_damaged_are_valid() {
    for (task, file, text) in VALID {
        let files = Files::new(&[]);
        let path = files.write(file, text.as_bytes());
        let task = Task::named(task).unwrap();
        let examples: Vec<_> = task
            .examples(&[path], Split::Dev, &ReadOptions::default())
            .collect();
        assert!(!examples.is_empty());
        assert!(examples.iter().all(Result::is_ok), "{file}: {examples:?}");
    }
}

/// Reads whatever is there, with both policies; only panics count.
fn survives(files: &Files, task: &str, file: &str, bytes: &[u8]) {
    let path = files.write(file, bytes);
    let task = Task::named(task).unwrap();
    for bad_lines in [BadLines::Skip, BadLines::Fail] {
        let options = ReadOptions {
            bad_lines,
            max_line_bytes: 1 << 10,
        };
        let read = task.examples(std::slice::from_ref(&path), Split::Dev, &options);
        // The stream ends, also after an error.
        assert!(read.count() <= bytes.len() + 1);
        let _ = task
            .clone()
            .with_labels(Vec::new())
            .with_labels_from(std::slice::from_ref(&path), &options);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let files = Files::new(&[]);
        for (task, file, _) in VALID {
            survives(&files, task, file, &bytes);
        }
    }

    #[test]
    fn damaged_files_are_read_without_a_panic(
        which in 0..VALID.len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..4, any::<u8>()), 1..6),
    ) {
        let (task, file, text) = VALID[which];
        let mut bytes = text.as_bytes().to_vec();
        for (at, kind, byte) in damage {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => { bytes.remove(at); }
                2 => bytes.insert(at, b"\t\n\",{}[]-9 \xff"[usize::from(byte) % 12]),
                _ => bytes.truncate(at),
            }
        }
        survives(&Files::new(&[]), task, file, &bytes);
    }
}
