//! Statistics of masking, by decile, by kind of replacement and by span.

#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use std::collections::HashSet;
use std::ops::Range;

use deberta_data::masking::{MaskedExample, MaskingAlgorithm, MaskingConfig, MlmMasker};
use deberta_data::tokenizer::{PieceKind, SpecialTokens, VocabInfo, WordMark};
use proptest::prelude::*;

const PAD: u32 = 0;
const CLS: u32 = 1;
const SEP: u32 = 2;
const UNK: u32 = 3;
/// Even ids start a word, odd ids continue one.
const TEXT: Range<u32> = 4..1004;
/// After the text come one byte piece and one unused id, which are masked but never drawn.
const UNUSED: u32 = 1005;
const MASK: u32 = 1006;

fn vocab() -> VocabInfo {
    let special = SpecialTokens {
        pad: PAD,
        cls: CLS,
        sep: SEP,
        unk: UNK,
        mask: MASK,
    };
    let mut pieces: Vec<(String, PieceKind)> = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
        .map(|it| (it.to_owned(), PieceKind::Special))
        .into();
    pieces.extend(TEXT.map(|id| {
        let mark = if id % 2 == 0 { "▁" } else { "" };
        (format!("{mark}piece{id}"), PieceKind::Normal)
    }));
    pieces.push(("<0x0A>".to_owned(), PieceKind::Byte));
    pieces.push(("[unused0]".to_owned(), PieceKind::Unused));
    pieces.push(("[MASK]".to_owned(), PieceKind::Special));
    let pieces = pieces.iter().map(|(piece, kind)| (piece.as_str(), *kind));
    VocabInfo::new(pieces, WordMark::Metaspace, special)
}

fn masker(config: MaskingConfig) -> MlmMasker {
    MlmMasker::new(config, vocab()).unwrap()
}

/// `[CLS]`, words of one to three pieces with distinct neighbours, `[SEP]`.
fn example(len: usize, number: u64) -> Vec<u32> {
    let mut state = number
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(99);
    let mut next = |bound: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963);
        (state >> 33) % bound
    };
    let mut ids = vec![CLS];
    let mut starts_word = true;
    while ids.len() + 1 < len {
        let id = 4 + 2 * next(500) as u32 + u32::from(!starts_word);
        ids.push(id);
        starts_word = next(3) != 0;
    }
    ids.push(SEP);
    ids
}

/// One token a word.
fn single_token_words(len: usize) -> Vec<u32> {
    let mut ids = vec![4; len];
    ids[0] = CLS;
    ids[len - 1] = SEP;
    ids
}

/// Share of masked tokens in each tenth of the positions.
fn deciles(config: MaskingConfig, text: impl Fn(u64) -> Vec<u32>, examples: u64) -> [f64; 10] {
    let masker = masker(config);
    let (mut masked, mut seen) = ([0.0; 10], [0.0; 10]);
    for number in 0..examples {
        let ids = text(number);
        let last = ids.len() - 1;
        let decile = |position: usize| (position - 1) * 10 / (last - 1);
        (1..last).for_each(|position| seen[decile(position)] += 1.0);
        for position in masker.mask(&ids, 11, 0, number).positions {
            masked[decile(position as usize)] += 1.0;
        }
    }
    std::array::from_fn(|index| masked[index] / seen[index])
}

#[track_caller]
fn check_deciles(rates: [f64; 10], expected: [f64; 10], tolerance: f64) {
    for (rate, expected) in rates.iter().zip(expected) {
        assert!((rate - expected).abs() < tolerance, "{rates:.4?}");
    }
}

fn config(max_ngram: usize, whole_word: bool, algorithm: MaskingAlgorithm) -> MaskingConfig {
    MaskingConfig {
        max_ngram,
        whole_word,
        algorithm,
        ..MaskingConfig::default()
    }
}

#[test]
fn unbiased_masks_every_decile_alike() {
    for max_ngram in 1..=3 {
        for whole_word in [false, true] {
            let config = config(max_ngram, whole_word, MaskingAlgorithm::Unbiased);
            let rates = deciles(config, |number| example(512, number), 3000);
            check_deciles(rates, [0.15; 10], 0.006);
        }
    }
}

