//! A network that skips padding against the same network that computes it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::backend::{Autodiff, Flex, NdArray};
use burn::module::{AutodiffModule, Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Int, Tensor, TensorData};
use deberta_model::attention::AttentionMask;
use deberta_model::config::{AbsolutePositions, Activation, ConvConfig, PositionTerms};
use deberta_model::encoder::{Observation, Observe};
use deberta_model::heads::masked_lm::{MaskedTokens, masked_lm_loss};
use deberta_model::{
    DebertaBackend, DebertaConfig, DebertaForMaskedLm, DebertaInput, MaskedLmInput,
};

use crate::support::{mask_pad_from_lengths, to_f64};

const SEQ_LEN: usize = 150;

/// More than one block of the kernel, one token, none, and no padding.
const LENGTHS: [usize; 5] = [70, 1, 0, SEQ_LEN, 33];

/// Euclidean norm of the difference, as a part of that of the numbers.
const TOLERANCE: f64 = 1e-6;

fn config() -> DebertaConfig {
    DebertaConfig {
        initializer_range: 0.1,
        max_position_embeddings: 256,
        ..DebertaConfig::v3(50, 24, 3, 3).without_dropout()
    }
}

/// All that decides where a token stands: the mask decoder, absolute positions and types in the
/// input, a convolution, distances without buckets, no positions.
fn configs() -> [DebertaConfig; 5] {
    [
        config(),
        DebertaConfig {
            absolute_positions: AbsolutePositions::Input,
            type_vocab_size: 2,
            embedding_size: 16,
            ..config()
        },
        DebertaConfig {
            conv: Some(ConvConfig {
                kernel_size: 3,
                groups: 1,
                activation: Activation::Tanh,
            }),
            ..config()
        },
        DebertaConfig {
            initializer_range: 0.1,
            max_position_embeddings: 256,
            ..DebertaConfig::v1(50, 24, 3, 3).without_dropout()
        },
        DebertaConfig {
            position_terms: PositionTerms::NONE,
            relative_positions: None,
            norm_rel_embeddings: false,
            ..config()
        },
    ]
}

fn ints<B: Backend>(
    values: impl Iterator<Item = usize>,
    [rows, columns]: [usize; 2],
) -> Tensor<B, 2, Int> {
    let values: Vec<i32> = values.map(|it| it as i32).collect();
    Tensor::from_data(
        TensorData::new(values, [rows, columns]),
        &B::Device::default(),
    )
}

fn input<B: Backend>(config: &DebertaConfig, mask: AttentionMask<B>) -> DebertaInput<B> {
    let shape = [LENGTHS.len(), SEQ_LEN];
    let tokens = 0..LENGTHS.len() * SEQ_LEN;
    DebertaInput {
        token_type_ids: (config.type_vocab_size > 0)
            .then(|| ints(tokens.clone().map(|it| it / 7 % 2), shape)),
        mask,
        ..DebertaInput::new(ints(tokens.map(|it| 1 + it * 7 % 49), shape))
    }
}

fn skipped<B: Backend>() -> AttentionMask<B> {
    AttentionMask::from_lengths(&LENGTHS, SEQ_LEN, &B::Device::default())
}

fn computed<B: Backend>() -> AttentionMask<B> {
    let device = B::Device::default();
    AttentionMask::Padding(mask_pad_from_lengths(&LENGTHS, SEQ_LEN, &device))
}

/// Positions in no order; of a sequence without tokens, none.
fn masked<B: Backend>() -> MaskedTokens<B> {
    let positions = LENGTHS.map(|length| {
        let positions = (0..length.div_ceil(5)).map(|it| ((it * 37 + 11) % length) as u32);
        positions.collect::<Vec<_>>()
    });
    MaskedTokens::new(&positions, SEQ_LEN, &B::Device::default())
}

fn norm(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.map(|it| it * it).sum::<f64>().sqrt()
}

#[track_caller]
fn assert_equal(what: &str, a: &[f64], b: &[f64]) {
    assert_close(what, a, b, norm(b.iter().copied()));
}

#[track_caller]
fn assert_close(what: &str, a: &[f64], b: &[f64], size: f64) {
    assert_eq!(a.len(), b.len(), "{what}");
    let difference = norm(a.iter().zip(b).map(|(a, b)| a - b));
    assert!(
        difference <= TOLERANCE * size,
        "{what}: differs by {difference:e} of {size:e}"
    );
}

