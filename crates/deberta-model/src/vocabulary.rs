//! Word tables with rows for tokens that were added to a vocabulary.

use burn::module::Param;
use burn::tensor::{Tensor, TensorData, backend::Backend};

use crate::config::DebertaConfig;
use crate::ops::widen;
use crate::weight_init::normal_data;

/// Where the streams of random numbers of new rows begin, after those of all parameters.
const FIRST_STREAM: u64 = 1 << 32;

/// How a word table gets more rows.
///
/// ```text
/// new row         ~ N(mean of the rows that are there, std²)
/// new output bias = mean of the biases that are there
/// ```
///
/// A new token starts as an average one, so that the probabilities of old tokens hardly change
/// ([Hewitt 2021](https://nlp.stanford.edu/~johnhew/vocab-expansion.html)). What is there stays as it
/// is.
///
/// # Deviation
///
/// `resize_token_embeddings` of transformers (`mean_resizing`) draws with 1e-9 times the covariance of
/// the rows: its new rows are all but equal. Here they differ as freshly initialised ones do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VocabularyGrowth {
    /// Rows of the table afterwards; as many as the tokenizer has ids.
    pub rows: usize,
    /// Standard deviation of the numbers of a new row.
    pub std: f64,
    /// Number that new rows follow from.
    pub seed: u64,
}

/// A word table that was to lose rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the word table has {rows} rows, of which none are taken away; {asked} were asked for")]
pub struct VocabularyShrinks {
    /// Rows that are there.
    pub rows: usize,
    /// Rows asked for.
    pub asked: usize,
}

impl VocabularyGrowth {
    /// Grows to `rows` rows with the standard deviation of the network's first weights
    /// (`initializer_range`) and the seed 0.
    pub fn new(config: &DebertaConfig, rows: usize) -> Self {
        Self {
            rows,
            std: config.initializer_range,
            seed: 0,
        }
    }

    /// Rows to add to a table of `rows`.
    pub(crate) fn new_rows(&self, rows: usize) -> Result<usize, VocabularyShrinks> {
        let asked = self.rows;
        let shrinks = VocabularyShrinks { rows, asked };
        asked.checked_sub(rows).ok_or(shrinks)
    }

    /// What new rows differ by from the mean of the `rows` that are there, row by row. Tables that grow
    /// twice get other numbers each time.
    pub(crate) fn noise(&self, rows: usize, width: usize) -> TensorData {
        let shape = [self.rows.saturating_sub(rows), width];
        normal_data(shape, self.std, self.seed, FIRST_STREAM + rows as u64)
    }

    /// A word table `[vocab, embedding]` with its new rows; `None` if there are enough.
    pub(crate) fn table<B: Backend>(
        &self,
        table: &Param<Tensor<B, 2>>,
    ) -> Result<Option<Param<Tensor<B, 2>>>, VocabularyShrinks> {
        let table = table.val().detach();
        let [rows, width] = table.dims();
        if self.new_rows(rows)? == 0 {
            return Ok(None);
        }
        let mean = widen(table.clone()).mean_dim(0);
        let options = (&table.device(), mean.dtype());
        let noise = Tensor::from_data(self.noise(rows, width), options);
        let new = (mean + noise).cast(table.dtype());
        Ok(Some(Param::from_tensor(Tensor::cat(vec![table, new], 0))))
    }

    /// An output bias `[vocab]` with an entry per row; `None` if there are enough.
    pub(crate) fn bias<B: Backend>(
        &self,
        bias: &Param<Tensor<B, 1>>,
    ) -> Result<Option<Param<Tensor<B, 1>>>, VocabularyShrinks> {
        let bias = bias.val().detach();
        let count = self.new_rows(bias.dims()[0])?;
        if count == 0 {
            return Ok(None);
        }
        let new = widen(bias.clone())
            .mean()
            .cast(bias.dtype())
            .repeat_dim(0, count);
        Ok(Some(Param::from_tensor(Tensor::cat(vec![bias, new], 0))))
    }
}
