//! Values and gradients against transformers and microsoft/DeBERTa.
//!
//! `scripts/golden` makes the fixtures.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use deberta_model::attention::AttentionMask;
use deberta_model::checkpoint::{Compatibility, load_masked_lm, load_model};
use deberta_model::encoder::{Observation, Observe};
use deberta_model::heads::masked_lm::{MaskedTokens, masked_lm_loss};
use deberta_model::relative_position::{LongDistance, RelativePositionConfig};
use deberta_model::{DebertaBackend, DebertaInput, MaskedLmInput};

use crate::support::{
    F32, Fixture, NdArrayF64, Tolerances, assert_close, assert_gradients, assert_real_rows_close,
    fixture_dir, on_every_backend, to_f64,
};

on_every_backend! {
    v1_encoder => check_encoder("v1_base_rel");
    v1_encoder_with_absolute_positions_and_types => check_encoder("v1_base_abs_types");
    v1_encoder_with_the_default_span => check_encoder("v1_base_span");
    v2_encoder_with_convolution => check_encoder("v2_base_conv");
    v2_encoder_with_its_own_position_projections => check_encoder("v2_base_noshare");
    v2_encoder_with_projected_embeddings => check_encoder("v2_base_embed_proj");
    v3_encoder => check_encoder("v3_base");
    v3_encoder_with_c2p_only => check_encoder("v3_base_c2p_only");
    v3_encoder_with_p2c_only => check_encoder("v3_base_p2c_only");
    v3_encoder_beyond_its_table_as_in_transformers => check_encoder("v3_base_long");
    v3_encoder_beyond_its_table_as_microsoft => check_long_microsoft();
    v1_masked_lm_legacy => check_masked_lm("hf/v1_mlm_legacy", -100);
    v1_masked_lm => check_masked_lm("hf/v1_mlm_new", -100);
    v3_masked_lm_legacy => check_masked_lm("hf/v3_mlm_legacy", -100);
    v3_masked_lm => check_masked_lm("hf/v3_mlm_new", -100);
    v1_enhanced_mask_decoder => check_masked_lm("ms/emd_v1", 0);
    v3_enhanced_mask_decoder => check_masked_lm("ms/emd_v3", 0);
    attention_probabilities => check_attention();
}

/// Loss of the encoder fixtures: a weighted mean over real tokens.
fn encoder_loss<B: AutodiffBackend + DebertaBackend>(
    fixture: &Fixture,
    last: Tensor<B, 3>,
) -> Tensor<B, 1> {
    let mut weight = fixture.floats("inputs.loss_weight");
    let (mask, _) = fixture.ints("inputs.attention_mask");
    let tokens = mask.iter().sum::<i64>() as f64;
    let hidden = weight.shape[2];
    for (index, value) in weight.values.iter_mut().enumerate() {
        *value *= mask[index / hidden] as f64 / tokens;
    }
    let weight = TensorData::new(weight.values, weight.shape);
    let options = (&last.device(), last.dtype());
    (last * Tensor::from_data(weight, options)).sum()
}

fn check_encoder<B: AutodiffBackend + DebertaBackend>(name: &str, tolerances: Tolerances) {
    let device = B::Device::default();
    let fixture = Fixture::open(&format!("hf/{name}"));
    let dir = fixture_dir(&format!("hf/{name}"));
    let (model, config) = load_model::<B>(&dir, Compatibility::HuggingFace, &device).unwrap();

    let mut hidden_states = Vec::new();
    let observe = Observe {
        hidden_states: true,
        ..Observe::default()
    };
    let last = model.forward_observed(fixture.model_input(&device), observe, |observation| {
        if let Observation::HiddenStates(states) = observation {
            hidden_states.push(states.to_data());
        }
    });

    let lengths = fixture.lengths();
    let check = |key: &str, actual| {
        let expected = fixture.floats(key);
        let stored_in_f32 = key.starts_with("f32.");
        let tolerance = if stored_in_f32 {
            tolerances.output.max(F32.output)
        } else {
            tolerances.output
        };
        assert_real_rows_close(key, actual, &expected, &lengths, tolerance);
    };
    check("f64.last_hidden_state", last.to_data());
    for key in fixture.names() {
        if let Some((_, layer)) = key.split_once("hidden_states.") {
            check(&key, hidden_states[layer.parse::<usize>().unwrap()].clone());
        }
    }
    let loss = encoder_loss(&fixture, last);
    assert_close(
        "loss",
        loss.to_data(),
        &fixture.floats("f64.loss"),
        tolerances.output,
    );
    let rename = str::to_owned;
    let gradient = tolerances.gradient;
    let checked = assert_gradients(&fixture, &model, &config, loss, gradient, rename);
    assert!(checked >= 5, "only {checked} gradients recorded");
}

