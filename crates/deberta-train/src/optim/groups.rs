//! Which parameters are decayed, decided from the module tree.

use std::marker::PhantomData;

use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, backend::AutodiffBackend};

/// Parameter names that are never decayed, wherever they occur.
const UNDECAYED_NAMES: [&str; 3] = ["bias", "gamma", "beta"];

/// Splits gradients into those of decayed parameters and those of the others.
///
/// Biases and everything inside a layer norm are not decayed. The decision is taken from the
/// path of the parameter in `module`, so it survives the loading of a record, which changes the
/// ids of the parameters.
///
/// Reference: `no_decay` in microsoft/DeBERTa `optims/args.py`.
///
/// # Arguments
///
/// - `module`: the module that the gradients belong to
/// - `grads`: gradients by parameter id
///
/// # Returns
///
/// The gradients of decayed parameters, then the gradients of all others.
pub fn split_by_decay<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    grads: GradientsParams,
) -> (GradientsParams, GradientsParams) {
    let mut splitter = Splitter::<B> {
        path: Vec::new(),
        rest: grads,
        decayed: GradientsParams::new(),
        undecayed: GradientsParams::new(),
        backend: PhantomData,
    };
    module.visit(&mut splitter);
    (splitter.decayed, splitter.undecayed)
}

/// Tells whether the parameter at the end of `path` is decayed.
///
/// Each element of the path is the name of a field and the type that holds it.
fn is_decayed(path: &[(String, String)]) -> bool {
    let named_so = path
        .last()
        .is_some_and(|(name, _)| UNDECAYED_NAMES.contains(&name.as_str()));
    let in_layer_norm = path
        .iter()
        .any(|(_, container)| container.ends_with("LayerNorm"));
    !named_so && !in_layer_norm
}

struct Splitter<B: AutodiffBackend> {
    path: Vec<(String, String)>,
    rest: GradientsParams,
    decayed: GradientsParams,
    undecayed: GradientsParams,
    backend: PhantomData<B>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Splitter<B> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push((name.to_owned(), container_type.to_owned()));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let Some(grad) = self.rest.remove::<B::InnerBackend, D>(param.id) else {
            return;
        };
        let group = if is_decayed(&self.path) {
            &mut self.decayed
        } else {
            &mut self.undecayed
        };
        group.register::<B::InnerBackend, D>(param.id, grad);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::test_modules::Block;
    use burn::backend::{Autodiff, Flex};
    use burn::tensor::Distribution;

    type B = Autodiff<Flex>;

    #[test]
    fn only_matrices_are_decayed() {
        let device = Default::default();
        let block = Block::<B>::new(3, 4, &device);
        let input = Tensor::random([2, 3], Distribution::Default, &device);
        let grads = GradientsParams::from_grads(block.loss(input).backward(), &block);
        assert_eq!(grads.len(), 4);

        let (decayed, undecayed) = split_by_decay(&block, grads);

        assert_eq!((decayed.len(), undecayed.len()), (1, 3));
        assert!(decayed.get::<Flex, 2>(block.linear.weight.id).is_some());
        let bias = block.linear.bias.unwrap();
        assert!(undecayed.get::<Flex, 1>(bias.id).is_some());
        assert!(
            undecayed
                .get::<Flex, 1>(block.layer_norm.gamma.id)
                .is_some()
        );
    }

    #[track_caller]
    fn check_decayed(path: &[(&str, &str)], expected: bool) {
        let path: Vec<_> = path
            .iter()
            .map(|(name, container)| (name.to_string(), container.to_string()))
            .collect();
        assert_eq!(is_decayed(&path), expected);
    }

    #[test]
    fn a_weight_inside_any_layer_norm_is_not_decayed() {
        check_decayed(
            &[("encoder", "Struct:Model"), ("weight", "Struct:Linear")],
            true,
        );
        check_decayed(
            &[
                ("norm", "Struct:Model"),
                ("weight", "Struct:MaskedLayerNorm"),
            ],
            false,
        );
        check_decayed(&[("head", "Struct:Model"), ("bias", "Struct:Head")], false);
        // A module that is merely called so keeps its decay.
        check_decayed(
            &[("bias", "Struct:Model"), ("weight", "Struct:Linear")],
            true,
        );
    }
}
