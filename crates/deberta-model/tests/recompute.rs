//! Gradients of layers that are computed again against those of layers that are kept.
//!
//! A program of its own, whose tests take turns: a backend has one random state for the whole process,
//! and dropout is drawn from it.
#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::backend::{Autodiff, Flex, NdArray};
use burn::module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, Int, Tensor, TensorData};
use deberta_model::attention::AttentionMask;
use deberta_model::config::{Activation, ConvConfig};
use deberta_model::heads::masked_lm::{MaskedTokens, masked_lm_loss};
use deberta_model::recompute::gradient;
use deberta_model::{
    DebertaAutodiffBackend, DebertaConfig, DebertaForMaskedLm, DebertaInput, MaskedLmInput, Tape,
};

type FlexF32 = Autodiff<Flex>;
type NdArrayF64 = Autodiff<NdArray<f64>>;

/// Waits until no other test draws.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn to_f64(data: TensorData) -> Vec<f64> {
    data.convert_dtype(DType::F64).to_vec().unwrap()
}

const SEQ_LEN: usize = 9;
const LENGTHS: [usize; 3] = [9, 4, 7];

fn config() -> DebertaConfig {
    DebertaConfig {
        initializer_range: 0.2,
        max_position_embeddings: 16,
        ..DebertaConfig::v3(40, 24, 3, 3).without_dropout()
    }
}

/// The mask decoder, a convolution, and projections and distances of the first version.
fn configs() -> [DebertaConfig; 3] {
    [
        config(),
        DebertaConfig {
            conv: Some(ConvConfig {
                kernel_size: 3,
                groups: 1,
                activation: Activation::Tanh,
            }),
            ..config()
        },
        DebertaConfig {
            initializer_range: 0.2,
            max_position_embeddings: 16,
            ..DebertaConfig::v1(40, 24, 3, 3).without_dropout()
        },
    ]
}

fn ints<B: Backend>(values: impl Iterator<Item = usize>) -> Tensor<B, 1, Int> {
    let values: Vec<i32> = values.map(|it| it as i32).collect();
    Tensor::from_data(TensorData::from(values.as_slice()), &B::Device::default())
}

fn loss<B: DebertaAutodiffBackend>(
    model: &DebertaForMaskedLm<B>,
    tape: Option<Tape<B>>,
) -> Tensor<B, 1> {
    let device = B::Device::default();
    let ids = ints::<B>((0..LENGTHS.len() * SEQ_LEN).map(|it| 1 + it * 7 % 39));
    let masked: Vec<Vec<u32>> = LENGTHS.iter().map(|it| vec![1, *it as u32 - 1]).collect();
    let logits = model.forward(MaskedLmInput {
        tokens: DebertaInput {
            mask: AttentionMask::from_lengths(&LENGTHS, SEQ_LEN, &device),
            tape,
            ..DebertaInput::new(ids.reshape([LENGTHS.len(), SEQ_LEN]))
        },
        masked: MaskedTokens::new(&masked, SEQ_LEN, &device),
    });
    masked_lm_loss(logits, ints((0..6).map(|it| it * 11 % 40)))
}

/// Gradients of all parameters, in the order of the module tree.
struct Collect<'a, B: AutodiffBackend> {
    parts: &'a mut [B::Gradients],
    gradients: Vec<Vec<f64>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Collect<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let gradient = gradient(&param.val(), self.parts);
        self.gradients
            .push(gradient.map_or_else(Vec::new, |it| to_f64(it.into_data())));
    }
}

fn gradients<B: AutodiffBackend>(
    model: &impl AutodiffModule<B>,
    mut parts: Vec<B::Gradients>,
) -> Vec<Vec<f64>> {
    let mut collect = Collect::<B> {
        parts: &mut parts,
        gradients: Vec::new(),
    };
    model.visit(&mut collect);
    collect.gradients
}

/// Which of two passes comes first.
#[derive(Clone, Copy)]
enum First {
    Plain,
    Taped,
}

/// One after the other, as the documentation of a tape asks for.
fn check_gradients(config: &DebertaConfig, first: First) {
    type B = FlexF32;
    // Nobody has asked for its parameters yet: they have no values.
    let model = config.init_masked_lm::<B>(3, &Default::default()).unwrap();
    let plain = || {
        let loss = loss(&model, None);
        let value = to_f64(loss.to_data());
        (value, gradients(&model, vec![loss.backward()]))
    };
    let taped = || {
        let tape = Tape::default();
        let loss = loss(&model, Some(tape.clone()));
        let value = to_f64(loss.to_data());
        let parts = tape.backward(loss);
        assert!(parts.len() > 2, "the layers have no part of their own");
        (value, gradients(&model, parts))
    };
    let ((expected_loss, expected), (loss, actual)) = match first {
        First::Plain => {
            let plain = plain();
            (plain, taped())
        }
        First::Taped => {
            let taped = taped();
            (plain(), taped)
        }
    };
    assert_eq!(loss, expected_loss);
    let learning = expected.iter().filter(|it| it.iter().any(|it| *it != 0.0));
    assert!(learning.count() > 50);
    for (index, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
        assert!(actual == expected, "parameter {index}");
    }
}