/// The very first and last positions are where a window or an unwrapped span would show.
#[test]
fn unbiased_masks_the_ends_like_the_middle() {
    let masker = masker(config(3, true, MaskingAlgorithm::Unbiased));
    let ids = single_token_words(42);
    let mut counts = [0u32; 42];
    let examples = 40_000;
    for number in 0..examples {
        for position in masker.mask(&ids, 3, 0, number).positions {
            counts[position as usize] += 1;
        }
    }
    let expected = 6.0 / 40.0;
    for (position, count) in counts.iter().enumerate().take(41).skip(1) {
        let rate = f64::from(*count) / examples as f64;
        // Five standard deviations of a binomial.
        assert!(
            (rate - expected).abs() < 0.009,
            "position {position}: {rate}"
        );
    }
}

/// Expected rates: the original's, run on the same examples, to within its own noise.
#[test]
fn microsoft_masks_from_the_left_until_the_budget_is_spent() {
    let sixth = 1.0 / 6.0;
    let profile = |last: f64| std::array::from_fn(|decile| if decile < 9 { sixth } else { last });
    for (len, max_ngram, last) in [
        (128, 1, 0.0),
        (512, 1, 0.0097),
        (128, 3, 0.030),
        (512, 3, 0.020),
    ] {
        let config = config(max_ngram, true, MaskingAlgorithm::Microsoft);
        let rates = deciles(config, |_| single_token_words(len), 4000);
        let tolerance = if max_ngram == 1 { 0.003 } else { 0.015 };
        check_deciles(rates, profile(last), tolerance);
    }
}

#[test]
fn replacements_are_eighty_ten_ten() {
    let masker = masker(MaskingConfig::default());
    let (mut masked, mut kept, mut random, mut total) = (0.0, 0.0, 0.0, 0.0);
    let mut drawn = HashSet::new();
    for number in 0..3000 {
        let ids = example(256, number);
        let out = masker.mask(&ids, 1, 2, number);
        for (position, label) in out.positions.iter().zip(&out.labels) {
            total += 1.0;
            match out.input_ids[*position as usize] {
                MASK => masked += 1.0,
                id if id == *label => kept += 1.0,
                id => {
                    random += 1.0;
                    drawn.insert(id);
                }
            }
        }
    }
    for (count, share) in [(masked, 0.8), (kept, 0.1), (random, 0.1)] {
        let rate: f64 = count / total;
        assert!(
            (rate - share).abs() < 0.004,
            "{masked} {kept} {random} of {total}"
        );
    }
    // Every piece of text can be drawn; nothing else is.
    assert_eq!(drawn, TEXT.collect());
}

#[test]
fn span_lengths_follow_the_inverse_of_n() {
    // A sparse mask keeps spans apart, so that a run of masked words is one span.
    let config = MaskingConfig {
        mask_prob: 0.012,
        ..config(3, true, MaskingAlgorithm::Unbiased)
    };
    let masker = masker(config);
    let ids = single_token_words(1002);
    let mut counts = [0.0; 16];
    for number in 0..6000 {
        let positions = masker.mask(&ids, 7, 0, number).positions;
        for run in positions.chunk_by(|left, right| left + 1 == *right) {
            counts[run.len()] += 1.0;
        }
    }
    let spans: f64 = counts.iter().sum();
    for (length, share) in [(1, 6.0 / 11.0), (2, 3.0 / 11.0), (3, 2.0 / 11.0)] {
        let rate = counts[length] / spans;
        // The last span of an example is cut to the budget: lengths 1 and 2 gain a little.
        assert!(
            (rate - share).abs() < 0.05,
            "length {length}: {rate} of {counts:?}"
        );
    }
    assert!(counts[4..].iter().sum::<f64>() / spans < 0.03, "{counts:?}");
}

/// Word of each token: whole-word masking must take all of it or none.
fn words(ids: &[u32]) -> Vec<Range<usize>> {
    let mut words: Vec<Range<usize>> = Vec::new();
    for (position, id) in ids.iter().enumerate().filter(|(_, id)| TEXT.contains(*id)) {
        match words.last_mut() {
            Some(word) if id % 2 == 1 && word.end == position => word.end += 1,
            _ => words.push(position..position + 1),
        }
    }
    words
}

fn masked_positions(out: &MaskedExample) -> HashSet<usize> {
    out.positions
        .iter()
        .map(|position| *position as usize)
        .collect()
}

#[test]
fn whole_words_are_never_split() {
    for algorithm in [MaskingAlgorithm::Unbiased, MaskingAlgorithm::Microsoft] {
        let masker = masker(config(3, true, algorithm));
        for number in 0..500 {
            let ids = example(200, number);
            let masked = masked_positions(&masker.mask(&ids, 5, 1, number));
            for word in words(&ids).into_iter().filter(|word| word.len() <= 16) {
                let hidden = word
                    .clone()
                    .filter(|position| masked.contains(position))
                    .count();
                assert!(
                    hidden == 0 || hidden == word.len(),
                    "{word:?} of example {number}"
                );
            }
        }
    }
}

