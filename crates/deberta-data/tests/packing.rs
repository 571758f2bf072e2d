//! Packing into shards and reading them back, here and with the Arrow library.
#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_ipc::reader::FileReader;
use deberta_data::corpus::synthetic::SyntheticConfig;
use deberta_data::corpus::{Corpus, CorpusOptions, OnBadRow};
use deberta_data::packing::{
    BuildReason, OnStale, PackError, PackMode, PackOptions, PackedCorpus, Stale,
};
use deberta_data::tokenizer::{Tokenize, Tokenizer, TokenizerKind, TrainTokenizerConfig};
use tempfile::TempDir;

const STORIES: SyntheticConfig = SyntheticConfig {
    seed: 3,
    train_stories: 60,
    held_out_stories: 5,
};

fn corpus() -> Corpus {
    Corpus::synthetic(STORIES)
}

fn tokenizer_of(vocab_size: usize, kind: TokenizerKind) -> Tokenizer {
    let lines: Vec<String> = corpus().documents().map(|it| it.unwrap().text).collect();
    Tokenizer::train(
        &TrainTokenizerConfig { vocab_size, kind },
        lines.into_iter(),
    )
    .unwrap()
}

fn tokenizer() -> Tokenizer {
    tokenizer_of(600, TokenizerKind::Unigram)
}

fn options(mode: PackMode) -> PackOptions {
    // Several shards even for so small a corpus.
    PackOptions {
        mode,
        shard_tokens: 1500,
        ..PackOptions::new(32)
    }
}

/// A folder for shards that does not exist yet, inside one that is removed with the guard.
fn shards() -> (TempDir, PathBuf) {
    let guard = tempfile::tempdir().unwrap();
    let path = guard.path().join("shards");
    (guard, path)
}

fn pack(
    folder: &Path,
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    options: &PackOptions,
) -> Result<PackedCorpus, PackError> {
    PackedCorpus::build_or_open(folder, corpus, tokenizer, options, &mut |_| {})
}

fn examples(packed: &PackedCorpus) -> Vec<Vec<u32>> {
    (0..packed.len())
        .map(|index| packed.example(index).to_vec())
        .collect()
}

#[test]
fn concatenated_examples_are_the_corpus_in_full_pieces() {
    let (_guard, folder) = shards();
    let tokenizer = tokenizer();
    let options = options(PackMode::Concatenate);
    let packed = pack(&folder, &corpus(), &tokenizer, &options).unwrap();

    let special = tokenizer.special();
    let mut text = Vec::new();
    for (index, example) in examples(&packed).iter().enumerate() {
        assert_eq!(example[0], special.cls);
        assert_eq!(example[example.len() - 1], special.sep);
        assert!(example.len() == 32 || index == packed.len() - 1);
        text.extend_from_slice(&example[1..example.len() - 1]);
    }
    let expected: Vec<u32> = corpus()
        .documents()
        .flat_map(|document| tokenizer.encode_ids(&document.unwrap().text).unwrap())
        .collect();
    assert!(expected.len() - text.len() < options.min_tokens);
    assert_eq!(text, expected[..text.len()]);
}

#[test]
fn examples_within_boundaries_hold_one_document_each() {
    let (_guard, folder) = shards();
    let tokenizer = tokenizer();
    let packed = pack(
        &folder,
        &corpus(),
        &tokenizer,
        &options(PackMode::DocumentBoundaries),
    )
    .unwrap();

    let (mut expected, mut dropped) = (Vec::new(), 0);
    for document in corpus().documents() {
        let ids = tokenizer.encode_ids(&document.unwrap().text).unwrap();
        let (kept, short): (Vec<_>, Vec<_>) = ids.chunks(30).partition(|piece| piece.len() >= 4);
        expected.extend(kept.into_iter().map(<[u32]>::to_vec));
        dropped += short.iter().map(|piece| piece.len()).sum::<usize>();
    }
    let bodies: Vec<Vec<u32>> = examples(&packed)
        .iter()
        .map(|it| it[1..it.len() - 1].to_vec())
        .collect();
    assert_eq!(bodies, expected);
    assert_eq!(packed.stats().dropped_tokens, dropped as u64);
}

