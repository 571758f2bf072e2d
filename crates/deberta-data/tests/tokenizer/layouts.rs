//! The files around a vocabulary, in the ways they are found on the Hub.

use deberta_data::tokenizer::AddedToken;

use super::*;

/// A folder with a copy of a fixture and these files beside it.
fn folder(model: &str, beside: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    if model == "bpe" {
        for name in ["vocab.json", "merges.txt"] {
            fs::copy(fixture("bpe").join(name), dir.path().join(name)).unwrap();
        }
    } else {
        fs::copy(fixture(model), dir.path().join("spm.model")).unwrap();
    }
    for (name, text) in beside {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

#[track_caller]
fn check_refused(model: &str, beside: &[(&str, &str)], expected: &str) {
    let dir = folder(model, beside);
    let error = Tokenizer::open(dir.path()).unwrap_err().to_string();
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn a_published_v3_folder_opens_as_the_model_alone() {
    let config = r#"{"do_lower_case": false, "vocab_type": "spm"}"#;
    let dir = folder("nmt_nfkc.model", &[("tokenizer_config.json", config)]);
    let tokenizer = Tokenizer::open(dir.path()).unwrap();
    assert_eq!(
        tokenizer.fingerprint(),
        open("nmt_nfkc.model").fingerprint()
    );
    assert_eq!(tokenizer.vocab(), open("nmt_nfkc.model").vocab());
}

#[test]
fn a_folder_saved_by_transformers_4_opens() {
    let added = r#"{"[MASK]": 600, "<<ENT>>": 601, "<<SEP>>": 602}"#;
    let map = r#"{"bos_token": "[CLS]", "mask_token": "[MASK]", "unk_token":
        {"content": "[UNK]", "lstrip": false, "normalized": true, "rstrip": false, "single_word": false}}"#;
    let config = r#"{"added_tokens_decoder": {
        "0": {"content": "[PAD]", "lstrip": false, "normalized": false, "rstrip": false, "single_word": false, "special": true},
        "600": {"content": "[MASK]", "lstrip": false, "normalized": false, "rstrip": false, "single_word": false, "special": true},
        "601": {"content": "<<ENT>>", "lstrip": true, "normalized": false, "rstrip": false, "single_word": false, "special": false}
        }, "mask_token": "[MASK]", "split_by_punct": false}"#;
    let files = [
        ("added_tokens.json", added),
        ("special_tokens_map.json", map),
        ("tokenizer_config.json", config),
    ];
    let tokenizer = Tokenizer::open(folder("nmt_nfkc.model", &files).path()).unwrap();
    assert_eq!(
        (tokenizer.vocab_size(), tokenizer.special().mask),
        (603, 600)
    );
    let expected = [
        (600, AddedToken::special("[MASK]")),
        (
            601,
            AddedToken {
                lstrip: true,
                special: false,
                ..AddedToken::special("<<ENT>>")
            },
        ),
        (602, AddedToken::text("<<SEP>>")),
    ];
    let tokens: Vec<_> = tokenizer.added_tokens().collect();
    assert_eq!(tokens, expected.each_ref().map(|(id, token)| (*id, token)));
    // A marker stays text: only what its folder adds is looked for.
    assert!(!tokenizer.encode_ids("[PAD]").unwrap().contains(&0));
}

#[test]
fn special_tokens_without_ids_follow_the_mask() {
    let map = r#"{"additional_special_tokens": ["<<A>>", {"content": "<<B>>", "rstrip": true}]}"#;
    let dir = folder("nmt_nfkc.model", &[("special_tokens_map.json", map)]);
    let tokenizer = Tokenizer::open(dir.path()).unwrap();
    let ids = ["[MASK]", "<<A>>", "<<B>>"].map(|name| tokenizer.id(name));
    assert_eq!(ids, [Some(600), Some(601), Some(602)]);
    assert!(tokenizer.vocab().is_special(602));
}

