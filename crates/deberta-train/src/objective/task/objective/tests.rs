//! Losses, gradients and penalties of task heads beside the references.

use super::*;
use crate::objective::{Ascent, Ball, BallNorm, Divergence, EvaluationOutput, Perturbed, Targets};
use crate::support::{
    Expected, F32, F64, Fixture, FlexF32, NdArrayF64, Tolerances, assert_close, assert_gradients,
    fixture_dir, to_f64,
};
use burn::backend::Flex;
use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::train::metric::ItemLazy;
use deberta_model::DebertaConfig;
use deberta_model::checkpoint::{Compatibility, load_task_model};
use deberta_model::heads::TaskModel;
use deberta_model::heads::classification::{
    DebertaForMultipleChoice, DebertaForSequenceClassification,
};
use deberta_model::heads::question_answering::DebertaForQuestionAnswering;
use deberta_model::heads::token_classification::DebertaForTokenClassification;

const CLASSIFIER: &str = "hf/v3_seqcls";

/// SiFT as the recorded run had it.
fn recorded_sift(ascent: Ascent) -> SiftConfig {
    SiftConfig {
        weight: 1.0,
        learning_rate: 0.05,
        initial_perturbation: 0.05,
        ascent,
        ..SiftConfig::default()
    }
}

fn load<B: DebertaBackend, M: TaskNetwork<B> + TaskModel<B>>(
    name: &str,
) -> (TaskObjective<B, M>, DebertaConfig) {
    let (model, config, head) = load_task_model::<B, M>(
        &fixture_dir(name),
        Compatibility::Microsoft,
        &Default::default(),
    )
    .unwrap();
    let settings = TaskSettings::new(&head, M::ROWS);
    (TaskObjective::new(model, settings), config)
}

fn ints(fixture: &Fixture, name: &str) -> Vec<i32> {
    let (values, _) = fixture.ints(name);
    values.into_iter().map(|it| it as i32).collect()
}

fn batch(fixture: &Fixture, choices: usize, targets: Targets) -> TaskBatch {
    let lengths = fixture.lengths();
    let input_ids = ints(fixture, "inputs.input_ids");
    let has_types = fixture
        .names()
        .iter()
        .any(|it| it == "inputs.token_type_ids");
    TaskBatch {
        examples: (0..lengths.len() / choices).collect(),
        choices,
        seq_len: input_ids.len() / lengths.len(),
        input_ids,
        type_ids: has_types.then(|| ints(fixture, "inputs.token_type_ids")),
        lengths,
        targets,
    }
}

fn classes(fixture: &Fixture) -> Targets {
    Targets::Classes(ints(fixture, "inputs.labels"))
}

/// Share of a batch that is a step of its own.
fn share<B: DebertaAutodiffBackend, M: TaskNetwork<B> + AutodiffModule<B>>(
    objective: &TaskObjective<B, M>,
    batch: &TaskBatch,
    start: Option<Tensor<B::InnerBackend, 3>>,
) -> (Tensor<B, 1>, StepSums<B>, Networks<M>) {
    let networks = objective.networks(&objective.device());
    let totals = objective.totals(&Step::new(vec![batch.clone()]));
    let (loss, sums) = objective
        .share(&networks, batch, totals, start, None)
        .unwrap();
    (loss, sums, networks)
}

/// Values of an adversarial step, and its gradients if they were recorded.
fn check_sift<B: DebertaAutodiffBackend>(ascent: Ascent, name: &str, tolerances: Tolerances) {
    let fixture = Fixture::open("ms/sift");
    let (mut objective, config) = load::<B, DebertaForSequenceClassification<B>>(CLASSIFIER);
    objective.settings.sift = Some(recorded_sift(ascent));
    let batch = batch(&fixture, 1, classes(&fixture));
    let delta = fixture.floats("inputs.delta0");
    let start = Tensor::from_data(
        TensorData::new(delta.values, delta.shape),
        &Default::default(),
    );

    let (loss, sums, networks) = share(&objective, &batch, Some(start));

    let expected = |what: &str| fixture.floats(&format!("{name}.f64.{what}"));
    let output = tolerances.output;
    assert_close("loss", loss.to_data(), &expected("loss"), output);
    let penalty = sums.penalty_sum.div_scalar(3.0);
    assert_close("penalty", penalty.to_data(), &expected("adv_loss"), output);
    let task = sums.loss_sum.div_scalar(3.0);
    assert_close(
        "task",
        task.to_data(),
        &fixture.floats("f64.task_loss"),
        output,
    );
    if name == "symmetric-kl" {
        let (model, tolerance) = (&networks.learning, tolerances.gradient);
        let checked = assert_gradients(&fixture, model, &config, loss, tolerance, str::to_owned);
        assert!(checked >= 12, "only {checked} gradients recorded");
    }
}

