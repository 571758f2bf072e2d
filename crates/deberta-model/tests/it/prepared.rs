//! A network whose position projections are computed once.

use burn::backend::{Autodiff, Flex};
use burn::module::{AutodiffModule, Module};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use deberta_model::attention::AttentionMask;
use deberta_model::heads::masked_lm::MaskedTokens;
use deberta_model::{
    DebertaBackend, DebertaConfig, DebertaForMaskedLm, DebertaInput, MaskedLmInput,
};

use crate::support::to_f64;

/// With and without buckets, projections shared with the content and their own.
fn configs() -> [DebertaConfig; 2] {
    [
        DebertaConfig::v3(50, 24, 3, 3),
        DebertaConfig::v1(50, 24, 3, 3),
    ]
    .map(|config| DebertaConfig {
        initializer_range: 0.1,
        ..config.without_dropout()
    })
}

/// Logits of masked tokens in sequences of `lengths`, the mask decoder included.
fn logits<B: DebertaBackend>(model: &DebertaForMaskedLm<B>, lengths: &[usize]) -> Vec<f64> {
    let device = Default::default();
    let seq_len = *lengths.iter().max().unwrap();
    let ids: Vec<i32> = (0..lengths.len() * seq_len)
        .map(|it| (it * 7 % 50) as i32)
        .collect();
    let ids = TensorData::new(ids, [lengths.len(), seq_len]);
    let positions: Vec<Vec<u32>> = lengths.iter().map(|&it| vec![0, it as u32 / 2]).collect();
    let logits = model.forward(MaskedLmInput {
        tokens: DebertaInput {
            mask: AttentionMask::from_lengths(lengths, seq_len, &device),
            ..DebertaInput::new(Tensor::<B, 2, Int>::from_data(ids, &device))
        },
        masked: MaskedTokens::new(&positions, seq_len, &device),
    });
    to_f64(logits.into_data())
}

fn network<B: Backend>(config: &DebertaConfig) -> DebertaForMaskedLm<B> {
    config.init_masked_lm(1, &Default::default()).unwrap()
}

#[test]
fn a_prepared_network_gives_the_same_numbers_for_every_length() {
    for config in configs() {
        let plain = network::<Flex>(&config);
        let mut prepared = plain.clone();
        prepared.deberta.prepare();
        for lengths in [vec![1], vec![9, 4], vec![130], vec![30, 700]] {
            let (plain, prepared) = (logits(&plain, &lengths), logits(&prepared, &lengths));
            let worst = plain.iter().zip(&prepared).map(|(a, b)| (a - b).abs());
            assert!(worst.fold(0.0, f64::max) < 1e-5, "{lengths:?}");
        }
    }
}

#[test]
fn what_was_prepared_is_what_is_used() {
    let [config, _] = configs();
    let mut model = network::<Flex>(&config);
    let before = logits(&model, &[9]);
    model.deberta.prepare();
    // Other weights in the same network: only the prepared parts still follow the old ones.
    let record =
        DebertaForMaskedLm::into_record(config.init_masked_lm(2, &Default::default()).unwrap());
    let changed = model.clone().load_record(record);
    let mut fresh = changed.clone();
    fresh.deberta.prepare();
    assert_ne!(logits(&changed, &[9]), logits(&fresh, &[9]));
    assert_eq!(before, logits(&network::<Flex>(&config), &[9]));
}

#[test]
fn training_never_uses_prepared_projections() {
    let [config, _] = configs();
    let mut model = network::<Autodiff<Flex>>(&config);
    let before = logits(&model, &[9]);
    model.deberta.prepare();
    assert_eq!(before, logits(&model, &[9]));
    let plain = logits(&network::<Flex>(&config), &[9]);
    assert_eq!(plain, logits(&model.valid(), &[9]));
}
