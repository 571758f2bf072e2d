//! Markers, cutting and windows, against the `tokenizers` library.

use deberta_data::tokenizer::{
    Encoding, PadTo, PaddedBatch, Sequence, SequenceConfig, Truncation, TruncationSide,
};

use super::*;

/// Lengths of the texts (-1: no second), most tokens, strategy, side, stride; ids of the windows,
/// token types and marker flags of the first one.
type CutCase = (
    usize,
    i64,
    usize,
    Truncation,
    TruncationSide,
    usize,
    Option<Vec<Vec<u32>>>,
    Vec<u32>,
    Vec<u8>,
);

/// A text of `len` tokens with the ids `first`, `first + 1`, …
fn text(first: u32, len: usize) -> Encoding {
    Encoding {
        ids: (first..).take(len).collect(),
        tokens: vec!["x".to_owned(); len],
        offsets: (0..len).map(|at| (at, at + 1)).collect(),
    }
}

fn ids(windows: &[Sequence]) -> Vec<Vec<u32>> {
    windows.iter().map(|window| window.ids.clone()).collect()
}

#[test]
fn cutting_and_windows_equal_the_tokenizers_library() {
    let tokenizer = open("bpe");
    let golden = fs::read(fixture("sequences.golden.json")).unwrap();
    let cases: Vec<CutCase> = serde_json::from_slice(&golden).unwrap();
    let (mut cut, mut moved, mut refused) = (0, 0, 0);
    for (first, second, max_length, truncation, side, stride, golden, type_ids, markers) in cases {
        let config = SequenceConfig {
            max_length: Some(max_length),
            truncation,
            side,
            stride,
        };
        let case = format!("{first} {second} {config:?}");
        let first = text(100, first);
        let second = usize::try_from(second).ok().map(|len| text(200, len));
        let second = second.as_ref();
        let windows = config.assemble_windows(&tokenizer, &first, second);
        let Some(golden) = golden else {
            assert!(windows.is_err(), "{case}");
            refused += 1;
            continue;
        };
        let sequence = config.assemble(&tokenizer, &first, second).unwrap();
        assert_eq!(sequence.ids, golden[0], "{case}");
        assert_eq!(sequence.type_ids, type_ids, "{case}");
        let flags: Vec<u8> = sequence.markers.iter().map(|it| u8::from(*it)).collect();
        assert_eq!(flags, markers, "{case}");
        cut += usize::from(golden.len() > 1);
        // Windows over both texts at once are every combination in the library, and an error here.
        if second.is_none() || truncation != Truncation::LongestFirst {
            assert_eq!(ids(&windows.unwrap()), golden, "{case}");
            moved += usize::from(golden.len() > 2);
        }
    }
    assert!(
        cut > 60 && moved > 20 && refused > 60,
        "{cut} {moved} {refused}"
    );
}

#[test]
fn a_pair_has_one_separator_between_its_texts() {
    // So has microsoft/DeBERTa for all versions; transformers 5 doubles it for v1.
    for name in ["bpe", "nmt_nfkc.model"] {
        let tokenizer = open(name);
        let config = SequenceConfig::default();
        let pair = config
            .encode(&tokenizer, "kano mito", Some("tora"))
            .unwrap();
        let [first, second] = ["kano mito", "tora"].map(|it| tokenizer.encode(it).unwrap());
        let (a, b) = (first.ids.len(), second.ids.len());
        let expected = [&[1], &first.ids[..], &[2], &second.ids, &[2]].concat();
        assert_eq!(pair.ids, expected);
        assert_eq!(pair.type_ids, [vec![0; a + 2], vec![1; b + 1]].concat());
        let texts = [
            vec![None],
            vec![Some(0); a],
            vec![None],
            vec![Some(1); b],
            vec![None],
        ];
        assert_eq!(pair.texts, texts.concat());
        let none = [(0, 0)];
        let offsets = [&none, &first.offsets[..], &none, &second.offsets, &none].concat();
        assert_eq!(pair.offsets, offsets);
        assert_eq!(pair.tokens[0], "[CLS]");
        assert_eq!(pair.tokens[a + b + 2], "[SEP]");
        assert_eq!(pair.kept, [0..a, 0..b]);

        let single = config.encode(&tokenizer, "", None).unwrap();
        assert_eq!((single.ids, single.type_ids), (vec![1, 2], vec![0, 0]));
    }
}

