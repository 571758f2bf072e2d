//! Forward passes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::tensor::{DType, Distribution, Int, Tensor, TensorData};
use deberta::model::attention::AttentionMask;
use deberta::model::checkpoint::{Compatibility, load_model};
use deberta::model::{DebertaInput, DebertaModel, precision};
use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::{B, Device, larger, lengths, time};

pub(crate) struct Inference {
    model: DebertaModel<B>,
    folder: PathBuf,
}

impl Inference {
    pub(crate) fn new(folder: &Path, dtype: DType) -> Result<Self> {
        let device = Device::default();
        let (model, _) = load_model::<B>(folder, Compatibility::HuggingFace, &device)?;
        let mut model = precision::cast(model, dtype, &device)?;
        model.prepare();
        Ok(Self {
            model,
            folder: folder.to_owned(),
        })
    }

    pub(crate) fn answer(&self, request: &Value) -> Result<Value> {
        match request.get("check") {
            Some(_) => self.check(),
            None => self.forward(request),
        }
    }

    fn forward(&self, request: &Value) -> Result<Value> {
        let device = Device::default();
        let lengths = lengths(request)?;
        let seq_len = lengths.iter().copied().max().context("no sequence")?;
        let most = self.model.embeddings.word_embeddings.weight.dims()[0].min(30_000);
        let ids = Tensor::<B, 2, Int>::random(
            [lengths.len(), seq_len],
            Distribution::Uniform(5.0, most as f64),
            &device,
        );
        time(request, || {
            let input = DebertaInput {
                mask: AttentionMask::from_lengths(&lengths, seq_len, &device),
                ..DebertaInput::new(ids.clone())
            };
            let _states = self.model.forward(input);
            Ok(())
        })
    }

    /// Largest difference to the reference output at real tokens.
    fn check(&self) -> Result<Value> {
        let device = Device::default();
        let bytes = fs::read(self.folder.join("check.safetensors"))?;
        let reference = SafeTensors::deserialize(&bytes)?;
        let integers = |name: &str| -> Result<Vec<i64>> {
            let data = reference.tensor(name)?.data();
            Ok(data
                .chunks_exact(8)
                .map(|it| i64::from_le_bytes(it.try_into().unwrap_or_default()))
                .collect())
        };
        let states = reference.tensor("last_hidden_state")?;
        let [batch, seq_len, hidden] = states.shape() else {
            bail!("last_hidden_state has not three axes")
        };
        let mask = integers("attention_mask")?;
        let lengths: Vec<usize> = mask
            .chunks(*seq_len)
            .map(|row| row.iter().sum::<i64>() as usize)
            .collect();
        let ids = TensorData::new(integers("input_ids")?, [*batch, *seq_len]);
        let input = DebertaInput {
            mask: AttentionMask::from_lengths(&lengths, *seq_len, &device),
            ..DebertaInput::new(Tensor::from_data(ids, &device))
        };
        let ours = self.model.forward(input).into_data();
        let theirs = states
            .data()
            .chunks_exact(4)
            .map(|it| f32::from_le_bytes(it.try_into().unwrap_or_default()));
        let largest = ours
            .iter::<f32>()
            .zip(theirs)
            .enumerate()
            .filter(|(index, _)| mask[index / hidden] == 1)
            .map(|(_, (ours, theirs))| f64::from((ours - theirs).abs()))
            .fold(0.0, larger);
        Ok(json!({ "difference": largest }))
    }
}
