//! How to load a checkpoint, and what came of it.

use burn::tensor::DType;

use crate::config::DebertaConfig;
use crate::heads::HeadConfig;
use crate::hf_config::RtdPart;

/// Whose behaviour to follow where Microsoft's code and transformers differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compatibility {
    /// What `config.json` says under `long_distance`; Microsoft's where it says nothing.
    #[default]
    AsConfigured,
    /// microsoft/DeBERTa, whose code trained the published checkpoints.
    Microsoft,
    /// transformers: distances beyond the table's reach are not clamped before bucketing.
    HuggingFace,
}

/// How to load a checkpoint; by default every parameter must be there and nothing be left.
///
/// Names are those of the Hub, and a prefix of them stands for all that begin so.
///
/// ```
/// use deberta_model::checkpoint::LoadOptions;
///
/// // Fine-tuning an encoder: the classifier starts from random weights.
/// let options = LoadOptions::new()
///     .start_fresh("classifier.")
///     .allow_missing("pooler.")
///     .seed(42);
/// # let _ = options;
/// ```
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    pub(super) compatibility: Compatibility,
    pub(super) part: RtdPart,
    pub(super) head: Option<HeadConfig>,
    pub(super) may_miss: Vec<String>,
    pub(super) may_remain: Vec<String>,
    pub(super) fresh: Vec<String>,
    pub(super) seed: u64,
    pub(super) dtype: Option<DType>,
    pub(super) hidden_dropout: Option<f64>,
    pub(super) attention_dropout: Option<f64>,
}

impl LoadOptions {
    /// The behaviour that the configuration asks for, all parameters, nothing else.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whose behaviour to follow.
    pub fn compatibility(mut self, compatibility: Compatibility) -> Self {
        self.compatibility = compatibility;
        self
    }

    /// Which network of a replaced-token-detection checkpoint to load; the discriminator by default.
    pub fn part(mut self, part: RtdPart) -> Self {
        self.part = part;
        self
    }

    /// Dropout probabilities of the encoder in place of those of the configuration: of hidden states
    /// and of attention probabilities. `None` leaves one as it is.
    pub fn dropout(mut self, hidden: Option<f64>, attention: Option<f64>) -> Self {
        self.hidden_dropout = hidden;
        self.attention_dropout = attention;
        self
    }

    /// A head other than the one that the configuration describes, such as other labels.
    pub fn head(mut self, head: HeadConfig) -> Self {
        self.head = Some(head);
        self
    }

    /// Parameters that start from random weights if the file lacks them.
    pub fn allow_missing(mut self, prefix: impl Into<String>) -> Self {
        self.may_miss.push(prefix.into());
        self
    }

    /// Parameters that start from random weights whether the file has them or not.
    pub fn start_fresh(mut self, prefix: impl Into<String>) -> Self {
        self.fresh.push(prefix.into());
        self
    }

    /// Tensors that are left aside if the network has no use for them.
    pub fn allow_unexpected(mut self, prefix: impl Into<String>) -> Self {
        self.may_remain.push(prefix.into());
        self
    }

    /// Float type of the parameters, whatever that of the file; the backend's own by default. See
    /// [`precision`](crate::precision) for what a network computes in it.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = Some(dtype);
        self
    }

    /// Seed of the random weights.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// A network with where it came from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Loaded<M> {
    /// The network.
    pub model: M,
    /// Configuration of its encoder.
    pub config: DebertaConfig,
    /// Configuration of its head, if it has a task head.
    pub head: Option<HeadConfig>,
    /// What was not taken from the file, and what was not used of it.
    pub report: LoadReport,
}

/// Differences between a file and the network that it was loaded into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Parameters that start from random weights, in the Hub's names.
    pub fresh: Vec<String>,
    /// Tensors that were not used, in the file's names.
    pub left_aside: Vec<String>,
}
