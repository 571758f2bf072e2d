//! Values and gradients of the kernel against the reference in f64.

use burn::backend::Autodiff;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{DType, Tensor, TensorData, TensorPrimitive};
use burn_fusion::{Fusion, FusionBackend};
use deberta_model::DebertaBackend;
use deberta_model::ops::FusedKind;

use super::case::{Case, Mask};
use crate::{Accelerator, to_f64};

/// In the stream of Burn's fusion.
type Fused = Autodiff<Accelerator>;

/// The same without gradients.
type Inner = Accelerator;

/// One operation at a time.
type Plain = Autodiff<<Accelerator as Unfused>::Backend>;

trait Unfused {
    type Backend;
}

impl<B: FusionBackend> Unfused for Fusion<B> {
    type Backend = B;
}

const NAMES: [&str; 4] = ["out", "query", "key", "value"];

/// Largest difference, measured by the largest number of each tensor.
const F32: f64 = 1e-5;
const F16: f64 = 4e-3;

#[track_caller]
fn check_on<B: AutodiffBackend + DebertaBackend>(case: &Case, dtype: DType, tolerance: f64) {
    let keep = case.dropout.map(|_| keep_factors::<B>(case));
    let expected = case.reference(keep.as_deref());
    let actual = case.run::<B>(dtype);
    assert_eq!(actual.len(), expected.len());
    for (index, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
        let name = NAMES.get(index).unwrap_or(&"position table");
        assert_eq!(actual.len(), expected.len(), "{name}");
        let largest = expected.iter().fold(1.0_f64, |max, it| max.max(it.abs()));
        for (at, (x, y)) in actual.iter().zip(expected).enumerate() {
            assert!(
                (x - y).abs() <= tolerance * largest,
                "{name}[{at}] is {x}, not {y} ({:?} rows, {} heads of {})",
                case.rows,
                case.heads,
                case.head_dim
            );
        }
    }
}

#[track_caller]
fn check(case: &Case) {
    check_on::<Fused>(case, DType::F32, F32);
}

/// What dropout multiplies each probability by, `[heads, q_rows, k_rows]`: values that are one for
/// one key and zero for all others bring its probabilities to light.
fn keep_factors<B: DebertaBackend>(case: &Case) -> Vec<f64> {
    let [q_rows, k_rows] = case.rows;
    let (heads, head_dim) = (case.heads, case.head_dim);
    let (prob, _) = case.dropout.unwrap();
    let mut keep = vec![0.0; heads * q_rows * k_rows];
    for first in (0..k_rows).step_by(head_dim) {
        let mut probe = case.clone();
        let mut value = vec![0.0; k_rows * case.width()];
        for key in first..k_rows.min(first + head_dim) {
            for head in 0..heads {
                value[key * case.width() + head * head_dim + key - first] = 1.0;
            }
        }
        probe.replaced = Some((2, value));
        let probs = probe.forward::<B>(DType::F32);
        for query in 0..q_rows {
            for head in 0..heads {
                for key in first..k_rows.min(first + head_dim) {
                    let prob_at = query * case.width() + head * head_dim + key - first;
                    if probs[prob_at] > 0.0 {
                        keep[(head * q_rows + query) * k_rows + key] = 1.0 / (1.0 - prob);
                    }
                }
            }
        }
    }
    keep
}

/// Queries and keys of sequences, for calls with one after the other.
///
/// Burn measures its products anew for each size of them, which takes longer than all else here. So most
/// tests have between 100 and 245 rows, which its tuner takes for one size. A kernel is compiled for each
/// kind of mask, with and without dropout, and so on; what one test has need not come again in another.
const LENGTHS: [[usize; 2]; 8] = [
    [1, 1],
    [1, 65],
    [65, 1],
    [0, 5],
    [16, 16],
    [64, 66],
    [3, 0],
    [71, 67],
];

/// Two sequences in tiles that are whole and tiles that are not.
fn two_sequences(head_dim: usize) -> Case {
    Case::new(2, 2, 70, 115, head_dim)
}

/// The same with queries at the positions of the keys.
fn two_sequences_of_themselves(head_dim: usize) -> Case {
    Case::new(2, 2, 115, 115, head_dim)
}

