//! Files of every format become the same stream of documents; bad rows are reported or counted.
#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, LargeStringArray, RecordBatch, StringArray, StringViewArray,
};
use deberta_data::corpus::{
    Corpus, CorpusError, CorpusOptions, HeldOut, OnBadRow, Part, SkippedRows, TextUnit,
};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

/// A temporary folder with the given files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn open(path: impl AsRef<Path>, options: CorpusOptions) -> Corpus {
    Corpus::open(&[path], options).unwrap()
}

fn texts(corpus: &Corpus) -> Vec<String> {
    corpus
        .documents()
        .map(|document| document.unwrap().text)
        .collect()
}

fn skip_bad_rows() -> CorpusOptions {
    CorpusOptions {
        on_bad_row: OnBadRow::Skip,
        ..CorpusOptions::default()
    }
}

/// Reads to the end and returns the texts with the skip counts.
fn texts_and_skips(corpus: &Corpus) -> (Vec<String>, SkippedRows) {
    let mut documents = corpus.documents();
    let texts = documents
        .by_ref()
        .map(|document| document.unwrap().text)
        .collect();
    (texts, documents.skipped())
}

/// The first error, and nothing after it.
fn error_of(corpus: &Corpus) -> CorpusError {
    let mut documents = corpus.documents();
    let error = documents.by_ref().find_map(Result::err).unwrap();
    assert!(documents.next().is_none(), "reading goes on after an error");
    error
}

