//! Tokenizers against their reference libraries, and against damaged files.
//!
//! The files under `fixtures/tokenizer` are made by `scripts/make_tokenizer_golden.py`.

#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod bad_files;
mod layouts;
mod options;
mod sequences;
mod torture;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use deberta_data::tokenizer::{
    SequenceConfig, SpecialTokens, Tokenize, Tokenizer, TokenizerError, TokenizerKind,
    TrainTokenizerConfig,
};
use proptest::prelude::*;
use serde::Deserialize;
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tokenizer")
        .join(name)
}

fn open(name: &str) -> Tokenizer {
    Tokenizer::open(&fixture(name)).unwrap()
}

/// What the reference library did.
#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    tokens: Vec<String>,
    offsets: Vec<(usize, usize)>,
}

#[track_caller]
fn check_golden(tokenizer: &Tokenizer, golden: &str) {
    let golden: Golden = serde_json::from_slice(&fs::read(fixture(golden)).unwrap()).unwrap();
    assert!(golden.cases.len() > 100);
    check_cases(tokenizer, golden.cases);
}

#[track_caller]
fn check_cases(tokenizer: &Tokenizer, cases: Vec<Case>) {
    for Case {
        text,
        ids,
        tokens,
        offsets,
    } in cases
    {
        let encoding = tokenizer.encode(&text).unwrap();
        assert_eq!(encoding.tokens, tokens, "{text:?}");
        assert_eq!(encoding.ids, ids, "{text:?}");
        assert_eq!(encoding.offsets, offsets, "{text:?}");
        assert_eq!(tokenizer.encode_ids(&text).unwrap(), ids, "{text:?}");
    }
}

#[test]
fn nmt_nfkc_with_byte_fallback_equals_sentencepiece() {
    check_golden(&open("nmt_nfkc.model"), "nmt_nfkc.golden.json");
}

#[test]
fn user_defined_pieces_and_kept_spaces_equal_sentencepiece() {
    check_golden(&open("verbatim.model"), "verbatim.golden.json");
}

#[test]
fn spaces_after_words_equal_sentencepiece() {
    check_golden(&open("suffix.model"), "suffix.golden.json");
}

#[test]
fn byte_level_bpe_equals_the_tokenizers_library() {
    check_golden(&open("bpe"), "bpe.golden.json");
}

#[test]
fn special_pieces_have_debertas_ids() {
    let expected = |mask| SpecialTokens {
        pad: 0,
        cls: 1,
        sep: 2,
        unk: 3,
        mask,
    };
    // The model file has 600 pieces and no mask: it is the next id.
    let spm = open("nmt_nfkc.model");
    assert_eq!(spm.special(), expected(600));
    assert_eq!(spm.vocab_size(), 601);
    assert_eq!(
        (spm.token(600), spm.id("[MASK]")),
        (Some("[MASK]"), Some(600))
    );
    assert_eq!(spm.token(601), None);

    let bpe = open("bpe");
    let last = bpe.vocab_size() as u32 - 1;
    assert_eq!(bpe.special(), expected(last));

    // A mask inside the model file keeps its place.
    let inside = open("verbatim.model");
    assert_eq!(inside.vocab_size(), 300);
    assert_eq!(inside.token(inside.special().mask), Some("[MASK]"));
}

#[test]
fn a_mask_in_the_text_stands_for_itself() {
    for (name, expected) in [
        ("nmt_nfkc.model", [(0, 4), (5, 11), (12, 16)]),
        // Here the space belongs to `Ġmito`; the one before the mask belongs to nothing.
        ("bpe", [(0, 4), (5, 11), (11, 16)]),
    ] {
        let tokenizer = open(name);
        let encoding = tokenizer.encode("kano [MASK] mito").unwrap();
        let mask = encoding
            .ids
            .iter()
            .position(|id| *id == tokenizer.special().mask)
            .unwrap();
        assert_eq!(encoding.tokens[mask], "[MASK]");
        assert_eq!(encoding.offsets[mask], expected[1], "{name}");
        assert_eq!(encoding.offsets[0].0, expected[0].0);
        assert_eq!(encoding.offsets[mask - 1].1, expected[0].1, "{name}");
        assert_eq!(encoding.offsets[mask + 1].0, expected[2].0, "{name}");
        assert_eq!(encoding.offsets.last().unwrap().1, expected[2].1, "{name}");
        assert_eq!(
            tokenizer.encode_ids("kano [MASK] mito").unwrap(),
            encoding.ids
        );
        assert_eq!(
            tokenizer.encode("[MASK][MASK]").unwrap().offsets,
            [(0, 6), (6, 12)]
        );
    }
}

