//! What may go into the network besides token ids and padding.

use burn::backend::Flex;
use burn::tensor::{Int, Tensor, TensorData};
use deberta_model::attention::AttentionMask;
use deberta_model::config::AbsolutePositions;
use deberta_model::encoder::{Observation, Observe};
use deberta_model::heads::masked_lm::MaskedTokens;
use deberta_model::relative_position::RelativePositions;
use deberta_model::{DebertaConfig, DebertaInput, DebertaModel, MaskedLmInput};

use crate::support::to_f64;

type B = Flex;

fn config() -> DebertaConfig {
    DebertaConfig {
        initializer_range: 0.3,
        max_position_embeddings: 64,
        type_vocab_size: 2,
        embedding_size: 16,
        absolute_positions: AbsolutePositions::Input,
        ..DebertaConfig::v3(50, 24, 2, 3)
    }
}

fn model(config: &DebertaConfig) -> DebertaModel<B> {
    config.init::<B>(5, &Default::default()).unwrap()
}

fn row(values: &[i32]) -> Tensor<B, 2, Int> {
    let data = TensorData::new(values.to_vec(), [1, values.len()]);
    Tensor::from_data(data, &Default::default())
}

fn worst(a: Tensor<B, 3>, b: Tensor<B, 3>) -> f64 {
    assert_eq!(a.dims(), b.dims());
    to_f64((a - b).abs().max().to_data())[0]
}

const FIRST: [i32; 6] = [1, 17, 4, 30, 22, 2];
const SECOND: [i32; 5] = [1, 9, 41, 8, 2];

#[test]
fn vectors_of_the_word_table_equal_its_ids() {
    let model = model(&config());
    let words = model.embeddings.word_embeddings.forward(row(&FIRST));
    assert_eq!(words.dims(), [1, 6, 16]);
    let of_ids = model.forward(DebertaInput::new(row(&FIRST)));
    let of_vectors = model.forward(DebertaInput::from_vectors(words.clone()));
    assert!(worst(of_ids.clone(), of_vectors) < 1e-6);
    let moved = model.forward(DebertaInput::from_vectors(words + 0.1));
    assert!(worst(of_ids, moved) > 1e-2);
}

#[test]
fn absent_types_and_positions_are_zero_and_the_order_of_tokens() {
    let model = model(&config());
    let plain = model.forward(DebertaInput::new(row(&SECOND)));
    let explicit = |types: [i32; 5], positions: [i32; 5]| {
        model.forward(DebertaInput {
            token_type_ids: Some(row(&types)),
            position_ids: Some(row(&positions)),
            ..DebertaInput::new(row(&SECOND))
        })
    };
    assert!(worst(plain.clone(), explicit([0; 5], [0, 1, 2, 3, 4])) < 1e-6);
    assert!(worst(plain.clone(), explicit([0, 0, 1, 1, 1], [0, 1, 2, 3, 4])) > 1e-2);
    assert!(worst(plain, explicit([0; 5], [7, 8, 9, 10, 11])) > 1e-2);
}

#[test]
fn packed_rows_equal_separate_ones_even_with_absolute_positions() {
    let model = model(&config());
    let device = Default::default();
    let tokens = [&FIRST[..], &SECOND, &[0; 3]].concat();
    let positions: Vec<i32> = (0..6).chain(0..5).chain([0; 3]).collect();
    let together = model.forward(DebertaInput {
        position_ids: Some(row(&positions)),
        mask: AttentionMask::packed(&[vec![6, 5]], 14, &device),
        ..DebertaInput::new(row(&tokens))
    });
    let first = model.forward(DebertaInput::new(row(&FIRST)));
    let second = model.forward(DebertaInput::new(row(&SECOND)));
    assert!(worst(together.clone().slice([0..1, 0..6]), first) < 1e-5);
    assert!(worst(together.slice([0..1, 6..11]), second) < 1e-5);
}

