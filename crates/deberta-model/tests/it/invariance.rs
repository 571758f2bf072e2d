//! Laws that hold without a reference: padding, packing, batch order, switched-off terms.

use burn::backend::{Autodiff, Flex};
use burn::tensor::{Bool, Int, Tensor, TensorData};
use deberta_model::attention::AttentionMask;
use deberta_model::config::{AbsolutePositions, PositionTerms};
use deberta_model::heads::masked_lm::MaskedTokens;
use deberta_model::{DebertaConfig, DebertaInput, DebertaModel, MaskedLmInput};

use crate::support::{mask_pad_from_lengths, to_f64};

type B = Flex;

/// Weights are drawn wide enough for every term to matter.
fn config() -> DebertaConfig {
    DebertaConfig {
        initializer_range: 0.3,
        max_position_embeddings: 64,
        ..DebertaConfig::v3(50, 24, 3, 3)
    }
}

fn ids(rows: &[&[i32]]) -> Tensor<B, 2, Int> {
    let values: Vec<i32> = rows.concat();
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new(values, shape), &Default::default())
}

/// Deterministic ids that are never padding.
fn sentence(len: usize, salt: i32) -> Vec<i32> {
    (0..len as i32)
        .map(|i| 1 + (i * 7 + salt * 13) % 49)
        .collect()
}