#[test]
fn the_statistics_add_up() {
    let (_guard, folder) = shards();
    let mut last = None;
    let mut calls = 0;
    let tokenizer = tokenizer();
    let packed = PackedCorpus::build_or_open(
        &folder,
        &corpus(),
        &tokenizer,
        &options(PackMode::DocumentBoundaries),
        &mut |progress| {
            last = Some(progress);
            calls += 1;
        },
    )
    .unwrap();
    let stats = packed.stats();
    assert_eq!(stats.examples as usize, packed.len());
    assert_eq!(
        stats.tokens as usize,
        examples(&packed).iter().map(Vec::len).sum::<usize>()
    );
    assert_eq!(stats.documents, 60);
    assert!(stats.shards > 1);
    let files = fs::read_dir(&folder).unwrap().map(|it| it.unwrap());
    let arrow = files.filter(|it| it.path().extension().is_some_and(|it| it == "arrow"));
    assert_eq!(
        stats.shard_bytes,
        arrow.map(|it| it.metadata().unwrap().len()).sum::<u64>()
    );
    let last = last.unwrap();
    assert!(calls > 0 && last.bytes_done > 0 && last.bytes_done == last.bytes_total);
    assert_eq!((last.examples, last.tokens), (stats.examples, stats.tokens));
    assert_eq!(packed.get(packed.len()), None);
    assert_eq!(packed.seq_len(), 32);
}

#[test]
fn shards_are_reopened_until_something_changes() {
    let (_guard, folder) = shards();
    let (first, second) = (tokenizer(), tokenizer_of(500, TokenizerKind::Unigram));
    let mut options = options(PackMode::Concatenate);
    let packed = pack(&folder, &corpus(), &first, &options).unwrap();
    assert_eq!(packed.built_because(), Some(&BuildReason::Missing));

    let again = pack(&folder, &corpus(), &first, &options).unwrap();
    assert_eq!(again.built_because(), None);
    assert_eq!(examples(&again), examples(&packed));
    // The size of the shards says nothing about their content.
    let larger = PackOptions {
        shard_tokens: 9000,
        ..options
    };
    assert_eq!(
        pack(&folder, &corpus(), &first, &larger)
            .unwrap()
            .built_because(),
        None
    );

    let reason = |corpus: &Corpus, tokenizer: &Tokenizer, options: &PackOptions| {
        // First without the permission to rebuild: an error, and the shards stay.
        let strict = PackOptions {
            on_stale: OnStale::Fail,
            ..*options
        };
        let error = pack(&folder, corpus, tokenizer, &strict).unwrap_err();
        let PackError::Stale { reason, .. } = error else {
            panic!("{error}")
        };
        let packed = pack(&folder, corpus, tokenizer, options).unwrap();
        assert_eq!(
            packed.built_because(),
            Some(&BuildReason::Stale(reason.clone()))
        );
        reason
    };
    let other = Corpus::synthetic(SyntheticConfig {
        train_stories: 61,
        ..STORIES
    });
    assert_eq!(reason(&other, &first, &options), Stale::Corpus);
    assert_eq!(reason(&other, &second, &options), Stale::Tokenizer);
    options.seq_len = 64;
    let stale = reason(&other, &second, &options);
    assert_eq!(
        stale.to_string(),
        "they have sequence length 32, 64 is asked for"
    );
    options.mode = PackMode::DocumentBoundaries;
    let stale = reason(&other, &second, &options);
    assert_eq!(
        stale.to_string(),
        "they were packed as one stream, asked for is with document boundaries"
    );
    options.min_tokens = 9;
    assert_eq!(
        reason(&other, &second, &options),
        Stale::MinTokens {
            packed: 4,
            wanted: 9
        }
    );
}

#[test]
fn readers_of_replaced_shards_are_not_disturbed() {
    let (guard, folder) = shards();
    let (tokenizer, options) = (tokenizer(), options(PackMode::Concatenate));
    let before = pack(&folder, &corpus(), &tokenizer, &options).unwrap();
    let content = examples(&before);
    let longer = PackOptions {
        seq_len: 64,
        ..options
    };
    let after = pack(&folder, &corpus(), &tokenizer, &longer).unwrap();
    assert!(after.len() < before.len());
    assert_eq!(examples(&before), content);
    // Nothing but the lock is left beside the shards.
    let mut left: Vec<_> = fs::read_dir(guard.path())
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, [".shards.lock", "shards"]);
}