#[test]
fn values_and_gradients_equal_the_reference() {
    for [q_len, k_len] in [[1, 1], [65, 1]] {
        check(&Case::new(2, 2, q_len, k_len, 8));
    }
    check(&two_sequences(8));
}

#[test]
fn heads_of_every_size_equal_the_reference() {
    for head_dim in [32, 64, 128] {
        check(&two_sequences(head_dim));
    }
}

#[test]
fn sequences_beyond_512_tokens_equal_the_reference() {
    check(&Case::new(1, 2, 611, 611, 8));
}

#[test]
fn kernels_run_without_fusion_too() {
    let case = two_sequences_of_themselves(8);
    check_on::<Plain>(&case, DType::F32, F32);
    let padding = case.padding();
    let case = case.with_mask(Mask::Padding(padding)).with_dropout(0.2);
    check_on::<Plain>(&case, DType::F32, F32);
    check_on::<Plain>(&Case::ragged(&LENGTHS, 2, 2, 8), DType::F32, F32);
}

/// Checks in the types of half precision that the device has, on matrix units where it has those.
#[track_caller]
fn check_in_half(case: &Case, tolerance: f64) {
    let device = Default::default();
    let head_dim = case.head_dim;
    let kind = FusedKind::Attention { head_dim };
    for (dtype, factor) in [(DType::F16, 1.0), (DType::BF16, 8.0)] {
        if <Accelerator as DebertaBackend>::fuses(kind, dtype, &device) {
            check_on::<Fused>(case, dtype, factor * tolerance);
        } else {
            println!("{dtype:?} is skipped: the device has no such type");
        }
    }
}

#[test]
fn half_precision_adds_up_in_f32() {
    for head_dim in [32, 64, 128] {
        check_in_half(&two_sequences(head_dim), F16);
    }
}

#[test]
fn half_precision_takes_any_lengths_masks_and_dropout() {
    let case = two_sequences(32);
    let mask = Mask::Pairwise(case.pairs());
    check_in_half(&case.with_mask(mask).with_terms([false, false]), F16);
    let case = two_sequences_of_themselves(32);
    let padding = case.padding();
    check_in_half(
        &case.with_mask(Mask::Padding(padding)).with_dropout(0.2),
        F16,
    );
    let case = Case::ragged(&LENGTHS, 2, 2, 32);
    check_in_half(&case.clone().with_dropout(0.2), F16);
    check_in_half(&case.at(|query| query * 37), F16);
}

/// Sums so far are scaled whenever a later key has a much higher score.
#[test]
fn scores_may_rise_from_key_to_key() {
    let mut case = two_sequences(64);
    let width = case.width();
    let keys = case.inputs().swap_remove(1).1.into_iter().enumerate();
    let keys = keys.map(|(at, number)| number * (at / width % 115) as f64 / 2.0);
    case.replaced = Some((1, keys.collect()));
    check_on::<Fused>(&case, DType::F32, 10.0 * F32);
    // Scores of ten and more are a hundredth off where their factors are rounded.
    check_in_half(&case, 8.0 * F16);
}

#[test]
fn padded_keys_and_their_queries_see_nothing() {
    for case in [Case::new(2, 2, 1, 1, 8), two_sequences_of_themselves(8)] {
        let padding = case.padding();
        check(&case.with_mask(Mask::Padding(padding)).with_dropout(0.2));
    }
}

#[test]
fn blocked_pairs_are_not_seen() {
    for case in [Case::new(2, 2, 65, 1, 8), two_sequences(8)] {
        let pairs = case.pairs();
        check(&case.with_mask(Mask::Pairwise(pairs)));
    }
}

#[test]
fn a_sequence_of_padding_gives_zero() {
    let case = two_sequences_of_themselves(8);
    let padding = (0..230).map(|row| row >= 115).collect();
    let case = case.with_mask(Mask::Padding(padding)).with_dropout(0.2);
    check(&case);
    let results = case.run::<Fused>(DType::F32);
    // All but the tables, which the other sequence reads.
    for result in &results[..4] {
        assert!(result[115 * 16..].iter().all(|&x| x == 0.0));
    }
}

#[test]
fn either_position_term_may_be_missing() {
    for terms in [[false, true], [true, false]] {
        check(&two_sequences(8).with_terms(terms));
    }
}