fn check_long_microsoft<B: AutodiffBackend + DebertaBackend>(tolerances: Tolerances) {
    let device = B::Device::default();
    let fixture = Fixture::open("hf/v3_base_long");
    let dir = fixture_dir("hf/v3_base_long");
    let (model, _) = load_model::<B>(&dir, Compatibility::Microsoft, &device).unwrap();
    let last = model.forward(fixture.model_input(&device));
    let expected = Fixture::open("ms/long").floats("f64.last_hidden_state");
    let lengths = fixture.lengths();
    let name = "last_hidden_state";
    assert_real_rows_close(name, last.to_data(), &expected, &lengths, tolerances.output);
}

/// Labels per row as (positions, labels); `unlabelled` marks tokens without one.
fn labels(fixture: &Fixture, unlabelled: i64) -> (Vec<Vec<u32>>, Vec<i64>) {
    let (values, shape) = fixture.ints("inputs.labels");
    let rows = values.chunks(shape[1]);
    let positions = rows
        .map(|row| {
            let labelled = row
                .iter()
                .enumerate()
                .filter(|(_, label)| **label != unlabelled);
            labelled.map(|(position, _)| position as u32).collect()
        })
        .collect();
    let labels = values
        .into_iter()
        .filter(|label| *label != unlabelled)
        .collect();
    (positions, labels)
}

fn check_masked_lm<B: AutodiffBackend + DebertaBackend>(
    name: &str,
    unlabelled: i64,
    tolerances: Tolerances,
) {
    let device = B::Device::default();
    let fixture = Fixture::open(name);
    let dir = fixture_dir(name);
    let (model, config) = load_masked_lm::<B>(&dir, Compatibility::Microsoft, &device).unwrap();

    let tokens = fixture.model_input::<B>(&device);
    let [_, seq_len] = tokens.dims();
    let (positions, labels) = labels(&fixture, unlabelled);
    let masked = MaskedTokens::new(&positions, seq_len, &device);
    let logits = model.forward(MaskedLmInput { tokens, masked });

    let enhanced = name.starts_with("ms/");
    let key = if enhanced {
        "f64.logits"
    } else {
        "f64.logits_at_labels"
    };
    assert_close(
        key,
        logits.to_data(),
        &fixture.floats(key),
        tolerances.output,
    );

    let labels = Tensor::from_data(labels.as_slice(), &device);
    let loss = masked_lm_loss(logits, labels);
    assert_close(
        "loss",
        loss.to_data(),
        &fixture.floats("f64.loss"),
        tolerances.output,
    );
    // Microsoft's code keeps v1 weights under v2 names, transformers' older head under its own.
    let rename = |name: &str| {
        let name = name
            .replace("cls.predictions.transform.", "lm_predictions.lm_head.")
            .replace("cls.predictions.", "lm_predictions.lm_head.");
        if name.contains("attention") && name.contains("pos_") && dir.ends_with("emd_v1") {
            name.replace("pos_key_proj", "pos_proj")
                .replace("pos_query_proj", "pos_q_proj")
        } else {
            name
        }
    };
    let gradient = tolerances.gradient;
    let checked = assert_gradients(&fixture, &model, &config, loss, gradient, rename);
    assert!(checked >= 7, "only {checked} gradients recorded");
}

