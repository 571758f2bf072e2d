//! Which backends have kernels.

#[cfg(feature = "cubecl")]
mod cube {
    use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};
    use burn_fusion::{Fusion, FusionBackend};

    use crate::ops::DebertaBackend;

    impl<R, F, I, BT> DebertaBackend for CubeBackend<R, F, I, BT>
    where
        R: CubeRuntime,
        F: FloatElement,
        I: IntElement,
        BT: BoolElement,
    {
    }

    impl<B: FusionBackend + DebertaBackend> DebertaBackend for Fusion<B> {}
}

#[cfg(any(feature = "flex", feature = "ndarray"))]
mod host {
    use burn::tensor::DType;
    use burn::tensor::ops::FloatTensor;

    use crate::ops::{AdamWTensors, AdamWUpdate, DebertaBackend, Fused, FusedCall, FusedKind, cpu};

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
