//! One call of attention with its numbers.

use std::ops::Range;

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{Bool, DType, Int, Tensor, TensorData, TensorPrimitive};
use deberta_model::DebertaBackend;
use deberta_model::ops::{
    AttentionCall, DropoutCall, FusedCall, FusedKind, HostTable, MaskCall, Segment,
};
use deberta_model::relative_position::{LongDistance, RelativePositionConfig, RelativeRows};

use crate::to_f64;

/// Which pairs are blocked.
#[derive(Clone)]
pub(super) enum Mask {
    Full,
    Segments,
    /// `true` at padding, one for each key.
    Padding(Vec<bool>),
    /// One for each query and each key of its sequence.
    Pairwise(Vec<bool>),
}

/// Probability and seed.
pub(super) type Dropout = Option<(f64, [f32; 2])>;

#[derive(Clone)]
pub(super) struct Case {
    pub(super) heads: usize,
    pub(super) head_dim: usize,
    /// Rows of queries and of keys.
    pub(super) rows: [usize; 2],
    /// Rows of the batch axis of queries and of keys.
    pub(super) batch: [usize; 2],
    pub(super) segments: Vec<Segment>,
    pub(super) table: RelativeRows,
    pub(super) zero_distance: usize,
    pub(super) terms: [bool; 2],
    pub(super) positions: Option<Vec<i32>>,
    pub(super) mask: Mask,
    pub(super) dropout: Dropout,
    /// How many times the same sequences with the same numbers come, one after the other.
    pub(super) times: usize,
    /// Replaces the numbers of an input.
    pub(super) replaced: Option<(usize, Vec<f64>)>,
}

/// Output, then gradients in the order of the inputs.
pub(super) type Results = Vec<Vec<f64>>;

/// Numbers between -1 and 1 that repeat on every run.
pub(super) fn numbers(count: usize, salt: usize) -> Vec<f64> {
    let number = |at: usize| {
        let hash = (at * 2_654_435_761 + salt * 40_503_007) % 1_000_003;
        2.0 * hash as f64 / 1_000_003.0 - 1.0
    };
    (0..count).map(number).collect()
}

const BUCKETS: RelativePositionConfig = RelativePositionConfig {
    max_distance: 64,
    buckets: Some(16),
    long_distance: LongDistance::Clamp,
};

impl Case {
    /// `batch` sequences of the same lengths, without a mask.
    pub(super) fn new(
        batch: usize,
        heads: usize,
        q_len: usize,
        k_len: usize,
        head_dim: usize,
    ) -> Self {
        let segment = |index: usize| Segment {
            queries: index * q_len..(index + 1) * q_len,
            keys: index * k_len..(index + 1) * k_len,
        };
        Self {
            heads,
            head_dim,
            rows: [batch * q_len, batch * k_len],
            batch: [batch; 2],
            segments: (0..batch).map(segment).collect(),
            table: RelativeRows::new(&BUCKETS, q_len, k_len),
            zero_distance: k_len - 1,
            terms: [true, true],
            positions: None,
            mask: Mask::Full,
            dropout: None,
            times: 1,
            replaced: None,
        }
    }

    /// Sequences of `lengths` queries and keys with `gap` rows before each.
    pub(super) fn ragged(
        lengths: &[[usize; 2]],
        gap: usize,
        heads: usize,
        head_dim: usize,
    ) -> Self {
        let mut rows = [0; 2];
        let mut segments = Vec::new();
        for &[queries, keys] in lengths {
            let [q_start, k_start] = rows.map(|it| it + gap);
            segments.push(Segment {
                queries: q_start..q_start + queries,
                keys: k_start..k_start + keys,
            });
            rows = [q_start + queries, k_start + keys];
        }
        let longest = |side: usize| lengths.iter().map(|it| it[side]).max().unwrap();
        let case = Self::new(1, heads, longest(0), longest(1), head_dim);
        Self {
            rows,
            segments,
            mask: Mask::Segments,
            ..case
        }
    }

    /// The queries of all sequences in one row, as they come where only some are asked.
    pub(super) fn with_packed_queries(mut self) -> Self {
        self.batch[0] = 1;
        self.mask = Mask::Segments;
        self
    }

