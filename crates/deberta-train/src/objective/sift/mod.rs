//! SiFT, scale-invariant fine-tuning: adversarial training on normalised embeddings, Section 5 of
//! the paper.
//!
//! ```text
//! s̃  = LN(s)                      s: sum of the embeddings; no affine part; also in the clean pass
//! δ₀ = clamp(N(0, σ), ±2σ)
//! δ  ← δ + η g / (1e-6 + maxₕ |g|)          g = ∂/∂δ Σ divergence(f(sg s̃ + δ), sg f(s̃)), K times
//! L  = task loss + λ · mean over rows of divergence(f(sg s̃ + δ), f(s̃))
//! ```
//!
//! `sg` stops gradients, so the perturbed branch trains no embedding table. The ascent tracks
//! nothing but `δ`: no gradient of a parameter is computed for it.
//!
//! Reference: microsoft/DeBERTa `sift/sift.py`, commit 4d7fe0b.

mod divergence;
mod perturbation;

pub(super) use divergence::divergence;
pub(super) use perturbation::{Ascend, Branch, perturb};

use serde::{Deserialize, Serialize};

/// Settings of SiFT.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SiftConfig {
    /// Weight of the penalty, λ. Default: 5, as in most of Microsoft's scripts
    pub weight: f64,
    /// Length of a step of the ascent in the largest component of a token, η. Default: 1e-4
    pub learning_rate: f64,
    /// Standard deviation of the first perturbation, σ. Default: 1e-2
    pub initial_perturbation: f64,
    /// Steps of the ascent, K. Default: 1
    pub steps: usize,
    /// How far a perturbation may go; `null` for any distance, as in Microsoft's code. Default: `null`
    pub ball: Option<Ball>,
    /// What the ascent makes larger. Default: the symmetric divergence
    pub ascent: Ascent,
    /// What is added to the loss. Default: Microsoft's
    pub divergence: Divergence,
    /// What is perturbed. Default: the sum of all embeddings
    pub perturbed: Perturbed,
}

impl Default for SiftConfig {
    fn default() -> Self {
        Self {
            weight: 5.0,
            learning_rate: 1e-4,
            initial_perturbation: 1e-2,
            steps: 1,
            ball: None,
            ascent: Ascent::SymmetricKl,
            divergence: Divergence::Microsoft,
            perturbed: Perturbed::Sum,
        }
    }
}

/// A bound on the perturbation of each token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ball {
    /// How lengths are measured.
    pub norm: BallNorm,
    /// Largest length, ε.
    pub radius: f64,
}

/// Length of a perturbation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BallNorm {
    /// Its largest component.
    Max,
    /// Its Euclidean length.
    Euclidean,
}

/// What the ascent makes larger; for regression it is the squared error in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ascent {
    /// Cross-entropies in both directions.
    SymmetricKl,
    /// Cross-entropy against the clean distribution.
    Kl,
    /// Mean squared error of the logits.
    Mse,
}

/// How far the distributions `p` of the clean and `q` of the perturbed pass are apart.
///
/// For independent labels the same is done with the two outcomes of each, and averaged. For
/// regression all are the squared error; [`Paper`](Self::Paper) stops the clean gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Divergence {
    /// `CE(sg p, q) + CE(sg q, p)`, as in Microsoft's code: not zero for equal distributions, but
    /// its gradient is, `± (q − p)` in the logits.
    Microsoft,
    /// `CE(sg p, q)`: the perturbed pass learns to say what the clean one said, as in the virtual
    /// adversarial training that the paper builds on.
    Paper,
    /// `KL(p‖q) + KL(q‖p)` with gradients through all of it.
    TrueKl,
}

/// What is normalised and perturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Perturbed {
    /// The sum of word, type and position embeddings, after the projection if there is one:
    /// Microsoft's code.
    Sum,
    /// The word embeddings alone, which the paper speaks of; for networks that add nothing to them.
    Words,
}