#[test]
fn the_mask_decoder_reads_positions_of_packed_rows() {
    let device = Default::default();
    let config = DebertaConfig {
        embedding_size: 24,
        absolute_positions: AbsolutePositions::Decoder,
        ..config()
    };
    let model = config.init_masked_lm::<B>(5, &device).unwrap();
    let logits = |tokens, positions: Vec<u32>, seq_len| {
        let masked = MaskedTokens::new(&[positions], seq_len, &device);
        to_f64(model.forward(MaskedLmInput { tokens, masked }).to_data())
    };
    let alone = logits(DebertaInput::new(row(&SECOND)), vec![1, 3], 5);
    let tokens = [&FIRST[..], &SECOND].concat();
    let positions: Vec<i32> = (0..6).chain(0..5).collect();
    let packed = |position_ids| DebertaInput {
        position_ids,
        mask: AttentionMask::packed(&[vec![6, 5]], 11, &device),
        ..DebertaInput::new(row(&tokens))
    };
    let difference = |other: &[f64]| {
        let pairs = alone.iter().zip(other);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    let anew = logits(packed(Some(row(&positions))), vec![7, 9], 11);
    assert!(difference(&anew) < 1e-5);
    let running = logits(packed(None), vec![7, 9], 11);
    assert!(difference(&running) > 1e-2);
}

#[test]
fn a_causal_mask_hides_the_future() {
    let model = model(&config());
    let device = Default::default();
    let run = |tokens: &[i32]| {
        model.forward(DebertaInput {
            mask: AttentionMask::causal(1, tokens.len(), &device),
            ..DebertaInput::new(row(tokens))
        })
    };
    let whole = run(&FIRST);
    // With a longer past the table has more live rows, which must not matter.
    let prefix = run(&FIRST[..4]);
    assert!(worst(whole.clone().slice([0..1, 0..4]), prefix) < 1e-5);
    let mut other = FIRST;
    other[5] = 33;
    let changed = run(&other);
    assert!(
        worst(
            whole.clone().slice([0..1, 0..5]),
            changed.clone().slice([0..1, 0..5])
        ) == 0.0
    );
    assert!(worst(whole, changed) > 1e-2);
}

#[test]
fn lengths_are_a_mask_only_where_something_is_padded() {
    let device = Default::default();
    assert!(matches!(
        AttentionMask::<B>::from_lengths(&[4, 4], 4, &device),
        AttentionMask::Full
    ));
    let mask = AttentionMask::<B>::from_lengths(&[4, 1], 4, &device);
    let mask = mask.unseen_tokens().unwrap();
    let expected = [false, false, false, false, false, true, true, true];
    assert_eq!(mask.into_data().to_vec::<bool>().unwrap(), expected);
}

#[test]
fn fewer_queries_than_keys_give_the_first_rows() {
    let config = config();
    let model = model(&config);
    let device = Default::default();
    let states = model.embeddings.forward(&DebertaInput::new(row(&FIRST)));
    let table = config.relative_positions.unwrap();
    let layer = &model.encoder.layers[0];
    let attend = |queries: usize| {
        let relative = RelativePositions::consecutive(&table, queries, 6, &device);
        let rows = model.encoder.live_rows(&relative);
        let positions = rows.map(|it| layer.attention.self_attention.project_positions(it));
        let keys = layer.keys(states.clone(), positions);
        let query_states = states.clone().slice([0..1, 0..queries]);
        layer.forward(query_states, &keys, Some(&relative), &AttentionMask::Full)
    };
    let all = attend(6);
    for queries in [1, 3, 5] {
        let some = attend(queries);
        assert!(worst(some, all.clone().slice([0..1, 0..queries])) < 1e-6);
    }
}

#[test]
fn inner_states_and_attention_are_shown_on_request() {
    let model = model(&config());
    let (mut states, mut attentions, mut terms) = (Vec::new(), Vec::new(), Vec::new());
    let observe = Observe {
        hidden_states: true,
        attentions: true,
        score_terms: true,
    };
    let input = DebertaInput::new(row(&FIRST));
    let last = model.forward_observed(input, observe, |observation| match observation {
        Observation::HiddenStates(it) => states.push(it.clone()),
        Observation::Attention(it) => attentions.push(it),
        Observation::ScoreTerms(it) => terms.push(it),
    });
    assert_eq!((states.len(), attentions.len(), terms.len()), (3, 2, 2));
    for (terms, probs) in terms.into_iter().zip(&attentions) {
        let scores = terms.content + terms.c2p.unwrap() + terms.p2c.unwrap();
        let sum = burn::tensor::activation::softmax(scores, 3);
        let difference = to_f64((sum - probs.clone()).abs().max().to_data());
        assert!(difference[0] < 1e-6);
    }
    assert!(worst(states[2].clone(), last) == 0.0);
    for probs in attentions {
        assert_eq!(probs.dims(), [1, 3, 6, 6]);
        for sum in to_f64(probs.sum_dim(3).to_data()) {
            assert!((sum - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn of_equal_tokens_only_positions_tell_pairs_apart() {
    let model = model(&DebertaConfig {
        absolute_positions: AbsolutePositions::None,
        ..config()
    });
    let mut first = None;
    let observe = Observe {
        score_terms: true,
        ..Observe::default()
    };
    let input = DebertaInput::new(row(&[7; 6]));
    model.forward_observed(input, observe, |observation| {
        if let Observation::ScoreTerms(terms) = observation {
            first.get_or_insert(terms);
        }
    });
    let terms = first.unwrap();
    let spread = |values: &[f64]| {
        let max = values.iter().copied().fold(f64::MIN, f64::max);
        max - values.iter().copied().fold(f64::MAX, f64::min)
    };
    for head in to_f64(terms.content.to_data()).chunks(36) {
        assert!(spread(head) < 1e-6);
    }
    for term in [terms.c2p, terms.p2c] {
        for head in to_f64(term.unwrap().to_data()).chunks(36) {
            assert!(spread(head) > 1e-3);
            for pair in 0..25 {
                let (query, key) = (pair / 5, pair % 5);
                let next = head[(query + 1) * 6 + key + 1];
                assert!((head[query * 6 + key] - next).abs() < 1e-6);
            }
        }
    }
}
