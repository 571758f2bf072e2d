//! Losses and gradients against formulas written out in f64.
//!
//! All networks may draw a single piece only, so replacements are known whatever the random numbers.

use burn::backend::{Autodiff, NdArray};
use burn::module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use burn::train::metric::ItemLazy;
use burn::train::{InferenceStep, TrainStep};
use deberta_model::attention::AttentionMask;
use deberta_model::config::AbsolutePositions;
use deberta_model::{DebertaConfig, DebertaInput};

use super::{Discriminator, EmbeddingSharing, RtdConfig, RtdNetworks, RtdObjective};
use crate::objective::{MlmBatch, MlmObjective, Step, Tally};

type Inner = NdArray<f64>;
type B = Autodiff<Inner>;

const VOCAB: usize = 13;
const MASK: i32 = 2;
/// The only piece that is drawn.
const DRAWN: u32 = 5;
const SHARING: [EmbeddingSharing; 3] = [
    EmbeddingSharing::Gdes,
    EmbeddingSharing::Shared,
    EmbeddingSharing::None,
];

fn model(absolute_positions: AbsolutePositions) -> DebertaConfig {
    DebertaConfig {
        absolute_positions,
        max_position_embeddings: 12,
        // Weights of this size make every part of the loss matter.
        initializer_range: 0.3,
        ..DebertaConfig::v3(VOCAB, 8, 3, 2).without_dropout()
    }
}

fn config(sharing: EmbeddingSharing) -> RtdConfig {
    RtdConfig {
        sharing,
        ..RtdConfig::default()
    }
}

fn objective(sharing: EmbeddingSharing, positions: AbsolutePositions) -> RtdObjective<B> {
    let config = config(sharing);
    let networks = config.init(&model(positions), 3, &Default::default());
    RtdObjective::new(networks.unwrap(), &[DRAWN], &config)
}

/// Three sequences of 7, 5 and 6 tokens, padded to `seq_len`. Of 6 masked tokens 2 are `DRAWN`.
fn batch(seq_len: usize) -> MlmBatch {
    let lengths = vec![7, 5, 6];
    let masked_positions: Vec<Vec<u32>> = vec![vec![1, 4], vec![3], vec![0, 2, 5]];
    let labels = vec![vec![DRAWN, 9], vec![4], vec![7, DRAWN, 11]];
    let mut input_ids = Vec::new();
    for (row, (length, masked)) in lengths.iter().zip(&masked_positions).enumerate() {
        input_ids.extend((0..seq_len).map(|position| match position < *length {
            true if masked.contains(&(position as u32)) => MASK,
            true => (3 + (row * 7 + position * 5) % (VOCAB - 3)) as i32,
            false => 0,
        }));
    }
    MlmBatch {
        batch: 3,
        seq_len,
        input_ids,
        lengths,
        masked_positions,
        labels,
    }
}

/// One sequence of a batch as a batch of its own.
fn row(batch: &MlmBatch, row: usize) -> MlmBatch {
    let length = batch.lengths[row];
    let start = row * batch.seq_len;
    MlmBatch {
        batch: 1,
        seq_len: length,
        input_ids: batch.input_ids[start..start + length].to_vec(),
        lengths: vec![length],
        masked_positions: vec![batch.masked_positions[row].clone()],
        labels: vec![batch.labels[row].clone()],
    }
}

/// Adds a number of its own to every element of every parameter.
fn shake<M: Module<B>>(module: M, size: f64) -> M {
    struct Shaker(f64, usize);
    impl ModuleMapper<B> for Shaker {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            let (id, value, mapper) = param.consume();
            let (dims, count) = (value.dims(), value.shape().num_elements());
            self.1 += 1;
            let salt = self.1;
            let number = |i: usize| (((i + salt) * 7919 % 97) as f64 / 48.0 - 1.0) * self.0;
            let numbers: Vec<f64> = (0..count).map(number).collect();
            let numbers = Tensor::from_data(TensorData::new(numbers, dims), &value.device());
            let value = Tensor::from_inner(value.inner() + numbers).require_grad();
            Param::from_mapped_value(id, value, mapper)
        }
    }
    module.map(&mut Shaker(size, 0))
}

