//! The golden files on this backend: how far outputs and gradients are from the reference programs',
//! in each float type that the device has.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use burn::module::{AutodiffModule, Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, Int, Tensor, TensorData};
use deberta::backend::DefaultAutodiffBackend as A;
use deberta::model::attention::AttentionMask;
use deberta::model::checkpoint::{Compatibility, hub_tensors, load_masked_lm, load_model};
use deberta::model::heads::masked_lm::{MaskedTokens, masked_lm_loss};
use deberta::model::{DebertaConfig, DebertaInput, MaskedLmInput, precision};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

use crate::{B, Device, larger};

/// A row for each golden file of an encoder or masked language model below `fixtures`, and type.
pub(crate) fn table(fixtures: &Path) -> Result<Value> {
    let mut rows = Vec::new();
    for folder in folders(fixtures)? {
        let name = folder.strip_prefix(fixtures)?.to_string_lossy();
        let bytes = fs::read(folder.join("io.safetensors"))?;
        let golden = Golden {
            folder: &folder,
            tensors: SafeTensors::deserialize(&bytes)?,
        };
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            if !B::supports_dtype(&Device::default(), dtype) {
                continue;
            }
            let compared = if golden.has("inputs.loss_weight") {
                golden.encoder(dtype)
            } else if golden.has("f64.logits_at_labels") || name.starts_with("ms/emd") {
                golden.masked_lm(dtype)
            } else {
                break;
            };
            let (output, gradient) = compared.with_context(|| format!("{name} in {dtype:?}"))?;
            rows.push(json!({
                "name": name,
                "dtype": format!("{dtype:?}").to_lowercase(),
                "output": output.relative(),
                "output_largest": output.largest,
                "gradient": gradient.relative(),
            }));
        }
    }
    ensure!(
        !rows.is_empty(),
        "no golden files below {}",
        fixtures.display()
    );
    Ok(json!({ "golden": rows }))
}

