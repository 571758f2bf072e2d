//! AdamW with decoupled weight decay and rates by group of parameters.

use std::collections::BTreeMap;
use std::io::{self, Write};

use burn::module::{AutodiffModule, ParamId};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::record::AdaptorRecord;
use burn::optim::{
    GradientsParams, LearningRate, MultiGradientsParams, Optimizer, SimpleOptimizer,
};
use burn::record::Record;
use burn::tensor::{Tensor, TensorPrimitive, backend::Backend};
use deberta_model::ops::{AdamWTensors, AdamWUpdate, FusedKind};
use deberta_model::{DebertaAutodiffBackend, DebertaBackend};
use serde::{Deserialize, Serialize, Serializer};

use super::groups::{Grouping, ParameterGroup};
use crate::checkpoint::{Settings, write_item};

/// Configuration to create [`AdamW`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Decay rate of the mean of gradients, in [0, 1). Default: 0.9
    pub beta_1: f64,
    /// Decay rate of the mean of squared gradients, in [0, 1); DeBERTaV3 used 0.98. Default: 0.999
    pub beta_2: f64,
    /// Added to the square root of the second moment. Default: 1e-6
    pub epsilon: f64,
    /// Divide the moments by `1 − βᵗ`, without which the first steps are longer: AdamW does, and
    /// Microsoft's XAdam does not. Default: true
    pub bias_correction: bool,
    /// Decoupled weight decay of everything but biases and layer norms. Default: 0.01
    pub weight_decay: f64,
    /// Decay biases and layer norms, too. Default: false
    pub decay_everything: bool,
    /// Factor of the learning rate from one layer to the one below, in (0, 1], see [`Grouping`].
    /// Default: 1
    pub layer_rate_decay: f64,
    /// Further factors of the learning rate by part of a parameter's path, see [`Grouping`]; 0
    /// freezes. Default: none
    pub rate_factors: BTreeMap<String, f64>,
    /// Largest norm of all gradients together, `null` for no clipping. Default: 1.0
    pub max_grad_norm: Option<f64>,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-6,
            bias_correction: true,
            weight_decay: 0.01,
            decay_everything: false,
            layer_rate_decay: 1.0,
            rate_factors: BTreeMap::new(),
            max_grad_norm: Some(1.0),
        }
    }
}

impl AdamWConfig {
    /// The optimiser that Microsoft fine-tuned with, as its scripts call it.
    ///
    /// Reference: `XAdam` in microsoft/DeBERTa `optims/xadam.py`, with the defaults of
    /// `optims/args.py`.
    pub fn xadam() -> Self {
        Self {
            bias_correction: false,
            ..Self::default()
        }
    }

    /// Initialize a new [optimiser](AdamW).
    ///
    /// `max_grad_norm` is not its business: clipping happens before, see
    /// [`clip_global_norm`](super::clip_global_norm).
    pub fn init<B: DebertaAutodiffBackend, M: AutodiffModule<B>>(&self) -> AdamW<M, B> {
        AdamW {
            decayed: OptimizerAdaptor::from(self.rule(self.weight_decay)),
            undecayed: OptimizerAdaptor::from(self.rule(0.0)),
            grouping: self.grouping(),
        }
    }

    /// How parameters differ.
    pub(crate) fn grouping(&self) -> Grouping {
        Grouping {
            decay_everything: self.decay_everything,
            layer_rate_decay: self.layer_rate_decay,
            rate_factors: self.rate_factors.clone(),
        }
    }

    fn rule(&self, weight_decay: f64) -> AdamWRule {
        AdamWRule {
            beta_1: self.beta_1,
            beta_2: self.beta_2,
            epsilon: self.epsilon,
            bias_correction: self.bias_correction,
            weight_decay,
        }
    }
}

/// AdamW with groups of parameters: decayed and not, each with its factor of the learning rate.
///
/// See [`AdamWRule`] for the formula and [`Grouping`] for the groups.
#[derive(Clone)]
pub struct AdamW<M: AutodiffModule<B>, B: DebertaAutodiffBackend> {
    decayed: OptimizerAdaptor<AdamWRule, M, B>,
    undecayed: OptimizerAdaptor<AdamWRule, M, B>,
    grouping: Grouping,
}

