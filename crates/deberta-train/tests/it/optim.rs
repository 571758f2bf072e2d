//! Schedules and XAdam beside Microsoft's code.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use deberta_train::optim::AdamWConfig;
use deberta_train::schedule::{Decay, ScheduleConfig};
use serde::Deserialize;

use crate::support::{NdArrayF64, to_f64};

/// What `scripts/golden/make_golden_optim.py` writes.
#[derive(Deserialize)]
struct Golden {
    total: usize,
    warmup: usize,
    /// By name, then by what is left at the end.
    schedules: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
    xadam: XAdam,
}

#[derive(Deserialize)]
struct XAdam {
    start: Vec<f64>,
    weight: Vec<f64>,
    settings: Settings,
    values: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Settings {
    lr: f64,
    weight_decay_rate: f64,
    e: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../fixtures/optim.json")).unwrap()
}

#[test]
fn every_schedule_of_microsoft_is_reproduced() {
    let golden = golden();
    let decays = [
        ("warmup_linear", Decay::LinearFromStart),
        ("warmup_linear_shift", Decay::Linear),
        ("warmup_cosine", Decay::CosineFromStart),
        ("warmup_linear_cosine", Decay::Cosine),
        ("warmup_cyclic_linear_cosine", Decay::CosineSteps),
        ("warmup_constant", Decay::Constant),
    ];
    assert_eq!(decays.len(), golden.schedules.len());
    for (name, decay) in decays {
        for (end, expected) in &golden.schedules[name] {
            // Microsoft's cosine from the start ignores the end.
            let end_factor = match decay {
                Decay::CosineFromStart => 0.0,
                _ => end.parse().unwrap(),
            };
            let schedule = ScheduleConfig {
                peak_lr: 1.0,
                warmup_steps: golden.warmup,
                warmup_from_zero: true,
                decay,
                end_factor,
                ..ScheduleConfig::default()
            };
            let schedule = schedule.init(golden.total);
            assert_eq!(expected.len(), golden.total);
            for (step, expected) in expected.iter().enumerate() {
                let actual = schedule.lr_at(step);
                assert!(
                    (actual - expected).abs() < 1e-12,
                    "{name}, step {step}: {actual}"
                );
            }
        }
    }
}

#[derive(Module, Debug)]
struct Point<B: Backend> {
    x: Param<Tensor<B, 1>>,
}

#[test]
fn xadam_follows_microsoft() {
    let Golden {
        total,
        warmup,
        xadam,
        ..
    } = golden();
    let device = Default::default();
    let tensor = |values: &[f64]| Tensor::<NdArrayF64, 1>::from_data(values, &device);
    let mut point = Point {
        x: Param::from_tensor(tensor(&xadam.start)),
    };
    let config = AdamWConfig {
        weight_decay: xadam.settings.weight_decay_rate,
        epsilon: xadam.settings.e,
        ..AdamWConfig::xadam()
    };
    let mut optimizer = config.init();
    let schedule = ScheduleConfig {
        peak_lr: xadam.settings.lr,
        warmup_steps: warmup,
        decay: Decay::LinearFromStart,
        ..ScheduleConfig::default()
    };
    for (step, expected) in xadam.values.iter().enumerate() {
        let x = point.x.val();
        let loss = (tensor(&xadam.weight) * x.clone() * x.clone()).sum() + x.sum();
        let grads = GradientsParams::from_grads(loss.backward(), &point);
        point = optimizer.step(schedule.init(total).lr_at(step), point, grads);
        let actual = to_f64(point.x.val().to_data());
        for (actual, expected) in actual.iter().zip(expected) {
            assert!(
                (actual - expected).abs() < 1e-12,
                "step {step}: {actual} is not {expected}"
            );
        }
    }
}