#[test]
fn queries_may_stand_anywhere() {
    let case = two_sequences(8).at(|query| query * 37);
    let padding = case.padding();
    check(&case.with_mask(Mask::Padding(padding)).with_dropout(0.2));
}

#[test]
fn sequences_of_different_lengths_see_themselves_only() {
    check(&Case::ragged(&LENGTHS, 0, 2, 8));
    check(&Case::ragged(&LENGTHS, 2, 2, 8).with_dropout(0.2));
    let alike = [1, 40, 0, 70, 3, 1, 115].map(|len| [len, len]);
    check(&Case::ragged(&alike, 1, 2, 8));
}

#[test]
fn chosen_queries_of_sequences_of_different_lengths() {
    let case = Case::ragged(&LENGTHS, 0, 2, 8).at(|query| query * 37);
    check(&case.with_dropout(0.2));
}

#[test]
fn chosen_queries_may_be_packed_where_keys_are_not() {
    let case = Case::new(2, 2, 60, 115, 8).at(|query| query * 37);
    check(&case.with_packed_queries().with_dropout(0.2));
}

/// WebGPU and CUDA allow 65,535 cubes along most axes of a launch.
#[test]
fn more_sequences_than_an_axis_of_a_launch_has_room_for() {
    const TIMES: usize = 65_536 + 3;
    // Without products of Burn's, which it would measure.
    let once = Case::ragged(&[[2, 3]], 0, 1, 4).with_terms([false, false]);
    let expected = once.reference(None);
    let actual = once.repeated(TIMES).run::<Fused>(DType::F32);
    for (index, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
        assert_eq!(actual.len(), TIMES * expected.len());
        for (at, x) in actual.iter().enumerate() {
            let y = expected[at % expected.len()];
            assert!(
                (x - y).abs() <= F32 * y.abs().max(1.0),
                "tensor {index}: [{at}] is {x}, not {y}"
            );
        }
    }
}

#[test]
fn both_passes_drop_the_same_probabilities() {
    for prob in [0.1, 0.5] {
        check(&two_sequences(8).with_dropout(prob));
    }
    let dropped = two_sequences(8).with_dropout(1.0);
    assert!(
        dropped
            .run::<Fused>(DType::F32)
            .iter()
            .flatten()
            .all(|&it| it == 0.0)
    );
}

#[test]
fn dropout_drops_as_many_as_it_says_and_others_with_another_seed() {
    let case = Case::new(1, 4, 130, 130, 64)
        .with_terms([false, false])
        .with_dropout(0.3);
    let dropped = |case: &Case| -> Vec<bool> {
        keep_factors::<Inner>(case)
            .iter()
            .map(|&it| it == 0.0)
            .collect()
    };
    let here = dropped(&case);
    let mut other = case.clone();
    other.dropout = Some((0.3, [12_345.0, 16_000_000.0]));
    let there = dropped(&other);
    let count = |places: &mut dyn Iterator<Item = bool>| places.filter(|&it| it).count() as f64;
    // Standard deviations from what independent draws give.
    let off = |found: f64, draws: f64, prob: f64| {
        (found / draws - prob) / (prob * (1.0 - prob) / draws).sqrt()
    };
    let draws = here.len() as f64;
    let share = off(count(&mut here.iter().copied()), draws, 0.3);
    let both = off(
        count(&mut here.iter().zip(&there).map(|(a, b)| *a && *b)),
        draws,
        0.09,
    );
    assert!(share.abs() < 4.5, "{share} deviations");
    assert!(both.abs() < 4.5, "{both} deviations");
    for (rows, keys) in [(0, 1), (0, 64), (1, 0), (1, 1), (130, 0), (7, 3)] {
        let at = |row: usize, key: usize| here[row * 130 + key];
        let mut pairs = (0..4 * 130 - rows).flat_map(|row| {
            (0..130 - keys).map(move |key| at(row, key) && at(row + rows, key + keys))
        });
        let draws = ((4 * 130 - rows) * (130 - keys)) as f64;
        let neighbours = off(count(&mut pairs), draws, 0.09);
        assert!(
            neighbours.abs() < 4.5,
            "{neighbours} deviations at {rows}, {keys}"
        );
    }
}

