//! Parameter groups, decided from the module tree.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use burn::module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};

/// Parameter names that are never decayed, wherever they occur.
const UNDECAYED_NAMES: [&str; 3] = ["bias", "gamma", "beta"];

/// How the parameters of a network differ in decay and rate.
///
/// Decisions are taken from the path of a parameter in the module tree, so they survive the loading
/// of a record, which changes the ids of the parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Grouping {
    /// Decay biases and layer norms, too.
    pub decay_everything: bool,
    /// Factor of the rate from one layer to the one below, 1 for the same rate everywhere.
    ///
    /// ```text
    /// rate of layer i of n = d^(n − i)      embeddings: d^(n + 1)      all else, also the head: 1
    /// ```
    ///
    /// Reference: Clark et al., ELECTRA, <https://arxiv.org/abs/2003.10555>, Appendix B.
    pub layer_rate_decay: f64,
    /// Further factors by part of the path, such as `classifier` or `deberta.embeddings`; the
    /// longest part that fits counts. 0 freezes: in a run, such parameters have no gradients, which
    /// would have a part in the norm, and no moments.
    pub rate_factors: BTreeMap<String, f64>,
}

/// Gradients of the parameters that are treated alike.
#[derive(Debug)]
pub struct ParameterGroup {
    /// Whether the parameters are decayed.
    pub decayed: bool,
    /// Factor of the learning rate.
    pub rate: f64,
    /// Gradients by parameter id.
    pub grads: GradientsParams,
}

/// Where a parameter is in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    Embeddings,
    Layer(i32),
    Elsewhere,
}

impl Grouping {
    /// Splits gradients into groups, in the order of the module tree.
    ///
    /// Biases and everything inside a layer norm are not decayed, unless all is.
    ///
    /// Reference: `no_decay` in microsoft/DeBERTa `optims/args.py`.
    ///
    /// # Arguments
    ///
    /// - `module`: the module that the gradients belong to
    /// - `grads`: gradients by parameter id
    pub fn split<B: AutodiffBackend, M: AutodiffModule<B>>(
        &self,
        module: &M,
        grads: GradientsParams,
    ) -> Vec<ParameterGroup> {
        let mut splitter = Splitter::<B> {
            grouping: self,
            path: Vec::new(),
            rest: grads,
            layers: 0,
            groups: Vec::new(),
            backend: PhantomData,
        };
        module.visit(&mut splitter);
        let layers = splitter.layers;
        let group = |(key, grads): (Key, GradientsParams)| ParameterGroup {
            decayed: key.decayed,
            rate: key.factor * self.rate_at(key.depth, layers),
            grads,
        };
        splitter.groups.into_iter().map(group).collect()
    }

    /// Takes parameters whose factor is 0 out of the graph.
    pub(crate) fn freeze<B: Backend, M: Module<B>>(&self, module: M) -> Frozen<M> {
        let mut freezer = Freezer {
            grouping: self,
            path: Vec::new(),
            unknown: self.rate_factors.keys().map(String::as_str).collect(),
            learns: false,
        };
        let module = module.map(&mut freezer);
        let unknown = freezer.unknown.first().map(|part| part.to_string());
        Frozen {
            module,
            unknown,
            learns: freezer.learns,
        }
    }

    fn rate_at(&self, depth: Depth, layers: i32) -> f64 {
        match depth {
            Depth::Embeddings => self.layer_rate_decay.powi(layers + 1),
            Depth::Layer(index) => self.layer_rate_decay.powi(layers - index),
            Depth::Elsewhere => 1.0,
        }
    }

    fn key(&self, path: &[(String, String)]) -> Key {
        let depth = match self.layer_rate_decay {
            1.0 => Depth::Elsewhere,
            _ => depth(path),
        };
        Key {
            decayed: self.decay_everything || is_decayed(path),
            depth,
            factor: self.factor(path),
        }
    }

    fn factor(&self, path: &[(String, String)]) -> f64 {
        let fitting = self.rate_factors.iter();
        fitting
            .filter(|(part, _)| fits(part, path))
            .max_by_key(|(part, _)| part.len())
            .map_or(1.0, |(_, factor)| *factor)
    }
}

/// Whether `part` is a part of the path.
fn fits(part: &str, path: &[(String, String)]) -> bool {
    let part: Vec<&str> = part.split('.').collect();
    let names: Vec<&str> = path.iter().map(|(name, _)| name.as_str()).collect();
    names.windows(part.len()).any(|window| window == part)
}

/// Where the parameter at the end of `path` is.
fn depth(path: &[(String, String)]) -> Depth {
    let layer = path.windows(2).find_map(|pair| match pair[0].0.as_str() {
        "layers" => pair[1].0.parse().ok(),
        _ => None,
    });
    match layer {
        Some(index) => Depth::Layer(index),
        None if path.iter().any(|(name, _)| name == "embeddings") => Depth::Embeddings,
        None => Depth::Elsewhere,
    }
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

/// A module some of whose parameters are frozen.
pub(crate) struct Frozen<M> {
    pub(crate) module: M,
    /// A factor that is no part of the path of any parameter.
    pub(crate) unknown: Option<String>,
    /// Whether any parameter still learns.
    pub(crate) learns: bool,
}

struct Freezer<'a> {
    grouping: &'a Grouping,
    path: Vec<(String, String)>,
    unknown: BTreeSet<&'a str>,
    learns: bool,
}

impl<B: Backend> ModuleMapper<B> for Freezer<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push((name.to_owned(), container_type.to_owned()));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        self.unknown.retain(|part| !fits(part, &self.path));
        match self.grouping.factor(&self.path) {
            0.0 => param.set_require_grad(false),
            _ => {
                self.learns = true;
                param
            }
        }
    }
}

