//! Replaced-token detection with gradient-disentangled embedding sharing: how DeBERTaV3 is
//! pre-trained.
//!
//! Reference: He et al., DeBERTaV3, <https://arxiv.org/abs/2111.09543>, Section 3.

mod config;
mod corruption;
mod networks;
mod objective;
mod sampling;
#[cfg(test)]
mod tests;

use deberta_model::heads::replaced_token::DebertaForReplacedTokenDetection;

pub use config::{EmbeddingSharing, RtdConfig};
pub use networks::RtdNetworks;
pub use objective::RtdObjective;

/// The network that tells original tokens from replaced ones.
pub type Discriminator<B> = DebertaForReplacedTokenDetection<B>;
