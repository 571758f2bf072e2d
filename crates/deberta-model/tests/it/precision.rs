//! Half precision, where the backend has it.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};
use deberta_model::checkpoint::{
    Compatibility, LoadOptions, hub_tensors, load_masked_lm, load_model, load_task_model,
    load_task_model_with,
};
use deberta_model::heads::classification::DebertaForSequenceClassification;
use deberta_model::heads::losses::classification_loss;
use deberta_model::heads::masked_lm::{MaskedTokens, masked_lm_loss};
use deberta_model::{DebertaBackend, DebertaModel, MaskedLmInput, precision};

use crate::support::{Accelerator, Fixture, fixture_dir, to_f64};

/// Largest [`difference`] to f32 with the same, rounded weights.
///
/// Rounding the weights to bf16 alone moves the output by up to 8e-3, which is not the network's
/// doing.
const ALLOWED: f64 = 1e-2;

/// The half types that the backend computes with.
fn half_types<B: Backend>() -> Vec<DType> {
    let device = B::Device::default();
    [DType::F16, DType::BF16]
        .into_iter()
        .filter(|&dtype| B::supports_dtype(&device, dtype))
        .collect()
}

#[test]
fn the_cpu_backend_has_both_half_types() {
    assert_eq!(
        half_types::<burn::backend::Flex>(),
        [DType::F16, DType::BF16]
    );
}

#[test]
fn a_type_that_the_backend_lacks_is_an_error() {
    let device = Default::default();
    let dir = fixture_dir("hf/v3_base");
    let (model, _) =
        load_model::<burn::backend::NdArray>(&dir, Compatibility::Microsoft, &device).unwrap();
    let error = precision::cast(model.clone(), DType::BF16, &device).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the backend does not compute in BF16 on this device"
    );
    assert!(precision::cast(model, DType::I32, &device).is_err());
}

/// What the file has and what is drawn at random.
#[test]
fn a_checkpoint_loads_straight_into_a_half_type() {
    type B = burn::backend::Flex;
    type M = DebertaForSequenceClassification<B>;
    let device = Default::default();
    let dir = fixture_dir("hf/v3_seqcls");
    let options = LoadOptions::new().start_fresh("classifier.").seed(3);
    let full = load_task_model_with::<B, M>(&dir, &options, &device).unwrap();
    for dtype in [DType::F16, DType::BF16, DType::F32] {
        let options = options.clone().dtype(dtype);
        let loaded = load_task_model_with::<B, M>(&dir, &options, &device).unwrap();
        let cast = precision::cast(full.model.clone(), dtype, &device).unwrap();
        let tensors = hub_tensors::<B, _>(&loaded.model, &loaded.config).unwrap();
        let expected = hub_tensors::<B, _>(&cast, &full.config).unwrap();
        assert!(tensors.len() > 30 && tensors.len() == expected.len());
        for ((name, data), (expected_name, expected)) in tensors.iter().zip(&expected) {
            assert_eq!((name, data.dtype), (expected_name, dtype));
            assert_eq!(data.bytes, expected.bytes, "{name}");
        }
    }
}

#[test]
fn loading_into_a_type_that_the_backend_lacks_is_an_error() {
    type B = burn::backend::NdArray;
    let dir = fixture_dir("hf/v3_seqcls");
    for dtype in [DType::BF16, DType::I32] {
        let options = LoadOptions::new().dtype(dtype);
        let loaded = load_task_model_with::<B, DebertaForSequenceClassification<B>>(
            &dir,
            &options,
            &Default::default(),
        );
        assert_eq!(
            loaded.unwrap_err().to_string(),
            format!("the backend does not compute in {dtype:?} on this device")
        );
    }
}

/// Root mean square of the differences among real tokens, relative to that of the exact values.
fn difference(actual: TensorData, exact: &[f64], lengths: &[usize], seq_len: usize) -> f64 {
    let actual = to_f64(actual);
    let width = actual.len() / (lengths.len() * seq_len);
    let is_real = |index: &usize| (index / width) % seq_len < lengths[index / width / seq_len];
    let (mut error, mut size) = (0.0, 0.0);
    for index in (0..actual.len()).filter(is_real) {
        error += (actual[index] - exact[index]).powi(2);
        size += exact[index].powi(2);
    }
    (error / size).sqrt()
}

#[test]
fn encoders_agree_with_full_precision() {
    let names = [
        "v1_base_rel",
        "v1_base_abs_types",
        "v2_base_conv",
        "v2_base_noshare",
        "v2_base_embed_proj",
        "v3_base",
        "v3_base_long",
    ];
    for dtype in half_types::<Accelerator>() {
        for name in names {
            let name = format!("hf/{name}");
            let device = Default::default();
            let fixture = Fixture::open(&name);
            let dir = fixture_dir(&name);
            let loaded = load_model::<Accelerator>(&dir, Compatibility::HuggingFace, &device);
            let (half, full) = rounded(loaded.unwrap().0, dtype);
            let last = half.forward(fixture.model_input(&device));
            assert_eq!(last.dtype(), dtype);
            let [_, seq_len, _] = last.dims();
            let exact = to_f64(full.forward(fixture.model_input(&device)).to_data());
            let worst = difference(last.to_data(), &exact, &fixture.lengths(), seq_len);
            assert!(worst < ALLOWED, "{name} in {dtype:?} differs by {worst:e}");
        }
    }
}