#[test]
fn the_budget_is_spent_to_the_token_when_words_allow() {
    let masker = masker(MaskingConfig::default());
    for number in 0..300 {
        let ids = example(512, number);
        // 510 maskable tokens, 76.5 rounds to 77.
        assert_eq!(masker.mask(&ids, 1, 1, number).positions.len(), 77);
    }
}

#[test]
fn a_word_longer_than_the_budget_is_masked_in_part() {
    let mut ids = vec![CLS, 4];
    ids.extend([5; 39]);
    ids.push(SEP);
    let out = masker(MaskingConfig::default()).mask(&ids, 0, 0, 0);
    assert_eq!(out.positions.len(), 6);
}

#[test]
fn a_mask_depends_on_its_key_alone() {
    let masker = masker(MaskingConfig::default());
    let ids = example(128, 9);
    let first = masker.mask(&ids, 1, 2, 3);
    let others = [(2, 2, 3), (1, 3, 3), (1, 2, 4)];
    for (seed, epoch, number) in others {
        assert_ne!(masker.mask(&ids, seed, epoch, number), first);
    }
    assert_eq!(masker.clone().mask(&ids, 1, 2, 3), first);
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let refused = |config: MaskingConfig| MlmMasker::new(config, vocab()).unwrap_err().to_string();
    let base = MaskingConfig::default;
    assert_eq!(
        refused(MaskingConfig {
            mask_prob: 0.0,
            ..base()
        }),
        "mask_prob is 0, expected a share in (0, 1]"
    );
    assert_eq!(
        refused(MaskingConfig {
            keep_prob: 0.75,
            random_prob: 0.5,
            ..base()
        }),
        "keep_prob + random_prob is 1.25, expected at most 1"
    );
    assert_eq!(
        refused(MaskingConfig {
            max_ngram: 0,
            ..base()
        }),
        "max_ngram is 0, expected 1 to 64"
    );
    assert_eq!(
        refused(MaskingConfig {
            mask_prob: f64::NAN,
            ..base()
        }),
        "mask_prob is NaN, expected a share in (0, 1]"
    );
}

fn any_config() -> impl Strategy<Value = MaskingConfig> {
    let algorithm = prop_oneof![
        Just(MaskingAlgorithm::Unbiased),
        Just(MaskingAlgorithm::Microsoft)
    ];
    (
        0.001..=1.0,
        0.0..=0.5,
        0.0..=0.5,
        1usize..5,
        any::<bool>(),
        algorithm,
    )
        .prop_map(
            |(mask_prob, keep_prob, random_prob, max_ngram, whole_word, algorithm)| MaskingConfig {
                mask_prob,
                keep_prob,
                random_prob,
                max_ngram,
                whole_word,
                max_predictions: None,
                algorithm,
            },
        )
}

proptest! {
    #[test]
    fn any_example_is_masked_soundly(
        config in any_config(),
        ids in proptest::collection::vec(0u32..1010, 0..80),
        cap in proptest::option::of(1usize..20),
        key in any::<(u64, u64, u64)>(),
    ) {
        let unbiased = config.algorithm == MaskingAlgorithm::Unbiased;
        let mask_prob = config.mask_prob;
        let masker = masker(MaskingConfig { max_predictions: cap, ..config });
        let out = masker.mask(&ids, key.0, key.1, key.2);
        let maskable: Vec<usize> = (0..ids.len())
            .filter(|position| (TEXT.start..=UNUSED).contains(&ids[*position]))
            .collect();

        prop_assert!(out.positions.is_sorted_by(|left, right| left < right));
        prop_assert_eq!(out.positions.is_empty(), maskable.is_empty());
        let mut restored = out.input_ids.clone();
        for (position, label) in out.positions.iter().zip(&out.labels) {
            let position = *position as usize;
            prop_assert!(maskable.contains(&position));
            let seen = out.input_ids[position];
            prop_assert!(seen == MASK || seen == *label || TEXT.contains(&seen));
            restored[position] = *label;
        }
        prop_assert_eq!(restored, ids);
        if unbiased {
            let budget = ((maskable.len() as f64 * mask_prob).round() as usize).max(1);
            prop_assert!(out.positions.len() <= budget.min(cap.unwrap_or(usize::MAX)));
        }
    }
}