/// Rows of real tokens; those of padding must be zero where padding is skipped.
fn real_rows<B: Backend>(states: &Tensor<B, 3>, zero_padding: bool) -> Vec<f64> {
    let [_, _, width] = states.dims();
    let values = to_f64(states.to_data());
    let mut real = Vec::new();
    for (row, values) in values.chunks_exact(width).enumerate() {
        if row % SEQ_LEN < LENGTHS[row / SEQ_LEN] {
            real.extend_from_slice(values);
        } else if zero_padding {
            assert!(values.iter().all(|it| *it == 0.0), "row {row}");
        }
    }
    real
}

fn check_values<B: DebertaBackend>() {
    for config in configs() {
        let model = config.init::<B>(7, &B::Device::default()).unwrap();
        let expected = real_rows(&model.forward(input(&config, computed())), false);
        let states = model.forward(input(&config, skipped()));
        assert_equal("forward", &real_rows(&states, true), &expected);

        let sum = model.embeddings.sum(&input(&config, skipped()));
        let states = model.forward_from_sum(sum, skipped(), None);
        assert_equal("from the sum", &real_rows(&states, true), &expected);

        let embeddings = model.embeddings.forward(&input(&config, skipped()));
        let states = model.encoder.forward(embeddings, skipped());
        assert_equal("encoder", &real_rows(&states, true), &expected);

        let vectors = model.embeddings.word_embeddings.weight.val();
        let [_, width] = vectors.dims();
        let plain = input::<B>(&config, skipped());
        let deberta_model::Tokens::Ids(ids) = plain.tokens else {
            panic!("no ids");
        };
        let vectors = vectors.select(0, ids.reshape([LENGTHS.len() * SEQ_LEN]));
        let vectors = vectors.reshape([LENGTHS.len(), SEQ_LEN, width]);
        let states = model.forward(DebertaInput {
            token_type_ids: plain.token_type_ids,
            mask: skipped(),
            ..DebertaInput::from_vectors(vectors)
        });
        assert_equal("vectors", &real_rows(&states, true), &expected);
    }
}

#[test]
fn real_tokens_do_not_notice_that_padding_is_skipped() {
    check_values::<Flex>();
    check_values::<NdArray<f32>>();
}

#[test]
fn hidden_states_come_in_the_shape_of_the_batch() {
    let model = config().init::<Flex>(7, &Default::default()).unwrap();
    let states = |mask: AttentionMask<Flex>, observe: Observe| {
        let (mut states, mut attentions) = (Vec::new(), Vec::new());
        let zero = observe.attentions;
        model.forward_observed(input(&config(), mask), observe, |it| match it {
            Observation::HiddenStates(it) => states.push(real_rows(it, !zero)),
            Observation::Attention(it) => attentions.push(to_f64(it.to_data())),
            Observation::ScoreTerms(_) => {}
        });
        (states, attentions)
    };
    let everything = Observe {
        hidden_states: true,
        attentions: true,
        score_terms: false,
    };
    let hidden_states = Observe {
        attentions: false,
        ..everything
    };
    let (expected, expected_attentions) = states(computed(), everything);
    let (with_attentions, attentions) = states(skipped(), everything);
    let (alone, _) = states(skipped(), hidden_states);
    assert_eq!([expected.len(), alone.len(), attentions.len()], [4, 4, 3]);
    for ((expected, a), b) in expected.iter().zip(&with_attentions).zip(&alone) {
        assert_equal("with attentions", a, expected);
        assert_equal("alone", b, expected);
    }
    assert_eq!(attentions, expected_attentions);
}

/// Gradients of all parameters that have one.
struct Collect<'a> {
    gradients: &'a GradientsParams,
    collected: Vec<Vec<f64>>,
}

impl<B: Backend> ModuleVisitor<B> for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let gradient = self.gradients.get::<B, D>(param.id);
        let gradient = gradient.map(|it| to_f64(it.to_data()));
        self.collected.push(gradient.unwrap_or_default());
    }
}

fn gradients<B: AutodiffBackend>(
    model: &DebertaForMaskedLm<B>,
    loss: &Tensor<B, 1>,
) -> Vec<Vec<f64>> {
    let gradients = GradientsParams::from_grads(loss.backward(), model);
    let mut collect = Collect {
        gradients: &gradients,
        collected: Vec::new(),
    };
    model.valid().visit(&mut collect);
    collect.collected
}