#[test]
fn sift_is_that_of_microsoft() {
    for (ascent, name) in [
        (Ascent::SymmetricKl, "symmetric-kl"),
        (Ascent::Kl, "kl"),
        (Ascent::Mse, "mse"),
    ] {
        check_sift::<FlexF32>(ascent, name, F32);
        check_sift::<NdArrayF64>(ascent, name, F64);
    }
}

/// Loss of a step without SiFT beside the recorded one.
#[track_caller]
fn check_loss<M: TaskNetwork<FlexF32> + TaskModel<FlexF32> + AutodiffModule<FlexF32>>(
    name: &str,
    choices: usize,
    targets: impl Fn(&Fixture) -> Targets,
    expected: &str,
) {
    let fixture = Fixture::open(name);
    let (objective, _) = load::<FlexF32, M>(name);
    let batch = batch(&fixture, choices, targets(&fixture));
    let (loss, ..) = share(&objective, &batch, None);
    assert_close(name, loss.to_data(), &fixture.floats(expected), F32.output);
}

#[test]
fn losses_are_those_of_transformers() {
    type Sequence = DebertaForSequenceClassification<FlexF32>;
    let values = |fixture: &Fixture| {
        let values = fixture.floats("inputs.labels").values;
        Targets::Values(values.into_iter().map(|it| it as f32).collect())
    };
    check_loss::<Sequence>("hf/v1_seqcls", 1, classes, "f64.loss");
    check_loss::<Sequence>("hf/v3_seqcls", 1, classes, "f64.loss");
    check_loss::<Sequence>("hf/v3_seqcls_reg", 1, values, "f64.loss");
    type Token = DebertaForTokenClassification<FlexF32>;
    check_loss::<Token>("hf/v3_tokcls", 1, classes, "f64.loss");
    let (_, shape) = Fixture::open("hf/v3_mc").ints("inputs.input_ids");
    type Choice = DebertaForMultipleChoice<FlexF32>;
    check_loss::<Choice>("hf/v3_mc", shape[1], classes, "f64.loss");
}

/// One of the ends is outside its sequence. The references take the means of starts and ends
/// apart; here every target counts the same.
#[test]
fn spans_outside_a_sequence_are_left_out() {
    type M = DebertaForQuestionAnswering<FlexF32>;
    let fixture = Fixture::open("hf/v3_qa");
    let (objective, _) = load::<FlexF32, M>("hf/v3_qa");
    let mut losses = Vec::new();
    for what in ["start", "end"] {
        let logits = fixture.floats(&format!("f64.ms_padding.{what}_logits"));
        let labels = ints(&fixture, &format!("inputs.{what}_positions"));
        let rows = logits.values.chunks(logits.shape[1]).zip(&labels);
        let inside = rows.filter_map(|(row, label)| Some((row, row.get(*label as usize)?)));
        let loss =
            |(row, logit): (&[f64], &f64)| row.iter().map(|it| it.exp()).sum::<f64>().ln() - logit;
        losses.push(inside.map(loss).collect::<Vec<f64>>());
    }
    let [starts, ends] = &losses[..] else {
        panic!()
    };
    assert_eq!((starts.len(), ends.len()), (3, 2));
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let recorded = fixture.floats("f64.ms_padding.loss").values[0];
    assert!(((mean(starts) + mean(ends)) / 2.0 - recorded).abs() < 1e-9);

    let positions = ["inputs.start_positions", "inputs.end_positions"].map(|it| ints(&fixture, it));
    let batch = batch(&fixture, 1, Targets::Classes(positions.concat()));
    let (loss, sums, _) = share(&objective, &batch, None);
    assert_eq!(sums.host.targets, 5);
    let loss = to_f64(loss.into_data())[0];
    assert!((loss - mean(&losses.concat())).abs() < F32.output);
}