/// Release 5 of transformers puts NFC in place of the model's own rules, spells no bytes and trims
/// one end only. The models were trained with what SentencePiece does, which the golden files hold.
#[test]
fn the_models_own_normalisation_counts_not_the_one_of_transformers_5() {
    let tokenizer = open("nmt_nfkc.model");
    let ids = |text| tokenizer.encode_ids(text).unwrap();
    assert_eq!(ids("  Ｋａ①  ﬁ\u{3000}no\u{200b}"), ids("Ka1 fi no"));
    // A character without a piece is three bytes, not one unknown piece.
    let bytes = tokenizer.encode("語").unwrap().tokens;
    assert_eq!(bytes, ["▁", "<0xE8>", "<0xAA>", "<0x9E>"]);
}

#[test]
fn other_special_names_in_a_text_are_text() {
    for name in ["nmt_nfkc.model", "bpe"] {
        let tokenizer = open(name);
        let ids = tokenizer.encode_ids("[CLS] kano [SEP][PAD]").unwrap();
        assert!(
            ids.iter().all(|id| !tokenizer.vocab().is_special(*id)),
            "{name}"
        );
    }
}

#[test]
fn decoding_returns_the_text_without_special_pieces() {
    let text = "Kano mito, tora 👍🏽!";
    for name in ["nmt_nfkc.model", "bpe"] {
        let tokenizer = open(name);
        let special = tokenizer.special();
        let mut ids = vec![special.cls];
        ids.extend(tokenizer.encode_ids(text).unwrap());
        ids.extend([special.sep, special.mask, special.pad, u32::MAX]);
        assert_eq!(tokenizer.decode(&ids), text, "{name}");
    }
}

#[test]
fn vocabulary_facts_for_masking() {
    let tokenizer = open("nmt_nfkc.model");
    let vocab = tokenizer.vocab();
    let id = |piece: &str| tokenizer.id(piece).unwrap();
    assert!(vocab.starts_word(id("▁ka")) && !vocab.starts_word(id("ing")));
    assert!(vocab.replaceable(id("▁ka")) && !vocab.replaceable(id("<0x41>")));
    assert!(
        vocab
            .replaceable_ids()
            .iter()
            .all(|id| !vocab.is_special(*id))
    );
    // 600 pieces less four special ones and 256 bytes.
    assert_eq!(vocab.replaceable_ids().len(), 340);
}

