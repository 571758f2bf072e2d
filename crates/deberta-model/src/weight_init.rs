//! Initial weights, drawn on the host so that every backend starts from the same numbers.

use burn::module::{Param, ParamId};
use burn::nn::conv::{Conv1d, Conv1dConfig};
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

/// Draws parameters from `N(0, std)`, each from its own stream of one seed.
///
/// Parameters stay lazy: one that is loaded from a checkpoint before its first use is never drawn.
pub(crate) struct WeightInit {
    seed: u64,
    std: f64,
    next_stream: u64,
}

impl WeightInit {
    pub(crate) fn new(seed: u64, std: f64) -> Self {
        Self {
            seed,
            std,
            next_stream: 0,
        }
    }

    pub(crate) fn linear<B: Backend>(
        &mut self,
        d_input: usize,
        d_output: usize,
        bias: bool,
        device: &B::Device,
    ) -> Linear<B> {
        let mut linear = LinearConfig::new(d_input, d_output)
            .with_bias(bias)
            .init(device);
        linear.weight = self.normal([d_input, d_output], device);
        linear.bias = bias.then(|| zeros([d_output], device));
        linear
    }

    pub(crate) fn embedding<B: Backend>(
        &mut self,
        rows: usize,
        width: usize,
        device: &B::Device,
    ) -> Embedding<B> {
        let mut embedding = EmbeddingConfig::new(rows, width).init(device);
        embedding.weight = self.normal([rows, width], device);
        embedding
    }

    pub(crate) fn conv1d<B: Backend>(
        &mut self,
        config: Conv1dConfig,
        device: &B::Device,
    ) -> Conv1d<B> {
        let shape = [
            config.channels_out,
            config.channels_in / config.groups,
            config.kernel_size,
        ];
        let bias = zeros([config.channels_out], device);
        let mut conv = config.init(device);
        conv.weight = self.normal(shape, device);
        conv.bias = Some(bias);
        conv
    }

    fn normal<B: Backend, const D: usize>(
        &mut self,
        shape: [usize; D],
        device: &B::Device,
    ) -> Param<Tensor<B, D>> {
        let (seed, std, stream) = (self.seed, self.std, self.next_stream);
        self.next_stream += 1;
        lazy(shape, device, move |device| {
            Tensor::from_data(normal_data(shape, std, seed, stream), device)
        })
    }
}

/// A layer norm with weight 1 and bias 0.
pub(crate) fn layer_norm<B: Backend>(
    width: usize,
    epsilon: f64,
    device: &B::Device,
) -> LayerNorm<B> {
    LayerNormConfig::new(width)
        .with_epsilon(epsilon)
        .init(device)
}

/// A lazy parameter of zeros.
pub(crate) fn zeros<B: Backend, const D: usize>(
    shape: [usize; D],
    device: &B::Device,
) -> Param<Tensor<B, D>> {
    lazy(shape, device, move |device| Tensor::zeros(shape, device))
}

fn lazy<B: Backend, const D: usize>(
    shape: [usize; D],
    device: &B::Device,
    init: impl Fn(&B::Device) -> Tensor<B, D> + Send + Sync + 'static,
) -> Param<Tensor<B, D>> {
    Param::uninitialized(
        ParamId::new(),
        move |device, require_grad| init(device).set_require_grad(require_grad),
        device.clone(),
        true,
        shape.into(),
    )
}

/// `N(0, std)` from one stream of a seed.
pub(crate) fn normal_data<const D: usize>(
    shape: [usize; D],
    std: f64,
    seed: u64,
    stream: u64,
) -> TensorData {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    let count = shape.iter().product();
    // `std` is validated to be finite and non-negative; a zero table is the only other outcome.
    let values: Vec<f32> = match Normal::new(0.0, std as f32) {
        Ok(normal) => normal.sample_iter(&mut rng).take(count).collect(),
        Err(_) => vec![0.0; count],
    };
    TensorData::new(values, shape)
}