/// State of the decayed or of the other parameters.
type GroupRecord<M, B> = <OptimizerAdaptor<AdamWRule, M, B> as Optimizer<M, B>>::Record;

impl<M: AutodiffModule<B>, B: DebertaAutodiffBackend> AdamW<M, B> {
    fn rule_for(&mut self, decayed: bool) -> &mut OptimizerAdaptor<AdamWRule, M, B> {
        match decayed {
            true => &mut self.decayed,
            false => &mut self.undecayed,
        }
    }

    /// Writes [`to_record`](Optimizer::to_record), one parameter at a time: all moments together are
    /// twice as large as the network.
    pub(crate) fn write_record(&self, file: &mut dyn Write) -> io::Result<()> {
        let (decayed, undecayed) = self.to_record();
        write_item::<B>((Entries::new(decayed), Entries::new(undecayed)), file)
    }
}

/// Moments by parameter id, which become numbers when it is their turn to be written.
struct Entries<B: DebertaAutodiffBackend>(Vec<(String, AdaptorRecord<AdamWRule, B>)>);

impl<B: DebertaAutodiffBackend> Entries<B> {
    fn new(moments: impl IntoIterator<Item = (ParamId, AdaptorRecord<AdamWRule, B>)>) -> Self {
        let entries = moments
            .into_iter()
            .map(|(id, moments)| (id.serialize(), moments));
        let mut entries: Vec<_> = entries.collect();
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Self(entries)
    }
}

impl<B: DebertaAutodiffBackend> Serialize for Entries<B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let numbers =
            |moments: &AdaptorRecord<AdamWRule, B>| moments.clone().into_item::<Settings>();
        serializer.collect_map(self.0.iter().map(|(id, moments)| (id, numbers(moments))))
    }
}

impl<M: AutodiffModule<B>, B: DebertaAutodiffBackend> Optimizer<M, B> for AdamW<M, B> {
    type Record = (GroupRecord<M, B>, GroupRecord<M, B>);

    fn step(&mut self, lr: LearningRate, module: M, grads: GradientsParams) -> M {
        let groups = self.grouping.split(&module, grads);
        // A parameter without a gradient is left alone, so the groups can follow one another.
        groups.into_iter().fold(module, |module, group| {
            let rule = self.rule_for(group.decayed);
            rule.step(lr * group.rate, module, group.grads)
        })
    }

    fn step_multi(&mut self, lr: LearningRate, module: M, grads: MultiGradientsParams) -> M {
        let mut groups: Vec<(bool, f64, MultiGradientsParams)> = Vec::new();
        for (grads, device) in grads.grads {
            let split = self.grouping.split(&module, grads);
            for ParameterGroup {
                decayed,
                rate,
                grads,
            } in split
            {
                let known = groups.iter().position(|it| (it.0, it.1) == (decayed, rate));
                let group = known.unwrap_or_else(|| {
                    groups.push((decayed, rate, MultiGradientsParams::default()));
                    groups.len() - 1
                });
                groups[group].2.grads.push((grads, device));
            }
        }
        groups
            .into_iter()
            .fold(module, |module, (decayed, rate, grads)| {
                self.rule_for(decayed).step_multi(lr * rate, module, grads)
            })
    }

    fn to_record(&self) -> Self::Record {
        (self.decayed.to_record(), self.undecayed.to_record())
    }

    fn load_record(self, (decayed, undecayed): Self::Record) -> Self {
        Self {
            decayed: self.decayed.load_record(decayed),
            undecayed: self.undecayed.load_record(undecayed),
            grouping: self.grouping,
        }
    }
}

