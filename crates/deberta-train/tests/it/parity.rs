//! Twenty steps of fine-tuning beside transformers and torch's AdamW.

use std::collections::BTreeMap;

use burn::optim::Optimizer;
use burn::tensor::ElementConversion;
use burn::train::TrainStep;
use burn::train::metric::ItemLazy;
use deberta_model::DebertaAutodiffBackend;
use deberta_model::checkpoint::{Compatibility, load_task_model};
use deberta_model::heads::classification::DebertaForSequenceClassification;
use deberta_train::objective::{Rows, Step, Targets, TaskBatch, TaskObjective, TaskSettings};
use deberta_train::optim::{AdamWConfig, clip_global_norm};
use deberta_train::schedule::ScheduleConfig;
use serde::Deserialize;

use crate::support::{FlexF32, NdArrayF32, fixture_dir};

/// What `scripts/golden/make_golden_finetune.py` writes.
#[derive(Deserialize)]
struct Golden {
    settings: Settings,
    runs: BTreeMap<String, Vec<Recorded>>,
}

#[derive(Deserialize)]
struct Settings {
    lr: f64,
    warmup: usize,
    weight_decay: f64,
    max_grad_norm: f64,
    epsilon: f64,
}

#[derive(Deserialize)]
struct Recorded {
    input_ids: Vec<i32>,
    lengths: Vec<usize>,
    labels: Vec<i32>,
    loss: f64,
    grad_norm: f64,
}

impl Recorded {
    fn batch(&self) -> TaskBatch {
        TaskBatch {
            examples: (0..self.lengths.len()).collect(),
            choices: 1,
            seq_len: self.input_ids.len() / self.lengths.len(),
            input_ids: self.input_ids.clone(),
            type_ids: None,
            lengths: self.lengths.clone(),
            targets: Targets::Classes(self.labels.clone()),
        }
    }
}

#[track_caller]
fn close(what: &str, actual: f64, expected: f64) {
    let error = (actual - expected).abs() / expected;
    assert!(error < 1e-4, "{what}: {actual} is not {expected}");
}

fn check<B: DebertaAutodiffBackend>(name: &str, settings: &Settings, steps: &[Recorded]) {
    type Model<B> = DebertaForSequenceClassification<B>;
    let dir = fixture_dir(&format!("hf/{name}"));
    let (model, _, head) =
        load_task_model::<B, Model<B>>(&dir, Compatibility::HuggingFace, &Default::default())
            .unwrap();
    let mut objective = TaskObjective::new(model, TaskSettings::new(&head, Rows::Sequences));
    let optimizer = AdamWConfig {
        weight_decay: settings.weight_decay,
        epsilon: settings.epsilon,
        ..AdamWConfig::default()
    };
    let mut optimizer = optimizer.init::<B, TaskObjective<B, Model<B>>>();
    let schedule = ScheduleConfig {
        peak_lr: settings.lr,
        warmup_steps: settings.warmup,
        warmup_from_zero: true,
        ..ScheduleConfig::default()
    };
    let schedule = schedule.init(steps.len());
    for (index, recorded) in steps.iter().enumerate() {
        let output = TrainStep::step(&objective, Step::new(vec![recorded.batch()]));
        let tally = output.item.sync().tally;
        let (grads, norm) = clip_global_norm(&objective, output.grads, settings.max_grad_norm);
        close(
            &format!("{name}, loss of step {index}"),
            tally.loss_nats(),
            recorded.loss,
        );
        let norm: f64 = norm.into_scalar().elem();
        close(
            &format!("{name}, norm of step {index}"),
            norm,
            recorded.grad_norm,
        );
        objective = optimizer.step(schedule.lr_at(index), objective, grads);
    }
}

#[test]
fn fine_tuning_follows_transformers_for_twenty_steps() {
    let golden: Golden = serde_json::from_str(include_str!("../fixtures/finetune.json")).unwrap();
    assert_eq!(golden.runs.len(), 2);
    for (name, steps) in &golden.runs {
        assert_eq!(steps.len(), 20);
        check::<FlexF32>(name, &golden.settings, steps);
        check::<NdArrayF32>(name, &golden.settings, steps);
    }
}