#[test]
fn large_scores_neither_overflow_nor_vanish() {
    let mut case = two_sequences(8);
    let queries = case.inputs()[0].1.iter().map(|it| it * 300.0).collect();
    case.replaced = Some((0, queries));
    let expected = &case.reference(None)[0];
    let actual = case.forward::<Inner>(DType::F32);
    for (x, y) in actual.iter().zip(expected) {
        assert!((x - y).abs() < 1e-3, "{x} is not {y}");
    }
}

#[test]
fn nan_is_not_swallowed() {
    let mut case = Case::new(1, 1, 3, 3, 8).with_terms([false, false]);
    let mut queries = case.inputs()[0].1.clone();
    queries[8] = f64::NAN;
    case.replaced = Some((0, queries));
    let out = case.forward::<Inner>(DType::F32);
    assert!(out[8..16].iter().all(|x| x.is_nan()));
    assert!(out[..8].iter().chain(&out[16..]).all(|x| x.is_finite()));
}

#[test]
fn a_head_that_no_vector_divides_has_no_kernel() {
    let device = <Accelerator as burn::tensor::backend::BackendTypes>::Device::default();
    for (head_dim, dtype) in [(6, DType::F32), (64, DType::F64)] {
        let kind = FusedKind::Attention { head_dim };
        assert!(!<Accelerator as DebertaBackend>::fuses(
            kind, dtype, &device
        ));
    }
    assert!(!<Accelerator as DebertaBackend>::fuses(
        FusedKind::LayerNorm,
        DType::F32,
        &device
    ));
}

/// Of the inner sizes some are an odd number of steps of Burn's kernels, of the 2, 8 and 32 that they take.
#[test]
fn products_of_any_inner_size_and_their_gradients_are_right() {
    products::<Fused>();
    products::<Plain>();
}

fn products<B: AutodiffBackend + DebertaBackend>() {
    const ROWS: usize = 40;
    let device = Default::default();
    for inner in [6, 8, 24, 96, 128] {
        // The number of rows is the inner size of the second factor's gradient.
        for [batch, rows, columns] in [[1, inner, 33], [2, ROWS, 16]] {
            let number = |at: usize| ((at * 37 % 101) as f64 - 50.0) / 50.0;
            let left: Vec<f64> = (0..batch * rows * inner).map(number).collect();
            let right: Vec<f64> = (0..inner * columns).map(number).collect();
            let tensor = |values: &[f64], shape: [usize; 3]| {
                let data = TensorData::new(values.to_vec(), shape).convert::<f32>();
                Tensor::<B, 3>::from_data(data, &device).require_grad()
            };
            let factors = [
                tensor(&left, [batch, rows, inner]),
                // All sequences share it.
                tensor(&right, [1, inner, columns]),
            ];
            let [a, b] = factors.clone().map(|it| it.into_primitive().tensor());
            let product = Tensor::<B, 3>::from_primitive(TensorPrimitive::Float(B::product(a, b)));
            let mut gradients = product.clone().powi_scalar(2).sum().backward();

            let mut expected = vec![vec![0.0; batch * rows * columns]];
            expected.extend([vec![0.0; left.len()], vec![0.0; right.len()]]);
            for row in 0..batch * rows {
                for column in 0..columns {
                    let pairs = (0..inner).map(|at| (row * inner + at, at * columns + column));
                    let sum: f64 = pairs.clone().map(|(a, b)| left[a] * right[b]).sum();
                    expected[0][row * columns + column] = sum;
                    for (a, b) in pairs {
                        expected[1][a] += 2.0 * sum * right[b];
                        expected[2][b] += 2.0 * sum * left[a];
                    }
                }
            }
            let actual = [
                to_f64(product.into_data()),
                to_f64(factors[0].grad_remove(&mut gradients).unwrap().into_data()),
                to_f64(factors[1].grad_remove(&mut gradients).unwrap().into_data()),
            ];
            for (name, (actual, expected)) in ["product", "left", "right"]
                .iter()
                .zip(actual.iter().zip(&expected))
            {
                let largest = expected.iter().fold(1.0_f64, |max, it| max.max(it.abs()));
                assert_eq!(actual.len(), expected.len(), "{name}");
                for (x, y) in actual.iter().zip(expected) {
                    let case = [batch, rows, inner, columns];
                    assert!(
                        (x - y).abs() <= F32 * largest,
                        "{name}: {x}, not {y} ({case:?})"
                    );
                }
            }
        }
    }
}