/// A network with its weights in `dtype`, and in f32 with the same values.
fn rounded<B: Backend, M: Module<B>>(model: M, dtype: DType) -> (M, M) {
    let device = B::Device::default();
    let half = precision::cast(model, dtype, &device).unwrap();
    let full = precision::cast(half.clone(), DType::F32, &device).unwrap();
    (half, full)
}

#[test]
fn masked_language_models_agree_with_full_precision() {
    for (dtype, name) in half_types::<Accelerator>()
        .into_iter()
        .flat_map(|dtype| ["ms/emd_v3", "ms/emd_v1"].map(|name| (dtype, name)))
    {
        let device = Default::default();
        let fixture = Fixture::open(name);
        let dir = fixture_dir(name);
        let loaded = load_masked_lm::<Accelerator>(&dir, Compatibility::Microsoft, &device);
        let (half, full) = rounded(loaded.unwrap().0, dtype);
        let (values, shape) = fixture.ints("inputs.labels");
        let labelled = |row: &[i64]| {
            let positions = (0_u32..).zip(row).filter(|(_, label)| **label > 0);
            positions.map(|(position, _)| position).collect::<Vec<_>>()
        };
        let positions: Vec<_> = values.chunks(shape[1]).map(labelled).collect();
        let masked = MaskedTokens::new(&positions, shape[1], &device);
        let input = || MaskedLmInput {
            tokens: fixture.model_input(&device),
            masked: masked.clone(),
        };
        let logits = half.forward(input());
        let exact = to_f64(full.forward(input()).to_data());
        let [rows, _] = logits.dims();
        let worst = difference(logits.to_data(), &exact, &[rows], rows);
        assert!(worst < ALLOWED, "{name} in {dtype:?} differs by {worst:e}");

        let labels: Vec<i64> = values.into_iter().filter(|&it| it > 0).collect();
        let labels = Tensor::from_data(labels.as_slice(), &device);
        let loss = masked_lm_loss(logits, labels);
        assert_eq!(loss.dtype(), DType::F32);
        let exact = fixture.floats("f64.loss").values[0];
        assert!((to_f64(loss.to_data())[0] - exact).abs() < ALLOWED * exact);
    }
}

#[test]
fn classifiers_agree_with_full_precision() {
    for dtype in half_types::<Accelerator>() {
        let device = Default::default();
        let fixture = Fixture::open("hf/v3_seqcls");
        let dir = fixture_dir("hf/v3_seqcls");
        let (model, ..): (DebertaForSequenceClassification<Accelerator>, _, _) =
            load_task_model(&dir, Compatibility::Microsoft, &device).unwrap();
        let (half, full) = rounded(model, dtype);
        let logits = half.forward(fixture.model_input(&device));
        let exact = to_f64(full.forward(fixture.model_input(&device)).to_data());
        let worst = difference(logits.to_data(), &exact, &[3], 3);
        assert!(worst < ALLOWED, "{dtype:?} differs by {worst:e}");

        let (labels, _) = fixture.ints("inputs.labels");
        let labels = Tensor::from_data(labels.as_slice(), &device);
        let loss = classification_loss(logits, labels);
        assert_eq!(loss.dtype(), DType::F32);
        let exact = fixture.floats("f64.loss").values[0];
        assert!((to_f64(loss.to_data())[0] - exact).abs() < ALLOWED * exact.max(1.0));
    }
}

/// Multiplies the query projections, and with them every score.
struct ScaleQueries {
    factor: f64,
    inside: bool,
}

impl<B: Backend> ModuleMapper<B> for ScaleQueries {
    fn enter_module(&mut self, name: &str, _: &str) {
        if name.ends_with("query_proj") {
            self.inside = true;
        }
    }

    fn exit_module(&mut self, name: &str, _: &str) {
        if name.ends_with("query_proj") {
            self.inside = false;
        }
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if !self.inside {
            return param;
        }
        let (id, value, mapper) = param.consume();
        Param::from_mapped_value(id, value.mul_scalar(self.factor), mapper)
    }
}

fn with_large_scores<B: DebertaBackend>(name: &str) -> DebertaModel<B> {
    let dir = fixture_dir(name);
    let (model, _) = load_model(&dir, Compatibility::Microsoft, &Default::default()).unwrap();
    model.map(&mut ScaleQueries {
        factor: 1e3,
        inside: false,
    })
}

#[test]
fn scores_a_thousand_times_larger_stay_finite() {
    for name in ["hf/v1_base_rel", "hf/v3_base"] {
        let fixture = Fixture::open(name);
        let device = Default::default();
        for dtype in half_types::<Accelerator>() {
            let model = precision::cast(with_large_scores(name), dtype, &device).unwrap();
            let last = model.forward(fixture.model_input::<Accelerator>(&device));
            let values = to_f64(last.to_data());
            assert!(
                values.iter().all(|it| it.is_finite()),
                "{name} in {dtype:?}"
            );
        }
        // The factor really reaches the scores: the softmax becomes a choice.
        let model = with_large_scores::<burn::backend::Flex>(name);
        let last = to_f64(
            model
                .forward(fixture.model_input(&device_of(&model)))
                .to_data(),
        );
        let plain = fixture.floats("f64.last_hidden_state").values;
        assert!((last[0] - plain[0]).abs() > 1e-2);
    }
}

fn device_of<B: Backend>(_: &DebertaModel<B>) -> B::Device {
    B::Device::default()
}
