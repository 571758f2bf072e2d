//! Which backends have kernels.

#[cfg(feature = "cubecl")]
mod gpu {
    use burn::tensor::backend::Backend;
    use burn::tensor::ops::{FloatTensor, FloatTensorOps};
    use burn::tensor::{DType, TensorMetadata};
    use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};
    use burn_fusion::{Fusion, FusionBackend};

    use crate::ops::{DebertaBackend, Fused, FusedCall, FusedKind, cube};

    /// The attention kernel; Burn's own fusion takes care of what is element by element.
    impl<R, F, I, BT> DebertaBackend for CubeBackend<R, F, I, BT>
    where
        R: CubeRuntime,
        F: FloatElement,
        I: IntElement,
        BT: BoolElement,
    {
        fn fuses(kind: FusedKind, dtype: DType, device: &Self::Device) -> bool {
            match kind {
                FusedKind::Attention { head_dim } => {
                    Self::supports_dtype(device, dtype)
                        && cube::supports::<R>(head_dim, dtype, device)
                }
                _ => false,
            }
        }

        fn fused(call: &FusedCall<Self>, inputs: &[FloatTensor<Self>]) -> Fused<Self> {
            match call {
                FusedCall::Attention(call) => cube::forward(call, inputs),
                other => unreachable!("`fuses` is false for {other:?}"),
            }
        }

        fn fused_backward(
            call: &FusedCall<Self>,
            inputs: &[FloatTensor<Self>],
            output: &Fused<Self>,
            grad: FloatTensor<Self>,
        ) -> Vec<FloatTensor<Self>> {
            match call {
                FusedCall::Attention(call) => cube::backward(call, inputs, output, grad),
                other => unreachable!("`fuses` is false for {other:?}"),
            }
        }

        fn product(left: FloatTensor<Self>, right: FloatTensor<Self>) -> FloatTensor<Self> {
            let dtype = left.dtype;
            cube::product(left, right, dtype)
        }
    }

    impl<B: FusionBackend + DebertaBackend> DebertaBackend for Fusion<B> {
        fn fuses(kind: FusedKind, dtype: DType, device: &Self::Device) -> bool {
            matches!(kind, FusedKind::Attention { .. }) && B::fuses(kind, dtype, device)
        }

        fn fused(call: &FusedCall<Self>, inputs: &[FloatTensor<Self>]) -> Fused<Self> {
            match call {
                FusedCall::Attention(call) => cube::fusion::forward(call, inputs),
                other => unreachable!("`fuses` is false for {other:?}"),
            }
        }

        fn fused_backward(
            call: &FusedCall<Self>,
            inputs: &[FloatTensor<Self>],
            output: &Fused<Self>,
            grad: FloatTensor<Self>,
        ) -> Vec<FloatTensor<Self>> {
            match call {
                FusedCall::Attention(call) => cube::fusion::backward(call, inputs, output, grad),
                other => unreachable!("`fuses` is false for {other:?}"),
            }
        }

        fn product(left: FloatTensor<Self>, right: FloatTensor<Self>) -> FloatTensor<Self> {
            if cube::is_tunable(&left.shape(), cube::LARGEST_PLANE) {
                // What follows may become part of the product's kernel.
                Self::float_matmul(left, right)
            } else {
                cube::fusion::product::<B>(left, right)
            }
        }
    }
}

#[cfg(any(feature = "flex", feature = "ndarray"))]
mod host {
    use burn::tensor::ops::{FloatTensor, IntTensor};
    use burn::tensor::{DType, TensorMetadata};

    use crate::ops::{
        AdamWTensors, AdamWUpdate, DebertaBackend, Fused, FusedCall, FusedKind, LinearGradients,
        backend, cpu,
    };

    /// The CPU kernels, for a backend whose numbers they can read.
    macro_rules! use_cpu_kernels {
        ($backend:ty) => {
            impl DebertaBackend for $backend {
                fn fuses(_kind: FusedKind, dtype: DType, _device: &Self::Device) -> bool {
                    dtype == DType::F32
                }

                fn fused(call: &FusedCall<Self>, inputs: &[FloatTensor<Self>]) -> Fused<Self> {
                    cpu::forward(call, inputs)
                }

                fn fused_backward(
                    call: &FusedCall<Self>,
                    inputs: &[FloatTensor<Self>],
                    output: &Fused<Self>,
                    grad: FloatTensor<Self>,
                ) -> Vec<FloatTensor<Self>> {
                    cpu::backward(call, inputs, output, grad)
                }

                fn linear_backward(
                    call: LinearGradients<'_, Self>,
                ) -> [Option<FloatTensor<Self>>; 3] {
                    cpu::linear_backward(call)
                }

                fn lookup_backward(
                    table: FloatTensor<Self>,
                    ids: IntTensor<Self>,
                    grad: FloatTensor<Self>,
                    sum: Option<FloatTensor<Self>>,
                ) -> FloatTensor<Self> {
                    match table.dtype() {
                        DType::F32 => cpu::lookup_backward::<Self>(table.shape(), &ids, &grad, sum),
                        _ => backend::lookup_backward::<Self>(table, ids, grad, sum),
                    }
                }

                fn adamw(update: &AdamWUpdate, tensors: AdamWTensors<Self>) -> AdamWTensors<Self> {
                    cpu::adamw(update, tensors)
                }

                fn sum_of_squares(x: &FloatTensor<Self>) -> FloatTensor<Self> {
                    cpu::sum_of_squares::<Self>(x)
                }

                fn scale(x: FloatTensor<Self>, factor: &FloatTensor<Self>) -> FloatTensor<Self> {
                    cpu::scale::<Self>(x, factor)
                }
            }
        };
    }

    #[cfg(feature = "flex")]
    use_cpu_kernels!(burn::backend::Flex);
    #[cfg(feature = "ndarray")]
    use_cpu_kernels!(burn::backend::NdArray<f32>);
    /// The backend of choice for f64, which has no kernels.
    #[cfg(feature = "ndarray")]
    impl DebertaBackend for burn::backend::NdArray<f64> {}
}
