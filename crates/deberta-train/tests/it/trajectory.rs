//! Ten steps of masked language modelling beside transformers and torch's AdamW.

use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::Tensor;
use deberta_model::checkpoint::{Compatibility, load_masked_lm};
use deberta_model::heads::masked_lm::{MaskedTokens, masked_lm_loss};
use deberta_model::{DebertaAutodiffBackend, MaskedLmInput};
use deberta_train::optim::AdamWConfig;
use serde::Deserialize;

use crate::support::{Fixture, FlexF32, NdArrayF32, NdArrayF64, fixture_dir, to_f64};

const FIXTURES: [&str; 4] = [
    "hf/v1_mlm_new",
    "hf/v1_mlm_legacy",
    "hf/v3_mlm_new",
    "hf/v3_mlm_legacy",
];

/// The label of tokens that are not predicted.
const UNLABELLED: i64 = -100;

#[derive(Deserialize)]
struct Meta {
    adamw_trajectory: Trajectory,
}

#[derive(Deserialize)]
struct Trajectory {
    lr: f64,
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
    losses_f32: Vec<f64>,
    losses_f64: Vec<f64>,
}

impl Trajectory {
    fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(fixture_dir(name).join("meta.json")).unwrap();
        serde_json::from_str::<Meta>(&text)
            .unwrap()
            .adamw_trajectory
    }

    /// torch's AdamW with one group of parameters.
    fn optimizer(&self) -> AdamWConfig {
        AdamWConfig {
            beta_1: self.betas[0],
            beta_2: self.betas[1],
            epsilon: self.eps,
            weight_decay: self.weight_decay,
            decay_everything: true,
            ..AdamWConfig::default()
        }
    }
}

/// The positions of labelled tokens in each row, and all labels.
fn labels(fixture: &Fixture) -> (Vec<Vec<u32>>, Vec<i64>) {
    let (values, shape) = fixture.ints("inputs.labels");
    let positions = values.chunks(shape[1]).map(|row| {
        let positions = (0..).zip(row).filter(|(_, label)| **label != UNLABELLED);
        positions.map(|(position, _)| position).collect()
    });
    let labels = values.iter().copied().filter(|label| *label != UNLABELLED);
    (positions.collect(), labels.collect())
}

/// Losses before each of as many steps as were recorded.
fn losses<B: DebertaAutodiffBackend>(name: &str, trajectory: &Trajectory) -> Vec<f64> {
    let device = B::Device::default();
    let fixture = Fixture::open(name);
    let (mut model, _) =
        load_masked_lm::<B>(&fixture_dir(name), Compatibility::HuggingFace, &device).unwrap();
    let (positions, labels) = labels(&fixture);
    let mut optimizer = trajectory.optimizer().init();
    let mut losses = Vec::new();
    for _ in &trajectory.losses_f64 {
        let tokens = fixture.model_input::<B>(&device);
        let masked = MaskedTokens::new(&positions, tokens.dims()[1], &device);
        let logits = model.forward(MaskedLmInput { tokens, masked });
        let loss = masked_lm_loss(logits, Tensor::from_data(labels.as_slice(), &device));
        losses.extend(to_f64(loss.to_data()));
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(trajectory.lr, model, grads);
    }
    losses
}

#[track_caller]
fn check<B: DebertaAutodiffBackend>(expected: impl Fn(&Trajectory) -> &Vec<f64>, tolerance: f64) {
    for name in FIXTURES {
        let trajectory = Trajectory::read(name);
        let expected = expected(&trajectory);
        assert_eq!(expected.len(), 10);
        assert!(expected[9] < 0.9 * expected[0], "{name} learns");
        for (step, (actual, expected)) in losses::<B>(name, &trajectory)
            .iter()
            .zip(expected)
            .enumerate()
        {
            let error = (actual - expected).abs() / expected;
            assert!(error < tolerance, "{name}, step {step}: off by {error:e}");
        }
    }
}

#[test]
fn adamw_follows_torch_on_flex() {
    check::<FlexF32>(|it| &it.losses_f32, 2e-5);
}

#[test]
fn adamw_follows_torch_on_ndarray() {
    check::<NdArrayF32>(|it| &it.losses_f32, 2e-5);
}

#[test]
fn adamw_follows_torch_in_double_precision() {
    check::<NdArrayF64>(|it| &it.losses_f64, 1e-9);
}
