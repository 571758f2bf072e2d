//! The weights of a folder: what is there, and which parameter each tensor is.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Bytes, TensorData};

use super::error::CheckpointError;
use super::files::{Blob, StoredTensor};
use super::floats::{ElementType, FloatType};
use super::folder::open_weights;
use super::names::{
    FUSED_PROJECTION, HEADS, POSITION_TABLE, PROJECTIONS, Role, Spelling, WORD_TABLE, from_hub,
    to_hub_file,
};
use super::numbers::Numbers;
use crate::config::{DebertaConfig, Family};
use crate::hf_config::{HfConfig, RtdPart};

/// The weights files of a folder, opened but not read.
///
/// ```no_run
/// # use deberta_model::checkpoint::Weights;
/// let weights = Weights::open("deberta-v3-base".as_ref())?;
/// for tensor in weights.tensors() {
///     println!("{} {:?} {}", tensor.name, tensor.shape, tensor.dtype);
/// }
/// # Ok::<(), deberta_model::checkpoint::CheckpointError>(())
/// ```
pub struct Weights {
    path: PathBuf,
    entries: Vec<(Arc<StoredTensor>, Role)>,
}

/// One tensor of a weights file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name in the file.
    pub name: String,
    /// Name on the Hub; `None` for what is no parameter of its own: a tied output matrix, a constant
    /// buffer, or a tensor of another network in the same file.
    pub hub_name: Option<String>,
    /// Number of entries per axis, in PyTorch's order of axes.
    pub shape: Vec<usize>,
    /// Type of the entries.
    pub dtype: ElementType,
    /// The file that holds it.
    pub file: PathBuf,
}

/// A head whose parameters a file may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Head {
    /// Masked language modelling.
    MaskedLm,
    /// The table of absolute positions, with which the enhanced mask decoder predicts masked tokens.
    EnhancedMaskDecoder,
    /// Replaced-token detection.
    ReplacedToken,
    /// Classification of sequences, or regression.
    SequenceClassification,
    /// Multiple choice, or classification of sequences with a single output.
    MultipleChoice,
    /// Classification of tokens.
    TokenClassification,
    /// Microsoft's classification of tokens, with a layer more.
    EntityRecognition,
    /// Extractive question answering.
    QuestionAnswering,
}

