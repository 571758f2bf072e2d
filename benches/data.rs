//! Text to batches on one thread: tokenising stories, masking sequences of 128 tokens.
//!
//! With the published vocabulary in the folder that `DEBERTA_DATA` names, that one is measured too.

#![allow(
    clippy::unwrap_used,
    reason = "without its set-up there is nothing to measure"
)]

use std::path::PathBuf;

use criterion::{BenchmarkId, Criterion, Throughput};
use deberta::data::corpus::synthetic::{SyntheticConfig, SyntheticLanguage};
use deberta::data::masking::{MaskingAlgorithm, MaskingConfig, MlmMasker};
use deberta::data::tokenizer::{Tokenize, Tokenizer, TokenizerKind, TrainTokenizerConfig};

/// Stories to tokenise, of about eighty words each.
const STORIES: u64 = 200;
const VOCAB: usize = 2000;
const SEQ_LEN: usize = 128;

fn main() {
    // Quick functions: criterion's own settings do.
    let mut criterion = Criterion::default().configure_from_args();
    let language = SyntheticLanguage::new(SyntheticConfig::default());
    let stories: Vec<String> = (0..STORIES).map(|number| language.story(number)).collect();
    let unigram = tokenizer(TokenizerKind::Unigram, &stories);

    tokenise(&mut criterion, "unigram", &unigram, &stories);
    let bpe = tokenizer(TokenizerKind::ByteLevelBpe, &stories);
    tokenise(&mut criterion, "byte-level BPE", &bpe, &stories);
    mask(
        &mut criterion,
        "unbiased",
        MaskingAlgorithm::Unbiased,
        &unigram,
        &stories,
    );
    mask(
        &mut criterion,
        "Microsoft",
        MaskingAlgorithm::Microsoft,
        &unigram,
        &stories,
    );
    if let Some(path) = published_vocabulary() {
        let sentencepiece = Tokenizer::open(&path).unwrap();
        tokenise(&mut criterion, "v3 spm.model", &sentencepiece, &stories);
    }
    criterion.final_summary();
}

fn published_vocabulary() -> Option<PathBuf> {
    let data = PathBuf::from(std::env::var_os("DEBERTA_DATA")?);
    let path = data.join("tokenizers/deberta-v3/spm.model");
    path.is_file().then_some(path)
}

fn tokenizer(kind: TokenizerKind, stories: &[String]) -> Tokenizer {
    let config = TrainTokenizerConfig {
        vocab_size: VOCAB,
        kind,
    };
    Tokenizer::train(&config, stories.iter().cloned()).unwrap()
}

fn tokenise(criterion: &mut Criterion, name: &str, tokenizer: &Tokenizer, stories: &[String]) {
    let tokens = encode(tokenizer, stories).len();
    let mut group = criterion.benchmark_group("tokenise");
    group.throughput(Throughput::Elements(tokens as u64));
    group.bench_function(name, |bencher| bencher.iter(|| encode(tokenizer, stories)));
}

fn encode(tokenizer: &Tokenizer, stories: &[String]) -> Vec<u32> {
    let ids = stories
        .iter()
        .map(|story| tokenizer.encode_ids(story).unwrap());
    ids.flatten().collect()
}

fn mask(
    criterion: &mut Criterion,
    name: &str,
    algorithm: MaskingAlgorithm,
    tokenizer: &Tokenizer,
    stories: &[String],
) {
    let config = MaskingConfig {
        algorithm,
        ..MaskingConfig::default()
    };
    let masker = MlmMasker::new(config, tokenizer.vocab().clone()).unwrap();
    let ids = encode(tokenizer, stories);
    let sequences: Vec<&[u32]> = ids.chunks_exact(SEQ_LEN).collect();

    let mut group = criterion.benchmark_group("mask");
    group.throughput(Throughput::Elements((sequences.len() * SEQ_LEN) as u64));
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        bencher.iter(|| {
            let masked = (0..)
                .zip(&sequences)
                .map(|(example, ids)| masker.mask(ids, 1, 0, example));
            masked.collect::<Vec<_>>()
        });
    });
}
