//! Access to the numbers of a CPU backend.

use std::borrow::Cow;

use burn::tensor::backend::{Backend, ExecutionError};
use burn::tensor::ops::{BoolTensor, FloatTensor, IntTensor};
use burn::tensor::{Shape, TensorData, try_read_sync};

/// Numbers of a tensor, borrowed where the backend allows it.
pub(super) type Floats<'a> = Cow<'a, [f32]>;

/// A backend whose tensors live in main memory.
pub(crate) trait HostBackend: Backend {
    /// Numbers of an f32 tensor, row after row.
    fn floats(tensor: &FloatTensor<Self>) -> Floats<'_>;

    /// Numbers of an f32 tensor, row after row; its own memory if no other tensor shares it.
    fn take(tensor: FloatTensor<Self>) -> Vec<f32> {
        let data = read(try_read_sync(Self::float_into_data(tensor)));
        match data.into_vec() {
            Ok(values) => values,
            Err(error) => unreachable!("kernels run in f32: {error:?}"),
        }
    }

    /// An f32 tensor of these numbers.
    fn tensor(values: Vec<f32>, shape: Shape) -> FloatTensor<Self> {
        Self::float_from_data(TensorData::new(values, shape), &Self::Device::default())
    }

    /// Numbers of an integer tensor.
    fn ints(tensor: &IntTensor<Self>) -> Vec<i32> {
        let data = read(try_read_sync(Self::int_into_data(tensor.clone())));
        data.iter::<i32>().collect()
    }

    /// Values of a boolean tensor.
    fn bools(tensor: &BoolTensor<Self>) -> Vec<bool> {
        let data = read(try_read_sync(Self::bool_into_data(tensor.clone())));
        data.iter::<bool>().collect()
    }
}

/// Reading main memory neither waits nor fails.
fn read(data: Option<Result<TensorData, ExecutionError>>) -> TensorData {
    match data {
        Some(Ok(data)) => data,
        other => unreachable!("a CPU tensor could not be read: {other:?}"),
    }
}

#[cfg(feature = "flex")]
impl HostBackend for burn::backend::Flex {
    fn floats(tensor: &FloatTensor<Self>) -> Floats<'_> {
        match tensor.as_slice::<f32>() {
            Some(values) => Cow::Borrowed(values),
            None => Cow::Owned(tensor.to_contiguous().storage::<f32>().to_vec()),
        }
    }
}

#[cfg(feature = "ndarray")]
impl HostBackend for burn::backend::NdArray<f32> {
    fn floats(tensor: &FloatTensor<Self>) -> Floats<'_> {
        use burn::backend::ndarray::NdArrayTensor;
        use burn::tensor::TensorMetadata;
        let NdArrayTensor::F32(storage) = tensor else {
            unreachable!("kernels run in f32: {:?}", tensor.dtype());
        };
        let view = storage.view();
        match view.to_slice() {
            Some(values) => Cow::Borrowed(values),
            None => Cow::Owned(view.iter().copied().collect()),
        }
    }
}
