//! Word tables with more rows.

use std::path::Path;

use burn::backend::{Flex, NdArray};
use burn::tensor::Tensor;
use deberta_model::checkpoint::{
    CheckpointError, Compatibility, ConvertOptions, FloatType, Weights, convert, load_masked_lm,
};
use deberta_model::heads::masked_lm::MaskedTokens;
use deberta_model::vocabulary::{VocabularyGrowth, VocabularyShrinks};
use deberta_model::{DebertaBackend, DebertaConfig, DebertaForMaskedLm, HfConfig, MaskedLmInput};

use crate::support::{Fixture, fixture_dir, to_f64};

const WORDS: &str = "deberta.embeddings.word_embeddings.weight";
const BIAS: &str = "lm_predictions.lm_head.bias";

fn load<B: DebertaBackend>(dir: &Path) -> (DebertaForMaskedLm<B>, DebertaConfig) {
    load_masked_lm(dir, Compatibility::AsConfigured, &Default::default()).unwrap()
}

/// Last states, and logits `[rows, vocab]` of the second token of each sequence.
fn outputs<B: DebertaBackend>(
    model: &DebertaForMaskedLm<B>,
    fixture: &str,
) -> (Vec<f64>, Tensor<B, 2>) {
    let device = Default::default();
    let tokens = Fixture::open(fixture).model_input::<B>(&device);
    let [rows, seq_len] = tokens.dims();
    let masked = MaskedTokens::new(&vec![vec![1]; rows], seq_len, &device);
    let states = model.deberta.forward(tokens.clone()).into_data();
    let logits = model.forward(MaskedLmInput { tokens, masked });
    (to_f64(states), logits)
}

fn numbers(dir: &Path, name: &str) -> Vec<f64> {
    let weights = Weights::open(dir).unwrap();
    let found = weights
        .tensors()
        .find(|it| it.hub_name.as_deref() == Some(name));
    to_f64(weights.read(&found.unwrap().name, FloatType::F64).unwrap())
}

/// Means of the columns of a table.
fn means(table: &[f64], width: usize) -> Vec<f64> {
    let rows = table.len() / width;
    let column = |at: usize| table.iter().skip(at).step_by(width).sum::<f64>();
    (0..width).map(|at| column(at) / rows as f64).collect()
}

fn assert_near(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() <= tolerance,
            "{found} is not {expected}"
        );
    }
}

fn check_old_tokens<B: DebertaBackend>(name: &str) {
    let source = fixture_dir(name);
    let (model, config) = load::<B>(&source);
    let rows = config.vocab_size + 5;
    let target = tempfile::tempdir().unwrap();
    let options = ConvertOptions::new().vocab_size(rows).seed(3);
    convert(&source, target.path(), &options).unwrap();
    let (grown, grown_config) = load::<B>(target.path());
    let expected = DebertaConfig {
        vocab_size: rows,
        ..config.clone()
    };
    assert_eq!(grown_config, expected);

    let (states, logits) = outputs(&model, name);
    let (grown_states, grown_logits) = outputs(&grown, name);
    assert!(states == grown_states, "{name}: to the bit");
    let old = grown_logits.clone().slice_dim(1, 0..config.vocab_size);
    assert_near(&to_f64(old.into_data()), &to_f64(logits.into_data()), 1e-6);

    // In memory as in the file.
    let growth = VocabularyGrowth {
        seed: 3,
        ..VocabularyGrowth::new(&config, rows)
    };
    let in_memory = model.grow_vocabulary(&growth).unwrap();
    let (states, logits) = outputs(&in_memory, name);
    assert!(states == grown_states, "{name}: to the bit");
    let (found, expected) = (logits.into_data(), grown_logits.into_data());
    assert_eq!(found.shape[1], rows);
    assert_near(&to_f64(found), &to_f64(expected), 1e-5);
}

#[test]
fn more_rows_change_nothing_for_old_tokens() {
    for name in ["hf/v1_mlm_legacy", "hf/v3_mlm_new", "ms/emd_v3"] {
        check_old_tokens::<NdArray<f32>>(name);
        check_old_tokens::<Flex>(name);
    }
}

