//! A word table that gets more rows on its way from file to file.

use std::cell::OnceCell;

use burn::tensor::{Bytes, DType, TensorData};

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
    let before = std::mem::replace(&mut shape[0], growth.rows);
    let width: usize = shape[1..].iter().product();
    let added = OnceCell::new();
    Outgoing {
        name: tensor.name.clone(),
        shape,
        dtype: tensor.dtype,
        read: Box::new(move |to, rows| {
            let old = rows.start.min(before)..rows.end.min(before);
            let mut bytes = (tensor.read)(to, old)?;
            if rows.end > before {
                let added = match added.get() {
                    Some(added) => added,
                    None => {
                        let means = column_means(&tensor, width)?;
                        added.get_or_init(|| rows_around(&means, growth.noise(before, width)))
                    }
                };
                let new = rows.start.max(before) - before..rows.end - before;
                let new = in_type(&added[new.start * width..new.end * width], to);
                let new = new.ok_or_else(|| CheckpointError::Tensor {
                    path: "the larger word table".into(),
                    name: tensor.name.clone(),
                    problem: format!("has new rows beyond the range of {to}"),
                })?;
                bytes.extend_from_byte_slice(&new);
            }
            Ok(bytes)
        }),
    }
}

/// The mean of each of `width` columns.
fn column_means(tensor: &Outgoing<'_>, width: usize) -> Result<Vec<f64>, CheckpointError> {
    let mut means = vec![0.0; width];
    let rows = tensor.rows();
    for start in (0..rows).step_by(CHUNK) {
        let bytes = (tensor.read)(FloatType::F64, start..rows.min(start + CHUNK))?;
        let count = bytes.len() / FloatType::F64.size();
        let values = TensorData::from_bytes(bytes, [count], DType::F64);
        for (index, value) in values.iter::<f64>().enumerate() {
            means[index % width] += value / rows as f64;
        }
    }
    Ok(means)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::outgoing_tests::{counting, in_pieces};

    #[test]
    fn pieces_across_the_old_and_the_new_rows_are_the_whole() {
        let growth = VocabularyGrowth {
            rows: 2 * CHUNK + 9,
            std: 0.0,
            seed: 0,
        };
        let before = CHUNK + 3;
        let numbers = in_pieces(&with_rows(counting("words", &[before, 2], 0), growth));
        assert!((0..2 * before).all(|it| numbers[it] == it as f32));
        // The mean of the first and the last row.
        let mean = (before - 1) as f32;
        let new = numbers[2 * before..].chunks(2);
        assert_eq!(new.len(), growth.rows - before);
        for row in new {
            assert!((row[0] - mean).abs() < 1e-3 && (row[1] - mean - 1.0).abs() < 1e-3);
        }
    }
}