#[test]
fn gradients_of_masked_language_modelling_do_not_notice_it_either() {
    type B = Autodiff<Flex>;
    for config in configs() {
        let device = Default::default();
        let model = config.init_masked_lm::<B>(7, &device).unwrap();
        let run = |mask| {
            let logits = model.forward(MaskedLmInput {
                tokens: input(&config, mask),
                masked: masked(),
            });
            let [count, _] = logits.dims();
            let labels = ints::<B>((0..count).map(|it| it * 11 % 50), [1, count]);
            let values = to_f64(logits.to_data());
            (values, masked_lm_loss(logits, labels.reshape([count])))
        };
        let (expected, loss) = run(computed());
        let expected_gradients = gradients(&model, &loss);
        let (logits, loss) = run(skipped());
        assert_equal("logits", &logits, &expected);
        let gradients = gradients(&model, &loss);
        let all = norm(expected_gradients.iter().flatten().copied());
        for (index, (a, b)) in gradients.iter().zip(&expected_gradients).enumerate() {
            // The bias of keys moves all scores of a query alike, so its gradient is rounding.
            // Weights sum over tokens, in another order; that rounds to up to 1.1e-6.
            let size = norm(b.iter().copied()).max(1e-3 * all) * 2.0;
            assert_close(&format!("gradient {index}"), a, b, size);
        }
    }
}

#[test]
fn a_masked_token_at_padding_is_still_answered() {
    let device = Default::default();
    let model = config().init_masked_lm::<Flex>(7, &device).unwrap();
    let logits = |mask| {
        let positions: Vec<Vec<u32>> = vec![vec![69, 70], vec![], vec![3], vec![], vec![32]];
        to_f64(
            model
                .forward(MaskedLmInput {
                    tokens: input(&config(), mask),
                    masked: MaskedTokens::new(&positions, SEQ_LEN, &device),
                })
                .to_data(),
        )
    };
    assert_equal("logits", &logits(skipped()), &logits(computed()));
}

#[test]
fn packed_rows_are_decoded_by_their_place_in_the_row() {
    let config = config();
    let device = Default::default();
    let model = config.init_masked_lm::<Flex>(7, &device).unwrap();
    let packed = [vec![6, 70], vec![3], vec![], vec![100, 1, 49], vec![33]];
    let positions: Vec<Vec<u32>> = vec![vec![40, 2, 6], vec![2], vec![], vec![100, 3, 99], vec![0]];
    let run = |mask: AttentionMask<Flex>| {
        to_f64(
            model
                .forward(MaskedLmInput {
                    tokens: input(&config, mask),
                    masked: MaskedTokens::new(&positions, SEQ_LEN, &device),
                })
                .to_data(),
        )
    };
    let mask = AttentionMask::packed(&packed, SEQ_LEN, &device);
    let pairs = mask.as_tensors();
    assert!(matches!(pairs, AttentionMask::Pairwise(_)));
    assert_equal("logits", &run(mask), &run(pairs));
}

#[test]
fn a_batch_without_any_token_is_no_error() {
    let model = config().init::<Flex>(7, &Default::default()).unwrap();
    let none = [0; LENGTHS.len()];
    let states = model.forward(DebertaInput {
        mask: AttentionMask::from_lengths(&none, SEQ_LEN, &Default::default()),
        ..input(&config(), AttentionMask::Full)
    });
    assert_eq!(states.dims(), [LENGTHS.len(), SEQ_LEN, 24]);
}

/// Whether a mask of so many sequences and tokens is taken on a batch of two sequences of eight.
fn takes_mask_of(lengths: &[usize], seq_len: usize) -> bool {
    let device = Default::default();
    let model = config().init::<Flex>(0, &device).unwrap();
    let ids = Tensor::<Flex, 2, Int>::ones([2, 8], &device);
    let mask = AttentionMask::from_lengths(lengths, seq_len, &device);
    let input = DebertaInput {
        mask,
        ..DebertaInput::new(ids)
    };
    catch_unwind(AssertUnwindSafe(|| model.forward(input))).is_ok()
}

#[test]
fn a_mask_of_another_batch_is_refused() {
    assert!(takes_mask_of(&[5, 7], 8));
    assert!(!takes_mask_of(&[5], 8));
    assert!(!takes_mask_of(&[5, 7], 16));
}
