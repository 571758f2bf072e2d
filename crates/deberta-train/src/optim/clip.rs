//! Clipping by the norm of all gradients together; Burn's own clipping looks at one tensor.

use std::marker::PhantomData;

use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorPrimitive};
use deberta_model::{DebertaAutodiffBackend, DebertaBackend};

/// Keeps the scale finite when all gradients are zero.
const EPSILON: f64 = 1e-6;

/// Scales all gradients so that their common norm is at most `max_norm`.
///
/// ```text
/// g ← g · min(1, max_norm / (‖g‖ + 1e-6))        ‖g‖² = Σ over all parameters of ‖gᵢ‖²
/// ```
///
/// Nothing is read back from the device.
///
/// # Returns
///
/// The scaled gradients, and the norm before scaling, of shape `[1]`.
pub fn clip_global_norm<B: DebertaAutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    grads: GradientsParams,
    max_norm: f64,
) -> (GradientsParams, Tensor<B::InnerBackend, 1>) {
    let norm = global_norm(module, &grads);
    let scale = norm
        .clone()
        .add_scalar(EPSILON)
        .recip()
        .mul_scalar(max_norm)
        .clamp_max(1.0);
    let mut scaler = Scaler::<B> {
        scale,
        grads,
        backend: PhantomData,
    };
    module.visit(&mut scaler);
    (scaler.grads, norm)
}

/// Euclidean norm of all gradients of `module` as one vector, of shape `[1]`.
///
/// The sum runs in the order of the module tree, so it is the same in every process.
pub fn global_norm<B: DebertaAutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    grads: &GradientsParams,
) -> Tensor<B::InnerBackend, 1> {
    let mut squares = SumOfSquares::<B> { grads, sum: None };
    module.visit(&mut squares);
    match squares.sum {
        Some(sum) => sum.sqrt(),
        None => Tensor::zeros([1], &module.devices().first().cloned().unwrap_or_default()),
    }
}

struct SumOfSquares<'a, B: DebertaAutodiffBackend> {
    grads: &'a GradientsParams,
    sum: Option<Tensor<B::InnerBackend, 1>>,
}

impl<B: DebertaAutodiffBackend> ModuleVisitor<B> for SumOfSquares<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(grad) = self.grads.get::<B::InnerBackend, D>(param.id) {
            let square = B::InnerBackend::sum_of_squares(&grad.into_primitive().tensor());
            let square = Tensor::from_primitive(TensorPrimitive::Float(square));
            self.sum = Some(match self.sum.take() {
                None => square,
                Some(sum) => sum + square,
            });
        }
    }
}

struct Scaler<B: DebertaAutodiffBackend> {
    scale: Tensor<B::InnerBackend, 1>,
    grads: GradientsParams,
    backend: PhantomData<B>,
}

impl<B: DebertaAutodiffBackend> ModuleVisitor<B> for Scaler<B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(grad) = self.grads.remove::<B::InnerBackend, D>(param.id) {
            let scale = self.scale.clone().into_primitive().tensor();
            let scaled = B::InnerBackend::scale(grad.into_primitive().tensor(), &scale);
            let scaled =
                Tensor::<B::InnerBackend, D>::from_primitive(TensorPrimitive::Float(scaled));
            self.grads.register(param.id, scaled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::test_modules::Block;
    use burn::backend::{Autodiff, Flex};
    use burn::tensor::Distribution;

    type B = Autodiff<Flex>;

    /// All gradients of a block as one vector, in the order of the module tree.
    fn flatten(block: &Block<B>, grads: &GradientsParams) -> Vec<f64> {
        let matrix = grads
            .get::<Flex, 2>(block.linear.weight.id)
            .unwrap()
            .into_data();
        let bias = block.linear.bias.as_ref().unwrap().id;
        let beta = block.layer_norm.beta.as_ref().unwrap().id;
        let vectors = [bias, block.layer_norm.gamma.id, beta]
            .map(|id| grads.get::<Flex, 1>(id).unwrap().into_data());
        let vectors = vectors.iter().flat_map(|data| data.iter::<f64>());
        matrix.iter::<f64>().chain(vectors).collect()
    }

    #[track_caller]
    fn check_clip(max_norm: f64) {
        let device = Default::default();
        let block = Block::<B>::new(3, 4, &device);
        let input = Tensor::random([5, 3], Distribution::Normal(0.0, 2.0), &device);
        let grads = GradientsParams::from_grads(block.loss(input).backward(), &block);
        let before = flatten(&block, &grads);
        let expected_norm = before.iter().map(|grad| grad * grad).sum::<f64>().sqrt();
        assert!(expected_norm > 0.1, "the gradients must not be trivial");

        let (clipped, norm) = clip_global_norm(&block, grads, max_norm);

        let norm = norm.into_scalar() as f64;
        assert!((norm - expected_norm).abs() < 1e-5 * expected_norm);
        let scale = (max_norm / expected_norm).min(1.0);
        for (after, before) in flatten(&block, &clipped).iter().zip(&before) {
            assert!((after - before * scale).abs() <= 1e-5 * before.abs());
        }
    }

    #[test]
    fn large_gradients_are_scaled_to_the_norm() {
        check_clip(0.05);
    }

    #[test]
    fn small_gradients_are_left_alone() {
        check_clip(1e6);
    }

    #[test]
    fn zero_gradients_stay_zero() {
        let device = Default::default();
        let block = Block::<B>::new(2, 2, &device);
        let loss = block.loss(Tensor::zeros([1, 2], &device)) * 0.0;
        let grads = GradientsParams::from_grads(loss.backward(), &block);

        let (clipped, norm) = clip_global_norm(&block, grads, 1.0);

        assert_eq!(norm.into_scalar(), 0.0);
        assert!(flatten(&block, &clipped).iter().all(|grad| *grad == 0.0));
    }
}
