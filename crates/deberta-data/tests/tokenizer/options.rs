//! Added tokens and what is done to a text first, against the reference libraries.

use std::collections::BTreeMap;

use deberta_data::tokenizer::{AddedToken, TokenizerOptions};

use super::*;

/// Tokens that were added to `nmt_nfkc.model`, and cases by variant.
#[derive(Deserialize)]
struct Variants {
    tokens: Vec<AddedToken>,
    #[serde(flatten)]
    cases: BTreeMap<String, Vec<Case>>,
}

fn variants() -> Variants {
    serde_json::from_slice(&fs::read(fixture("options.golden.json")).unwrap()).unwrap()
}

fn open_with(lower_case: bool, split_by_punct: bool) -> Tokenizer {
    let options = TokenizerOptions {
        lower_case,
        split_by_punct,
        ..TokenizerOptions::default()
    };
    Tokenizer::open_with(&fixture("nmt_nfkc.model"), options).unwrap()
}

fn with_tokens() -> Tokenizer {
    let mut tokenizer = open("nmt_nfkc.model");
    let ids = tokenizer.add_tokens(&specials()).unwrap();
    assert_eq!(ids, [600, 601, 602, 603, 604, 605, 606]);
    tokenizer
}

/// The tokens of the golden file, all of them special.
fn specials() -> Vec<AddedToken> {
    let mut tokens = variants().tokens;
    for token in &mut tokens {
        token.special = true;
    }
    tokens
}

#[test]
fn added_tokens_are_found_as_the_tokenizers_library_finds_them() {
    let cases = variants().cases.remove("added_tokens").unwrap();
    assert!(cases.len() > 25);
    check_cases(&with_tokens(), cases);
}

#[test]
fn splitting_at_punctuation_equals_microsofts() {
    let cases = variants().cases.remove("split_by_punct").unwrap();
    assert!(cases.len() > 70);
    check_cases(&open_with(false, true), cases);
}

#[test]
fn lower_casing_keeps_the_offsets_of_the_raw_text() {
    let mut cases = variants().cases;
    check_cases(&open_with(true, false), cases.remove("lower_case").unwrap());
    check_cases(&open_with(true, true), cases.remove("both").unwrap());
}

