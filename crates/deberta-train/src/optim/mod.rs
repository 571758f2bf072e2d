//! Optimisers: AdamW with parameter groups, global-norm clipping, a handle that can be shared.

mod adamw;
mod clip;
mod groups;
mod shared;

pub use adamw::{AdamW, AdamWConfig, AdamWRule, Moments};
pub use clip::{clip_global_norm, global_norm};
pub use groups::{Grouping, ParameterGroup};
pub use shared::SharedOptimizer;

#[cfg(test)]
pub(crate) mod test_modules {
    //! Small modules whose parameters carry the names that matter.

    use burn::module::Module;
    use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
    use burn::tensor::{Tensor, backend::Backend};

    /// `layer_norm(linear(x))`, the smallest module with both kinds of parameter.
    #[derive(Module, Debug)]
    pub(crate) struct Block<B: Backend> {
        pub(crate) linear: Linear<B>,
        pub(crate) layer_norm: LayerNorm<B>,
    }

    impl<B: Backend> Block<B> {
        pub(crate) fn new(input: usize, output: usize, device: &B::Device) -> Self {
            Self {
                linear: LinearConfig::new(input, output).init(device),
                layer_norm: LayerNormConfig::new(output).init(device),
            }
        }

        /// A scalar that depends on every parameter.
        pub(crate) fn loss(&self, input: Tensor<B, 2>) -> Tensor<B, 1> {
            let output = self.layer_norm.forward(self.linear.forward(input));
            (output.clone() * output.sin()).sum()
        }
    }
}