fn evaluate(objective: &RtdObjective<B>, batch: MlmBatch) -> Tally {
    let objective = objective.valid();
    InferenceStep::step(&objective, batch).sync().tally
}

/// Gradients by the path of their parameter.
fn gradients<M: AutodiffModule<B>>(module: &M, grads: GradientsParams) -> Vec<(String, Vec<f64>)> {
    struct Collector {
        path: Vec<String>,
        grads: GradientsParams,
        found: Vec<(String, Vec<f64>)>,
    }
    impl ModuleVisitor<B> for Collector {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if let Some(grad) = self.grads.remove::<Inner, D>(param.id) {
                let values = grad.into_data().iter::<f64>().collect();
                self.found.push((self.path.join("."), values));
            }
        }
    }
    let mut collector = Collector {
        path: Vec::new(),
        grads,
        found: Vec::new(),
    };
    module.visit(&mut collector);
    collector.found
}

fn step(objective: &RtdObjective<B>, micro_batches: Vec<MlmBatch>) -> Vec<(String, Vec<f64>)> {
    let output = TrainStep::step(objective, Step::new(micro_batches));
    gradients(objective, output.grads)
}

/// The gradient of the parameter whose path ends so.
#[track_caller]
fn of<'a>(gradients: &'a [(String, Vec<f64>)], ending: &str) -> &'a [f64] {
    let found = gradients.iter().find(|(path, _)| path.ends_with(ending));
    &found.unwrap_or_else(|| panic!("no gradient of {ending}")).1
}

#[track_caller]
fn assert_near(actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    let largest = expected
        .iter()
        .fold(0.0f64, |it, value| it.max(value.abs()));
    assert!(largest > 1e-4, "nothing to compare: {largest}");
    for (actual, expected) in actual.iter().zip(expected) {
        let difference = (actual - expected).abs();
        assert!(
            difference < tolerance * largest,
            "{actual} is not {expected}"
        );
    }
}

/// What a discriminator on its own says of the tokens after replacement, `[batch][seq_len]`.
fn logits(discriminator: &Discriminator<Inner>, batch: &MlmBatch, ids: &[i64]) -> Vec<Vec<f64>> {
    let device = Default::default();
    let ids = TensorData::new(ids.to_vec(), [batch.batch, batch.seq_len]);
    let input = DebertaInput {
        mask: AttentionMask::from_lengths(&batch.lengths, batch.seq_len, &device),
        ..DebertaInput::new(Tensor::from_data(ids, &device))
    };
    let logits = discriminator.forward(input).into_data();
    let logits: Vec<f64> = logits.iter::<f64>().collect();
    logits.chunks(batch.seq_len).map(<[f64]>::to_vec).collect()
}