#[test]
fn batches_keep_their_order() {
    let tokenizer = open("nmt_nfkc.model");
    let texts: Vec<String> = (0..500).map(|number| format!("kano {number}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let one_by_one: Vec<_> = texts
        .iter()
        .map(|it| tokenizer.encode_ids(it).unwrap())
        .collect();
    assert_eq!(tokenizer.encode_batch_ids(&texts).unwrap(), one_by_one);
}

#[track_caller]
fn check_round_trip(tokenizer: &Tokenizer, files: &[&str]) {
    let dir = TempDir::new().unwrap();
    tokenizer.save(dir.path()).unwrap();
    let mut written: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    written.sort_unstable();
    assert_eq!(written, files);
    let reopened = Tokenizer::open(dir.path()).unwrap();
    assert_eq!(reopened.fingerprint(), tokenizer.fingerprint());
    assert_eq!(reopened.special(), tokenizer.special());
    assert_eq!(reopened.vocab(), tokenizer.vocab());
    for text in ["Kano mito, tora 42!", "e\u{301} [MASK] 語"] {
        assert_eq!(
            reopened.encode(text).unwrap(),
            tokenizer.encode(text).unwrap()
        );
    }
}

#[test]
fn saved_tokenizers_open_again() {
    let common = ["special_tokens_map.json", "tokenizer_config.json"];
    let spm = [
        "added_tokens.json",
        "special_tokens_map.json",
        "spm.model",
        "tokenizer_config.json",
    ];
    check_round_trip(&open("nmt_nfkc.model"), &spm);
    check_round_trip(
        &open("verbatim.model"),
        &[common[0], "spm.model", common[1]],
    );
    check_round_trip(
        &open("bpe"),
        &["merges.txt", common[0], common[1], "vocab.json"],
    );
    check_round_trip(
        &train(TokenizerKind::Unigram),
        &[common[0], "tokenizer.json", common[1]],
    );
    check_round_trip(
        &train(TokenizerKind::ByteLevelBpe),
        &[common[0], "tokenizer.json", common[1]],
    );
}

#[test]
fn fingerprints_tell_tokenizers_apart() {
    let spm = open("nmt_nfkc.model");
    assert_eq!(spm.fingerprint().len(), 64);
    assert_ne!(spm.fingerprint(), open("suffix.model").fingerprint());
    assert_ne!(spm.fingerprint(), open("bpe").fingerprint());
}

#[test]
fn a_folder_prefers_the_original_files() {
    let dir = TempDir::new().unwrap();
    let json = train(TokenizerKind::Unigram);
    json.save(dir.path()).unwrap();
    assert_eq!(
        Tokenizer::open(dir.path()).unwrap().fingerprint(),
        json.fingerprint()
    );
    let bpe = open("bpe");
    bpe.save(dir.path()).unwrap();
    assert_eq!(
        Tokenizer::open(dir.path()).unwrap().fingerprint(),
        bpe.fingerprint()
    );
    let spm = open("nmt_nfkc.model");
    spm.save(dir.path()).unwrap();
    assert_eq!(
        Tokenizer::open(dir.path()).unwrap().fingerprint(),
        spm.fingerprint()
    );
    let file = dir.path().join("tokenizer.json");
    assert_eq!(
        Tokenizer::open(&file).unwrap().fingerprint(),
        json.fingerprint()
    );
    let file = dir.path().join("merges.txt");
    assert_eq!(
        Tokenizer::open(&file).unwrap().fingerprint(),
        bpe.fingerprint()
    );
}

/// Lines of an invented language with a few hundred words.
fn corpus() -> impl Iterator<Item = String> {
    const SYLLABLES: [&str; 12] = [
        "ka", "no", "mi", "to", "ra", "sel", "un", "dor", "é", "ing", "ed", "pra",
    ];
    let mut state = 1u64;
    let mut below = move |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963);
        (state >> 33) as usize % bound
    };
    (0..3000).map(move |_| {
        let mut line = String::new();
        for _ in 0..=below(8) {
            // The word is a function of a skewed rank, so that some words are frequent.
            let rank = below(400) * below(400) / 400;
            line.push_str(SYLLABLES[rank % 12]);
            line.push_str(SYLLABLES[rank / 12 % 12]);
            line.push_str(if rank % 5 == 0 {
                SYLLABLES[rank / 3 % 12]
            } else {
                ""
            });
            line.push(' ');
        }
        format!("{}, {}.", line.trim_end(), below(100))
    })
}

fn train(kind: TokenizerKind) -> Tokenizer {
    let config = TrainTokenizerConfig {
        vocab_size: 320,
        kind,
    };
    Tokenizer::train(&config, corpus()).unwrap()
}

#[test]
fn training_is_deterministic_and_gives_debertas_layout() {
    for kind in [TokenizerKind::Unigram, TokenizerKind::ByteLevelBpe] {
        let tokenizer = train(kind);
        assert_eq!(tokenizer.vocab_size(), 320);
        let expected = SpecialTokens {
            pad: 0,
            cls: 1,
            sep: 2,
            unk: 3,
            mask: 319,
        };
        assert_eq!(tokenizer.special(), expected);
        assert_eq!(train(kind).fingerprint(), tokenizer.fingerprint());
        let one_core = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        let alone = one_core.install(|| train(kind));
        assert_eq!(alone.fingerprint(), tokenizer.fingerprint());
    }
}

