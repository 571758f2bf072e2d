//! Tensors that a user hands in: read, checked against the network, put on the device.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::{Bool, DType, Int, Tensor, TensorData, backend::Backend};
use deberta::model::attention::AttentionMask;
use deberta::model::config::{AbsolutePositions, DebertaConfig};
use deberta::model::{DebertaInput, Tokens};
use safetensors::{Dtype, SafeTensors};

/// The tensors of one file.
pub(super) struct Inputs {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// Whole numbers with their shape.
pub(super) struct Ints {
    pub(super) values: Vec<i64>,
    pub(super) shape: Vec<usize>,
}

impl Inputs {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let inputs = Self {
            path: path.into(),
            bytes,
        };
        inputs.tensors()?;
        Ok(inputs)
    }

    fn tensors(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.bytes)
            .with_context(|| format!("{} is not a valid safetensors file", self.path.display()))
    }

    /// How messages call a tensor.
    fn label(&self, name: &str) -> String {
        format!("{}: tensor `{name}`", self.path.display())
    }

    /// A tensor of whole numbers or truth values; `None` if the file has none of that name.
    pub(super) fn ints(&self, name: &str) -> Result<Option<Ints>> {
        let tensors = self.tensors()?;
        let Ok(view) = tensors.tensor(name) else {
            return Ok(None);
        };
        let data = view.data();
        let values = match view.dtype() {
            Dtype::I64 => chunks(data, i64::from_le_bytes),
            Dtype::I32 => chunks(data, |it| i64::from(i32::from_le_bytes(it))),
            Dtype::I16 => chunks(data, |it| i64::from(i16::from_le_bytes(it))),
            Dtype::I8 => chunks(data, |it| i64::from(i8::from_le_bytes(it))),
            Dtype::U8 | Dtype::BOOL => chunks(data, |[it]: [u8; 1]| i64::from(it)),
            other => bail!(
                "{} has type {other:?}, expected whole numbers",
                self.label(name)
            ),
        };
        Ok(Some(Ints {
            values,
            shape: view.shape().to_vec(),
        }))
    }

    /// A tensor of floats in `dtype`; `None` if the file has none of that name or it has another
    /// type.
    pub(super) fn floats(&self, name: &str, dtype: DType) -> Result<Option<TensorData>> {
        let tensors = self.tensors()?;
        let Ok(view) = tensors.tensor(name) else {
            return Ok(None);
        };
        let stored = match view.dtype() {
            Dtype::F64 => DType::F64,
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            _ => return Ok(None),
        };
        let bytes = view.data().to_vec();
        let data = TensorData::from_bytes_vec(bytes, view.shape().to_vec(), stored);
        Ok(Some(data.convert_dtype(dtype)))
    }

    /// Whole numbers of a given shape, each in a range.
    pub(super) fn ints_in(
        &self,
        name: &str,
        shape: &[usize],
        range: std::ops::Range<i64>,
    ) -> Result<Option<Vec<i64>>> {
        let Some(ints) = self.ints(name)? else {
            return Ok(None);
        };
        let label = self.label(name);
        ensure!(
            ints.shape == shape,
            "{label} has shape {:?}, expected {shape:?}",
            ints.shape
        );
        if let Some(place) = ints.values.iter().position(|it| !range.contains(it)) {
            let value = ints.values[place];
            bail!("{label} has {value} at {place}, expected {range:?}");
        }
        Ok(Some(ints.values))
    }

    /// The batch as the network takes it. Leading axes are joined: `[questions, choices, seq_len]`
    /// becomes `[questions * choices, seq_len]`.
    pub(super) fn batch<B: Backend>(
        &self,
        config: &DebertaConfig,
        dtype: DType,
        device: &B::Device,
    ) -> Result<Batch<B>> {
        let (tokens, shape) = self.tokens(config, dtype, device)?;
        let (&seq_len, outer) = shape
            .split_last()
            .filter(|(seq_len, outer)| **seq_len > 0 && outer.iter().product::<usize>() > 0)
            .with_context(|| format!("{} is empty", self.path.display()))?;
        let rows = [outer.iter().product(), seq_len];
        if config.absolute_positions == AbsolutePositions::Input {
            let limit = config.max_position_embeddings;
            ensure!(
                seq_len <= limit,
                "{}: {seq_len} tokens, but this network has absolute positions for {limit}",
                self.path.display()
            );
        }
        let table = |name, size: usize| -> Result<Option<Tensor<B, 2, Int>>> {
            let ids = self.ints_in(name, &shape, 0..size.max(1) as i64)?;
            Ok(ids.map(|ids| Tensor::from_data(TensorData::new(ids, rows), device)))
        };
        let (mask, real) = self.mask(rows, &shape, device)?;
        let input = DebertaInput {
            tokens,
            token_type_ids: table("token_type_ids", config.type_vocab_size)?,
            position_ids: table("position_ids", config.max_position_embeddings)?,
            mask,
            tape: None,
        };
        Ok(Batch { input, shape, real })
    }

    fn tokens<B: Backend>(
        &self,
        config: &DebertaConfig,
        dtype: DType,
        device: &B::Device,
    ) -> Result<(Tokens<B>, Vec<usize>)> {
        if let Some(ids) = self.ints("input_ids")? {
            let label = self.label("input_ids");
            ensure!(
                matches!(ids.shape.len(), 2 | 3),
                "{label} has shape {:?}, expected [batch, seq_len]",
                ids.shape
            );
            let rows = config.vocab_size as i64;
            if let Some(place) = ids.values.iter().position(|id| !(0..rows).contains(id)) {
                let id = ids.values[place];
                bail!("{label} has id {id} at {place}, but the word table has {rows} rows");
            }
            let seq_len = ids.shape.last().copied().unwrap_or(0).max(1);
            let data = TensorData::new(
                ids.values,
                [ids.shape.iter().product::<usize>() / seq_len, seq_len],
            );
            return Ok((Tokens::Ids(Tensor::from_data(data, device)), ids.shape));
        }
        let Some(vectors) = self.floats("inputs_embeds", dtype)? else {
            bail!(
                "{} has neither `input_ids` nor `inputs_embeds`",
                self.path.display()
            );
        };
        let shape = vectors.shape.to_vec();
        ensure!(
            shape.len() == 3 && shape[2] == config.embedding_size,
            "{} has shape {shape:?}, expected [batch, seq_len, {}]",
            self.label("inputs_embeds"),
            config.embedding_size
        );
        let vectors = Tensor::from_data(vectors, (device, dtype));
        Ok((Tokens::Vectors(vectors), shape[..2].to_vec()))
    }

    /// The mask, and which tokens are real, row after row.
    fn mask<B: Backend>(
        &self,
        [batch, seq_len]: [usize; 2],
        shape: &[usize],
        device: &B::Device,
    ) -> Result<(AttentionMask<B>, Vec<bool>)> {
        let name = "attention_mask";
        let tokens = batch * seq_len;
        let Some(mask) = self.ints(name)? else {
            return Ok((AttentionMask::Full, vec![true; tokens]));
        };
        let blocked: Vec<bool> = mask.values.iter().map(|keep| *keep == 0).collect();
        if mask.shape == shape {
            let real = blocked.iter().map(|blocked| !blocked).collect();
            if !blocked.contains(&true) {
                return Ok((AttentionMask::Full, real));
            }
            let data = TensorData::new(blocked, [batch, seq_len]);
            let mask_pad = Tensor::<B, 2, Bool>::from_data(data, device);
            return Ok((AttentionMask::Padding(mask_pad), real));
        }
        if mask.shape == [batch, seq_len, seq_len] {
            let data = TensorData::new(blocked, [batch, seq_len, seq_len]);
            let pairs = Tensor::<B, 3, Bool>::from_data(data, device);
            return Ok((AttentionMask::Pairwise(pairs), vec![true; tokens]));
        }
        bail!(
            "{} has shape {:?}, expected {shape:?} or {:?}",
            self.label(name),
            mask.shape,
            [batch, seq_len, seq_len]
        );
    }
}

/// What [`Inputs::batch`] gives.
pub(super) struct Batch<B: Backend> {
    pub(super) input: DebertaInput<B>,
    /// Shape of the token ids in the file.
    pub(super) shape: Vec<usize>,
    /// Whether each token is real, row after row.
    pub(super) real: Vec<bool>,
}

/// Numbers of `N` bytes each.
fn chunks<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> i64) -> Vec<i64> {
    let (numbers, _) = data.as_chunks::<N>();
    numbers.iter().map(|&it| number(it)).collect()
}
