//! The attention kernel of Burn's GPU backends, on whatever device the features `test-wgpu` and
//! `test-cuda` choose.
#![cfg(any(feature = "test-wgpu", feature = "test-cuda"))]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test helpers; tables and what is skipped are printed"
)]

mod case;
#[cfg(all(feature = "test-cuda", not(feature = "test-wgpu")))]
mod compile;
mod reference;
mod tests;

use burn::tensor::TensorData;

/// The backend under test.
#[cfg(feature = "test-wgpu")]
type Accelerator = burn::backend::Wgpu;
/// The backend under test.
#[cfg(all(feature = "test-cuda", not(feature = "test-wgpu")))]
type Accelerator = burn::backend::Cuda;

fn to_f64(data: TensorData) -> Vec<f64> {
    data.iter::<f64>().collect()
}