/// What transformers does with the saved file, which the same library runs there.
#[test]
fn others_place_the_markers_of_a_trained_tokenizer_as_we_do() {
    for kind in [TokenizerKind::Unigram, TokenizerKind::ByteLevelBpe] {
        let tokenizer = train(kind);
        let dir = tempfile::tempdir().unwrap();
        tokenizer.save(dir.path()).unwrap();
        let theirs = tokenizers::Tokenizer::from_file(dir.path().join("tokenizer.json")).unwrap();
        for (text, pair) in [
            ("kano mi to.", None),
            ("", None),
            ("kano mi", Some("to, mi.")),
        ] {
            let first = tokenizer.encode(text).unwrap();
            let second = pair.map(|pair| tokenizer.encode(pair).unwrap());
            let ours = SequenceConfig::default()
                .assemble(&tokenizer, &first, second.as_ref())
                .unwrap();
            let theirs = match pair {
                Some(pair) => theirs.encode((text, pair), true),
                None => theirs.encode(text, true),
            };
            let theirs = theirs.unwrap();
            assert_eq!(theirs.get_ids(), ours.ids, "{kind:?}: {text}");
            assert_eq!(theirs.get_type_ids(), ours.type_ids, "{kind:?}: {text}");
        }
    }
}

#[test]
fn a_trained_vocabulary_compresses_and_writes_text_back() {
    for kind in [TokenizerKind::Unigram, TokenizerKind::ByteLevelBpe] {
        let tokenizer = train(kind);
        let (mut bytes, mut tokens) = (0, 0);
        for line in corpus().take(200) {
            let ids = tokenizer.encode_ids(&line).unwrap();
            assert!(!ids.contains(&tokenizer.special().unk), "{line}");
            // A space before punctuation is the decoder's business; this corpus has none.
            assert_eq!(tokenizer.decode(&ids), line);
            bytes += line.len();
            tokens += ids.len();
        }
        // 256 of the 320 pieces of the BPE are single bytes; a byte a token would be 1.
        assert!(
            bytes as f64 / tokens as f64 > 2.3,
            "{kind:?}: {bytes} bytes, {tokens} tokens"
        );
    }
}

#[test]
fn trained_words_start_where_words_start() {
    let tokenizer = train(TokenizerKind::Unigram);
    let encoding = tokenizer.encode("kano, mi to.").unwrap();
    let starts: String = encoding
        .ids
        .iter()
        .zip(&encoding.tokens)
        .filter(|(id, _)| tokenizer.vocab().starts_word(**id))
        .map(|(_, token)| token.chars().take(1).collect::<String>())
        .collect();
    assert_eq!(starts, "▁,▁▁.");
}

#[test]
fn impossible_training_settings_are_explained() {
    let train = |vocab_size, kind| {
        let config = TrainTokenizerConfig { vocab_size, kind };
        Tokenizer::train(&config, corpus()).unwrap_err().to_string()
    };
    assert_eq!(
        train(100, TokenizerKind::ByteLevelBpe),
        "cannot train a tokenizer: vocab_size is 100, byte-level BPE needs at least 261"
    );
    let message = train(20, TokenizerKind::Unigram);
    assert!(
        message.contains("vocab_size is 20, this alphabet needs at least"),
        "{message}"
    );
    let config = TrainTokenizerConfig::default();
    let error = Tokenizer::train(&config, std::iter::once(" ".to_owned())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot train a tokenizer: the lines hold no text"
    );
}

