//! Normalised embeddings, and the perturbation that changes the answer most.

use burn::tensor::{Distribution, Tensor};
use deberta_model::heads::ProblemType;
use deberta_model::ops::widen;
use deberta_model::recompute::gradient;
use deberta_model::{
    DebertaAutodiffBackend, DebertaBackend, DebertaInput, DebertaModel, Tape, Tokens,
};

use super::divergence::ascent;
use super::{Ball, BallNorm, Perturbed, SiftConfig};
use crate::objective::accumulate::backward;

/// Epsilon of the layer norm without affine part.
const NORM_EPSILON: f64 = 1e-7;

/// Keeps the quotient finite where a token has no gradient.
const GRADIENT_EPSILON: f64 = 1e-6;

/// The way from what is perturbed to the encoder's last states.
pub(in crate::objective) struct Branch<B: DebertaBackend> {
    input: DebertaInput<B>,
    perturbed: Perturbed,
}

impl<B: DebertaBackend> Branch<B> {
    pub(in crate::objective) fn new(input: DebertaInput<B>, perturbed: Perturbed) -> Self {
        Self { input, perturbed }
    }

    /// What is perturbed, normalised: `[batch, seq_len, hidden]`, or `embedding` for words.
    pub(in crate::objective) fn normalized(&self, encoder: &DebertaModel<B>) -> Tensor<B, 3> {
        let embeddings = &encoder.embeddings;
        let vectors = match (self.perturbed, &self.input.tokens) {
            (Perturbed::Sum, _) => embeddings.sum(&self.input),
            (Perturbed::Words, Tokens::Ids(ids)) => embeddings.words(ids.clone()),
            (Perturbed::Words, Tokens::Vectors(vectors)) => vectors.clone(),
        };
        normalize(vectors)
    }

    /// The last states of the encoder for normalised embeddings.
    pub(in crate::objective) fn states(
        &self,
        encoder: &DebertaModel<B>,
        normalized: Tensor<B, 3>,
        tape: Option<&Tape<B>>,
    ) -> Tensor<B, 3> {
        let input = self.input.clone();
        match self.perturbed {
            Perturbed::Sum => encoder.forward_from_sum(normalized, input.mask, tape),
            Perturbed::Words => encoder.forward(DebertaInput {
                tokens: Tokens::Vectors(normalized),
                tape: tape.cloned(),
                ..input
            }),
        }
    }
}

/// Layer norm over the last axis without affine part, in f32 for half precision.
fn normalize<B: DebertaBackend>(x: Tensor<B, 3>) -> Tensor<B, 3> {
    let dtype = x.dtype();
    let x = widen(x);
    let centred = x.clone() - x.mean_dim(2);
    let variance = centred.clone().square().mean_dim(2);
    (centred / (variance + NORM_EPSILON).sqrt()).cast(dtype)
}

/// What the ascent starts from and climbs towards.
pub(in crate::objective) struct Ascend<'a, B: DebertaAutodiffBackend> {
    pub(in crate::objective) sift: &'a SiftConfig,
    pub(in crate::objective) problem: ProblemType,
    /// Normalised embeddings.
    pub(in crate::objective) normalized: &'a Tensor<B, 3>,
    /// Logits of the clean pass, `[rows, labels]`.
    pub(in crate::objective) clean: &'a Tensor<B, 2>,
    /// 0 for rows of padding, `[rows]`; `None` if there are none.
    pub(in crate::objective) real: Option<Tensor<B, 1>>,
    /// Of the loss, where layers are computed again in the backward pass.
    pub(in crate::objective) tape: Option<&'a Tape<B>>,
}

impl<B: DebertaAutodiffBackend> Ascend<'_, B> {
    /// Embeddings moved by the perturbation, `sg s̃ + δ`.
    fn moved(&self, delta: Tensor<B, 3>) -> Tensor<B, 3> {
        let dtype = self.normalized.dtype();
        (widen(self.normalized.clone().detach()) + delta).cast(dtype)
    }

    /// Random noise, two standard deviations at most.
    fn start(&self) -> Tensor<B::InnerBackend, 3> {
        let sigma = self.sift.initial_perturbation;
        let like = widen(self.normalized.clone().detach()).inner();
        like.random_like(Distribution::Normal(0.0, sigma))
            .clamp(-2.0 * sigma, 2.0 * sigma)
    }

    /// A step of the ascent with gradient `g`; an overflow leaves the perturbation as it is.
    fn step(
        &self,
        delta: Tensor<B::InnerBackend, 3>,
        g: Tensor<B::InnerBackend, 3>,
    ) -> Tensor<B::InnerBackend, 3> {
        let shape = g.shape();
        let norm = g.clone().square().sum();
        let broken = norm.clone().is_nan().bool_or(norm.is_inf());
        let largest = g.clone().abs().max_dim(2) + GRADIENT_EPSILON;
        let update = (g / largest).mul_scalar(self.sift.learning_rate);
        let update = update.mask_fill(broken.unsqueeze::<3>().expand(shape), 0.0);
        project(delta + update, self.sift.ball)
    }
}

/// Embeddings `sg s̃ + δ` with the perturbation that moves the logits away from the clean ones.
///
/// - `start`: first perturbation; `None` for random noise
/// - `logits`: the network with parameters that are not tracked, from embeddings to logits
pub(in crate::objective) fn perturb<B: DebertaAutodiffBackend>(
    ascend: &Ascend<'_, B>,
    start: Option<Tensor<B::InnerBackend, 3>>,
    logits: impl Fn(Tensor<B, 3>, Option<&Tape<B>>) -> Tensor<B, 2>,
) -> Tensor<B, 3> {
    let mut delta = start.unwrap_or_else(|| ascend.start());
    let clean = ascend.clean.clone().detach();
    for _ in 0..ascend.sift.steps {
        let leaf = Tensor::<B, 3>::from_inner(delta.clone()).require_grad();
        let tape = ascend.tape.map(Tape::fresh);
        let perturbed = logits(ascend.moved(leaf.clone()), tape.as_ref());
        let real = ascend.real.clone();
        let height = ascent(
            ascend.sift.ascent,
            ascend.problem,
            perturbed,
            clean.clone(),
            real,
        );
        let mut parts = backward(height, tape.as_ref());
        if let Some(g) = gradient(&leaf, &mut parts) {
            delta = ascend.step(delta, g);
        }
    }
    ascend.moved(Tensor::from_inner(delta))
}

/// Brings each token's perturbation back into the ball.
fn project<B: DebertaBackend>(delta: Tensor<B, 3>, ball: Option<Ball>) -> Tensor<B, 3> {
    match ball {
        None => delta,
        Some(Ball {
            norm: BallNorm::Max,
            radius,
        }) => delta.clamp(-radius, radius),
        Some(Ball {
            norm: BallNorm::Euclidean,
            radius,
        }) => {
            let length = delta.clone().square().sum_dim(2).sqrt();
            let factor = length.clamp_min(radius).recip().mul_scalar(radius);
            delta * factor
        }
    }
}