#[test]
fn another_reader_sees_the_same_ids_and_where_they_come_from() {
    let (_guard, folder) = shards();
    let tokenizer = tokenizer();
    let packed = pack(
        &folder,
        &corpus(),
        &tokenizer,
        &options(PackMode::DocumentBoundaries),
    )
    .unwrap();
    let mut read = Vec::new();
    for shard in 0..packed.stats().shards {
        let file = File::open(folder.join(format!("shard-{shard:05}.arrow"))).unwrap();
        let reader = FileReader::try_new(file, None).unwrap();
        let metadata = |key: &str| reader.schema().metadata().get(key).map(ToString::to_string);
        assert_eq!(metadata("deberta.seq_len").as_deref(), Some("32"));
        assert_eq!(
            metadata("deberta.mode").as_deref(),
            Some("document_boundaries")
        );
        assert_eq!(
            metadata("deberta.tokenizer").as_deref(),
            Some(tokenizer.fingerprint())
        );
        assert_eq!(
            metadata("deberta.corpus"),
            Some(corpus().fingerprint().unwrap())
        );
        for batch in reader {
            let batch = batch.unwrap();
            let lists = batch.column_by_name("input_ids").unwrap().as_list::<i32>();
            for list in lists.iter() {
                read.push(list.unwrap().as_primitive::<UInt32Type>().values().to_vec());
            }
        }
    }
    assert_eq!(read, examples(&packed));
}

#[test]
fn truncated_and_flipped_shards_are_refused_by_name() {
    let (_guard, folder) = shards();
    let (tokenizer, options) = (tokenizer(), options(PackMode::Concatenate));
    let packed = pack(&folder, &corpus(), &tokenizer, &options).unwrap();
    let good = examples(&packed);
    drop(packed);
    let file = folder.join("shard-00001.arrow");
    let whole = fs::read(&file).unwrap();

    let refused = |content: &[u8], what: &str| {
        fs::remove_file(&file).unwrap();
        fs::write(&file, content).unwrap();
        let error = PackedCorpus::open(&folder).expect_err(what);
        assert!(
            matches!(error, PackError::Damaged { .. }),
            "{what}: {error}"
        );
        assert!(error.to_string().contains("shard-00001.arrow"), "{error}");
    };
    for len in [0, 5, whole.len() / 2, whole.len() - 1] {
        refused(&whole[..len], &format!("cut to {len} bytes"));
    }
    for at in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        refused(&flipped, &format!("bit flipped in byte {at}"));
    }

    // Damage is repaired from the corpus, or reported if rebuilding is not allowed.
    let strict = PackOptions {
        on_stale: OnStale::Fail,
        ..options
    };
    let error = pack(&folder, &corpus(), &tokenizer, &strict).unwrap_err();
    assert!(matches!(error, PackError::Damaged { .. }), "{error}");
    let packed = pack(&folder, &corpus(), &tokenizer, &options).unwrap();
    assert!(matches!(
        packed.built_because(),
        Some(BuildReason::Damaged(_))
    ));
    assert_eq!(examples(&packed), good);
}

#[test]
fn a_missing_shard_and_a_broken_index_are_errors() {
    let (_guard, folder) = shards();
    let error = PackedCorpus::open(&folder).unwrap_err();
    assert!(matches!(error, PackError::Missing { .. }), "{error}");
    pack(
        &folder,
        &corpus(),
        &tokenizer(),
        &options(PackMode::Concatenate),
    )
    .unwrap();
    fs::remove_file(folder.join("shard-00000.arrow")).unwrap();
    let error = PackedCorpus::open(&folder).unwrap_err();
    assert!(error.to_string().contains("shard-00000.arrow"), "{error}");
    fs::write(folder.join("index.json"), "{").unwrap();
    let error = PackedCorpus::open(&folder).unwrap_err();
    assert!(
        error.to_string().contains("index.json is damaged"),
        "{error}"
    );
}