impl Weights {
    /// Opens the weights of a folder.
    ///
    /// # Errors
    ///
    /// If a file is missing or malformed.
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        Self::open_part(dir, RtdPart::default())
    }

    /// As [`open`](Self::open), where `part` chooses between a generator and a discriminator.
    ///
    /// # Errors
    ///
    /// If a file is missing or malformed.
    pub fn open_part(dir: &Path, part: RtdPart) -> Result<Self, CheckpointError> {
        let (path, tensors) = open_weights(dir, part)?;
        Ok(Self::new(path, tensors, part))
    }

    pub(super) fn new(path: PathBuf, tensors: Vec<StoredTensor>, part: RtdPart) -> Self {
        let spelling = Spelling::detect(tensors.iter().map(|it| it.name.as_str()), part);
        let entries = tensors.into_iter().map(|tensor| {
            let role = spelling.role(&tensor.name);
            (Arc::new(tensor), role)
        });
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        Self { path, entries }
    }

    /// Weights of which only names, types and shapes are known, such as those of a model on the Hub.
    ///
    /// - `path`: how messages call the whole
    /// - `tensors`: name, type as safetensors spells it (`F32`), shape, and file of each
    pub fn listed(
        path: PathBuf,
        tensors: impl IntoIterator<Item = (String, String, Vec<usize>, PathBuf)>,
    ) -> Self {
        let nothing = Arc::new(Blob::Owned(Vec::new()));
        let stored = tensors.into_iter().map(|(name, dtype, shape, path)| {
            let name_of_type = dtype.to_lowercase();
            StoredTensor {
                name,
                path,
                shape,
                dtype: match name_of_type.parse() {
                    Ok(float) => ElementType::Float(float),
                    Err(_) => ElementType::Other(name_of_type),
                },
                blob: Arc::clone(&nothing),
                range: 0..0,
                strides: None,
            }
        });
        Self::new(path, stored.collect(), RtdPart::default())
    }

    /// The weights file, or the list of its parts.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All tensors, in the order of their names.
    pub fn tensors(&self) -> impl Iterator<Item = TensorInfo> {
        self.entries.iter().map(|(tensor, role)| TensorInfo {
            name: tensor.name.clone(),
            hub_name: match role {
                Role::Parameter(name) => Some(name.clone()),
                _ => None,
            },
            shape: tensor.shape.clone(),
            dtype: tensor.dtype.clone(),
            file: tensor.path.clone(),
        })
    }

    /// The numbers of one tensor, by its name in the file.
    ///
    /// # Errors
    ///
    /// If there is no such tensor, it is not made of floats, or a number is beyond the range of
    /// `dtype`.
    pub fn read(&self, name: &str, dtype: FloatType) -> Result<TensorData, CheckpointError> {
        let found = self.entries.iter().find(|(tensor, _)| tensor.name == name);
        let (tensor, _) = found.ok_or_else(|| CheckpointError::Tensor {
            path: self.path.clone(),
            name: name.into(),
            problem: "is not there".into(),
        })?;
        if tensor.range.is_empty() && tensor.len() > 0 {
            return Err(tensor.error("is only listed, its numbers are not here".into()));
        }
        let tensor = Arc::clone(tensor);
        Source { tensor, part: None }.data(dtype, false)
    }

    /// Number of parameters: entries of all tensors that are no copies or leftovers.
    pub fn parameters(&self) -> u64 {
        self.named().map(|(_, tensor)| tensor.len() as u64).sum()
    }

    /// Types of the parameters.
    pub fn dtypes(&self) -> BTreeSet<ElementType> {
        self.named()
            .map(|(_, tensor)| tensor.dtype.clone())
            .collect()
    }

    /// The heads whose parameters are there.
    pub fn heads(&self) -> BTreeSet<Head> {
        let has = |name: &str| self.find(name).is_some();
        let mut heads = BTreeSet::new();
        let mut add_if = |condition: bool, head: Head| {
            if condition {
                heads.insert(head);
            }
        };
        let masked_lm = has("lm_predictions.lm_head.dense.weight");
        add_if(masked_lm, Head::MaskedLm);
        add_if(masked_lm && has(POSITION_TABLE), Head::EnhancedMaskDecoder);
        add_if(has("mask_predictions.dense.weight"), Head::ReplacedToken);
        add_if(has("qa_outputs.weight"), Head::QuestionAnswering);
        if let Some(classifier) = self.find("classifier.weight") {
            let pooler = has("pooler.dense.weight");
            let single = classifier.shape.first() == Some(&1);
            add_if(pooler, Head::SequenceClassification);
            add_if(pooler && single, Head::MultipleChoice);
            add_if(has("proj.weight"), Head::EntityRecognition);
            add_if(!pooler && !has("proj.weight"), Head::TokenClassification);
        }
        heads
    }

    /// Says in a configuration which family the weights are, if it does not: Microsoft's files do
    /// not. v1 has one matrix for queries, keys and values.
    pub(super) fn complete(&self, file: &mut HfConfig) {
        let mut names = self.named().map(|(name, _)| name);
        let family = match names.any(|name| name.ends_with(FUSED_PROJECTION)) {
            true => "deberta",
            false => "deberta-v2",
        };
        file.model_type.get_or_insert_with(|| family.into());
    }

    /// Whether the enhanced mask decoder has the table that it needs.
    pub(super) fn has_position_table(&self) -> bool {
        self.find(POSITION_TABLE).is_some()
    }

    /// Tensors with their names on the Hub.
    fn named(&self) -> impl Iterator<Item = (&str, &Arc<StoredTensor>)> {
        self.entries.iter().filter_map(|(tensor, role)| match role {
            Role::Parameter(name) => Some((name.as_str(), tensor)),
            _ => None,
        })
    }

    fn find(&self, hub_name: &str) -> Option<&StoredTensor> {
        let found = self.named().find(|(name, _)| *name == hub_name);
        found.map(|(_, tensor)| tensor.as_ref())
    }

    /// The tensor of a parameter, by its name on the Hub.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub(super) fn parameter(&self, hub_name: &str) -> Result<&StoredTensor, CheckpointError> {
        self.find(hub_name).ok_or_else(|| CheckpointError::Tensor {
            path: self.path.clone(),
            name: hub_name.into(),
            problem: "is not there".into(),
        })
    }

    /// Checks that what should be a copy of the word table is one: the network has no other.
    ///
    /// # Errors
    ///
    /// If it is not, naming both.
    pub(super) fn check_tied_copies(&self) -> Result<(), CheckpointError> {
        let Some(table) = self.find(WORD_TABLE) else {
            return Ok(());
        };
        for (tensor, role) in &self.entries {
            if *role == Role::TiedCopy && !tensor.equals(table) {
                return Err(tensor.error(format!(
                    "differs from `{}`, which the head shares",
                    table.name
                )));
            }
        }
        table.release();
        Ok(())
    }

    /// All parameters that `is_wanted`, by our names, and the names in the file of all other
    /// tensors.
    ///
    /// # Errors
    ///
    /// If two tensors are the same parameter.
    pub(super) fn sources(
        &self,
        config: &DebertaConfig,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<(BTreeMap<String, Source>, Vec<String>), CheckpointError> {
        let mut sources: BTreeMap<String, Source> = BTreeMap::new();
        let mut aside = Vec::new();
        for (tensor, role) in &self.entries {
            let name = match role {
                Role::Parameter(name) if is_wanted(name) => from_hub(name),
                _ => {
                    aside.push(tensor.name.clone());
                    continue;
                }
            };
            for (name, source) in Source::of(&name, tensor, config) {
                if let Some(other) = sources.get(&name) {
                    return Err(self.duplicate(&name, config.family, [&other.tensor, tensor]));
                }
                sources.insert(name, source);
            }
        }
        Ok((sources, aside))
    }

    fn duplicate(
        &self,
        name: &str,
        family: Family,
        tensors: [&Arc<StoredTensor>; 2],
    ) -> CheckpointError {
        CheckpointError::Duplicate {
            path: self.path.clone(),
            parameter: to_hub_file(name, family),
            tensors: tensors.map(|it| format!("`{}` of {}", it.name, it.path.display())),
        }
    }
}