#[track_caller]
fn assert_same(a: Tensor<B, 3>, b: Tensor<B, 3>) {
    let (a, b) = (to_f64(a.to_data()), to_f64(b.to_data()));
    assert_eq!(a.len(), b.len());
    let worst = a
        .iter()
        .zip(&b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    assert!(worst < 1e-5, "differs by {worst:e}");
}

fn model(config: &DebertaConfig) -> DebertaModel<B> {
    config.init::<B>(7, &Default::default()).unwrap()
}

#[test]
fn padding_does_not_change_real_tokens() {
    let model = model(&config());
    let short = sentence(9, 1);
    let mut padded = short.clone();
    padded.extend([33, 2, 5, 0, 0]);
    let alone = model.forward(DebertaInput::new(ids(&[&short])));
    let mask_pad = mask_pad_from_lengths(&[9, 14], 14, &Default::default());
    let batch = model.forward(DebertaInput {
        mask: AttentionMask::Padding(mask_pad),
        ..DebertaInput::new(ids(&[&padded, &sentence(14, 2)]))
    });
    assert_same(batch.slice([0..1, 0..9]), alone);
}

#[test]
fn packed_sequences_equal_separate_ones() {
    // Plain attention over positions that start anew needs the same distances, which a packed
    // sequence has; only pairs across the border are blocked.
    let model = model(&config());
    let (first, second) = (sentence(6, 1), sentence(8, 2));
    let packed = [first.clone(), second.clone()].concat();
    let same = |i: usize, j: usize| (i < 6) == (j < 6);
    let blocked: Vec<bool> = (0..14 * 14).map(|n| !same(n / 14, n % 14)).collect();
    let blocked: Tensor<B, 3, Bool> =
        Tensor::from_data(TensorData::new(blocked, [1, 14, 14]), &Default::default());
    let together = model.forward(DebertaInput {
        mask: AttentionMask::Pairwise(blocked),
        ..DebertaInput::new(ids(&[&packed]))
    });
    let first = model.forward(DebertaInput::new(ids(&[&first])));
    let second = model.forward(DebertaInput::new(ids(&[&second])));
    assert_same(together.clone().slice([0..1, 0..6]), first);
    assert_same(together.slice([0..1, 6..14]), second);
}

#[test]
fn order_of_the_batch_does_not_matter() {
    let model = model(&config());
    let (a, b) = (sentence(12, 1), sentence(12, 5));
    let ab = model.forward(DebertaInput::new(ids(&[&a, &b])));
    let ba = model.forward(DebertaInput::new(ids(&[&b, &a])));
    assert_same(ab, ba.flip([0]));
}

#[test]
fn without_position_terms_word_order_is_invisible() {
    let blind = DebertaConfig {
        position_terms: PositionTerms::NONE,
        relative_positions: None,
        norm_rel_embeddings: false,
        absolute_positions: AbsolutePositions::None,
        ..config()
    };
    let mut reversed = sentence(10, 3);
    let forward = model(&blind).forward(DebertaInput::new(ids(&[&reversed])));
    reversed.reverse();
    let backward = model(&blind).forward(DebertaInput::new(ids(&[&reversed])));
    assert_same(forward.clone(), backward.flip([1]));

    reversed.reverse();
    let sighted = model(&config());
    let forward = sighted.forward(DebertaInput::new(ids(&[&reversed])));
    reversed.reverse();
    let backward = sighted
        .forward(DebertaInput::new(ids(&[&reversed])))
        .flip([1]);
    let difference = to_f64((forward - backward).abs().max().to_data())[0];
    assert!(
        difference > 0.1,
        "word order changes the output by {difference:e} only"
    );
}

#[test]
fn one_token_and_long_sequences_are_fine() {
    let model = model(&config());
    for len in [1, 2, 700] {
        let output = model.forward(DebertaInput::new(ids(&[&sentence(len, 4)])));
        assert_eq!(output.dims(), [1, len, 24]);
        assert!(to_f64(output.to_data()).iter().all(|it| it.is_finite()));
    }
}

#[test]
fn masked_tokens_are_decoded_alike_in_any_company() {
    // A query of the mask decoder depends on no other query, so asking for one token alone,
    // for several, or in a ragged batch gives the same logits.
    let device = Default::default();
    let model = config().init_masked_lm::<B>(3, &device).unwrap();
    let rows = [sentence(12, 1), sentence(12, 2)];
    let logits = |positions: &[Vec<u32>]| {
        let tokens = DebertaInput::new(ids(&[&rows[0], &rows[1]]));
        let masked = MaskedTokens::new(positions, 12, &device);
        to_f64(model.forward(MaskedLmInput { tokens, masked }).to_data())
    };
    let together = logits(&[vec![3, 7, 11], vec![5]]);
    let vocab = 50;
    assert_eq!(together.len(), 4 * vocab);
    for (row, position, answer) in [(0, 3, 0), (0, 7, 1), (0, 11, 2), (1, 5, 3)] {
        let mut positions = vec![vec![0], vec![0]];
        positions[row] = vec![position];
        let alone = logits(&positions);
        let alone = &alone[row * vocab..(row + 1) * vocab];
        let worst = alone
            .iter()
            .zip(&together[answer * vocab..])
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        assert!(
            worst < 1e-5,
            "token {position} of row {row} differs by {worst:e}"
        );
    }
}

#[test]
fn absolute_positions_reach_the_decoder_only() {
    let device = Default::default();
    let enhanced = config();
    let bare = DebertaConfig {
        absolute_positions: AbsolutePositions::None,
        ..config()
    };
    let sentence = sentence(12, 1);
    // The same seed draws the position table after the word table, so compare one model's encoder
    // with and without moved positions instead: a shifted packed copy gives the same states.
    let encoder = enhanced.init::<B>(7, &device).unwrap();
    let padded = [vec![9; 5], sentence.clone()].concat();
    let blocked: Vec<bool> = (0..17 * 17).map(|n| (n / 17 < 5) != (n % 17 < 5)).collect();
    let blocked = Tensor::from_data(TensorData::new(blocked, [1, 17, 17]), &device);
    let input = || DebertaInput {
        mask: AttentionMask::Pairwise(Tensor::clone(&blocked)),
        ..DebertaInput::new(ids(&[&padded]))
    };
    let shifted = encoder.forward(input()).slice([0..1, 5..17]);
    assert_same(
        shifted,
        encoder.forward(DebertaInput::new(ids(&[&sentence]))),
    );

    let change = |config: &DebertaConfig| {
        let model = config.init_masked_lm::<B>(3, &device).unwrap();
        let tokens = DebertaInput::new(ids(&[&sentence]));
        let masked = MaskedTokens::new(&[vec![4]], 12, &device);
        let at_4 = model.forward(MaskedLmInput { tokens, masked });
        let masked = MaskedTokens::new(&[vec![9]], 17, &device);
        let tokens = input();
        let at_9 = model.forward(MaskedLmInput { tokens, masked });
        to_f64((at_4 - at_9).abs().max().to_data())[0]
    };
    assert!(
        change(&bare) < 1e-4,
        "no absolute positions: {:e}",
        change(&bare)
    );
    assert!(change(&enhanced) > 1e-2, "decoder: {:e}", change(&enhanced));
}

#[test]
fn evaluation_ignores_dropout() {
    let config = config();
    assert!(config.hidden_dropout_prob > 0.0);
    let input = || DebertaInput::new(ids(&[&sentence(10, 1)]));
    let with = model(&config).forward(input());
    let without = model(&config.clone().without_dropout()).forward(input());
    assert_same(with, without);

    // Under autodiff the same network does drop.
    let model = config.init::<Autodiff<B>>(7, &Default::default()).unwrap();
    let run = || {
        let ids = Tensor::from_data(ids(&[&sentence(10, 1)]).to_data(), &Default::default());
        to_f64(model.forward(DebertaInput::new(ids)).to_data())
    };
    assert_ne!(run(), run());
}

#[test]
fn the_same_seed_gives_the_same_weights() {
    let input = || DebertaInput::new(ids(&[&sentence(10, 1)]));
    let first = model(&config()).forward(input());
    assert_same(first.clone(), model(&config()).forward(input()));
    let other = config().init::<B>(8, &Default::default()).unwrap();
    let difference = to_f64((first - other.forward(input())).abs().max().to_data())[0];
    assert!(difference > 0.1);
}

#[test]
fn parameters_are_counted_exactly() {
    use burn::module::Module;
    let plain = DebertaConfig {
        position_terms: PositionTerms::NONE,
        relative_positions: None,
        norm_rel_embeddings: false,
        absolute_positions: AbsolutePositions::Input,
        type_vocab_size: 2,
        ..config()
    };
    let bare = DebertaConfig {
        absolute_positions: AbsolutePositions::None,
        ..config()
    };
    let v1 = DebertaConfig {
        absolute_positions: AbsolutePositions::None,
        position_terms: PositionTerms::C2P,
        ..DebertaConfig::v1(50, 24, 3, 3)
    };
    let projected = DebertaConfig {
        embedding_size: 10,
        ..bare.clone()
    };
    for config in [plain, bare, v1, projected] {
        assert_eq!(
            model(&config).num_params(),
            config.num_parameters(),
            "{config:?}"
        );
    }
}
