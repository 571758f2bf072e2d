//! The published vocabularies, where they are at hand, and many awkward texts.
//!
//! `torture.golden.json` holds digests of what the reference libraries and published algorithms make
//! of 100 000 texts and of words of 100 kB; `torture.json` says how to draw the texts. Both are made
//! by `scripts/make_tokenizer_torture.py`.

use std::collections::BTreeMap;

use deberta_data::tokenizer::{AddedToken, TokenizerOptions};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

#[allow(clippy::print_stdout, reason = "says why the test did nothing")]
fn data() -> Option<PathBuf> {
    let data = std::env::var_os("DEBERTA_DATA").map(PathBuf::from);
    if data.is_none() {
        println!("skipped: DEBERTA_DATA is not set");
    }
    data
}

#[test]
fn v3_equals_sentencepiece() {
    let Some(data) = data() else { return };
    let dir = data.join("tokenizers/deberta-v3");
    let tokenizer = Tokenizer::open(&dir).unwrap();
    assert_eq!(tokenizer.vocab_size(), 128_001);
    let expected = SpecialTokens {
        pad: 0,
        cls: 1,
        sep: 2,
        unk: 3,
        mask: 128_000,
    };
    assert_eq!(tokenizer.special(), expected);
    #[derive(Deserialize)]
    struct Cases {
        cases: Vec<V3Case>,
    }
    #[derive(Deserialize)]
    struct V3Case {
        text: String,
        pieces: Vec<String>,
        ids: Vec<u32>,
    }
    let golden = fs::read(dir.join("golden.derived.json")).unwrap();
    let golden: Cases = serde_json::from_slice(&golden).unwrap();
    assert!(golden.cases.len() > 10);
    for case in golden.cases {
        let encoding = tokenizer.encode(&case.text).unwrap();
        assert_eq!((encoding.ids, encoding.tokens), (case.ids, case.pieces));
    }
}

#[test]
fn v1_equals_the_tokenizers_library() {
    let Some(data) = data() else { return };
    let dir = data.join("tokenizers/gpt2-bpe");
    let vocab = dir.join("deberta-v1-vocab.derived.json");
    let tokenizer = Tokenizer::from_bpe_files(&vocab, &dir.join("vocab.bpe")).unwrap();
    assert_eq!(tokenizer.vocab_size(), 50_265);
    let expected = SpecialTokens {
        pad: 0,
        cls: 1,
        sep: 2,
        unk: 3,
        mask: 50_264,
    };
    assert_eq!(tokenizer.special(), expected);
    assert!(
        !tokenizer
            .vocab()
            .replaceable(tokenizer.id("madeupword0000").unwrap())
    );
    #[derive(Deserialize)]
    struct Cases {
        cases: Vec<V1Case>,
    }
    #[derive(Deserialize)]
    struct V1Case {
        text: String,
        tokens: Vec<String>,
        deberta_v1: Vec<u32>,
    }
    let golden = fs::read(dir.join("golden.derived.json")).unwrap();
    let golden: Cases = serde_json::from_slice(&golden).unwrap();
    assert!(golden.cases.len() > 10);
    for case in golden.cases {
        let encoding = tokenizer.encode(&case.text).unwrap();
        assert_eq!(
            (encoding.ids, encoding.tokens),
            (case.deberta_v1, case.tokens)
        );
    }
}

/// Pieces to draw texts from.
#[derive(Deserialize)]
struct Recipe {
    white: Vec<String>,
    marks: Vec<String>,
    names: Vec<String>,
    snippets: Vec<String>,
    syllables: Vec<String>,
    pools: Vec<(u32, u32)>,
    long: Vec<(String, usize)>,
}

/// Knuth's MMIX generator, as in the script.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn choice<'i>(&mut self, items: &'i [String]) -> &'i str {
        &items[self.below(items.len())]
    }
}

impl Recipe {
    fn read() -> Self {
        serde_json::from_slice(&fs::read(fixture("torture.json")).unwrap()).unwrap()
    }

    fn text(&self, rng: &mut Lcg) -> String {
        let mut text = String::new();
        for _ in 0..rng.below(24) {
            match rng.below(16) {
                0..6 => {
                    for _ in 0..1 + rng.below(4) {
                        text.push_str(rng.choice(&self.syllables));
                    }
                }
                6..10 => text.push_str(rng.choice(&self.white)),
                10 => text.push_str(rng.choice(&self.marks)),
                11 => text.push_str(rng.choice(&self.names)),
                12 | 13 => text.push_str(rng.choice(&self.snippets)),
                _ => {
                    let (first, end) = self.pools[rng.below(self.pools.len())];
                    let offset = u32::try_from(rng.below((end - first) as usize)).unwrap();
                    text.push(char::from_u32(first + offset).unwrap());
                }
            }
        }
        text
    }
}