/// Also that the merged discriminator is the one that was trained.
#[test]
fn losses_are_those_of_the_formulas_with_merged_embeddings() {
    let mut undecided = 0;
    for positions in [AbsolutePositions::Decoder, AbsolutePositions::Input] {
        for sharing in SHARING {
            let objective = shake(objective(sharing, positions), 0.2);
            let batch = batch(9);
            let tally = evaluate(&objective, batch.clone());

            let mut ids: Vec<i64> = batch.input_ids.iter().map(|id| i64::from(*id)).collect();
            let mut replaced = vec![vec![false; batch.seq_len]; batch.batch];
            for (row, masked) in batch.masked_positions.iter().enumerate() {
                for (position, label) in masked.iter().zip(&batch.labels[row]) {
                    ids[row * batch.seq_len + *position as usize] = i64::from(DRAWN);
                    replaced[row][*position as usize] = *label != DRAWN;
                }
            }
            let networks = objective.networks.valid();
            let logits = logits(&networks.merged(), &batch, &ids);
            let (mut loss, mut flagged, mut hits) = (0.0, 0, 0);
            for (row, length) in batch.lengths.iter().enumerate() {
                for position in 0..*length {
                    let (logit, replaced) = (logits[row][position], replaced[row][position]);
                    let probability = 1.0 / (1.0 + (-logit).exp());
                    let of_truth = if replaced {
                        probability
                    } else {
                        1.0 - probability
                    };
                    loss -= of_truth.ln();
                    flagged += usize::from(logit > 0.0);
                    hits += usize::from(logit > 0.0 && replaced);
                }
            }
            let detection = tally.detection;
            assert!((detection.loss_sum - loss).abs() < 1e-10, "{sharing:?}");
            assert_eq!((detection.tokens, detection.replaced), (18, 4));
            assert_eq!((detection.flagged, detection.hits), (flagged, hits));
            undecided += usize::from(flagged > 0 && flagged < 18);

            let generator = MlmObjective::new(networks.generator);
            let alone = InferenceStep::step(&generator, batch).sync().tally;
            assert_eq!(
                (tally.loss_sum, tally.correct),
                (alone.loss_sum, alone.correct)
            );
            assert_eq!((tally.targets, tally.tokens), (6, 18));
        }
    }
    assert!(undecided > 0, "a sign must be able to matter");
}

#[test]
fn the_discriminator_reaches_shared_embeddings_as_the_sharing_says() {
    for positions in [AbsolutePositions::Decoder, AbsolutePositions::Input] {
        let gdes = objective(EmbeddingSharing::Gdes, positions);
        let es = config(EmbeddingSharing::Shared);
        let shared = RtdNetworks::join(
            gdes.networks.generator.clone(),
            gdes.networks.merged(),
            &es,
            &model(positions),
        );
        let shared = RtdObjective::new(shared, &[DRAWN], &es);
        let generator = MlmObjective::new(gdes.networks.generator.clone());
        let output = TrainStep::step(&generator, Step::new(vec![batch(8)]));
        let alone = gradients(&generator, output.grads);
        let disentangled = step(&gdes, vec![batch(8)]);
        let shared = step(&shared, vec![batch(8)]);

        let tables: &[&str] = match positions {
            AbsolutePositions::Input => &["word_embeddings.weight", "position_embeddings.weight"],
            _ => &["word_embeddings.weight"],
        };
        for table in tables {
            let e_g = format!("generator.deberta.embeddings.{table}");
            let e_delta = format!("discriminator.deberta.embeddings.{table}");
            let alone = of(&alone, &format!("model.deberta.embeddings.{table}"));
            // GDES: not a bit of it is the discriminator's.
            assert_eq!(of(&disentangled, &e_g), alone, "{table}");
            // ES: as if E_Δ were part of E_G.
            let both: Vec<f64> = alone
                .iter()
                .zip(of(&disentangled, &e_delta))
                .map(|(generator, discriminator)| generator + discriminator)
                .collect();
            assert_near(of(&shared, &e_g), &both, 1e-9);
            assert!(shared.iter().all(|(path, _)| !path.ends_with(&e_delta)));
        }
        // All else of the generator learns from its own loss only, whatever is shared.
        let own = "generator.deberta.encoder.layers.0.intermediate.dense.weight";
        assert_eq!(of(&disentangled, own), of(&shared, own));
    }
}

#[test]
fn nothing_is_shared_without_sharing() {
    let objective = objective(EmbeddingSharing::None, AbsolutePositions::Decoder);
    let generator = MlmObjective::new(objective.networks.generator.clone());
    let output = TrainStep::step(&generator, Step::new(vec![batch(8)]));
    let alone = gradients(&generator, output.grads);
    let both = step(&objective, vec![batch(8)]);
    let words = "deberta.embeddings.word_embeddings.weight";
    assert_eq!(of(&both, &format!("generator.{words}")), of(&alone, words));
    assert!(
        of(&both, &format!("discriminator.{words}"))
            .iter()
            .any(|it| it.abs() > 1e-3)
    );
    let networks = &objective.networks;
    let [theirs, own] = [&networks.generator.deberta, &networks.discriminator.deberta]
        .map(|it| it.embeddings.word_embeddings.weight.to_data());
    assert_ne!(theirs, own, "networks start from weights of their own");
}