/// Folders with a checkpoint and what a reference program makes of it.
fn folders(fixtures: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for family in ["hf", "ms"] {
        let family = fixtures.join(family);
        let entries =
            fs::read_dir(&family).with_context(|| format!("cannot read {}", family.display()))?;
        for entry in entries {
            let folder = entry?.path();
            let has = |file: &str| folder.join(file).is_file();
            if has("io.safetensors") && has("model.safetensors") {
                found.push(folder);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Distance from a reference.
#[derive(Default)]
struct Difference {
    error: f64,
    size: f64,
    /// Of one number.
    largest: f64,
}

impl Difference {
    fn add(&mut self, actual: f64, expected: f64) {
        let difference = (actual - expected).abs();
        self.error += difference.powi(2);
        self.size += expected.powi(2);
        self.largest = larger(self.largest, difference);
    }

    /// In parts of the reference's length as one vector.
    fn relative(&self) -> f64 {
        (self.error / self.size).sqrt()
    }
}

struct Golden<'a> {
    folder: &'a Path,
    tensors: SafeTensors<'a>,
}

impl Golden<'_> {
    fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }

    fn floats(&self, name: &str) -> Result<(Vec<f64>, Vec<usize>)> {
        let view = self.tensors.tensor(name)?;
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F64 => {
                let numbers = data.as_chunks::<8>().0.iter();
                numbers.map(|it| f64::from_le_bytes(*it)).collect()
            }
            Dtype::F32 => {
                let numbers = data.as_chunks::<4>().0.iter();
                numbers.map(|it| f32::from_le_bytes(*it).into()).collect()
            }
            other => bail!("{name} has type {other:?}"),
        };
        Ok((values, view.shape().to_vec()))
    }

    /// A matrix of integers.
    fn ints(&self, name: &str) -> Result<(Vec<i64>, [usize; 2])> {
        let view = self.tensors.tensor(name)?;
        ensure!(
            view.dtype() == Dtype::I64,
            "{name} has type {:?}",
            view.dtype()
        );
        let numbers = view.data().as_chunks::<8>().0.iter();
        let shape = <[usize; 2]>::try_from(view.shape());
        let shape = shape.with_context(|| format!("{name} is no matrix"))?;
        Ok((numbers.map(|it| i64::from_le_bytes(*it)).collect(), shape))
    }

    fn lengths(&self) -> Result<Vec<usize>> {
        let (mask, [_, seq_len]) = self.ints("inputs.attention_mask")?;
        let rows = mask.chunks(seq_len);
        Ok(rows.map(|row| row.iter().sum::<i64>() as usize).collect())
    }

    fn input(&self) -> Result<DebertaInput<A>> {
        let device = Device::default();
        let matrix = |name: &str| -> Result<Tensor<A, 2, Int>> {
            let (values, shape) = self.ints(name)?;
            Ok(Tensor::from_data(TensorData::new(values, shape), &device))
        };
        let ids = matrix("inputs.input_ids")?;
        let [_, seq_len] = ids.dims();
        let types = "inputs.token_type_ids";
        Ok(DebertaInput {
            token_type_ids: self.has(types).then(|| matrix(types)).transpose()?,
            mask: AttentionMask::from_lengths(&self.lengths()?, seq_len, &device),
            ..DebertaInput::new(ids)
        })
    }

    /// Last states at real tokens, and gradients of a weighted mean over them.
    fn encoder(&self, dtype: DType) -> Result<(Difference, Difference)> {
        let device = Device::default();
        let (model, config) = load_model::<A>(self.folder, Compatibility::HuggingFace, &device)?;
        let model = precision::cast(model, dtype, &device)?;
        let last = model.forward(self.input()?).cast(DType::F32);

        let (expected, shape) = self.floats("f64.last_hidden_state")?;
        let [_, seq_len, hidden] = last.dims();
        let lengths = self.lengths()?;
        let is_real = |at: usize| at / hidden % seq_len < lengths[at / hidden / seq_len];
        let mut output = Difference::default();
        for (at, actual) in last.to_data().iter::<f64>().enumerate() {
            if is_real(at) {
                output.add(actual, expected[at]);
            }
        }

        let tokens = lengths.iter().sum::<usize>() as f64;
        let (mut weight, _) = self.floats("inputs.loss_weight")?;
        for (at, weight) in weight.iter_mut().enumerate() {
            *weight = if is_real(at) { *weight / tokens } else { 0.0 };
        }
        let weight = TensorData::new(weight, shape);
        let loss = (last * Tensor::from_data(weight, (&device, DType::F32))).sum();
        let gradient = self.gradients(&model, &config, loss, str::to_owned)?;
        Ok((output, gradient))
    }

    /// Logits at masked tokens, and gradients of their mean cross-entropy.
    fn masked_lm(&self, dtype: DType) -> Result<(Difference, Difference)> {
        let device = Device::default();
        let enhanced = !self.has("f64.logits_at_labels");
        let (model, config) = load_masked_lm::<A>(self.folder, Compatibility::Microsoft, &device)?;
        let model = precision::cast(model, dtype, &device)?;
        let (labels, [_, seq_len]) = self.ints("inputs.labels")?;
        let unlabelled = if enhanced { 0 } else { -100 };
        let positions = labels.chunks(seq_len).map(|row| {
            let row = (0_u32..).zip(row);
            let labelled = row.filter(|(_, label)| **label != unlabelled);
            labelled.map(|(position, _)| position).collect()
        });
        let positions: Vec<Vec<u32>> = positions.collect();
        let masked = MaskedTokens::new(&positions, seq_len, &device);
        let tokens = self.input()?;
        let logits = model.forward(MaskedLmInput { tokens, masked });

        let key = if enhanced {
            "f64.logits"
        } else {
            "f64.logits_at_labels"
        };
        let mut output = Difference::default();
        let actual = logits.to_data();
        for (actual, expected) in actual.iter::<f64>().zip(self.floats(key)?.0) {
            output.add(actual, expected);
        }
        let labels: Vec<i64> = labels.into_iter().filter(|it| *it != unlabelled).collect();
        let loss = masked_lm_loss(logits, Tensor::from_data(labels.as_slice(), &device));
        let is_v1 = self.folder.ends_with("emd_v1");
        let gradient = self.gradients(&model, &config, loss, |name| renamed(name, is_v1))?;
        Ok((output, gradient))
    }

    /// All recorded gradients of `loss` as one vector.
    fn gradients<M: AutodiffModule<A>>(
        &self,
        model: &M,
        config: &DebertaConfig,
        loss: Tensor<A, 1>,
        rename: impl Fn(&str) -> String,
    ) -> Result<Difference> {
        let mut gradients = GradientsParams::from_grads(loss.backward(), model);
        let by_name = model.valid().map(&mut Replace(&mut gradients));
        let actual = hub_tensors::<<A as AutodiffBackend>::InnerBackend, _>(&by_name, config)
            .map_err(|(name, error)| {
                anyhow::anyhow!("cannot read the gradient of {name}: {error}")
            })?;
        let mut difference = Difference::default();
        for key in self.tensors.names() {
            let variant = key.split_once(".grad.").map(|(_, name)| name);
            let Some(name) = key.strip_prefix("grad.").or(variant) else {
                continue;
            };
            let name = rename(name);
            let (expected, _) = self.floats(key)?;
            let Some((_, actual)) = actual.iter().find(|(it, _)| *it == name) else {
                let is_unused = expected.iter().all(|it| *it == 0.0);
                ensure!(is_unused, "no parameter is called {name}");
                continue;
            };
            for (actual, expected) in actual.iter::<f64>().zip(expected) {
                difference.add(actual, expected);
            }
        }
        Ok(difference)
    }
}

/// Microsoft's code keeps v1 weights under v2 names, transformers' older head under its own.
fn renamed(name: &str, is_v1: bool) -> String {
    let name = name
        .replace("cls.predictions.transform.", "lm_predictions.lm_head.")
        .replace("cls.predictions.", "lm_predictions.lm_head.");
    if is_v1 && name.contains("attention") {
        return name
            .replace("pos_key_proj", "pos_proj")
            .replace("pos_query_proj", "pos_q_proj");
    }
    name
}

/// Replaces every parameter by its gradient.
struct Replace<'a>(&'a mut GradientsParams);

impl<B: Backend> ModuleMapper<B> for Replace<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, value, mapper) = param.consume();
        let gradient = self.0.remove::<B, D>(id);
        let gradient = gradient.unwrap_or_else(|| value.zeros_like());
        Param::from_mapped_value(id, gradient, mapper)
    }
}