fn write_parquet(path: &Path, column: &str, rows: ArrayRef) {
    let ids: ArrayRef = Arc::new(arrow_array::Int32Array::from_iter_values(
        0..rows.len() as i32,
    ));
    let batch =
        RecordBatch::try_from_iter_with_nullable([("id", ids, false), (column, rows, true)]);
    let batch = batch.unwrap();
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn a_folder_is_read_in_name_order_with_its_subfolders() {
    let folder = folder(&[
        ("b.txt", b"second"),
        ("a/z.jsonl", b"{\"text\": \"first\"}\n"),
        ("c/d/e.TXT", b"third"),
        (".hidden.txt", b"no"),
        ("notes.md", b"no"),
    ]);
    let corpus = open(folder.path(), CorpusOptions::default());
    assert_eq!(texts(&corpus), ["first", "second", "third"]);
    assert_eq!(corpus.files().len(), 3);
    assert_eq!(corpus.total_bytes(), 6 + 18 + 5);
}

#[test]
fn a_named_file_is_read_whatever_its_name() {
    let folder = folder(&[("wiki.train", b"one\n\ntwo\n")]);
    let corpus = open(folder.path().join("wiki.train"), CorpusOptions::default());
    assert_eq!(texts(&corpus), ["one", "two"]);
}

#[test]
fn a_named_file_that_holds_more_than_text_is_refused() {
    let folder = folder(&[
        ("rows.json", b"{\"text\": \"one\"}\n"),
        ("A.CSV", b"text\none\n"),
    ]);
    let refused = |name: &str| {
        let path = folder.path().join(name);
        let error = Corpus::open(&[path], CorpusOptions::default()).unwrap_err();
        assert!(matches!(error, CorpusError::NotPlain { .. }), "{error}");
        error.to_string()
    };
    let error = refused("rows.json");
    let expected = "rows.json is not read as plain text: a `.json` file holds more than its text; \
                    expected text, or objects in .jsonl, .ndjson or .parquet files";
    assert!(error.ends_with(expected), "{error}");
    assert!(refused("A.CSV").contains("`.csv`"));
}

#[test]
fn a_folder_without_text_and_a_missing_path_are_errors() {
    let folder = folder(&[("readme.md", b"x")]);
    let error = Corpus::open(&[folder.path()], CorpusOptions::default()).unwrap_err();
    assert!(
        error.to_string().contains("expected files ending in .txt"),
        "{error}"
    );
    let missing = folder.path().join("missing");
    let error = Corpus::open(&[&missing], CorpusOptions::default()).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    let options = CorpusOptions {
        max_piece_bytes: 3,
        ..CorpusOptions::default()
    };
    let error = Corpus::open(&[folder.path()], options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "corpus option `max_piece_bytes` is 3, expected at least 64"
    );
}

const WRAPPED: &str = "\u{feff}A TALE\r\n\r\n\
It was a dark evening when the two travellers came down the road that\r\n\
leads from the hills to the harbour, and neither of them had spoken for\r\n\
an hour or more.\r\n\
The elder of the two, who carried a lantern, stopped before the smoking-\r\n\
room of the inn and looked up at the windows, in which no light was to\r\n\
be seen at that time of the year -\r\n\
or so he said.\r\n\
   \"Nobody is here,\" said the younger, and he was right about that, as he\r\n\
was right about most things that evening.\r\n";

#[test]
fn hard_wrapped_lines_become_paragraphs() {
    let folder = folder(&[("novel.txt", WRAPPED.repeat(4).as_bytes())]);
    let corpus = open(folder.path(), CorpusOptions::default());
    let paragraphs = texts(&corpus);
    assert_eq!(
        paragraphs[..5],
        [
            "A TALE",
            "It was a dark evening when the two travellers came down the road that leads from the \
             hills to the harbour, and neither of them had spoken for an hour or more.",
            "The elder of the two, who carried a lantern, stopped before the smoking-room of the \
             inn and looked up at the windows, in which no light was to be seen at that time of \
             the year -",
            "or so he said.",
            "\"Nobody is here,\" said the younger, and he was right about that, as he was right \
             about most things that evening.",
        ]
    );
    let forced = CorpusOptions {
        hard_wrapped: Some(false),
        ..CorpusOptions::default()
    };
    assert_eq!(
        texts(&open(folder.path(), forced))[1],
        WRAPPED.lines().nth(2).unwrap()
    );
}

#[test]
fn one_paragraph_per_line_stays_as_it_is() {
    let long = "A sentence of a paragraph that goes on and on. ".repeat(9);
    let content = format!("Title\n{long}\nShort one.\n\n{long}\n");
    let folder = folder(&[("essay.txt", content.as_bytes())]);
    let corpus = open(folder.path(), CorpusOptions::default());
    assert_eq!(
        texts(&corpus),
        ["Title", long.trim(), "Short one.", long.trim()]
    );
}

#[test]
fn the_unit_decides_where_a_document_starts() {
    let folder = folder(&[("a.txt", b"one\ntwo\n"), ("b.txt", b"three\n")]);
    let starts = |text_unit| {
        let corpus = open(
            folder.path(),
            CorpusOptions {
                text_unit,
                ..CorpusOptions::default()
            },
        );
        corpus
            .documents()
            .map(|it| it.unwrap().starts_document)
            .collect::<Vec<_>>()
    };
    assert_eq!(starts(TextUnit::File), [true, false, true]);
    assert_eq!(starts(TextUnit::Paragraph), [true, true, true]);
}

#[test]
fn an_enormous_line_arrives_in_pieces() {
    let line = "word ".repeat(100_000);
    let jsonl = format!("{{\"text\": \"{}\"}}\n", line.trim());
    let folder = folder(&[("a.txt", line.as_bytes()), ("b.jsonl", jsonl.as_bytes())]);
    let options = CorpusOptions {
        max_piece_bytes: 1000,
        ..CorpusOptions::default()
    };
    let corpus = open(folder.path(), options);
    let mut words = 0;
    let mut starts = 0;
    for document in corpus.documents() {
        let document = document.unwrap();
        assert!(document.text.len() <= 1000);
        assert!(document.text.split_whitespace().all(|word| word == "word"));
        words += document.text.split_whitespace().count();
        starts += usize::from(document.starts_document);
        assert_eq!(document.line, 1);
    }
    assert_eq!((words, starts), (200_000, 2));
}

#[test]
fn invalid_utf8_names_file_line_and_byte() {
    let folder = folder(&[("bad.txt", b"fine\nab\xFFcd\nfine too\n")]);
    let error = error_of(&open(folder.path(), CorpusOptions::default()));
    let path = folder.path().join("bad.txt");
    let expected = format!("{}:2: invalid UTF-8 at byte 3 of the line", path.display());
    assert_eq!(error.to_string(), expected);

    let (texts, skipped) = texts_and_skips(&open(folder.path(), skip_bad_rows()));
    assert_eq!(texts, ["fine", "fine too"]);
    assert_eq!(
        skipped,
        SkippedRows {
            invalid_utf8: 1,
            ..SkippedRows::default()
        }
    );
}

#[test]
fn malformed_jsonl_rows_are_named_or_counted() {
    let content = b"{\"text\": \"one\"}\n{\"text\": 3}\n\n{\"body\": \"x\"}\nnot json\n{\"text\": \
        \"\xC3\x28\"}\n{\"text\": null}\n{\"text\": \"two\"}";
    let folder = folder(&[("rows.jsonl", content)]);
    let error = error_of(&open(folder.path(), CorpusOptions::default()));
    assert!(
        error.to_string().ends_with(
            "rows.jsonl:2: malformed row: invalid type: integer `3`, expected a string at column 10"
        ),
        "{error}"
    );
    let (texts, skipped) = texts_and_skips(&open(folder.path(), skip_bad_rows()));
    assert_eq!(texts, ["one", "two"]);
    assert_eq!(
        skipped,
        SkippedRows {
            invalid_utf8: 1,
            malformed: 4,
            too_long: 0
        }
    );
    assert_eq!(
        skipped.to_string(),
        "5 rows skipped (1 invalid UTF-8, 4 malformed, 0 too long)"
    );
}

#[test]
fn a_jsonl_row_over_the_limit_is_not_held_in_memory() {
    let content = format!(
        "{{\"text\": \"{}\"}}\n{{\"text\": \"ok\"}}\n",
        "x".repeat(500)
    );
    let folder = folder(&[("rows.jsonl", content.as_bytes())]);
    let limit = |max_row_bytes, on_bad_row| {
        open(
            folder.path(),
            CorpusOptions {
                max_row_bytes,
                on_bad_row,
                ..CorpusOptions::default()
            },
        )
    };
    let error = error_of(&limit(100, OnBadRow::Fail));
    assert!(
        error
            .to_string()
            .ends_with("rows.jsonl:1: row is longer than the limit of 100 bytes")
    );
    let (texts_kept, skipped) = texts_and_skips(&limit(100, OnBadRow::Skip));
    assert_eq!((texts_kept, skipped.too_long), (vec!["ok".to_owned()], 1));
    assert_eq!(
        texts(&limit(512, OnBadRow::Fail)).len(),
        2,
        "512 bytes are exactly the first row"
    );
}

#[test]
fn every_parquet_string_type_reads_alike() {
    let rows = vec![Some("one"), Some("zwei, drei"), Some("été")];
    let arrays: [ArrayRef; 3] = [
        Arc::new(StringArray::from(rows.clone())),
        Arc::new(LargeStringArray::from(rows.clone())),
        Arc::new(StringViewArray::from(rows.clone())),
    ];
    for array in arrays {
        let folder = tempfile::tempdir().unwrap();
        write_parquet(&folder.path().join("rows.parquet"), "text", array);
        let corpus = open(folder.path(), CorpusOptions::default());
        assert_eq!(texts(&corpus), ["one", "zwei, drei", "été"]);
    }
}

#[test]
fn bad_parquet_rows_are_named_or_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    let rows: Vec<Option<&[u8]>> = vec![Some(b"one"), None, Some(b"a\xFF"), Some(b"two")];
    write_parquet(&path, "body", Arc::new(BinaryArray::from(rows)));

    let named = CorpusOptions {
        text_field: "body".into(),
        ..CorpusOptions::default()
    };
    let error = error_of(&open(&path, named.clone()));
    assert!(
        error
            .to_string()
            .ends_with("rows.parquet:2: malformed row: the column `body` is null")
    );
    let options = CorpusOptions {
        on_bad_row: OnBadRow::Skip,
        ..named
    };
    let (texts, skipped) = texts_and_skips(&open(&path, options));
    assert_eq!(texts, ["one", "two"]);
    assert_eq!(
        skipped,
        SkippedRows {
            invalid_utf8: 1,
            malformed: 1,
            too_long: 0
        }
    );

    let error = error_of(&open(&path, CorpusOptions::default()));
    assert!(
        error.to_string().ends_with(
            "column `text` is missing, expected a column of strings; the file has: id, body"
        ),
        "{error}"
    );
    let by_id = CorpusOptions {
        text_field: "id".into(),
        ..CorpusOptions::default()
    };
    assert!(
        error_of(&open(&path, by_id))
            .to_string()
            .contains("column `id` has type INT32")
    );
}