/// Whether a name on the Hub belongs to a head, and the first part of it.
pub(super) fn head_of(hub_name: &str) -> Option<&'static str> {
    HEADS.into_iter().find(|head| hub_name.starts_with(head))
}

/// Where a parameter comes from.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) tensor: Arc<StoredTensor>,
    /// One of the three matrices that v1 fuses.
    part: Option<FusedPart>,
}

#[derive(Clone, Copy)]
struct FusedPart {
    /// Query, key or value.
    index: usize,
    heads: usize,
    head_size: usize,
}

impl Source {
    /// The parameters that a tensor holds, with their names: three if it is v1's fused matrix.
    fn of(name: &str, tensor: &Arc<StoredTensor>, config: &DebertaConfig) -> Vec<(String, Self)> {
        let Some(attention) = name.strip_suffix(FUSED_PROJECTION) else {
            let tensor = Arc::clone(tensor);
            return vec![(name.into(), Self { tensor, part: None })];
        };
        let parts = PROJECTIONS.iter().enumerate().map(|(index, name)| {
            let part = FusedPart {
                index,
                heads: config.num_attention_heads,
                head_size: config.attention_head_size,
            };
            let source = Self {
                tensor: Arc::clone(tensor),
                part: Some(part),
            };
            (format!("{attention}{name}"), source)
        });
        parts.collect()
    }