    /// Queries at these positions of their sequences.
    pub(super) fn at(mut self, position: impl Fn(usize) -> usize) -> Self {
        let longest = self.segments.iter().map(|it| it.keys.len()).max().unwrap();
        self.table = RelativeRows::new(&BUCKETS, longest, longest);
        self.zero_distance = longest - 1;
        let mut positions = vec![0; self.rows[0]];
        for segment in &self.segments {
            for query in segment.queries.clone() {
                positions[query] = (position(query) % segment.keys.len().max(1)) as i32;
            }
        }
        self.positions = Some(positions);
        self
    }

    /// The same sequences with the same numbers, so many times.
    pub(super) fn repeated(mut self, times: usize) -> Self {
        let [q_rows, k_rows] = self.rows;
        let once = std::mem::take(&mut self.segments);
        let shifted = |range: &Range<usize>, by: usize| range.start + by..range.end + by;
        self.segments = (0..times)
            .flat_map(|time| {
                once.iter().map(move |it| Segment {
                    queries: shifted(&it.queries, time * q_rows),
                    keys: shifted(&it.keys, time * k_rows),
                })
            })
            .collect();
        self.rows = [q_rows * times, k_rows * times];
        self.times = times;
        self
    }

    pub(super) fn with_mask(mut self, mask: Mask) -> Self {
        self.mask = mask;
        self
    }

    pub(super) fn with_dropout(mut self, prob: f64) -> Self {
        self.dropout = Some((prob, [12_345.0, 16_000_001.0]));
        self
    }

    pub(super) fn with_terms(mut self, terms: [bool; 2]) -> Self {
        self.terms = terms;
        if terms == [false, false] {
            self.table.slot_of_distance.clear();
        }
        self
    }

    /// Every seventh key, and those after the length of each sequence.
    pub(super) fn padding(&self) -> Vec<bool> {
        let k_len = self.rows[1] / self.batch[1];
        let is_padding = |row: usize| {
            let (sequence, key) = (row / k_len, row % k_len);
            key % 7 == 3 || key >= k_len.saturating_sub(sequence * 3).max(1)
        };
        (0..self.rows[1]).map(is_padding).collect()
    }

    /// A pattern in which some queries see nothing.
    pub(super) fn pairs(&self) -> Vec<bool> {
        let k_len = self.rows[1] / self.batch[1];
        let pairs = (0..self.rows[0] * k_len).map(|pair| {
            let (query, key) = (pair / k_len, pair % k_len);
            query % 5 == 4 || (query * 3 + key * 7) % 4 == 0
        });
        pairs.collect()
    }

    pub(super) fn scale(&self) -> f64 {
        1.0 / ((1 + self.terms.iter().filter(|&&it| it).count()) as f64 * self.head_dim as f64)
            .sqrt()
    }

    pub(super) fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Live rows of the table.
    pub(super) fn live(&self) -> usize {
        self.table.live.len()
    }

    /// Numbers of query, key, value and the tables that the call has, with the rows of each.
    pub(super) fn inputs(&self) -> Vec<(usize, Vec<f64>)> {
        let [q_rows, k_rows] = self.rows;
        let live = self.live();
        let terms = self.terms.into_iter().zip([live, live]);
        let tables = terms.filter(|(has, _)| *has).map(|(_, rows)| rows);
        let mut inputs: Vec<_> = [q_rows, k_rows, k_rows]
            .into_iter()
            .map(|rows| (rows, self.times))
            .chain(tables.map(|rows| (rows, 1)))
            .enumerate()
            .map(|(index, (rows, times))| {
                let once = numbers(rows / times * self.width(), index + 1);
                (rows, once.repeat(times))
            })
            .collect();
        if let Some((index, values)) = &self.replaced {
            inputs[*index].1.clone_from(values);
        }
        inputs
    }

    /// Gradient of the output.
    pub(super) fn d_out(&self) -> Vec<f64> {
        numbers(self.rows[0] / self.times * self.width(), 9).repeat(self.times)
    }

