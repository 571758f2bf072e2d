//! A word table that gets more rows on its way from file to file.

use burn::tensor::{Bytes, TensorData};

use super::error::CheckpointError;
use super::floats::FloatType;
use super::load::Folder;
use super::names::{OUTPUT_BIAS, WORD_TABLE};
use super::numbers::Numbers;
use super::outgoing::Outgoing;
use crate::config::DebertaConfig;
use crate::vocabulary::VocabularyGrowth;

/// Rows whose mean is taken at a time.
const CHUNK: usize = 1024;

impl Folder {
    /// How the word table grows to `rows` rows.
    ///
    /// # Errors
    ///
    /// If it is not there, is not what `config.json` says, would shrink or become too large.
    pub(super) fn growth(
        &self,
        rows: usize,
        seed: u64,
    ) -> Result<VocabularyGrowth, CheckpointError> {
        let found = self.config.vocab_size;
        let table = self.weights.parameter(WORD_TABLE)?;
        if table.shape.first() != Some(&found) {
            let shape = &table.shape;
            return Err(table.error(format!(
                "has shape {shape:?}, expected {found} rows, as the configuration says"
            )));
        }
        let growth = VocabularyGrowth {
            seed,
            ..VocabularyGrowth::new(&self.config, rows)
        };
        growth.new_rows(found).map_err(|source| {
            let path = table.path.clone();
            CheckpointError::Vocabulary { path, source }
        })?;
        let larger = DebertaConfig {
            vocab_size: rows,
            ..self.config.clone()
        };
        match larger.validate() {
            Ok(()) => Ok(growth),
            Err(source) => Err(self.config_error(source)),
        }
    }
}

/// Gives the word table and the output bias of the language-model head their new rows. Names are ours.
pub(super) fn grow<'a>(
    tensors: Vec<Outgoing<'a>>,
    config: &DebertaConfig,
    growth: VocabularyGrowth,
) -> Vec<Outgoing<'a>> {
    let rows = config.vocab_size;
    let tensors = tensors.into_iter().map(|tensor| {
        let growth = match tensor.name.as_str() {
            WORD_TABLE => growth,
            // Entries as likely as the average one.
            OUTPUT_BIAS => VocabularyGrowth { std: 0.0, ..growth },
            _ => return tensor,
        };
        match tensor.shape.first() == Some(&rows) && growth.rows > rows {
            true => with_rows(tensor, growth),
            // Not what the network expects, and not for us to mend.
            false => tensor,
        }
    });
    tensors.collect()
}

fn with_rows(tensor: Outgoing<'_>, growth: VocabularyGrowth) -> Outgoing<'_> {
    let mut shape = tensor.shape.clone();
    let rows = std::mem::replace(&mut shape[0], growth.rows);
    let width = shape[1..].iter().product();
    Outgoing {
        name: tensor.name.clone(),
        shape,
        dtype: tensor.dtype,
        read: Box::new(move |to| {
            let mut bytes = (tensor.read)(to)?;
            let means = column_means(&bytes, to, width);
            let new = rows_around(&means, growth.noise(rows, width));
            let new = in_type(&new, to).ok_or_else(|| CheckpointError::Tensor {
                path: "the larger word table".into(),
                name: tensor.name.clone(),
                problem: format!("has new rows beyond the range of {to}"),
            })?;
            bytes.extend_from_byte_slice(&new);
            Ok(bytes)
        }),
    }
}

/// The mean of each of `width` columns.
fn column_means(bytes: &[u8], dtype: FloatType, width: usize) -> Vec<f64> {
    let mut means = vec![0.0; width];
    let row_bytes = width * dtype.size();
    if row_bytes == 0 {
        return means;
    }
    for bytes in bytes.chunks(CHUNK * row_bytes) {
        let numbers = Numbers {
            bytes,
            dtype,
            shape: &[bytes.len() / dtype.size()],
        };
        let values = numbers.to_data(FloatType::F64, false);
        for (index, value) in values.iter().flat_map(TensorData::iter::<f64>).enumerate() {
            means[index % width] += value;
        }
    }
    let rows = bytes.len() / row_bytes;
    means.iter_mut().for_each(|it| *it /= rows as f64);
    means
}

fn rows_around(means: &[f64], noise: TensorData) -> Vec<f32> {
    let around = |(noise, mean): (f64, &f64)| (mean + noise) as f32;
    noise
        .iter::<f64>()
        .zip(means.iter().cycle())
        .map(around)
        .collect()
}

fn in_type(values: &[f32], to: FloatType) -> Option<Bytes> {
    let data = TensorData::from(values);
    let numbers = Numbers {
        bytes: data.as_bytes(),
        dtype: FloatType::F32,
        shape: &[values.len()],
    };
    Some(numbers.to_data(to, false)?.bytes)
}