#[test]
fn a_folder_with_other_files_is_left_alone() {
    let (_guard, folder) = shards();
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("thesis.tex"), "precious").unwrap();
    let error = pack(
        &folder,
        &corpus(),
        &tokenizer(),
        &options(PackMode::Concatenate),
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("it holds `thesis.tex`"),
        "{error}"
    );
    assert_eq!(
        fs::read_to_string(folder.join("thesis.tex")).unwrap(),
        "precious"
    );
}

#[test]
fn what_a_killed_process_left_is_removed_and_a_failure_keeps_the_old_shards() {
    let (guard, folder) = shards();
    let leftover = guard.path().join(".shards.building");
    fs::create_dir(&leftover).unwrap();
    fs::write(leftover.join("shard-00000.arrow"), "half").unwrap();
    let (tokenizer, options) = (tokenizer(), options(PackMode::Concatenate));
    let packed = pack(&folder, &corpus(), &tokenizer, &options).unwrap();
    assert!(!leftover.exists());

    let text = guard.path().join("bad.txt");
    fs::write(&text, b"fine\n\xFF\n").unwrap();
    let bad = Corpus::open(&[&text], CorpusOptions::default()).unwrap();
    let error = pack(&folder, &bad, &tokenizer, &options).unwrap_err();
    assert!(matches!(error, PackError::Corpus(_)), "{error}");
    assert!(!leftover.exists());
    assert_eq!(
        examples(&PackedCorpus::open(&folder).unwrap()),
        examples(&packed)
    );
}

#[test]
fn two_builders_of_one_folder_take_turns() {
    let (_guard, folder) = shards();
    let (tokenizer, options) = (tokenizer(), options(PackMode::Concatenate));
    let packed: Vec<PackedCorpus> = std::thread::scope(|scope| {
        let builders: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| pack(&folder, &corpus(), &tokenizer, &options).unwrap()))
            .collect();
        builders.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert_eq!(
        packed
            .iter()
            .filter(|it| it.built_because().is_some())
            .count(),
        1
    );
    assert!(packed.iter().all(|it| examples(it) == examples(&packed[0])));
}

#[test]
fn skipped_rows_are_reported() {
    let (guard, folder) = shards();
    let rows = guard.path().join("rows.jsonl");
    let text = "several words that are long enough to be kept";
    fs::write(&rows, format!("{{\"text\": \"{text}\"}}\nnot json\n")).unwrap();
    let skip = CorpusOptions {
        on_bad_row: OnBadRow::Skip,
        ..CorpusOptions::default()
    };
    let corpus = Corpus::open(&[&rows], skip).unwrap();
    let packed = pack(
        &folder,
        &corpus,
        &tokenizer(),
        &options(PackMode::Concatenate),
    )
    .unwrap();
    assert_eq!(packed.stats().skipped.malformed, 1);
    assert_eq!(packed.stats().text_bytes, text.len() as u64);
}

#[test]
fn byte_level_words_stay_apart_where_texts_meet() {
    let tokenizer = tokenizer_of(600, TokenizerKind::ByteLevelBpe);
    let corpus = Corpus::from_texts(["the baker was", "the tailor was"]);
    let text = |mode| {
        let (_guard, folder) = shards();
        let packed = pack(&folder, &corpus, &tokenizer, &options(mode)).unwrap();
        examples(&packed)
            .iter()
            .map(|ids| tokenizer.decode(ids))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        text(PackMode::Concatenate).concat().trim(),
        "the baker was the tailor was"
    );
    let apart = text(PackMode::DocumentBoundaries);
    assert_eq!(apart, ["the baker was", "the tailor was"]);
}

#[test]
fn options_without_sense_and_an_empty_corpus_are_refused() {
    let (_guard, folder) = shards();
    let tokenizer = tokenizer();
    let error = pack(&folder, &corpus(), &tokenizer, &PackOptions::new(2)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "packing option `seq_len` is 2, expected at least 3"
    );
    let empty = Corpus::from_texts(["", " "]);
    let error = pack(&folder, &empty, &tokenizer, &PackOptions::new(16)).unwrap_err();
    assert!(matches!(error, PackError::Empty { .. }), "{error}");
    assert!(!folder.exists());
}
