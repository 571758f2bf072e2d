//! Labelled sequences of one micro-batch, and what a head says about them.

/// Labelled sequences of one micro-batch, on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskBatch {
    /// Index of each example; all its sequences stand side by side.
    pub examples: Vec<usize>,
    /// Sequences of an example: the number of choices, or 1.
    pub choices: usize,
    /// Tokens of the longest sequence.
    pub seq_len: usize,
    /// Token ids, row by row, padded.
    pub input_ids: Vec<i32>,
    /// Token types, row by row; `None` is type 0 everywhere.
    pub type_ids: Option<Vec<i32>>,
    /// Real tokens of each sequence.
    pub lengths: Vec<usize>,
    /// What the head should say.
    pub targets: Targets,
}

/// What a head should say about the sequences of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// Nothing is known; for predictions.
    Unknown,
    /// A class for each row of logits, see [`Rows`]; negative for rows that have none.
    Classes(Vec<i32>),
    /// A number for each logit: values for regression, 0 or 1 for each of several labels, or
    /// distributions over the labels.
    Values(Vec<f32>),
}

/// What a row of logits belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// A sequence; columns are labels.
    Sequences,
    /// An example; columns are its choices.
    Examples,
    /// A token, also of padding, sequence by sequence; columns are labels.
    Tokens,
    /// First the starts of all spans, one per sequence, then all ends; columns are tokens. A class
    /// outside the sequence counts as none.
    Spans,
}

impl TaskBatch {
    /// Rows of logits that a head gives for the batch.
    pub(super) fn rows(&self, rows: Rows) -> usize {
        let sequences = self.lengths.len();
        match rows {
            Rows::Sequences => sequences,
            Rows::Examples => sequences / self.choices,
            Rows::Tokens => sequences * self.seq_len,
            Rows::Spans => 2 * sequences,
        }
    }

    /// 1 for each row of logits of something real, 0 for padding; `None` if all are real.
    pub(super) fn real_rows(&self, rows: Rows) -> Option<Vec<f32>> {
        let padded = self.lengths.iter().any(|length| *length < self.seq_len);
        (rows == Rows::Tokens && padded).then(|| {
            let weights = self.lengths.iter().flat_map(|length| {
                (0..self.seq_len).map(move |position| f32::from(u8::from(position < *length)))
            });
            weights.collect()
        })
    }

    /// Number of real rows of logits.
    pub(super) fn real_row_count(&self, rows: Rows) -> usize {
        match rows {
            Rows::Tokens => self.lengths.iter().sum(),
            _ => self.rows(rows),
        }
    }
}

/// What a head says about one example.
///
/// | task | `values` | `width` |
/// |---|---|---|
/// | classification, regression, several labels | one per label | labels |
/// | multiple choice | one per choice | choices |
/// | labels of tokens | one per token and label, padding left out | labels |
/// | question answering | starts of all tokens, then ends | tokens |
#[derive(Debug, Clone, PartialEq)]
pub struct ExampleLogits {
    /// Index of the example.
    pub example: usize,
    /// Logits, row by row.
    pub values: Vec<f32>,
    /// Logits in a row.
    pub width: usize,
}

/// Where the logits of a batch belong.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    rows: Rows,
    examples: Vec<usize>,
    seq_len: usize,
    lengths: Vec<usize>,
}

impl Layout {
    pub(super) fn new(batch: &TaskBatch, rows: Rows) -> Self {
        Self {
            rows,
            examples: batch.examples.clone(),
            seq_len: batch.seq_len,
            lengths: batch.lengths.clone(),
        }
    }

    /// Cuts the logits of a batch, `width` per row, into those of its examples.
    pub(super) fn split(&self, logits: &[f32], width: usize) -> Vec<ExampleLogits> {
        let examples = self.examples.iter().enumerate();
        examples
            .map(|(place, &example)| {
                let (values, width) = self.of_example(place, logits, width);
                ExampleLogits {
                    example,
                    values,
                    width,
                }
            })
            .collect()
    }

    fn of_example(&self, place: usize, logits: &[f32], width: usize) -> (Vec<f32>, usize) {
        let rows = |first: usize, count: usize| &logits[first * width..(first + count) * width];
        match self.rows {
            Rows::Sequences | Rows::Examples => (rows(place, 1).to_vec(), width),
            Rows::Tokens => {
                let tokens = rows(place * self.seq_len, self.lengths[place]);
                (tokens.to_vec(), width)
            }
            Rows::Spans => {
                let length = self.lengths[place];
                let starts = &rows(place, 1)[..length];
                let ends = &rows(self.lengths.len() + place, 1)[..length];
                ([starts, ends].concat(), length)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(rows: Rows) -> Layout {
        Layout {
            rows,
            examples: vec![7, 3],
            seq_len: 3,
            lengths: vec![2, 3],
        }
    }

    fn split(rows: Rows, count: usize, width: usize) -> Vec<(usize, Vec<f32>, usize)> {
        let logits: Vec<f32> = (0..count * width).map(|it| it as f32).collect();
        let examples = layout(rows).split(&logits, width).into_iter();
        examples
            .map(|it| (it.example, it.values, it.width))
            .collect()
    }

    #[test]
    fn every_example_gets_its_logits_without_padding() {
        assert_eq!(
            split(Rows::Sequences, 2, 2),
            [(7, vec![0.0, 1.0], 2), (3, vec![2.0, 3.0], 2)]
        );
        assert_eq!(
            split(Rows::Tokens, 6, 1),
            [(7, vec![0.0, 1.0], 1), (3, vec![3.0, 4.0, 5.0], 1)]
        );
        assert_eq!(
            split(Rows::Spans, 4, 3),
            [
                (7, vec![0.0, 1.0, 6.0, 7.0], 2),
                (3, vec![3.0, 4.0, 5.0, 9.0, 10.0, 11.0], 3)
            ]
        );
    }
}