    /// Shape of the parameter in the file; `None` if the fused matrix has not as many rows as there
    /// are queries, keys and values.
    pub(super) fn shape(&self) -> Option<Vec<usize>> {
        let Some(part) = self.part else {
            return Some(self.tensor.shape.clone());
        };
        let rows = part.heads.checked_mul(part.head_size)?;
        match self.tensor.shape[..] {
            [all, columns] if Some(all) == rows.checked_mul(3) => Some(vec![rows, columns]),
            _ => None,
        }
    }

    /// Shape of the tensor in the file, if the parameter had this one.
    pub(super) fn stored_shape(&self, parameter: &[usize]) -> Vec<usize> {
        let mut shape = parameter.to_vec();
        if let (Some(_), Some(rows)) = (self.part, shape.first_mut()) {
            *rows *= PROJECTIONS.len();
        }
        shape
    }

    /// The parameter as a tensor on the host, its axes swapped if it is a matrix and `transpose`.
    ///
    /// # Errors
    ///
    /// If it is not made of floats, or a number is beyond the range of `to`.
    pub(super) fn data(
        &self,
        to: FloatType,
        transpose: bool,
    ) -> Result<TensorData, CheckpointError> {
        let bytes = self.tensor.bytes();
        let data = match (self.part, self.shape()) {
            (None, _) => self.tensor.numbers(&bytes)?.to_data(to, transpose),
            (Some(part), Some(shape)) => {
                let dtype = self.tensor.float()?;
                let rows = part.rows(&bytes, shape[1] * dtype.size(), 0..shape[0]);
                let numbers = Numbers {
                    bytes: &rows,
                    dtype,
                    shape: &shape,
                };
                numbers.to_data(to, transpose)
            }
            (Some(_), None) => {
                let shape = &self.tensor.shape;
                return Err(self.tensor.error(format!("has shape {shape:?}")));
            }
        };
        self.tensor.release();
        data.ok_or_else(|| {
            self.tensor
                .error(format!("has numbers beyond the range of {to}"))
        })
    }

    /// Some rows of the parameter: places along its first axis, within its [`shape`](Self::shape).
    ///
    /// # Errors
    ///
    /// As [`data`](Self::data).
    pub(super) fn rows(&self, to: FloatType, rows: Range<usize>) -> Result<Bytes, CheckpointError> {
        let dtype = self.tensor.float()?;
        let shape = self.shape().unwrap_or_default();
        let row_len: usize = shape.iter().skip(1).product();
        let row_bytes = row_len * dtype.size();
        let bytes = match self.part {
            None => self.tensor.rows(rows.clone(), row_bytes),
            Some(part) => part
                .rows(&self.tensor.bytes(), row_bytes, rows.clone())
                .into(),
        };
        let numbers = Numbers {
            bytes: &bytes,
            dtype,
            shape: &[rows.len() * row_len],
        };
        let data = numbers.to_data(to, false);
        let is_last = shape.first().is_none_or(|count| rows.end == *count);
        if is_last {
            self.tensor.release();
        }
        let overflow = || {
            self.tensor
                .error(format!("has numbers beyond the range of {to}"))
        };
        Ok(data.ok_or_else(overflow)?.bytes)
    }
}

impl FusedPart {
    /// v1's `in_proj` `[3 * heads * head_dim, hidden]` has query, key and value rows of each head in
    /// turn; some rows of one of the three.
    fn rows(self, all: &[u8], row_bytes: usize, rows: Range<usize>) -> Vec<u8> {
        let mut some = Vec::with_capacity(rows.len() * row_bytes);
        for row in rows {
            let (head, inside) = (row / self.head_size, row % self.head_size);
            let row = (3 * head + self.index) * self.head_size + inside;
            some.extend_from_slice(&all[row * row_bytes..(row + 1) * row_bytes]);
        }
        some
    }
}