#[test]
fn new_rows_lie_around_the_mean_of_the_old_ones() {
    let source = fixture_dir("hf/v3_mlm_new");
    let config = HfConfig::of_folder(&source).unwrap().to_config().unwrap();
    let (old, width) = (config.vocab_size, config.embedding_size);
    let new = 2000;
    let target = tempfile::tempdir().unwrap();
    let options = ConvertOptions::new().vocab_size(old + new);
    convert(&source, target.path(), &options).unwrap();

    let (before, after) = (numbers(&source, WORDS), numbers(target.path(), WORDS));
    assert!(after[..old * width] == before);
    let mean = means(&before, width);
    assert!(mean.iter().any(|it| it.abs() > 1e-3));
    let added = &after[old * width..];
    let std = config.initializer_range;
    // Five standard errors.
    assert_near(&means(added, width), &mean, 5.0 * std / (new as f64).sqrt());
    let squares = added.iter().zip(mean.iter().cycle());
    let squares = squares.map(|(it, mean)| (it - mean).powi(2));
    let variance = squares.sum::<f64>() / (new * width) as f64;
    assert!((variance.sqrt() / std - 1.0).abs() < 0.05, "{variance}");

    let (before, after) = (numbers(&source, BIAS), numbers(target.path(), BIAS));
    assert!(after[..old] == before);
    let mean = means(&before, 1)[0];
    assert_near(&after[old..], &vec![mean; new], 1e-6);
}

#[test]
fn rows_depend_on_the_seed_and_on_how_many_there_were() {
    let source = fixture_dir("hf/v3_mlm_new");
    let config = HfConfig::of_folder(&source).unwrap().to_config().unwrap();
    let (old, width) = (config.vocab_size, config.embedding_size);
    let grow = |source: &Path, rows, seed| {
        let target = tempfile::tempdir().unwrap();
        let options = ConvertOptions::new().vocab_size(rows).seed(seed);
        convert(source, target.path(), &options).unwrap();
        (numbers(target.path(), WORDS), target)
    };
    let (first, dir) = grow(&source, old + 1, 0);
    let (again, _) = grow(&source, old + 1, 0);
    let (other, _) = grow(&source, old + 1, 1);
    assert!(first == again && first != other);
    let (twice, _) = grow(dir.path(), old + 2, 0);
    let rows: Vec<&[f64]> = twice.chunks(width).collect();
    let distance = rows[old]
        .iter()
        .zip(rows[old + 1])
        .map(|(a, b)| (a - b).abs());
    assert!(distance.sum::<f64>() > 0.1 * config.initializer_range * width as f64);
}

#[test]
fn rows_are_never_taken_away() {
    let source = fixture_dir("hf/v3_mlm_new");
    let (model, config) = load::<Flex>(&source);
    let rows = config.vocab_size;
    let target = tempfile::tempdir().unwrap();
    let grow = |rows| {
        convert(
            &source,
            target.path(),
            &ConvertOptions::new().vocab_size(rows),
        )
    };
    let shrinks = VocabularyShrinks {
        rows,
        asked: rows - 1,
    };
    match grow(rows - 1).unwrap_err() {
        CheckpointError::Vocabulary { source, .. } => assert_eq!(source, shrinks),
        other => panic!("{other}"),
    }
    assert_eq!(
        shrinks.to_string(),
        format!(
            "the word table has {rows} rows, of which none are taken away; {} were asked for",
            rows - 1
        )
    );
    let error = grow(usize::MAX).unwrap_err();
    assert!(error.to_string().contains("vocab_size"), "{error}");
    assert_eq!(std::fs::read_dir(target.path()).unwrap().count(), 0);
    let growth = VocabularyGrowth::new(&config, rows - 1);
    assert_eq!(model.clone().grow_vocabulary(&growth).unwrap_err(), shrinks);

    // As many as there are is no change.
    grow(rows).unwrap();
    assert!(numbers(target.path(), WORDS) == numbers(&source, WORDS));
    let same = model
        .grow_vocabulary(&VocabularyGrowth::new(&config, rows))
        .unwrap();
    let words = same.deberta.embeddings.word_embeddings.weight.val();
    assert!(to_f64(words.into_data()) == numbers(&source, WORDS));
}
