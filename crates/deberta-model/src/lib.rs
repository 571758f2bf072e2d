//! The DeBERTa network (v1, v2, v3) and its weights, generic over Burn's `Backend` trait.
//!
//! Papers: [DeBERTa](https://arxiv.org/abs/2006.03654), whose equation numbers the docs quote, and
//! [DeBERTaV3](https://arxiv.org/abs/2111.09543).
//!
//! # Names of axes
//!
//! Shapes in the documentation use these words only.
//!
//! | word | meaning |
//! |---|---|
//! | `batch` | sequences in the batch |
//! | `seq_len` | tokens of a padded sequence; `q_len` and `k_len` where queries and keys differ |
//! | `hidden` | width of the residual stream |
//! | `embedding` | width of the word table, equal to `hidden` in every published model |
//! | `heads`, `head_dim` | attention heads and their width |
//! | `span` | the paper's *k*: half the rows of the relative-position table |
//! | `live` | rows of that table which the current lengths can reach |
//! | `masked` | tokens to predict, summed over the batch |
//! | `slots` | masked tokens of the row of the batch that has most of them |
//! | `vocab` | rows of the word table |

pub mod attention;
pub mod checkpoint;
pub mod config;
pub mod conv;
pub mod embeddings;
pub mod encoder;
pub mod heads;
pub mod hf_config;
pub mod layer;
mod limits;
pub mod model;
pub mod ops;
mod padding;
pub mod precision;
pub mod presets;
pub mod recompute;
pub mod relative_position;
pub mod vocabulary;
mod weight_init;

pub use config::{ConfigError, DebertaConfig};
pub use heads::masked_lm::{DebertaForMaskedLm, MaskedLmInput};
pub use hf_config::HfConfig;
pub use model::{DebertaInput, DebertaModel, Tokens};
pub use ops::{DebertaAutodiffBackend, DebertaBackend};
pub use recompute::Tape;