/// What the parameters of a group have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Key {
    decayed: bool,
    depth: Depth,
    factor: f64,
}

struct Splitter<'a, B: AutodiffBackend> {
    grouping: &'a Grouping,
    path: Vec<(String, String)>,
    rest: GradientsParams,
    layers: i32,
    groups: Vec<(Key, GradientsParams)>,
    backend: PhantomData<B>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Splitter<'_, B> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push((name.to_owned(), container_type.to_owned()));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let key = self.grouping.key(&self.path);
        if let Depth::Layer(index) = key.depth {
            self.layers = self.layers.max(index + 1);
        }
        let Some(grad) = self.rest.remove::<B::InnerBackend, D>(param.id) else {
            return;
        };
        let known = self.groups.iter().position(|(it, _)| *it == key);
        let group = known.unwrap_or_else(|| {
            self.groups.push((key, GradientsParams::new()));
            self.groups.len() - 1
        });
        let grads = &mut self.groups[group].1;
        grads.register::<B::InnerBackend, D>(param.id, grad);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::test_modules::Block;
    use burn::backend::{Autodiff, Flex};
    use burn::tensor::Distribution;

    type B = Autodiff<Flex>;

    fn grouping() -> Grouping {
        Grouping {
            decay_everything: false,
            layer_rate_decay: 1.0,
            rate_factors: BTreeMap::new(),
        }
    }

    fn gradients(block: &Block<B>) -> GradientsParams {
        let input = Tensor::random([2, 3], Distribution::Default, &Default::default());
        GradientsParams::from_grads(block.loss(input).backward(), block)
    }

    #[test]
    fn only_matrices_are_decayed() {
        let block = Block::<B>::new(3, 4, &Default::default());
        let groups = grouping().split(&block, gradients(&block));

        let [decayed, undecayed] = &groups[..] else {
            panic!("{groups:?}")
        };
        assert!(decayed.decayed && !undecayed.decayed);
        assert_eq!((decayed.grads.len(), undecayed.grads.len()), (1, 3));
        assert_eq!((decayed.rate, undecayed.rate), (1.0, 1.0));
        let weight = block.linear.weight.id;
        assert!(decayed.grads.get::<Flex, 2>(weight).is_some());
        let bias = block.linear.bias.unwrap();
        assert!(undecayed.grads.get::<Flex, 1>(bias.id).is_some());
        let gamma = block.layer_norm.gamma.id;
        assert!(undecayed.grads.get::<Flex, 1>(gamma).is_some());
    }

    #[test]
    fn one_group_is_all_that_is_left_when_everything_is_decayed() {
        let block = Block::<B>::new(3, 4, &Default::default());
        let everything = Grouping {
            decay_everything: true,
            ..grouping()
        };
        let groups = everything.split(&block, gradients(&block));
        assert_eq!((groups.len(), groups[0].grads.len()), (1, 4));
    }

    /// A network in miniature, with the names that matter.
    #[derive(Module, Debug)]
    struct Network<B: Backend> {
        embeddings: Block<B>,
        layers: Vec<Block<B>>,
        classifier: Block<B>,
    }

    #[test]
    fn rates_fall_from_the_head_to_the_embeddings() {
        let device = Default::default();
        let block = || Block::<B>::new(3, 3, &device);
        let network = Network {
            embeddings: block(),
            layers: vec![block(), block()],
            classifier: block(),
        };
        let input = Tensor::random([2, 3], Distribution::Default, &device);
        let blocks = [&network.embeddings, &network.layers[0], &network.layers[1]];
        let loss = blocks
            .into_iter()
            .fold(network.classifier.loss(input.clone()), |loss, block| {
                loss + block.loss(input.clone())
            });
        let grads = GradientsParams::from_grads(loss.backward(), &network);

        let layerwise = Grouping {
            layer_rate_decay: 0.5,
            rate_factors: [("classifier", 10.0), ("classifier.layer_norm", 0.0)]
                .map(|(part, factor)| (part.to_owned(), factor))
                .into(),
            ..grouping()
        };
        let mut rates: Vec<_> = layerwise
            .split(&network, grads)
            .iter()
            .map(|it| (it.rate, it.decayed, it.grads.len()))
            .collect();
        rates.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let expected = [
            (0.0, false, 2),
            (0.125, false, 3),
            (0.125, true, 1),
            (0.25, false, 3),
            (0.25, true, 1),
            (0.5, false, 3),
            (0.5, true, 1),
            (10.0, false, 1),
            (10.0, true, 1),
        ];
        assert_eq!(rates, expected);
    }

    #[test]
    fn what_is_frozen_has_no_gradient() {
        let device = Default::default();
        let factors = |factors: &[(&str, f64)]| Grouping {
            rate_factors: factors.iter().map(|it| (it.0.to_owned(), it.1)).collect(),
            ..grouping()
        };
        let freeze = |grouping: Grouping| grouping.freeze(Block::<B>::new(3, 4, &device));

        let frozen = freeze(factors(&[("layer_norm", 0.0), ("layer_norm.gamma", 2.0)]));
        assert_eq!((frozen.unknown, frozen.learns), (None, true));
        let grads = gradients(&frozen.module);
        assert_eq!(grads.len(), 3);
        let beta = frozen.module.layer_norm.beta.unwrap();
        assert!(grads.get::<Flex, 1>(beta.id).is_none());

        let misspelt = freeze(factors(&[("linear", 2.0), ("linaer", 0.0)]));
        assert_eq!(misspelt.unknown.as_deref(), Some("linaer"));
        let all = freeze(factors(&[("linear", 0.0), ("layer_norm", 0.0)]));
        assert!(!all.learns);
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