#[test]
fn invalid_utf8_in_a_string_column_costs_one_row() {
    // A file that claims strings but holds other bytes: written as binary, relabelled on reading.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    let file = fs::File::create(&path).unwrap();
    let schema = "message rows { required binary text (UTF8); }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let mut writer =
        parquet::file::writer::SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let rows: Vec<parquet::data_type::ByteArray> = [&b"one"[..], b"\xFF", b"two"]
        .map(|row| row.to_vec().into())
        .into();
    column
        .typed::<parquet::data_type::ByteArrayType>()
        .write_batch(&rows, None, None)
        .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();

    let error = error_of(&open(&path, CorpusOptions::default()));
    assert!(
        error
            .to_string()
            .ends_with("rows.parquet:2: invalid UTF-8 at byte 1 of the line")
    );
    let (texts, skipped) = texts_and_skips(&open(&path, skip_bad_rows()));
    assert_eq!((texts.len(), skipped.invalid_utf8), (2, 1));
}

#[test]
fn a_broken_parquet_file_is_an_error_that_names_it() {
    let folder = folder(&[("broken.parquet", b"PAR1 this is not a table PAR1")]);
    let error = error_of(&open(folder.path(), skip_bad_rows()));
    assert!(matches!(error, CorpusError::Parquet { .. }));
    assert!(error.to_string().contains("broken.parquet"));
}

