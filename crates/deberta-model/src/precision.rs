//! The float type of a network's parameters.
//!
//! A network computes in the type of its parameters. In f16 and bf16 the scores of attention are
//! scaled before the products and added in f32; softmax, layer norm, GELU and losses are computed in
//! f32 as well.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor, backend::Backend};

/// A float type that the backend does not compute with on this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the backend does not compute in {dtype:?} on this device")]
pub struct UnsupportedFloat {
    /// The type.
    pub dtype: DType,
}

/// The same network with its parameters in `dtype`.
///
/// # Errors
///
/// If the type is not a float type, or the backend does not have it on this device.
pub fn cast<B: Backend, M: Module<B>>(
    module: M,
    dtype: DType,
    device: &B::Device,
) -> Result<M, UnsupportedFloat> {
    if !dtype.is_float() || !B::supports_dtype(device, dtype) {
        return Err(UnsupportedFloat { dtype });
    }
    Ok(module.map(&mut Cast { dtype }))
}

struct Cast {
    dtype: DType,
}

impl<B: Backend> ModuleMapper<B> for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        cast_parameter(param, self.dtype)
    }
}

/// The parameter in a type that the device computes in.
pub(crate) fn cast_parameter<B: Backend, const D: usize>(
    param: Param<Tensor<B, D>>,
    dtype: DType,
) -> Param<Tensor<B, D>> {
    let (id, value, mapper) = param.consume();
    let tracked = value.is_require_grad();
    // A parameter is a leaf of the graph, so the conversion itself must not be tracked; `detach`
    // would leave it so.
    let value = value.set_require_grad(false).cast(dtype);
    let value = value.set_require_grad(tracked);
    Param::from_mapped_value(id, value, mapper)
}