#[test]
fn gradients_are_the_same_to_the_bit() {
    let _turn = turn();
    for config in configs() {
        check_gradients(&config, First::Plain);
        check_gradients(&config, First::Taped);
    }
}

/// It is as large as the table: with a vocabulary of 128,000 pieces, two would take more memory than
/// the layers' states do that a tape saves.
#[test]
fn the_word_table_has_one_gradient() {
    let _turn = turn();
    let model = config()
        .init_masked_lm::<FlexF32>(3, &Default::default())
        .unwrap();
    let tape = Tape::default();
    let parts = tape.backward(loss(&model, Some(tape.clone())));
    let table = model.deberta.embeddings.word_embeddings.weight.val();
    let gradients = parts.iter().filter_map(|part| table.grad(part));
    assert_eq!(gradients.count(), 1);
}

/// The network moved along its gradients by `step` of their length.
struct Move<'a> {
    gradients: std::slice::Iter<'a, Vec<f64>>,
    step: f64,
}

impl<B: Backend> ModuleMapper<B> for Move<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let gradient = self.gradients.next().unwrap();
        param.map(|value| {
            let data = TensorData::new(gradient.clone(), value.shape());
            let gradient = Tensor::from_data(data, (&value.device(), value.dtype()));
            let moved = value.set_require_grad(false) + gradient * self.step;
            moved.require_grad()
        })
    }
}

/// With another mask in the second run the gradient would not be that of the loss.
#[test]
fn dropout_is_the_same_both_times() {
    check_dropout(Tape::default);
    check_dropout(|| Tape::seeded(4));
}

fn check_dropout(tape: impl Fn() -> Tape<NdArrayF64>) {
    let _turn = turn();
    type B = NdArrayF64;
    let device = Default::default();
    let config = DebertaConfig {
        hidden_dropout_prob: 0.2,
        attention_probs_dropout_prob: 0.2,
        ..configs()[1].clone()
    };
    let model = config.init_masked_lm::<B>(3, &device).unwrap();
    let run = |model: &DebertaForMaskedLm<B>| {
        <B as Backend>::seed(&device, 11);
        let tape = tape();
        (loss(model, Some(tape.clone())), tape)
    };
    let (value, tape) = run(&model);
    let gradients: Vec<Vec<f64>> = gradients(&model, tape.backward(value.clone()));
    // Parameters that nothing depends on have none.
    let sizes = model.valid();
    let gradients = fill(&sizes, gradients);
    let squares = gradients.iter().flatten().map(|it| it * it);
    let length = squares.sum::<f64>().sqrt();

    let moved = |step: f64| {
        let step = step / length;
        let gradients = gradients.iter();
        let moved = model.clone().map(&mut Move { gradients, step });
        to_f64(run(&moved).0.into_data())[0]
    };
    let step = 1e-5;
    let slope = (moved(step) - moved(-step)) / (2.0 * step);
    assert!(
        (slope / length - 1.0).abs() < 1e-6,
        "the slope is {slope}, the gradient {length}"
    );
    assert_ne!(moved(0.0), to_f64(loss(&model, None).into_data())[0]);
}

#[test]
fn a_seeded_tape_does_not_ask_for_the_random_state() {
    let _turn = turn();
    type B = NdArrayF64;
    let device = Default::default();
    let config = DebertaConfig {
        attention_probs_dropout_prob: 0.2,
        ..config()
    };
    let model = config.init_masked_lm::<B>(3, &device).unwrap();
    let run = |state: u64, tape: Tape<B>| {
        <B as Backend>::seed(&device, state);
        to_f64(loss(&model, Some(tape)).into_data())[0]
    };
    let first = run(1, Tape::seeded(4));
    assert_eq!(first, run(2, Tape::seeded(4)));
    assert_ne!(first, run(1, Tape::seeded(5)));
    // A second pass of one tape, and a tape that it gives, draw other numbers.
    let tape = Tape::seeded(4);
    let passes = [0, 1].map(|_| run(1, tape.clone()));
    assert_eq!(passes[0], first);
    let fresh = run(1, tape.fresh());
    assert!(passes[1] != first && fresh != first && fresh != passes[1]);
    assert_ne!(run(1, Tape::default()), run(2, Tape::default()));
}

fn fill<B: Backend, M: Module<B>>(model: &M, gradients: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    struct Sizes(Vec<usize>);
    impl<B: Backend> ModuleVisitor<B> for Sizes {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.0.push(param.shape().num_elements());
        }
    }
    let mut sizes = Sizes(Vec::new());
    model.visit(&mut sizes);
    let pairs = gradients.into_iter().zip(sizes.0);
    pairs
        .map(|(gradient, size)| match gradient.is_empty() {
            true => vec![0.0; size],
            false => gradient,
        })
        .collect()
}

#[test]
fn a_tape_changes_nothing_without_autodiff() {
    let _turn = turn();
    let model = config().init::<Flex>(3, &Default::default()).unwrap();
    let states = |tape| {
        let ids = ints::<Flex>(1..9).unsqueeze();
        let input = DebertaInput {
            tape,
            ..DebertaInput::new(ids)
        };
        to_f64(model.forward(input).into_data())
    };
    assert_eq!(states(Some(Tape::default())), states(None));
}
