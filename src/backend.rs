//! The one place where a feature flag picks the compute backend.
//!
//! `cuda` wins over `wgpu` (which `vulkan` and `metal` imply), `wgpu` over the CPU, `flex` over
//! `ndarray`: features stay additive, and `--all-features` still means one backend.

#[cfg(not(any(
    feature = "flex",
    feature = "ndarray",
    feature = "wgpu",
    feature = "cuda"
)))]
compile_error!("choose a backend feature: `flex`, `ndarray`, `wgpu`, `vulkan`, `metal` or `cuda`");

/// Compute backend chosen by the feature flags.
#[cfg(feature = "cuda")]
pub type DefaultBackend = burn::backend::Cuda;
/// Compute backend chosen by the feature flags.
#[cfg(all(feature = "wgpu", not(feature = "cuda")))]
pub type DefaultBackend = burn::backend::Wgpu;
/// Compute backend chosen by the feature flags.
#[cfg(all(feature = "flex", not(any(feature = "wgpu", feature = "cuda"))))]
pub type DefaultBackend = burn::backend::Flex;
/// Compute backend chosen by the feature flags.
#[cfg(all(
    feature = "ndarray",
    not(any(feature = "flex", feature = "wgpu", feature = "cuda"))
))]
pub type DefaultBackend = burn::backend::NdArray;

/// The chosen backend with automatic differentiation, for training.
pub type DefaultAutodiffBackend = burn::backend::Autodiff<DefaultBackend>;

/// Name of the chosen backend: the feature flag that selects it.
pub const DEFAULT_BACKEND_NAME: &str = if cfg!(feature = "cuda") {
    "cuda"
} else if cfg!(feature = "vulkan") {
    "vulkan"
} else if cfg!(feature = "metal") {
    "metal"
} else if cfg!(feature = "wgpu") {
    "wgpu"
} else if cfg!(feature = "flex") {
    "flex"
} else {
    "ndarray"
};