/// All gradients, in the order of the module tree, in f64.
fn gradients<B: DebertaAutodiffBackend, M: AutodiffModule<B>>(
    model: &M,
    grads: GradientsParams,
) -> Vec<f64> {
    struct Collector(GradientsParams, Vec<f64>);
    impl<B: DebertaAutodiffBackend> ModuleVisitor<B> for Collector {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if let Some(grad) = self.0.remove::<B::InnerBackend, D>(param.id) {
                self.1.extend(to_f64(grad.into_data()));
            }
        }
    }
    let mut collector = Collector(grads, Vec::new());
    model.visit(&mut collector);
    collector.1
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert!(
        !a.is_empty() && a.len() == b.len(),
        "{} and {}",
        a.len(),
        b.len()
    );
    let largest = a.iter().fold(0.0, |max: f64, it| max.max(it.abs()));
    assert!(largest > 1e-3);
    let pairs = a.iter().zip(b);
    pairs.fold(0.0, |max: f64, (a, b)| max.max((a - b).abs())) / largest
}

/// A token task whose rows are weighted and partly padding, in one batch and in two.
#[test]
fn micro_batches_of_a_token_task_add_up_with_and_without_sift() {
    type M = DebertaForTokenClassification<FlexF32>;
    let fixture = Fixture::open("hf/v3_tokcls");
    let (mut objective, _) = load::<FlexF32, M>("hf/v3_tokcls");
    let labels = objective.settings.labels;
    objective.settings.loss = LossConfig {
        class_weights: Some((0..labels).map(|it| 1.0 + it as f64).collect()),
        label_smoothing: 0.1,
    };
    let whole = batch(&fixture, 1, classes(&fixture));
    let Targets::Classes(labels) = &whole.targets else {
        panic!()
    };
    let part = |rows: std::ops::Range<usize>| {
        let tokens = rows.start * whole.seq_len..rows.end * whole.seq_len;
        TaskBatch {
            examples: rows.clone().collect(),
            input_ids: whole.input_ids[tokens.clone()].to_vec(),
            type_ids: whole
                .type_ids
                .as_ref()
                .map(|it| it[tokens.clone()].to_vec()),
            lengths: whole.lengths[rows].to_vec(),
            targets: Targets::Classes(labels[tokens].to_vec()),
            ..whole.clone()
        }
    };
    for sift in [None, Some(recorded_sift(Ascent::SymmetricKl))] {
        // Without noise and ascent the perturbation does not depend on the batch.
        objective.settings.sift = sift.map(|it| SiftConfig {
            initial_perturbation: 0.0,
            steps: 0,
            ..it
        });
        let run = |micro_batches: Vec<TaskBatch>| {
            let output = TrainStep::step(&objective, Step::new(micro_batches));
            let reading = output.item.sync();
            (
                gradients::<FlexF32, _>(&objective.model, output.grads),
                reading.tally,
            )
        };
        let (at_once, tally) = run(vec![whole.clone()]);
        let (in_parts, parts_tally) = run(vec![part(0..1), part(1..3)]);
        assert!(largest_difference(&at_once, &in_parts) < 2e-5);
        assert!((tally.loss_nats() - parts_tally.loss_nats()).abs() < 1e-5);
        assert_eq!(tally.targets, parts_tally.targets);
        assert_eq!(tally.rows, whole.lengths.iter().sum::<usize>());
        assert_eq!(tally.penalty_sum > 0.0, objective.settings.sift.is_some());
    }
}