#[test]
fn windows_keep_the_offsets_of_the_whole_text() {
    let tokenizer = open("nmt_nfkc.model");
    let config = SequenceConfig {
        max_length: Some(12),
        truncation: Truncation::OnlySecond,
        stride: 2,
        ..SequenceConfig::default()
    };
    let context = "kano mito tora sel un dor é ing pra vi ".repeat(4);
    let whole = tokenizer.encode(&context).unwrap();
    let windows = config.windows(&tokenizer, "kano?", Some(&context)).unwrap();
    assert!(windows.len() > 4);
    for window in &windows {
        let kept = window.kept[1].clone();
        let offsets: Vec<_> = (0..window.len())
            .filter(|at| window.texts[*at] == Some(1))
            .map(|at| window.offsets[at])
            .collect();
        assert_eq!(offsets, whole.offsets[kept]);
    }
    let batch = PaddedBatch::new(&windows, tokenizer.special().pad, PadTo::MultipleOf(8)).unwrap();
    assert_eq!((batch.batch, batch.seq_len), (windows.len(), 16));
    let pads = batch.mask_pad.iter().filter(|pad| **pad).count();
    assert_eq!(pads + batch.lengths.iter().sum::<usize>(), batch.ids.len());
}

#[track_caller]
fn check_error(config: SequenceConfig, lengths: (usize, Option<usize>), expected: &str) {
    let tokenizer = open("bpe");
    let second = lengths.1.map(|len| text(200, len));
    let windows = config.assemble_windows(&tokenizer, &text(100, lengths.0), second.as_ref());
    assert_eq!(windows.unwrap_err().to_string(), expected);
}

#[test]
fn what_cannot_be_cut_is_explained() {
    let config = |max_length, truncation| SequenceConfig {
        max_length: Some(max_length),
        truncation,
        ..SequenceConfig::default()
    };
    check_error(
        config(9, Truncation::Never),
        (8, None),
        "the sequence has 10 tokens with its markers, expected at most 9: shorten the text, or \
         allow truncation",
    );
    check_error(
        config(2, Truncation::LongestFirst),
        (1, Some(1)),
        "cannot cut a sequence to 2 tokens: the markers alone take 3",
    );
    check_error(
        config(8, Truncation::OnlyFirst),
        (3, Some(9)),
        "cannot cut a sequence to 8 tokens: the first text has 3 tokens, 7 would have to go",
    );
    check_error(
        config(8, Truncation::OnlySecond),
        (9, None),
        "cannot cut a sequence to 8 tokens: there is no second text",
    );
    check_error(
        config(8, Truncation::LongestFirst),
        (9, Some(2)),
        "cannot cut a sequence to 8 tokens: windows move over one text: choose `only_first` or \
         `only_second`",
    );
    let config = SequenceConfig {
        stride: 6,
        ..config(8, Truncation::LongestFirst)
    };
    check_error(
        config,
        (9, None),
        "cannot cut a sequence to 8 tokens: windows have room for 6 tokens of the text, which the \
         stride of 6 must stay below",
    );
}

#[test]
fn configurations_are_written_as_the_library_names_them() {
    let json = r#"{"max_length":384,"truncation":"only_second","side":"right","stride":128}"#;
    let config: SequenceConfig = serde_json::from_str(json).unwrap();
    assert_eq!(config.truncation, Truncation::OnlySecond);
    assert_eq!(serde_json::to_string(&config).unwrap(), json);
    let none: SequenceConfig = serde_json::from_str(r#"{"truncation":"none"}"#).unwrap();
    assert_eq!(none.truncation, Truncation::Never);
    assert!(serde_json::from_str::<SequenceConfig>(r#"{"trunc":1}"#).is_err());
}
