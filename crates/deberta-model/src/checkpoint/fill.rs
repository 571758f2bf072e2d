//! Copying weights into a network that was built but holds no numbers yet.
//!
//! Parameters are lazy: those that the file has are never drawn at random. Each is read, converted
//! and transposed in one pass from the mapped file to the memory that the tensor keeps.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Element, Tensor};

use super::error::CheckpointError;
use super::floats::FloatType;
use super::names::{ENCODER, POSITION_TABLE, from_hub, to_hub_file};
use super::options::{LoadOptions, LoadReport};
use super::weights::{Source, Weights, head_of};
use crate::config::{AbsolutePositions, DebertaConfig};
use crate::precision::{self, UnsupportedFloat};

/// Path of a parameter in a module, in the names that all our modules share.
#[derive(Default)]
pub(super) struct ModulePath {
    names: Vec<String>,
    containers: Vec<String>,
}

impl ModulePath {
    pub(super) fn enter(&mut self, name: &str, container: &str) {
        self.names.push(name.into());
        self.containers.push(container.into());
    }

    pub(super) fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
    }

    pub(super) fn name(&self) -> String {
        self.names.join(".")
    }

    /// The name with the prefix that a bare encoder lacks.
    fn full_name(&self) -> String {
        let name = self.name();
        let bare = ["embeddings.", "encoder."];
        match bare.iter().any(|it| name.starts_with(it)) {
            true => format!("{ENCODER}{name}"),
            false => name,
        }
    }

    /// PyTorch has the axes of a linear layer's matrix the other way round.
    pub(super) fn is_transposed(&self) -> bool {
        self.containers
            .last()
            .is_some_and(|it| it == "Struct:Linear")
            && self.names.last().is_some_and(|it| it == "weight")
    }
}

/// The parameters that a network has, with their shapes in PyTorch's order of axes.
#[derive(Default)]
pub(super) struct Expected {
    path: ModulePath,
    pub(super) shapes: BTreeMap<String, Vec<usize>>,
}

impl Expected {
    pub(super) fn of<B: Backend, M: Module<B>>(model: &M) -> Self {
        let mut expected = Self::default();
        model.visit(&mut expected);
        expected
    }
}

impl<B: Backend> ModuleVisitor<B> for Expected {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let mut shape = param.lazy_shape().to_vec();
        if self.path.is_transposed() {
            shape.reverse();
        }
        self.shapes.insert(self.path.full_name(), shape);
    }
}

/// How the tensors of a file fit the parameters of a network.
pub(super) struct Plan {
    /// Where each parameter that is taken from the file comes from, by our names.
    sources: BTreeMap<String, Source>,
    pub(super) missing: Vec<String>,
    pub(super) unexpected: Vec<String>,
    pub(super) wrong_shape: Vec<String>,
    pub(super) report: LoadReport,
}

impl Plan {
    pub(super) fn new(
        expected: &Expected,
        config: &DebertaConfig,
        weights: &Weights,
        options: &LoadOptions,
    ) -> Result<Self, CheckpointError> {
        let heads: BTreeSet<_> = expected
            .shapes
            .keys()
            .filter_map(|name| head_of(&to_hub_file(name, config.family)))
            .collect();
        let (sources, left_aside) = weights.sources(config, |hub_name| {
            let is_fresh = begins_with_any(hub_name, &options.fresh);
            let is_other_head = head_of(hub_name).is_some_and(|head| !heads.contains(head));
            let is_unused_table =
                hub_name == POSITION_TABLE && config.absolute_positions == AbsolutePositions::None;
            let is_known = expected.shapes.contains_key(&from_hub(hub_name));
            let is_allowed = !is_known && begins_with_any(hub_name, &options.may_remain);
            !(is_fresh || is_other_head || is_unused_table || is_allowed)
        })?;
        let mut plan = Self {
            sources,
            missing: Vec::new(),
            unexpected: Vec::new(),
            wrong_shape: Vec::new(),
            report: LoadReport {
                fresh: Vec::new(),
                left_aside,
            },
        };
        plan.compare(expected, config, options);
        Ok(plan)
    }