    fn call<B: DebertaBackend>(&self, device: &B::Device) -> AttentionCall<B> {
        let bools = |values: &Vec<bool>, shape: [usize; 2]| {
            let data = TensorData::new(values.clone(), shape);
            Tensor::<B, 2, Bool>::from_data(data, device)
        };
        let [q_rows, k_rows] = self.rows;
        let [q_batch, k_batch] = self.batch;
        let ints = |positions: &Vec<i32>| {
            let data = TensorData::new(positions.clone(), [q_batch, q_rows / q_batch]);
            Tensor::<B, 2, Int>::from_data(data, device).into_primitive()
        };
        let slots: Vec<u32> = self.table.slot_of_distance.clone();
        let k_len = k_rows / k_batch;
        AttentionCall {
            heads: self.heads,
            c2p: self.terms[0],
            p2c: self.terms[1],
            scale: self.scale(),
            slot_of_distance: HostTable::<IntTensor<B>>::new(slots),
            zero_distance: self.zero_distance,
            query_positions: self.positions.as_ref().map(ints),
            mask: match &self.mask {
                Mask::Full => MaskCall::Full,
                Mask::Segments => MaskCall::Segments(HostTable::new(self.segments.clone())),
                Mask::Padding(padding) => {
                    MaskCall::Padding(bools(padding, [k_batch, k_len]).into_primitive())
                }
                Mask::Pairwise(blocked) => {
                    let blocked = bools(blocked, [q_rows, k_len]);
                    let shape = [q_batch, q_rows / q_batch, k_len];
                    MaskCall::Pairwise(blocked.reshape(shape).into_primitive())
                }
            },
            dropout: self.dropout.map(|(prob, seed)| DropoutCall {
                prob,
                seed: Tensor::<B, 1>::from_data(TensorData::from(seed), (device, DType::F32))
                    .into_primitive()
                    .tensor(),
            }),
        }
    }

    fn tensors<B: DebertaBackend>(&self, dtype: DType, device: &B::Device) -> Vec<Tensor<B, 3>> {
        let tensor = |(index, (rows, values)): (usize, (usize, Vec<f64>))| {
            let batch = match index {
                0 => self.batch[0],
                1 | 2 => self.batch[1],
                _ => 1,
            };
            let data = TensorData::new(values, [batch, rows / batch, self.width()]);
            Tensor::<B, 3>::from_data(data.convert::<f32>(), device).cast(dtype)
        };
        self.inputs().into_iter().enumerate().map(tensor).collect()
    }

    /// The kernel's output.
    pub(super) fn forward<B: DebertaBackend>(&self, dtype: DType) -> Vec<f64> {
        let device = B::Device::default();
        let inputs = self.tensors::<B>(dtype, &device);
        to_f64(self.apply(&inputs, &device).into_data())
    }

    fn apply<B: DebertaBackend>(
        &self,
        inputs: &[Tensor<B, 3>],
        device: &B::Device,
    ) -> Tensor<B, 3> {
        let kind = FusedKind::Attention {
            head_dim: self.head_dim,
        };
        assert!(B::fuses(kind, inputs[0].dtype(), device), "no kernel");
        let primitive = |(index, it): (usize, &Tensor<B, 3>)| -> FloatTensor<B> {
            if index < 3 {
                return it.clone().into_primitive().tensor();
            }
            it.clone().squeeze_dim::<2>(0).into_primitive().tensor()
        };
        let inputs = inputs.iter().enumerate().map(primitive).collect();
        let output = B::apply(FusedCall::Attention(self.call(device)), inputs);
        Tensor::from_primitive(TensorPrimitive::Float(output))
    }

    /// The kernel's output and gradients.
    pub(super) fn run<B: AutodiffBackend + DebertaBackend>(&self, dtype: DType) -> Results {
        let device = B::Device::default();
        let inputs: Vec<_> = self
            .tensors::<B>(dtype, &device)
            .into_iter()
            .map(Tensor::require_grad)
            .collect();
        let output = self.apply(&inputs, &device);
        let shape = output.dims();
        let d_out = TensorData::new(self.d_out(), shape).convert::<f32>();
        let d_out = Tensor::<B, 3>::from_data(d_out, &device).cast(dtype);
        let mut gradients = (output.clone() * d_out).sum().backward();
        let mut results = vec![to_f64(output.into_data())];
        for input in &inputs {
            let gradient = input.grad_remove(&mut gradients);
            results.push(to_f64(gradient.expect("a gradient").into_data()));
        }
        results
    }
}