#[test]
fn a_mask_may_have_any_id_beyond_the_model() {
    let dir = folder(
        "nmt_nfkc.model",
        &[("added_tokens.json", r#"{"[MASK]": 610}"#)],
    );
    let tokenizer = Tokenizer::open(dir.path()).unwrap();
    assert_eq!(
        (tokenizer.special().mask, tokenizer.vocab_size()),
        (610, 611)
    );
    assert_eq!(tokenizer.encode_ids("[MASK]").unwrap(), [610]);
    assert_eq!(tokenizer.token(605), None);
    // Ids that nobody has are neither drawn nor looked up.
    assert!(!tokenizer.vocab().replaceable(605));
    assert_eq!(tokenizer.id(""), None);
}

#[test]
fn the_mask_of_v1_takes_the_space_before_it_unless_its_file_says_otherwise() {
    let usual = Tokenizer::open(folder("bpe", &[]).path()).unwrap();
    let config = r#"{"mask_token": {"content": "[MASK]", "lstrip": false}, "added_tokens_decoder":
        {"600": {"content": "[MASK]", "lstrip": false, "special": true}}}"#;
    assert_eq!(usual.special().mask, 600);
    let other =
        Tokenizer::open(folder("bpe", &[("tokenizer_config.json", config)]).path()).unwrap();
    let text = "kano [MASK]";
    assert_eq!(
        usual.encode_ids(text).unwrap().len() + 1,
        other.encode_ids(text).unwrap().len()
    );
    assert_ne!(usual.fingerprint(), other.fingerprint());
}

#[test]
fn tokens_that_contradict_each_other_are_refused() {
    let model = "nmt_nfkc.model";
    let check = |name, text, expected: &str| check_refused(model, &[(name, text)], expected);
    check(
        "added_tokens.json",
        r#"{"<<A>>": 5}"#,
        "`<<A>>` is added with the id 5 of `<0x01>`",
    );
    check(
        "added_tokens.json",
        r#"{"[SEP]": 601}"#,
        "`[SEP]` is added with the id 601, the vocabulary gives it 2",
    );
    check(
        "added_tokens.json",
        r#"{"<<A>>": 4000000000}"#,
        "`<<A>>` is added with the id 4000000000, far beyond the 600 of the vocabulary",
    );
    check(
        "added_tokens.json",
        r#"{"<<A>>": 601, "<<B>>": 601}"#,
        "the added tokens `<<A>>` and `<<B>>` have the same id 601",
    );
    check(
        "added_tokens.json",
        r#"{"<<A>>": -1}"#,
        "`<<A>>` has the id -1, expected a whole number",
    );
    check(
        "added_tokens.json",
        "[]",
        "added_tokens.json is not a usable tokenizer file: not a JSON object",
    );
    check(
        "tokenizer_config.json",
        r#"{"added_tokens_decoder": {"x": "<<A>>"}}"#,
        "`added_tokens_decoder` has the key `x`, expected an id",
    );
    check(
        "special_tokens_map.json",
        r#"{"mask_token": {"lstrip": true}}"#,
        "`mask_token` holds {\"lstrip\":true}: missing field `content`",
    );
    check(
        "tokenizer_config.json",
        "{",
        "EOF while parsing an object at line 1 column 1",
    );
}

#[test]
fn a_pickle_is_refused_with_what_to_do() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("bpe_encoder.bin"), b"\x80\x02}q\x00.").unwrap();
    let error = Tokenizer::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("bpe_encoder.bin"), "{error}");
    assert!(error.contains("Put vocab.json and merges.txt"), "{error}");
}

#[test]
fn gpt2s_files_with_fairseqs_dictionary_open() {
    // The pieces of the fixture after its four special ones, numbered from 0 as GPT-2 numbers them.
    let vocab = fs::read(fixture("bpe/vocab.json")).unwrap();
    let vocab: std::collections::BTreeMap<String, u32> = serde_json::from_slice(&vocab).unwrap();
    let numbered = vocab
        .iter()
        .filter(|(name, id)| **id >= 4 && *name != "[MASK]");
    let encoder: std::collections::BTreeMap<_, _> =
        numbered.map(|(name, id)| (name, id - 4)).collect();
    let dict: String = (0..encoder.len())
        .map(|number| format!("{number} 7\n"))
        .collect();
    let dir = TempDir::new().unwrap();
    fs::write(
        dir.path().join("encoder.json"),
        serde_json::to_vec(&encoder).unwrap(),
    )
    .unwrap();
    fs::copy(fixture("bpe/merges.txt"), dir.path().join("vocab.bpe")).unwrap();
    fs::write(dir.path().join("dict.txt"), dict).unwrap();
    check_golden(&Tokenizer::open(dir.path()).unwrap(), "bpe.golden.json");
    check_golden(
        &Tokenizer::open(&dir.path().join("dict.txt")).unwrap(),
        "bpe.golden.json",
    );
}