#[test]
fn lambda_weighs_the_discriminator_only() {
    let fifty = objective(EmbeddingSharing::Gdes, AbsolutePositions::Decoder);
    let one = RtdConfig {
        lambda: 1.0,
        ..RtdConfig::default()
    };
    let one = RtdObjective::new(fifty.networks.clone(), &[DRAWN], &one);
    let (fifty, one) = (step(&fifty, vec![batch(8)]), step(&one, vec![batch(8)]));
    assert_eq!(fifty.len(), one.len());
    for ((path, fifty), (_, one)) in fifty.iter().zip(&one) {
        if path.contains("generator.") {
            assert_eq!(fifty, one, "{path}");
            continue;
        }
        let largest = fifty.iter().fold(0.0f64, |it, value| it.max(value.abs()));
        for (fifty, one) in fifty.iter().zip(one) {
            assert!(
                (fifty - 50.0 * one).abs() <= 1e-9 * largest.max(1e-6),
                "{path}"
            );
        }
    }
}

/// The loss of a step, by its formula: means over the whole of it.
fn loss(objective: &RtdObjective<B>, batch: &MlmBatch) -> f64 {
    let tally = evaluate(objective, batch.clone());
    tally.loss_sum / 6.0 + 50.0 * tally.detection.loss_sum / 18.0
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    for sharing in SHARING {
        let objective = shake(objective(sharing, AbsolutePositions::Decoder), 0.1);
        let batch = batch(8);
        let rows = (0..3).map(|it| row(&batch, it)).collect();
        // In micro-batches, whose shares of the loss differ.
        let slopes = step(&objective, rows);
        let nudged = |size: f64| loss(&shake(objective.clone(), size), &batch);
        let (size, mut expected) = (1e-6, 0.0);
        // The nudge of each parameter, to be multiplied with its gradient.
        let before = numbers(&objective);
        let after = numbers(&shake(objective.clone(), 1.0));
        for (path, slopes) in &slopes {
            // With GDES the loss also changes by E_G's way into E_D, which no gradient goes.
            let nudges = after
                .iter()
                .zip(&before)
                .find(|(it, _)| it.0 == *path)
                .unwrap();
            let nudges = nudges.0.1.iter().zip(&nudges.1.1).map(|(a, b)| a - b);
            expected += slopes.iter().zip(nudges).map(|(a, b)| a * b).sum::<f64>();
        }
        if sharing == EmbeddingSharing::Gdes {
            let e_g = "generator.deberta.embeddings.word_embeddings.weight";
            let e_delta = "discriminator.deberta.embeddings.word_embeddings.weight";
            let find = |of: &[(String, Vec<f64>)]| {
                of.iter().find(|it| it.0.ends_with(e_g)).unwrap().1.clone()
            };
            let nudges = find(&after)
                .into_iter()
                .zip(find(&before))
                .map(|(a, b)| a - b);
            let cut = of(&slopes, e_delta).iter().zip(nudges);
            expected += cut.map(|(a, b)| a * b).sum::<f64>();
        }
        let actual = (nudged(size) - nudged(-size)) / (2.0 * size);
        assert!(expected.abs() > 0.1, "{expected}");
        let difference = (actual - expected).abs() / expected.abs();
        assert!(difference < 1e-5, "{sharing:?}: {actual} is not {expected}");
    }
}

/// All parameters by their paths.
fn numbers(objective: &RtdObjective<B>) -> Vec<(String, Vec<f64>)> {
    struct Collector(Vec<String>, Vec<(String, Vec<f64>)>);
    impl ModuleVisitor<B> for Collector {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.to_owned());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let values = param.to_data().iter::<f64>().collect();
            self.1.push((self.0.join("."), values));
        }
    }
    let mut collector = Collector(Vec::new(), Vec::new());
    objective.visit(&mut collector);
    collector.1
}

