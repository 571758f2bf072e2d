//! Fixtures, tolerances and comparisons.

use std::path::{Path, PathBuf};

use burn::backend::{Autodiff, NdArray};
use burn::module::{AutodiffModule, Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Bool, DType, Int, Tensor, TensorData};
use deberta_model::attention::AttentionMask;
use deberta_model::checkpoint::hub_tensors;
use deberta_model::{DebertaConfig, DebertaInput};
use safetensors::{Dtype, SafeTensors};

#[cfg(not(any(feature = "test-wgpu", feature = "test-cuda")))]
pub(crate) type FlexF32 = Autodiff<burn::backend::Flex>;
pub(crate) type NdArrayF32 = Autodiff<NdArray<f32>>;
pub(crate) type NdArrayF64 = Autodiff<NdArray<f64>>;

/// The backend that `test-wgpu` or `test-cuda` chooses; a CPU backend otherwise.
#[cfg(feature = "test-wgpu")]
pub(crate) type Accelerator = burn::backend::Wgpu;
/// The backend that `test-wgpu` or `test-cuda` chooses; a CPU backend otherwise.
#[cfg(all(feature = "test-cuda", not(feature = "test-wgpu")))]
pub(crate) type Accelerator = burn::backend::Cuda;
/// The backend that `test-wgpu` or `test-cuda` chooses; a CPU backend otherwise.
#[cfg(not(any(feature = "test-wgpu", feature = "test-cuda")))]
pub(crate) type Accelerator = burn::backend::Flex;

/// Runs one check on every CPU backend, each with its tolerance.
#[cfg(not(any(feature = "test-wgpu", feature = "test-cuda")))]
macro_rules! on_every_backend {
    ($($name:ident => $check:ident($($argument:expr),*);)*) => {
        $(#[test]
        fn $name() {
            use $crate::support::{F32, F64, FlexF32, NdArrayF32, NdArrayF64};
            $check::<FlexF32>($($argument,)* F32);
            $check::<NdArrayF32>($($argument,)* F32);
            $check::<NdArrayF64>($($argument,)* F64);
        })*
    };
}
/// Runs one check on the accelerator.
#[cfg(any(feature = "test-wgpu", feature = "test-cuda"))]
macro_rules! on_every_backend {
    ($($name:ident => $check:ident($($argument:expr),*);)*) => {
        $(#[test]
        fn $name() {
            use $crate::support::{ACCELERATOR, Accelerator};
            $check::<burn::backend::Autodiff<Accelerator>>($($argument,)* ACCELERATOR);
        })*
    };
}
pub(crate) use on_every_backend;

/// Largest differences that a correct implementation may show.
#[derive(Clone, Copy)]
pub(crate) struct Tolerances {
    /// Outputs, absolute.
    pub(crate) output: f64,
    /// Gradients, relative to the largest entry of the tensor.
    pub(crate) gradient: f64,
}

/// The references' own f32 error is 3e-6.
pub(crate) const F32: Tolerances = Tolerances {
    output: 2e-5,
    gradient: 5e-5,
};

/// Of a GPU: sums in another order, and exponentials of less than full precision.
#[cfg(any(feature = "test-wgpu", feature = "test-cuda"))]
pub(crate) const ACCELERATOR: Tolerances = Tolerances {
    output: 1e-4,
    gradient: 1e-4,
};

/// For outputs and gradients stored in f64.
#[cfg(not(any(feature = "test-wgpu", feature = "test-cuda")))]
pub(crate) const F64: Tolerances = Tolerances {
    output: 1e-9,
    gradient: 1e-9,
};

/// Entries of a file that was rounded to f32.
const ROUNDED_TO_F32: f64 = 2e-7;

pub(crate) fn fixture_dir(name: &str) -> PathBuf {
    // Also the fixtures of the tests of other crates that include this file.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deberta-model/tests/fixtures")
        .join(name)
}

/// Inputs and expected outputs of one fixture.
pub(crate) struct Fixture {
    bytes: Vec<u8>,
}