/// The update of one tensor.
///
/// ```text
/// m ← β₁ m + (1 − β₁) g
/// v ← β₂ v + (1 − β₂) g²
/// θ ← (1 − lr·λ) θ − lr · m̂ / (√v̂ + ε)        m̂ = m / (1 − β₁ᵗ),  v̂ = v / (1 − β₂ᵗ)
/// ```
///
/// Without the correction of the bias, `m̂ = m` and `v̂ = v`.
///
/// Burn's own AdamW computes `1 − β₂ᵗ` in 32 bits, which is off by 3e-5 after a few hundred
/// steps; here the corrections are computed on the host in 64 bits and folded into two scalars.
///
/// Reference: Loshchilov and Hutter, <https://arxiv.org/abs/1711.05101>, Algorithm 2.
#[derive(Debug, Clone)]
pub struct AdamWRule {
    beta_1: f64,
    beta_2: f64,
    epsilon: f64,
    bias_correction: bool,
    weight_decay: f64,
}

impl AdamWRule {
    /// `1 − β₁ᵗ` and `√(1 − β₂ᵗ)` after `steps` updates.
    fn corrections(&self, steps: usize) -> (f64, f64) {
        if !self.bias_correction {
            return (1.0, 1.0);
        }
        let steps = steps as f64;
        let second = 1.0 - self.beta_2.powf(steps);
        (1.0 - self.beta_1.powf(steps), second.sqrt())
    }
}

/// State of [`AdamWRule`] for one tensor.
#[derive(Record, Clone)]
pub struct Moments<B: Backend, const D: usize> {
    /// Updates made so far.
    pub steps: usize,
    /// Running mean of gradients.
    pub first: Tensor<B, D>,
    /// Running mean of squared gradients.
    pub second: Tensor<B, D>,
}

impl AdamWRule {
    /// [`step`](SimpleOptimizer::step) by the backend's kernel, in the memory of its arguments.
    fn fused<B: DebertaBackend, const D: usize>(
        &self,
        lr: LearningRate,
        parameter: Tensor<B, D>,
        grad: Tensor<B, D>,
        state: Option<Moments<B, D>>,
    ) -> (Tensor<B, D>, Option<Moments<B, D>>) {
        let steps = state.as_ref().map_or(0, |it| it.steps) + 1;
        let (correction_1, correction_2) = self.corrections(steps);
        let update = AdamWUpdate {
            betas: [self.beta_1, self.beta_2],
            epsilon: self.epsilon * correction_2,
            rate: lr * correction_2 / correction_1,
            decay: lr * self.weight_decay,
        };
        let primitive = |tensor: Tensor<B, D>| tensor.into_primitive().tensor();
        let tensor = |primitive| Tensor::from_primitive(TensorPrimitive::Float(primitive));
        let updated = B::adamw(
            &update,
            AdamWTensors {
                parameter: primitive(parameter),
                gradient: primitive(grad),
                moments: state.map(|it| (primitive(it.first), primitive(it.second))),
            },
        );
        let moments = updated.moments.map(|(first, second)| Moments {
            steps,
            first: tensor(first),
            second: tensor(second),
        });
        (tensor(updated.parameter), moments)
    }
}