#[test]
fn padding_is_of_no_account_to_the_penalty_of_a_token_task() {
    type M = DebertaForTokenClassification<FlexF32>;
    let fixture = Fixture::open("hf/v3_tokcls");
    let (mut objective, _) = load::<FlexF32, M>("hf/v3_tokcls");
    objective.settings.sift = Some(SiftConfig {
        initial_perturbation: 0.0,
        ..recorded_sift(Ascent::SymmetricKl)
    });
    let narrow = batch(&fixture, 1, Targets::Unknown);
    let wide = 8 + narrow.seq_len;
    let pad = |ids: &[i32]| -> Vec<i32> {
        let rows = ids.chunks(narrow.seq_len);
        rows.flat_map(|row| row.iter().copied().chain([0; 8]))
            .collect()
    };
    let padded = TaskBatch {
        seq_len: wide,
        input_ids: pad(&narrow.input_ids),
        type_ids: narrow.type_ids.as_deref().map(pad),
        ..narrow.clone()
    };
    let penalty = |batch: &TaskBatch| {
        let (_, sums, _) = share(&objective, batch, None);
        to_f64(sums.penalty_sum.into_data())[0]
    };
    let (narrow, padded) = (penalty(&narrow), penalty(&padded));
    assert!(
        (narrow - padded).abs() < 1e-4 * narrow,
        "{narrow} is not {padded}"
    );
}

#[test]
fn every_variant_of_sift_runs_and_keeps_to_its_ball() {
    type B = FlexF32;
    let fixture = Fixture::open(CLASSIFIER);
    let (mut objective, _) = load::<B, DebertaForSequenceClassification<B>>(CLASSIFIER);
    let batch = batch(&fixture, 1, classes(&fixture));
    let mut penalties = Vec::new();
    for (divergence, perturbed, ball) in [
        (Divergence::Microsoft, Perturbed::Sum, None),
        (Divergence::Paper, Perturbed::Words, None),
        (Divergence::TrueKl, Perturbed::Sum, None),
        (
            Divergence::TrueKl,
            Perturbed::Sum,
            Some(Ball {
                norm: BallNorm::Max,
                radius: 1e-4,
            }),
        ),
        (
            Divergence::TrueKl,
            Perturbed::Sum,
            Some(Ball {
                norm: BallNorm::Euclidean,
                radius: 1e-4,
            }),
        ),
    ] {
        objective.settings.sift = Some(SiftConfig {
            steps: 3,
            ball,
            divergence,
            perturbed,
            ..recorded_sift(Ascent::SymmetricKl)
        });
        <B as Backend>::seed(&Default::default(), 5);
        let (loss, sums, _) = share(&objective, &batch, None);
        assert!(to_f64(loss.into_data())[0].is_finite());
        penalties.push(to_f64(sums.penalty_sum.into_data())[0]);
    }
    // The true divergence of a larger move is larger, and of hardly any it is nearly zero.
    assert!(penalties[2] > 100.0 * penalties[3], "{penalties:?}");
    assert!(
        penalties[3] > penalties[4] && penalties[4] >= 0.0,
        "{penalties:?}"
    );
}

#[test]
fn each_step_of_the_ascent_makes_the_penalty_larger() {
    type B = FlexF32;
    let fixture = Fixture::open(CLASSIFIER);
    let (mut objective, _) = load::<B, DebertaForSequenceClassification<B>>(CLASSIFIER);
    let batch = batch(&fixture, 1, classes(&fixture));
    let mut penalty = |steps| {
        objective.settings.sift = Some(SiftConfig {
            steps,
            divergence: Divergence::TrueKl,
            learning_rate: 0.01,
            ..recorded_sift(Ascent::SymmetricKl)
        });
        <B as Backend>::seed(&Default::default(), 5);
        let (_, sums, _) = share(&objective, &batch, None);
        to_f64(sums.penalty_sum.into_data())[0]
    };
    let penalties = [0, 1, 2, 3].map(&mut penalty);
    assert!(penalties.is_sorted_by(|a, b| a < b), "{penalties:?}");
}