#[test]
fn files_that_cannot_serve_are_named() {
    let dir = TempDir::new().unwrap();
    let error = Tokenizer::open(dir.path()).unwrap_err();
    assert!(matches!(error, TokenizerError::NotFound { .. }), "{error}");
    let error = Tokenizer::open(&dir.path().join("spm.model")).unwrap_err();
    assert!(matches!(error, TokenizerError::NotFound { .. }), "{error}");

    let path = dir.path().join("tokenizer.json");
    let file = r#"{"version":"1.0","added_tokens":[],
        "model":{"type":"WordLevel","vocab":{"[PAD]":0,"[CLS]":1,"[UNK]":2},"unk_token":"[UNK]"}}"#;
    fs::write(&path, file).unwrap();
    let error = Tokenizer::open(dir.path()).unwrap_err();
    let expected = format!("{} has no [SEP], no [MASK]", dir.path().display());
    assert_eq!(error.to_string(), expected);

    fs::write(dir.path().join("vocab.json"), "{}").unwrap();
    fs::write(dir.path().join("merges.txt"), "#version: 0.2\na b\nabc\n").unwrap();
    let error = Tokenizer::open(dir.path()).unwrap_err().to_string();
    assert!(
        error.ends_with("merges: line 3 is `abc`, expected two pieces"),
        "{error}"
    );
}

#[test]
fn every_cut_of_a_model_file_is_refused_or_opens() {
    let bytes = fs::read(fixture("verbatim.model")).unwrap();
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("spm.model");
    for len in (0..bytes.len()).step_by(7) {
        fs::write(&path, &bytes[..len]).unwrap();
        exercise(&path);
    }
}

/// Opens a file that may be damaged; if it opens, it must encode.
fn exercise(path: &Path) {
    let tokenizer = match Tokenizer::open(path) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for text in ["", " kano  mito\t[MASK] tora", "e\u{301}ﬁ①語👍🏽\0\u{10ffff}"] {
        if let Ok(encoding) = tokenizer.encode(text) {
            assert_eq!(encoding.ids.len(), encoding.offsets.len());
            tokenizer.decode(&encoding.ids);
        }
    }
}

/// A `tokenizer.json` to damage.
static TRAINED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let dir = TempDir::new().unwrap();
    train(TokenizerKind::Unigram).save(dir.path()).unwrap();
    fs::read(dir.path().join("tokenizer.json")).unwrap()
});

/// A position, as a share of the file, and what to write there.
type Change = (f64, Vec<u8>);

fn damage(bytes: &mut Vec<u8>, changes: &[Change], cut: Option<f64>) {
    for (place, new) in changes {
        let at = (place * bytes.len() as f64) as usize;
        for (old, new) in bytes.iter_mut().skip(at).zip(new) {
            *old = *new;
        }
    }
    if let Some(cut) = cut {
        bytes.truncate((cut * bytes.len() as f64) as usize);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_files_never_panic(
        name in prop_oneof![
            Just("nmt_nfkc.model"), Just("verbatim.model"), Just("suffix.model"),
            Just("bpe/vocab.json"), Just("bpe/merges.txt"), Just("tokenizer.json"),
        ],
        changes in proptest::collection::vec(
            (0.0..1.0, proptest::collection::vec(
                prop_oneof![any::<u8>(), Just(0xff), b'0'..=b'9'], 1..6)),
            1..5,
        ),
        cut in proptest::option::of(0.5..1.0),
    ) {
        let dir = TempDir::new().unwrap();
        fs::copy(fixture("bpe/vocab.json"), dir.path().join("vocab.json")).unwrap();
        fs::copy(fixture("bpe/merges.txt"), dir.path().join("merges.txt")).unwrap();
        let path = dir.path().join(name.rsplit('/').next().unwrap());
        let mut bytes = match name {
            "tokenizer.json" => TRAINED.clone(),
            name => fs::read(fixture(name)).unwrap(),
        };
        damage(&mut bytes, &changes, cut);
        fs::write(&path, bytes).unwrap();
        exercise(&path);
    }

    #[test]
    fn offsets_stay_inside_the_text(text in "\\PC{0,40}") {
        for name in ["nmt_nfkc.model", "verbatim.model", "bpe"] {
            let tokenizer = open(name);
            let encoding = tokenizer.encode(&text).unwrap();
            let chars = text.chars().count();
            prop_assert!(encoding.offsets.iter().all(|(from, to)| from <= to && *to <= chars));
            prop_assert!(encoding.ids.iter().all(|id| tokenizer.token(*id).is_some()));
            prop_assert_eq!(tokenizer.encode_ids(&text).unwrap(), encoding.ids);
        }
    }
}