#[derive(Deserialize)]
struct Digests {
    blocks: Vec<String>,
    long: Vec<String>,
}

fn digest<'t>(tokenizer: &Tokenizer, texts: impl IntoIterator<Item = &'t String>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        let encoding = tokenizer.encode(text).unwrap();
        for (id, (start, end)) in encoding.ids.iter().zip(&encoding.offsets) {
            for number in [*id as usize, *start, *end] {
                hash.update(u32::try_from(number).unwrap().to_le_bytes());
            }
        }
        hash.update([0xff; 4]);
    }
    let bytes = hash.finalize();
    bytes[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[track_caller]
fn check_digests(name: &str, tokenizer: &Tokenizer) {
    let golden = fs::read(fixture("torture.golden.json")).unwrap();
    let mut golden: BTreeMap<String, Digests> = serde_json::from_slice(&golden).unwrap();
    let golden = golden.remove(name).unwrap();
    let recipe = Recipe::read();
    let mut rng = Lcg(1);
    let texts: Vec<String> = (0..100_000).map(|_| recipe.text(&mut rng)).collect();
    let blocks: Vec<_> = texts.chunks(1000).collect();
    assert_eq!(golden.blocks.len(), blocks.len());
    let digests = blocks.par_iter().map(|block| digest(tokenizer, *block));
    let digests: Vec<_> = digests.collect();
    let differ = |(made, golden): &(&String, &String)| made != golden;
    let count = digests.iter().zip(&golden.blocks).filter(differ).count();
    assert_eq!(count, 0, "blocks of 1000 texts that differ");
    assert_eq!(golden.long.len(), recipe.long.len());
    for ((unit, times), expected) in recipe.long.iter().zip(&golden.long) {
        let text = unit.repeat(*times);
        assert_eq!(
            &digest(tokenizer, [&text]),
            expected,
            "{unit:?} {times} times"
        );
    }
}

fn v3(options: TokenizerOptions) -> Option<Tokenizer> {
    let dir = data()?.join("tokenizers/deberta-v3");
    Some(Tokenizer::open_with(&dir, options).unwrap())
}

#[test]
fn v3_on_a_hundred_thousand_texts_equals_sentencepiece() {
    if let Some(tokenizer) = v3(TokenizerOptions::default()) {
        check_digests("v3", &tokenizer);
    }
}

#[test]
fn v3_split_by_punct_equals_microsofts_splitting() {
    let options = TokenizerOptions {
        split_by_punct: true,
        ..TokenizerOptions::default()
    };
    if let Some(tokenizer) = v3(options) {
        check_digests("v3_split_by_punct", &tokenizer);
    }
}

#[test]
fn v3_lower_case_equals_the_reference() {
    let options = TokenizerOptions {
        split_by_punct: true,
        lower_case: true,
        ..TokenizerOptions::default()
    };
    if let Some(tokenizer) = v3(options) {
        check_digests("v3_lower_case", &tokenizer);
    }
}

#[test]
fn v3_with_added_tokens_equals_the_tokenizers_library_around_sentencepiece() {
    let Some(mut tokenizer) = v3(TokenizerOptions::default()) else {
        return;
    };
    let ent = AddedToken {
        lstrip: true,
        rstrip: true,
        ..AddedToken::special("<<ENT>>")
    };
    let sep = AddedToken {
        single_word: true,
        ..AddedToken::special("<<SEP>>")
    };
    assert_eq!(
        tokenizer.add_tokens(&[ent, sep]).unwrap(),
        [128_001, 128_002]
    );
    check_digests("v3_added_tokens", &tokenizer);
}

/// GPT-2's own files in fairseq's order, against GPT-2's algorithm.
#[test]
fn v1_on_a_hundred_thousand_texts_equals_gpt2() {
    let Some(data) = data() else { return };
    let tokenizer = Tokenizer::open(&data.join("tokenizers/gpt2-bpe")).unwrap();
    check_digests("v1", &tokenizer);
}

#[test]
fn fairseqs_dictionary_gives_the_vocabulary_of_the_hub() {
    let Some(data) = data() else { return };
    let dir = data.join("tokenizers/gpt2-bpe");
    let tokenizer = Tokenizer::open(&dir).unwrap();
    let vocab = fs::read(dir.join("deberta-v1-vocab.derived.json")).unwrap();
    let vocab: BTreeMap<String, u32> = serde_json::from_slice(&vocab).unwrap();
    assert_eq!(tokenizer.vocab_size(), vocab.len());
    for (piece, id) in vocab {
        assert_eq!(tokenizer.token(id), Some(piece.as_str()));
    }
    let saved = TempDir::new().unwrap();
    tokenizer.save(saved.path()).unwrap();
    assert!(saved.path().join("vocab.json").is_file());
    let reopened = Tokenizer::open(saved.path()).unwrap();
    assert_eq!(reopened.fingerprint(), tokenizer.fingerprint());
}