impl<B: DebertaBackend> SimpleOptimizer<B> for AdamWRule {
    type State<const D: usize> = Moments<B, D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<B, D>,
        grad: Tensor<B, D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<B, D>, Option<Self::State<D>>) {
        let fuses = B::fuses(FusedKind::AdamW, tensor.dtype(), &tensor.device());
        if fuses && grad.dtype() == tensor.dtype() {
            return self.fused(lr, tensor, grad, state);
        }
        let new_first = grad.clone().mul_scalar(1.0 - self.beta_1);
        let new_second = grad.square().mul_scalar(1.0 - self.beta_2);
        let state = match state {
            None => Moments {
                steps: 1,
                first: new_first,
                second: new_second,
            },
            Some(state) => Moments {
                steps: state.steps + 1,
                first: state.first.mul_scalar(self.beta_1) + new_first,
                second: state.second.mul_scalar(self.beta_2) + new_second,
            },
        };

        // m̂ / (√v̂ + ε)  =  (√c₂ / c₁) · m / (√v + ε √c₂)   with  cᵢ = 1 − βᵢᵗ.
        let (correction_1, correction_2) = self.corrections(state.steps);
        let denominator = state
            .second
            .clone()
            .sqrt()
            .add_scalar(self.epsilon * correction_2);
        let update =
            (state.first.clone() / denominator).mul_scalar(lr * correction_2 / correction_1);

        let decay = lr * self.weight_decay;
        let tensor = if decay == 0.0 {
            tensor
        } else {
            tensor.mul_scalar(1.0 - decay)
        };
        (tensor - update, Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &B::Device) -> Self::State<D> {
        Moments {
            steps: state.steps,
            first: state.first.to_device(device),
            second: state.second.to_device(device),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::test_modules::Block;
    use burn::backend::{Autodiff, Flex};
    use burn::module::Module;
    use burn::record::{BinBytesRecorder, FullPrecisionSettings, NamedMpkBytesRecorder, Recorder};

    type B = Autodiff<Flex>;

    /// AdamW as in the paper, one number at a time, in 64 bits.
    struct Reference {
        config: AdamWConfig,
        theta: Vec<f64>,
        m: Vec<f64>,
        v: Vec<f64>,
    }

    impl Reference {
        fn step(&mut self, t: i32, lr: f64, weight_decay: f64, grads: &[f64]) {
            let AdamWConfig {
                beta_1,
                beta_2,
                epsilon,
                ..
            } = self.config;
            for (i, g) in grads.iter().enumerate() {
                self.m[i] = beta_1 * self.m[i] + (1.0 - beta_1) * g;
                self.v[i] = beta_2 * self.v[i] + (1.0 - beta_2) * g * g;
                let m_hat = self.m[i] / (1.0 - beta_1.powi(t));
                let v_hat = self.v[i] / (1.0 - beta_2.powi(t));
                self.theta[i] = (1.0 - lr * weight_decay) * self.theta[i]
                    - lr * m_hat / (v_hat.sqrt() + epsilon);
            }
        }
    }

    fn values<const D: usize, T: Backend>(tensor: Tensor<T, D>) -> Vec<f64> {
        tensor.into_data().iter::<f64>().collect()
    }

    fn loss_gradients(block: &Block<B>, step: usize) -> GradientsParams {
        let inputs = [0.3, -1.2, 0.7, 1.1, 0.2, -0.4].map(|x: f64| x * (1.0 + step as f64 * 0.1));
        let input = Tensor::<B, 1>::from_floats(inputs, &Default::default()).reshape([2, 3]);
        GradientsParams::from_grads(block.loss(input).backward(), block)
    }

    #[track_caller]
    fn check_against_reference(config: AdamWConfig) {
        let mut block = Block::<B>::new(3, 4, &Default::default());
        let mut optimizer = config.init::<B, Block<B>>();
        let weight = values(block.linear.weight.val());
        let gamma = values(block.layer_norm.gamma.val());
        let reference = |theta: Vec<f64>| Reference {
            config: config.clone(),
            m: vec![0.0; theta.len()],
            v: vec![0.0; theta.len()],
            theta,
        };
        let mut expected_weight = reference(weight);
        let mut expected_gamma = reference(gamma);

        for t in 1..=50 {
            let lr = 1e-2 / t as f64;
            let grads = loss_gradients(&block, t);
            let weight_grad = values(grads.get::<Flex, 2>(block.linear.weight.id).unwrap());
            let gamma_grad = values(grads.get::<Flex, 1>(block.layer_norm.gamma.id).unwrap());
            expected_weight.step(t as i32, lr, config.weight_decay, &weight_grad);
            expected_gamma.step(t as i32, lr, 0.0, &gamma_grad);
            block = optimizer.step(lr, block, grads);
        }

        for (actual, expected) in [
            (values(block.linear.weight.val()), expected_weight.theta),
            (values(block.layer_norm.gamma.val()), expected_gamma.theta),
        ] {
            for (actual, expected) in actual.iter().zip(&expected) {
                assert!(
                    (actual - expected).abs() < 2e-6,
                    "{actual} is not {expected}"
                );
            }
        }
    }

    #[test]
    fn follows_the_formula_with_decay_on_matrices_only() {
        check_against_reference(AdamWConfig {
            weight_decay: 0.5,
            ..AdamWConfig::default()
        });
    }

    #[test]
    fn follows_the_formula_with_the_betas_of_deberta_v3() {
        let config = AdamWConfig {
            beta_2: 0.98,
            weight_decay: 0.01,
            ..AdamWConfig::default()
        };
        check_against_reference(config);
    }

    #[test]
    fn a_restored_state_continues_bit_for_bit() {
        let device = Default::default();
        let config = AdamWConfig::default();
        let mut block = Block::<B>::new(3, 4, &device);
        let mut optimizer = config.init::<B, Block<B>>();
        for step in 0..3 {
            block = optimizer.step(1e-2, block.clone(), loss_gradients(&block, step));
        }

        let recorder = BinBytesRecorder::<FullPrecisionSettings>::default();
        let record = <Block<B> as Module<B>>::into_record(block.clone());
        let model_bytes = Recorder::<B>::record(&recorder, record, ()).unwrap();
        let optimizer_bytes = Recorder::<B>::record(&recorder, optimizer.to_record(), ()).unwrap();
        let mut restored = Block::<B>::new(3, 4, &device)
            .load_record(Recorder::<B>::load(&recorder, model_bytes, &device).unwrap());
        let mut restored_optimizer = config
            .init::<B, Block<B>>()
            .load_record(Recorder::<B>::load(&recorder, optimizer_bytes, &device).unwrap());

        for step in 3..6 {
            block = optimizer.step(1e-2, block.clone(), loss_gradients(&block, step));
            let grads = loss_gradients(&restored, step);
            restored = restored_optimizer.step(1e-2, restored, grads);
        }
        assert_eq!(
            values(block.linear.weight.val()),
            values(restored.linear.weight.val())
        );
        assert_eq!(
            values(block.layer_norm.gamma.val()),
            values(restored.layer_norm.gamma.val())
        );
    }

    #[test]
    fn what_is_written_is_the_record() {
        let device = Default::default();
        let mut block = Block::<B>::new(3, 4, &device);
        let mut optimizer = AdamWConfig::default().init::<B, Block<B>>();
        for step in 0..2 {
            let grads = loss_gradients(&block, step);
            block = optimizer.step(1e-2, block, grads);
        }
        let mut bytes = Vec::new();
        optimizer.write_record(&mut bytes).unwrap();
        let recorder = NamedMpkBytesRecorder::<FullPrecisionSettings>::default();
        let restored = AdamWConfig::default()
            .init::<B, Block<B>>()
            .load_record(Recorder::<B>::load(&recorder, bytes.clone(), &device).unwrap());
        let mut again = Vec::new();
        restored.write_record(&mut again).unwrap();
        assert!(bytes == again);

        let (decayed, undecayed) = restored.to_record();
        assert_eq!((decayed.len(), undecayed.len()), (1, 3));
        let moments = &decayed[&block.linear.weight.id];
        let moments: Moments<Flex, 2> = moments.clone().into_state();
        let (expected, _) = optimizer.to_record();
        let expected: Moments<Flex, 2> = expected[&block.linear.weight.id].clone().into_state();
        assert_eq!((moments.steps, expected.steps), (2, 2));
        assert_eq!(values(moments.second), values(expected.second));
    }

    #[test]
    fn several_devices_add_their_gradients() {
        let block = Block::<B>::new(3, 4, &Default::default());
        let config = AdamWConfig::default();
        let device = burn::tensor::backend::DeviceOps::id(&burn::backend::flex::FlexDevice);
        let halves = (0..2)
            .map(|_| (loss_gradients(&block, 0), device))
            .collect();
        let multi = config.init::<B, Block<B>>().step_multi(
            1e-2,
            block.clone(),
            MultiGradientsParams { grads: halves },
        );

        // Adam does not see the scale of a first gradient, so two halves move as one whole.
        let single =
            config
                .init::<B, Block<B>>()
                .step(1e-2, block.clone(), loss_gradients(&block, 0));
        let pairs = values(multi.linear.weight.val());
        for (multi, single) in pairs.iter().zip(values(single.linear.weight.val())) {
            assert!((multi - single).abs() < 1e-6);
        }
        assert_ne!(
            values(block.linear.weight.val()),
            values(single.linear.weight.val())
        );
    }
}