impl Fixture {
    pub(crate) fn open(name: &str) -> Self {
        Self::open_file(&fixture_dir(name).join("io.safetensors"))
    }

    pub(crate) fn open_file(path: &Path) -> Self {
        Self {
            bytes: std::fs::read(path).unwrap(),
        }
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let tensors = self.tensors();
        tensors
            .names()
            .into_iter()
            .map(|name| name.to_string())
            .collect()
    }

    /// Values as f64 with their shape, and whether the file holds less than f64.
    pub(crate) fn floats(&self, name: &str) -> Expected {
        let tensors = self.tensors();
        let view = tensors.tensor(name).unwrap();
        let (values, tolerance): (Vec<f64>, f64) = match view.dtype() {
            Dtype::F64 => (
                view.data()
                    .chunks_exact(8)
                    .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
                    .collect(),
                0.0,
            ),
            Dtype::F32 => (
                view.data()
                    .chunks_exact(4)
                    .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
                    .collect(),
                ROUNDED_TO_F32,
            ),
            other => panic!("{name} has type {other:?}"),
        };
        Expected {
            values,
            shape: view.shape().to_vec(),
            rounding: tolerance,
        }
    }

    pub(crate) fn ints(&self, name: &str) -> (Vec<i64>, Vec<usize>) {
        let tensors = self.tensors();
        let view = tensors.tensor(name).unwrap();
        let values = match view.dtype() {
            Dtype::I64 => view
                .data()
                .chunks_exact(8)
                .map(|b| i64::from_le_bytes(b.try_into().unwrap()))
                .collect(),
            Dtype::I16 => view
                .data()
                .chunks_exact(2)
                .map(|b| i64::from(i16::from_le_bytes(b.try_into().unwrap())))
                .collect(),
            other => panic!("{name} has type {other:?}"),
        };
        (values, view.shape().to_vec())
    }

    pub(crate) fn int_matrix<B: Backend>(
        &self,
        name: &str,
        device: &B::Device,
    ) -> Tensor<B, 2, Int> {
        let (values, shape) = self.ints(name);
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// Real tokens per row, from the attention mask.
    pub(crate) fn lengths(&self) -> Vec<usize> {
        let (mask, shape) = self.ints("inputs.attention_mask");
        mask.chunks(*shape.last().unwrap())
            .map(|row| row.iter().sum::<i64>() as usize)
            .collect()
    }

    pub(crate) fn model_input<B: Backend>(&self, device: &B::Device) -> DebertaInput<B> {
        let input_ids = self.int_matrix::<B>("inputs.input_ids", device);
        let [_, seq_len] = input_ids.dims();
        let types = "inputs.token_type_ids";
        DebertaInput {
            token_type_ids: self
                .names()
                .iter()
                .any(|name| name == types)
                .then(|| self.int_matrix(types, device)),
            mask: AttentionMask::from_lengths(&self.lengths(), seq_len, device),
            ..DebertaInput::new(input_ids)
        }
    }
}

/// Recorded numbers.
pub(crate) struct Expected {
    pub(crate) values: Vec<f64>,
    pub(crate) shape: Vec<usize>,
    /// Relative error of the file itself.
    rounding: f64,
}

pub(crate) fn to_f64(data: TensorData) -> Vec<f64> {
    data.convert_dtype(DType::F64).to_vec().unwrap()
}

/// Compares rows `[batch, seq_len, width]` of real tokens only.
#[track_caller]
pub(crate) fn assert_real_rows_close(
    what: &str,
    actual: TensorData,
    expected: &Expected,
    lengths: &[usize],
    tolerance: f64,
) {
    assert_eq!(actual.shape.to_vec(), expected.shape, "{what}: shape");
    let (seq_len, width) = (expected.shape[1], expected.shape[2]);
    let actual = to_f64(actual);
    let worst = (0..actual.len())
        .filter(|index| {
            let row = index / width;
            row % seq_len < lengths[row / seq_len]
        })
        .map(|index| {
            let rounding = expected.rounding * expected.values[index].abs();
            (actual[index] - expected.values[index]).abs() - rounding
        })
        .fold(0.0, f64::max);
    assert!(
        worst <= tolerance,
        "{what}: differs by {worst:e}, allowed {tolerance:e}"
    );
}

#[track_caller]
pub(crate) fn assert_close(what: &str, actual: TensorData, expected: &Expected, tolerance: f64) {
    let actual = to_f64(actual);
    assert_eq!(
        actual.len(),
        expected.values.len(),
        "{what}: number of entries"
    );
    let worst = actual
        .iter()
        .zip(&expected.values)
        .map(|(a, b)| (a - b).abs() - expected.rounding * b.abs())
        .fold(0.0, f64::max);
    assert!(
        worst <= tolerance,
        "{what}: differs by {worst:e}, allowed {tolerance:e}"
    );
}

/// Largest entries below this are zero up to rounding, such as the gradient of a bias that the
/// softmax cancels.
const SMALLEST_GRADIENT: f64 = 1e-2;

/// Compares gradients with the largest entry of the tensor as the measure.
#[track_caller]
fn assert_gradient_close(what: &str, actual: TensorData, expected: &Expected, tolerance: f64) {
    let largest = expected
        .values
        .iter()
        .fold(SMALLEST_GRADIENT, |max, it| max.max(it.abs()));
    let allowed = (tolerance + expected.rounding) * largest;
    assert_close(what, actual, expected, allowed);
}

/// Replaces every parameter by its gradient.
struct GradientMapper<'a> {
    gradients: &'a mut GradientsParams,
}