#[test]
fn the_perturbed_pass_trains_no_embedding_table() {
    type B = FlexF32;
    let fixture = Fixture::open(CLASSIFIER);
    let (mut objective, _) = load::<B, DebertaForSequenceClassification<B>>(CLASSIFIER);
    // The paper's divergence has no gradient in the clean pass, so only the perturbed one is left.
    objective.settings.sift = Some(SiftConfig {
        divergence: Divergence::Paper,
        ..recorded_sift(Ascent::SymmetricKl)
    });
    let batch = batch(&fixture, 1, Targets::Unknown);
    let (loss, _, networks) = share(&objective, &batch, None);
    let grads = GradientsParams::from_grads(loss.backward(), &networks.learning);
    let embeddings = &networks.learning.encoder().embeddings;
    let table = grads.get::<Flex, 2>(embeddings.word_embeddings.weight.id);
    assert!(table.is_none_or(|grad| grad.abs().max().into_scalar() == 0.0));
    assert!(grads.len() > 30, "everything above the tables learns");
}

/// With SiFT the two passes are added up in another order.
#[test]
fn gradient_checkpointing_changes_no_gradient() {
    type B = FlexF32;
    let fixture = Fixture::open(CLASSIFIER);
    let (mut objective, _) = load::<B, DebertaForSequenceClassification<B>>(CLASSIFIER);
    let batch = batch(&fixture, 1, classes(&fixture));
    let mut run = |sift: &Option<SiftConfig>, checkpointing| {
        objective.settings.sift.clone_from(sift);
        objective.settings.gradient_checkpointing = checkpointing;
        let output = TrainStep::step(&objective, Step::new(vec![batch.clone()]));
        gradients::<B, _>(&objective.model, output.grads)
    };
    assert!(run(&None, true) == run(&None, false), "to the bit");
    let sift = |perturbed| {
        Some(SiftConfig {
            initial_perturbation: 0.0,
            perturbed,
            ..recorded_sift(Ascent::SymmetricKl)
        })
    };
    for sift in [sift(Perturbed::Sum), sift(Perturbed::Words)] {
        assert!(largest_difference(&run(&sift, false), &run(&sift, true)) < 1e-6);
    }
}

#[test]
fn half_precision_keeps_gradients_in_f32_and_near_the_full_ones() {
    type B = FlexF32;
    let fixture = Fixture::open(CLASSIFIER);
    let (mut objective, _) = load::<B, DebertaForSequenceClassification<B>>(CLASSIFIER);
    let batch = batch(&fixture, 1, classes(&fixture));
    let mut run = |precision: Precision, loss_scale: f64| {
        objective.settings.precision = precision;
        let step = Step {
            loss_scale,
            ..Step::new(vec![batch.clone()])
        };
        let output = TrainStep::step(&objective, step);
        gradients::<B, _>(&objective.model, output.grads)
    };
    let full = run(Precision::Full, 1.0);
    assert!(largest_difference(&full, &run(Precision::Bf16, 1.0)) < 0.1);
    assert!(largest_difference(&full, &run(Precision::F16, 1024.0)) < 0.02);
    let overflown = run(Precision::F16, 1e9);
    assert!(
        overflown.iter().any(|it| !it.is_finite()),
        "the scale must be able to overflow"
    );
}

#[test]
fn evaluations_keep_the_logits_of_every_example() {
    type B = Flex;
    let fixture = Fixture::open(CLASSIFIER);
    let (objective, _) = load::<B, DebertaForSequenceClassification<B>>(CLASSIFIER);
    let batch = TaskBatch {
        examples: vec![2, 0, 1],
        ..batch(&fixture, 1, classes(&fixture))
    };
    let output = InferenceStep::step(&objective, batch);
    let logits = output.logits();
    let expected: Expected = fixture.floats("f64.logits");
    let order: Vec<usize> = logits.iter().map(|it| it.example).collect();
    assert_eq!(order, [0, 1, 2]);
    // Example 0 was the second row of the batch.
    for (example, row) in [(2, 0), (0, 1), (1, 2)] {
        let expected = &expected.values[3 * row..3 * (row + 1)];
        for (actual, expected) in logits[example].values.iter().zip(expected) {
            assert!((f64::from(*actual) - expected).abs() < 2e-5);
        }
    }
}