#[test]
fn options_come_from_the_configuration_and_are_saved() {
    let dir = TempDir::new().unwrap();
    open_with(true, true).save(dir.path()).unwrap();
    let tokenizer = Tokenizer::open(dir.path()).unwrap();
    assert!(tokenizer.options().lower_case && tokenizer.options().split_by_punct);
    let plain = open("nmt_nfkc.model");
    assert_ne!(tokenizer.fingerprint(), plain.fingerprint());
    check_cases(&tokenizer, variants().cases.remove("both").unwrap());

    let config = dir.path().join("tokenizer_config.json");
    fs::write(&config, r#"{"do_lower_case": "yes"}"#).unwrap();
    let error = Tokenizer::open(dir.path()).unwrap_err().to_string();
    let expected = "tokenizer_config.json is not a usable tokenizer file: `do_lower_case` is \"yes\", \
                    expected true or false";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn the_longest_sequence_is_read_and_saved() {
    let dir = TempDir::new().unwrap();
    let said = |text: &str| {
        fs::write(dir.path().join("tokenizer_config.json"), text).unwrap();
        Tokenizer::open(dir.path()).unwrap().max_length()
    };
    for mut tokenizer in [open("nmt_nfkc.model"), train(TokenizerKind::Unigram)] {
        assert_eq!(tokenizer.max_length(), None);
        tokenizer.set_max_length(Some(1680));
        tokenizer.add_tokens(&[AddedToken::text("<<T>>")]).unwrap();
        tokenizer.save(dir.path()).unwrap();
        let saved = Tokenizer::open(dir.path()).unwrap();
        assert_eq!(saved.max_length(), Some(1680));
    }
    // What transformers writes for "no limit".
    assert_eq!(
        said(r#"{"model_max_length": 1000000000000000019884624838656}"#),
        None
    );
    assert_eq!(said(r#"{"model_max_length": 512}"#), Some(512));
}

#[test]
fn options_that_do_not_apply_are_refused() {
    let options = TokenizerOptions {
        split_by_punct: true,
        ..TokenizerOptions::default()
    };
    let error = Tokenizer::open_with(&fixture("bpe"), options).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("split_by_punct is for spm.model only")
    );
    let dir = TempDir::new().unwrap();
    train(TokenizerKind::Unigram).save(dir.path()).unwrap();
    let error = Tokenizer::open_with(dir.path(), options)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("options do not apply to a tokenizer.json"),
        "{error}"
    );
}

#[test]
fn normalized_tokens_are_found_in_lower_case() {
    let mut tokenizer = open_with(true, false);
    let ids = tokenizer
        .add_tokens(&[AddedToken::text("Aspirin"), AddedToken::special("<<ENT>>")])
        .unwrap();
    let encoding = tokenizer.encode("İ ASPIRIN <<ENT>> <<ent>>").unwrap();
    let at = |id| encoding.ids.iter().position(|it| *it == id).unwrap();
    assert_eq!(encoding.offsets[at(ids[0])], (2, 9));
    assert_eq!(encoding.tokens[at(ids[0])], "Aspirin");
    assert_eq!(encoding.offsets[at(ids[1])], (10, 17));
    assert_eq!(encoding.ids.iter().filter(|id| **id == ids[1]).count(), 1);
}

#[test]
fn markers_in_a_text_stand_for_themselves_if_asked() {
    for name in ["nmt_nfkc.model", "bpe"] {
        let options = TokenizerOptions {
            markers_in_text: true,
            ..TokenizerOptions::default()
        };
        let tokenizer = Tokenizer::open_with(&fixture(name), options).unwrap();
        assert_eq!(
            tokenizer.encode_ids("[CLS][SEP][PAD][UNK]").unwrap(),
            [1, 2, 0, 3]
        );
    }
}

#[test]
fn added_tokens_are_saved_with_their_settings() {
    for mut tokenizer in [
        open("nmt_nfkc.model"),
        open("bpe"),
        train(TokenizerKind::Unigram),
        train(TokenizerKind::ByteLevelBpe),
    ] {
        let before = tokenizer.fingerprint().to_owned();
        let size = tokenizer.vocab_size() as u32;
        let tokens = [
            AddedToken::special("<<ENT>>"),
            AddedToken {
                single_word: true,
                ..AddedToken::text("aspirin")
            },
        ];
        let ids = tokenizer.add_tokens(&tokens).unwrap();
        assert_eq!(ids, [size, size + 1]);
        assert_eq!(tokenizer.add_tokens(&tokens).unwrap(), ids, "a second time");
        assert_eq!(tokenizer.vocab_size() as u32, size + 2);
        assert!(tokenizer.vocab().is_special(size) && !tokenizer.vocab().is_special(size + 1));
        assert_ne!(tokenizer.fingerprint(), before);

        let dir = TempDir::new().unwrap();
        tokenizer.save(dir.path()).unwrap();
        let reopened = Tokenizer::open(dir.path()).unwrap();
        assert_eq!(reopened.fingerprint(), tokenizer.fingerprint());
        assert_eq!(reopened.vocab(), tokenizer.vocab());
        assert!(reopened.added_tokens().eq(tokenizer.added_tokens()));
        let text = "kano<<ENT>> aspirin aspirins [MASK]";
        let encoding = reopened.encode(text).unwrap();
        assert_eq!(encoding, tokenizer.encode(text).unwrap());
        let count = |id| encoding.ids.iter().filter(|it| **it == id).count();
        assert_eq!((count(size), count(size + 1)), (1, 1));
        assert_eq!(count(tokenizer.special().mask), 1);
        let text = "mito aspirin kano";
        assert_eq!(reopened.decode(&reopened.encode_ids(text).unwrap()), text);
    }
}

#[test]
fn tokens_that_cannot_be_added_change_nothing() {
    let mut tokenizer = with_tokens();
    let before = tokenizer.fingerprint().to_owned();
    let changed = AddedToken {
        lstrip: true,
        ..AddedToken::special("<<ENT>>")
    };
    let error = tokenizer
        .add_tokens(&[AddedToken::special("<<NEW>>"), changed])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot add the token `<<ENT>>`: it is there with other settings"
    );
    assert!(tokenizer.add_tokens(&[AddedToken::text("")]).is_err());
    assert_eq!(tokenizer.fingerprint(), before);
    assert_eq!(tokenizer.id("<<NEW>>"), None);
}