impl<B: Backend> ModuleMapper<B> for GradientMapper<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, value, mapper) = param.consume();
        let gradient = self.gradients.remove::<B, D>(id);
        let gradient = gradient.unwrap_or_else(|| value.zeros_like());
        Param::from_mapped_value(id, gradient, mapper)
    }
}

/// Checks every recorded gradient of `loss` and returns how many there were.
#[track_caller]
pub(crate) fn assert_gradients<B: AutodiffBackend, M: AutodiffModule<B>>(
    fixture: &Fixture,
    model: &M,
    config: &DebertaConfig,
    loss: Tensor<B, 1>,
    tolerance: f64,
    rename: impl Fn(&str) -> String,
) -> usize {
    let mut gradients = GradientsParams::from_grads(loss.backward(), model);
    let by_name = model.valid().map(&mut GradientMapper {
        gradients: &mut gradients,
    });
    let actual = hub_tensors::<B::InnerBackend, _>(&by_name, config).unwrap();
    let mut checked = 0;
    for key in fixture.names() {
        // `grad.…`, `f64.grad.…`, or with the name of a variant before it.
        let variant = key.split_once(".grad.").map(|(_, name)| name);
        let Some(name) = key.strip_prefix("grad.").or(variant) else {
            continue;
        };
        let name = rename(name);
        let expected = fixture.floats(&key);
        let Some((_, gradient)) = actual.iter().find(|(it, _)| *it == name) else {
            let is_unused = expected.values.iter().all(|it| *it == 0.0);
            assert!(is_unused, "no parameter is called {name}");
            continue;
        };
        assert_gradient_close(&key, gradient.clone(), &expected, tolerance);
        checked += 1;
    }
    checked
}

/// `true` at padding, `[batch, seq_len]`, from the number of real tokens of each sequence.
pub(crate) fn mask_pad_from_lengths<B: Backend>(
    lengths: &[usize],
    seq_len: usize,
    device: &B::Device,
) -> Tensor<B, 2, Bool> {
    let row = |&length: &usize| (0..seq_len).map(move |position| position >= length);
    let mask: Vec<bool> = lengths.iter().flat_map(row).collect();
    Tensor::from_data(TensorData::new(mask, [lengths.len(), seq_len]), device)
}