#[test]
fn progress_ends_at_the_total() {
    let folder = folder(&[
        ("a.txt", b"one\r\ntwo\r\n"),
        ("b.jsonl", b"{\"text\": \"x\"}\n"),
    ]);
    write_parquet(
        &folder.path().join("c.parquet"),
        "text",
        Arc::new(StringArray::from(vec!["one", "two"])),
    );
    let corpus = open(folder.path(), CorpusOptions::default());
    let mut documents = corpus.documents();
    let mut before = 0;
    while let Some(document) = documents.next() {
        document.unwrap();
        assert!(documents.bytes_read() >= before);
        before = documents.bytes_read();
    }
    assert_eq!(documents.bytes_read(), corpus.total_bytes());
}

#[test]
fn the_fingerprint_sees_every_change_and_survives_a_move() {
    let files: &[(&str, &[u8])] = &[("a.txt", b"one"), ("sub/b.txt", b"two")];
    let first = folder(files);
    let fingerprint =
        |path: &Path, options: &CorpusOptions| open(path, options.clone()).fingerprint().unwrap();
    let defaults = CorpusOptions::default();
    let original = fingerprint(first.path(), &defaults);
    assert_eq!(
        original,
        fingerprint(folder(files).path(), &defaults),
        "a copy is the same"
    );

    let other = CorpusOptions {
        text_unit: TextUnit::Paragraph,
        ..defaults.clone()
    };
    assert_ne!(original, fingerprint(first.path(), &other));
    let split = CorpusOptions {
        part: Part::Train(HeldOut::default()),
        ..defaults.clone()
    };
    assert_ne!(original, fingerprint(first.path(), &split));

    fs::write(first.path().join("a.txt"), b"onE").unwrap();
    let edited = fingerprint(first.path(), &defaults);
    assert_ne!(original, edited, "same size, other content");
    fs::rename(
        first.path().join("sub/b.txt"),
        first.path().join("sub/c.txt"),
    )
    .unwrap();
    assert_ne!(edited, fingerprint(first.path(), &defaults));
    assert_ne!(
        Corpus::from_texts(["a", "bc"]).fingerprint().unwrap(),
        Corpus::from_texts(["ab", "c"]).fingerprint().unwrap()
    );
}

#[test]
fn train_and_held_out_parts_cover_the_corpus_without_overlap() {
    let corpus = Corpus::from_texts((0..300).map(|index| format!("text {index}")));
    let held_out = HeldOut { every: 10, seed: 5 };
    let train = texts(&corpus.clone().with_part(Part::Train(held_out)));
    let test = texts(&corpus.clone().with_part(Part::HeldOut(held_out)));
    assert_eq!((train.len(), test.len()), (270, 30));
    let mut all: Vec<String> = train.into_iter().chain(test).collect();
    all.sort_unstable();
    let mut expected = texts(&corpus);
    expected.sort_unstable();
    assert_eq!(all, expected);
}

#[test]
fn novels_are_read_as_paragraphs() {
    let Some(data) = std::env::var_os("DEBERTA_DATA").map(PathBuf::from) else {
        eprintln!("skipped: DEBERTA_DATA is not set");
        return;
    };
    let corpus = open(
        data.join("corpora/english-novels"),
        CorpusOptions::default(),
    );
    for path in corpus.files() {
        let novel = open(path, CorpusOptions::default());
        let paragraphs = texts(&novel);
        let words: usize = paragraphs
            .iter()
            .map(|it| it.split_whitespace().count())
            .sum();
        let raw = fs::read_to_string(path).unwrap();
        // Joining at hyphens merges a few words.
        let raw_words = raw.split_whitespace().count();
        assert!(
            words <= raw_words && words * 1000 >= raw_words * 995,
            "{}",
            path.display()
        );
        let mean = words / paragraphs.len();
        assert!(
            (15..200).contains(&mean),
            "{}: {mean} words a paragraph",
            path.display()
        );
        assert!(
            !paragraphs
                .iter()
                .any(|it| it.contains(['\u{feff}', '\r', '\n']))
        );
    }
}