fn check_attention<B: AutodiffBackend + DebertaBackend>(_: Tolerances) {
    let device = B::Device::default();
    for name in ["v1_base_rel", "v3_base"] {
        let fixture = Fixture::open(&format!("hf/{name}"));
        let dir = fixture_dir(&format!("hf/{name}"));
        let (model, _) = load_model::<B>(&dir, Compatibility::Microsoft, &device).unwrap();
        let mut first = None;
        let observe = Observe {
            attentions: true,
            ..Observe::default()
        };
        model.forward_observed(fixture.model_input(&device), observe, |observation| {
            if let Observation::Attention(probs) = observation {
                first.get_or_insert(probs);
            }
        });
        // The file has row 1 of the batch; its last 9 tokens are padding.
        let length = fixture.lengths()[1];
        let expected = fixture.floats("f32.attentions.0");
        let [heads, seq_len] = [expected.shape[1], expected.shape[2]];
        let probs = first
            .unwrap()
            .slice([1..2, 0..heads, 0..length, 0..seq_len]);
        let actual = to_f64(probs.to_data());
        for (row, values) in actual.chunks(seq_len).enumerate() {
            let (head, query) = (row / length, row % length);
            let start = (head * seq_len + query) * seq_len;
            for (key, value) in values.iter().enumerate() {
                let difference = (value - expected.values[start + key]).abs();
                assert!(
                    difference < 1e-6,
                    "{name} head {head} [{query}, {key}]: {difference:e}"
                );
            }
        }
    }
}

#[test]
fn rows_of_every_distance_equal_both_references() {
    let fixture = Fixture::open_file(&fixture_dir("buckets/buckets.safetensors"));
    let mut tables = 0;
    for name in fixture.names() {
        let (size, reference) = name.split_once('.').unwrap();
        let number = |part: usize, prefix: &str| -> usize {
            let text = size.split('_').nth(part).unwrap();
            text.strip_prefix(prefix).unwrap().parse().unwrap()
        };
        let (buckets, max_distance, len) = (number(0, "b"), number(1, "m"), number(2, "len"));
        let config = RelativePositionConfig {
            max_distance,
            buckets: Some(buckets),
            long_distance: match reference {
                "hf_index" => LongDistance::Extrapolate,
                "ms_index" => LongDistance::Clamp,
                other => panic!("unknown reference {other}"),
            },
        };
        for (entry, row) in fixture.ints(&name).0.into_iter().enumerate() {
            let distance = entry as i64 - (len as i64 - 1);
            assert_eq!(
                config.row(distance) as i64,
                row,
                "{name}, distance {distance}"
            );
        }
        tables += 1;
    }
    assert_eq!(tables, 22);
}

/// With `δ(j, i)` in the position-to-content term, as Eq. (4) is printed, the output is another.
#[test]
fn the_literal_index_of_the_paper_is_not_what_was_trained() {
    type B = NdArrayF64;
    let device = Default::default();
    let fixture = Fixture::open("hf/v3_base_p2c_only");
    let dir = fixture_dir("hf/v3_base_p2c_only");
    let (model, config) = load_model::<B>(&dir, Compatibility::Microsoft, &device).unwrap();
    let expected = fixture.floats("f64.last_hidden_state");

    // Reversing the rows of the table about its centre turns δ(i, j) into δ(j, i).
    let span = config.relative_positions.unwrap().span();
    let mut literal = model.clone();
    literal = literal.map(&mut ReverseTable { rows: 2 * span });
    let worst = |model: &deberta_model::DebertaModel<B>| {
        let input: DebertaInput<B> = DebertaInput {
            mask: AttentionMask::Full,
            ..fixture.model_input(&device)
        };
        let last = to_f64(model.forward(input).to_data());
        // Row 0 of the batch has no padding.
        let row = expected.shape[1] * expected.shape[2];
        (0..row)
            .map(|index| (last[index] - expected.values[index]).abs())
            .fold(0.0, f64::max)
    };
    assert!(worst(&model) < 1e-9);
    assert!(worst(&literal) > 0.1, "differs by {:e}", worst(&literal));
}

/// Reverses rows 1.. of the relative-position table, whose centre is row `rows / 2`.
struct ReverseTable {
    rows: usize,
}

impl<B: Backend> ModuleMapper<B> for ReverseTable {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let rows = self.rows;
        param.map(|tensor| {
            if tensor.dims()[0] != rows || D != 2 {
                return tensor;
            }
            let first = tensor.clone().slice_dim(0, 0..1);
            Tensor::cat(vec![first, tensor.slice_dim(0, 1..rows).flip([0])], 0)
        })
    }
}