#[test]
fn padding_and_micro_batches_change_nothing() {
    for sharing in SHARING {
        let objective = objective(sharing, AbsolutePositions::Input);
        let whole = step(&objective, vec![batch(7)]);
        let padded = step(&objective, vec![batch(11)]);
        let rows = (0..3).map(|it| row(&batch(7), it)).collect();
        let parts = step(&objective, rows);
        assert_eq!(whole.len(), padded.len());
        let largest = |values: &[f64]| values.iter().fold(0.0f64, |it, value| it.max(value.abs()));
        for ((path, whole), (others, name)) in whole
            .iter()
            .zip(padded.iter().map(|it| (&it.1, "padded")))
            .chain(whole.iter().zip(parts.iter().map(|it| (&it.1, "in parts"))))
        {
            for (a, b) in whole.iter().zip(others) {
                let tolerance = 1e-9 * largest(whole).max(1.0);
                assert!((a - b).abs() < tolerance, "{path} {name}: {b} is not {a}");
            }
        }
    }
}

#[test]
fn gradient_checkpointing_changes_no_gradient() {
    for sharing in SHARING {
        let plain = objective(sharing, AbsolutePositions::Decoder);
        let expected = step(&plain, vec![batch(8), row(&batch(8), 1)]);
        let checkpointing = plain.with_gradient_checkpointing(true);
        let actual = step(&checkpointing, vec![batch(8), row(&batch(8), 1)]);
        assert_eq!(actual.len(), expected.len());
        for ((path, actual), (_, expected)) in actual.iter().zip(&expected) {
            let largest = expected
                .iter()
                .fold(1.0f64, |it, value| it.max(value.abs()));
            for (a, b) in actual.iter().zip(expected) {
                assert!((a - b).abs() < 1e-10 * largest, "{path}: {a} is not {b}");
            }
        }
    }
}

#[test]
fn networks_that_are_joined_stay_what_they_were() {
    let device = Default::default();
    for positions in [AbsolutePositions::Decoder, AbsolutePositions::Input] {
        let (config, model) = (config(EmbeddingSharing::Gdes), model(positions));
        let generator = config.init_generator::<B>(&model, 1, &device).unwrap();
        let discriminator = config.init_discriminator::<B>(&model, 2, &device).unwrap();
        let batch = batch(8);
        let ids: Vec<i64> = batch.input_ids.iter().map(|id| i64::from(*id)).collect();
        let before = logits(&discriminator.valid(), &batch, &ids).concat();
        let networks = RtdNetworks::join(generator, discriminator, &config, &model);
        let joined = networks.valid().merged();
        let after = logits(&joined, &batch, &ids).concat();
        let real = |logits: &[f64]| logits[..7].to_vec();
        assert_near(&real(&after), &real(&before), 1e-10);
        let has_table = joined.deberta.embeddings.position_table().is_some();
        assert!(has_table, "the generator's decoder reads it");
    }
}

#[test]
fn a_step_without_masked_tokens_has_no_gradients() {
    let mut unmasked = batch(8);
    unmasked.masked_positions = vec![Vec::new(); 3];
    unmasked.labels = vec![Vec::new(); 3];
    let objective = objective(EmbeddingSharing::Gdes, AbsolutePositions::Decoder);
    let both = vec![batch(8), unmasked.clone()];
    assert_eq!(step(&objective, vec![unmasked]), []);
    // Nor does it take part in the means.
    assert_eq!(step(&objective, both), step(&objective, vec![batch(8)]));
}

/// A piece that does not exist cannot be drawn, and the word table has more rows than pieces.
#[test]
fn vocabularies_may_be_padded() {
    let barrier = super::sampling::barrier::<Inner>(&[1, 99], 3, &Default::default());
    let barrier: Vec<f64> = barrier.into_data().iter::<f64>().collect();
    assert!(barrier[0] < -1e29 && barrier[1] == 0.0 && barrier[2] < -1e29);
}
