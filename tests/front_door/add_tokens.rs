//! Tokens for a checkpoint that has its tokenizer twice.

use std::path::{Path, PathBuf};

use deberta::backend::DefaultBackend as B;
use deberta::data::tokenizer::{AddedToken, Tokenize, Tokenizer};
use deberta::model::DebertaConfig;
use deberta::model::checkpoint::save_masked_lm;
use deberta::{AddTokensError, add_tokens};
use serde_json::{Value, json};

fn bpe() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/deberta-data/tests/fixtures/tokenizer/bpe")
}

/// A checkpoint with `vocab.json`, `merges.txt`, and a `tokenizer.json` of the same pieces and `more`.
fn checkpoint(more: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let tokenizer = Tokenizer::open(&bpe()).unwrap();
    tokenizer.save(dir.path()).unwrap();
    let config = DebertaConfig::v1(tokenizer.vocab_size(), 16, 1, 2);
    let model = config.init_masked_lm::<B>(0, &Default::default()).unwrap();
    save_masked_lm(&model, &config, dir.path()).unwrap();

    let read = |name: &str| std::fs::read_to_string(bpe().join(name)).unwrap();
    let mut vocab: Value = serde_json::from_str(&read("vocab.json")).unwrap();
    for name in more {
        let next = vocab.as_object().unwrap().len();
        vocab[*name] = json!(next);
    }
    let merges = read("merges.txt");
    let merges = merges.lines().filter(|line| !line.starts_with("#version"));
    let merges: Vec<&str> = merges.filter(|line| !line.is_empty()).collect();
    let level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": level, "post_processor": null, "decoder": level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "vocab": vocab, "merges": merges,
        },
    });
    std::fs::write(dir.path().join("tokenizer.json"), json.to_string()).unwrap();
    dir
}

fn markers() -> [AddedToken; 2] {
    [AddedToken::special("<e1>"), AddedToken::text("aspirin")]
}

#[test]
fn both_tokenizers_of_a_folder_get_the_tokens() {
    let (source, target) = (checkpoint(&[]), tempfile::tempdir().unwrap());
    let report = add_tokens(source.path(), target.path(), &markers(), 0).unwrap();
    assert_eq!(report.files_left_out, [] as [&str; 0]);
    assert_eq!(report.rows, report.rows_before + 2);
    let text = "he took <e1>aspirin</e1>, aspirin [MASK]";
    let before = Tokenizer::open(source.path()).unwrap();
    let first = Tokenizer::open(target.path()).unwrap();
    let second = Tokenizer::open(&target.path().join("tokenizer.json")).unwrap();
    for tokenizer in [&first, &second] {
        let found = markers().map(|it| tokenizer.id(&it.content).unwrap());
        assert_eq!(found, report.ids[..]);
        let ids = tokenizer.encode_ids(text).unwrap();
        let count = |id| ids.iter().filter(|it| **it == id).count();
        assert_eq!((count(found[0]), count(found[1])), (1, 2));
        let old = "he took something else";
        assert_eq!(
            tokenizer.encode_ids(old).unwrap(),
            before.encode_ids(old).unwrap()
        );
    }
    assert_eq!(
        first.encode_ids(text).unwrap(),
        second.encode_ids(text).unwrap()
    );
}

#[test]
fn a_second_tokenizer_with_other_ids_is_left_out() {
    let (source, target) = (checkpoint(&["another"]), tempfile::tempdir().unwrap());
    let report = add_tokens(source.path(), target.path(), &markers(), 0).unwrap();
    assert_eq!(report.files_left_out, ["tokenizer.json"]);
    assert!(!target.path().join("tokenizer.json").exists());
    Tokenizer::open(target.path()).unwrap();
}

#[test]
fn a_token_that_is_there_stops_before_anything_is_written() {
    let (source, dir) = (checkpoint(&[]), tempfile::tempdir().unwrap());
    let target = dir.path().join("out");
    let add = |tokens: &[AddedToken]| add_tokens(source.path(), &target, tokens, 0).unwrap_err();
    let tokens = [AddedToken::special("<e1>"), AddedToken::text("[CLS]")];
    match add(&tokens) {
        AddTokensError::AlreadyThere { token, id } => {
            assert_eq!((token.as_str(), id), ("[CLS]", 1))
        }
        other => panic!("{other}"),
    }
    assert!(matches!(add(&[]), AddTokensError::NoTokens));
    assert!(matches!(
        add(&[AddedToken::text("")]),
        AddTokensError::Tokenizer(_)
    ));
    assert!(!target.exists());
}