    fn compare(&mut self, expected: &Expected, config: &DebertaConfig, options: &LoadOptions) {
        let (mut missing, mut fresh) = (BTreeSet::new(), BTreeSet::new());
        let mut wrong_shape = BTreeSet::new();
        for (name, shape) in &expected.shapes {
            let hub_name = to_hub_file(name, config.family);
            let Some(source) = self.sources.get(name) else {
                let allowed = [&options.may_miss, &options.fresh];
                match allowed.iter().any(|it| begins_with_any(&hub_name, it)) {
                    true => fresh.insert(hub_name),
                    false => missing.insert(hub_name),
                };
                continue;
            };
            let tensor = &source.tensor;
            let (name, found, dtype) = (&tensor.name, &tensor.shape, &tensor.dtype);
            if source.shape().as_ref() != Some(shape) {
                let shape = source.stored_shape(shape);
                wrong_shape.insert(format!("{name} (expected {shape:?}, found {found:?})"));
            } else if dtype.float().is_none() {
                wrong_shape.insert(format!("{name} (expected floats, found {dtype})"));
            }
        }
        let unknown = self.sources.iter();
        let unknown = unknown.filter(|(name, _)| !expected.shapes.contains_key(*name));
        let unexpected = unknown.map(|(_, source)| source.tensor.name.clone());
        self.unexpected = BTreeSet::from_iter(unexpected).into_iter().collect();
        self.missing = missing.into_iter().collect();
        self.wrong_shape = wrong_shape.into_iter().collect();
        self.report.fresh = fresh.into_iter().collect();
    }

    fn check(&self, weights: &Weights) -> Result<(), CheckpointError> {
        let lists = [&self.missing, &self.unexpected, &self.wrong_shape];
        if lists.iter().all(|list| list.is_empty()) {
            return Ok(());
        }
        Err(CheckpointError::Mismatch {
            path: weights.path().into(),
            missing: self.missing.clone(),
            unexpected: self.unexpected.clone(),
            wrong_shape: self.wrong_shape.clone(),
        })
    }
}

fn begins_with_any(name: &str, prefixes: &[String]) -> bool {
    prefixes.iter().any(|it| name.starts_with(it.as_str()))
}

/// Copies the weights into `model`, whose parameters must be lazy still.
pub(super) fn fill<B: Backend, M: Module<B>>(
    model: M,
    config: &DebertaConfig,
    weights: &Weights,
    options: &LoadOptions,
) -> Result<(M, LoadReport), CheckpointError> {
    let expected = Expected::of::<B, M>(&model);
    let plan = Plan::new(&expected, config, weights, options)?;
    plan.check(weights)?;
    let mut filler = Filler {
        path: ModulePath::default(),
        sources: plan.sources,
        float: match options.dtype {
            Some(dtype) => FloatType::from_dtype(dtype).ok_or(UnsupportedFloat { dtype })?,
            None => FloatType::from_dtype(B::FloatElem::dtype()).unwrap_or_default(),
        },
        dtype: options.dtype,
        problem: None,
    };
    let model = model.map(&mut filler);
    match filler.problem {
        Some(problem) => Err(problem),
        None => Ok((model, plan.report)),
    }
}

struct Filler {
    path: ModulePath,
    sources: BTreeMap<String, Source>,
    float: FloatType,
    /// Given by the caller, so that the device may lack it.
    dtype: Option<DType>,
    /// The first one; what follows is not read.
    problem: Option<CheckpointError>,
}

impl<B: Backend> ModuleMapper<B> for Filler {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let source = self.sources.remove(&self.path.full_name());
        if let Some(dtype) = self.dtype.filter(|_| self.problem.is_none())
            && !B::supports_dtype(&param.lazy_device(), dtype)
        {
            self.problem = Some(UnsupportedFloat { dtype }.into());
        }
        if self.problem.is_some() {
            return param;
        }
        let Some(source) = source else {
            return match self.dtype {
                Some(dtype) => precision::cast_parameter(param, dtype),
                None => param,
            };
        };
        match source.data(self.float, self.path.is_transposed()) {
            Ok(data) => {
                let dtype = data.dtype;
                let tensor = Tensor::from_data(data, (&param.lazy_device(), dtype));
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Err(problem) => {
                self.problem = Some(problem);
                param
            }
        }
    }
}
