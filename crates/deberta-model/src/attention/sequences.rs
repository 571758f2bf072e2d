//! Where the sequences of a batch lie, as the host knows it.

use std::ops::Range;

use burn::tensor::ops::IntTensor;
use burn::tensor::{Bool, Tensor, TensorData, backend::Backend};

use super::AttentionMask;
use crate::ops::{HostTable, Segment};

/// Sequences in the rows of a batch: one in each with padding behind it, or several in a row.
///
/// A token sees its own sequence only. Because the host knows where they lie, nothing has to be read
/// back from the device to leave out the padding.
#[derive(Debug, Clone)]
pub struct Sequences<B: Backend> {
    /// Queries and keys of each sequence that is not empty, in rising order.
    segments: HostTable<IntTensor<B>, Segment>,
    batch: usize,
    seq_len: usize,
    device: B::Device,
}

impl<B: Backend> Sequences<B> {
    /// Sequences of `rows[b]` tokens one after the other from the start of each row `b`; tokens
    /// beyond `seq_len` are cut off.
    pub(super) fn new<'a>(
        rows: impl ExactSizeIterator<Item = &'a [usize]>,
        seq_len: usize,
        device: &B::Device,
    ) -> Self {
        let batch = rows.len();
        let mut segments = Vec::new();
        for (row, lengths) in rows.enumerate() {
            let (mut start, end) = (row * seq_len, (row + 1) * seq_len);
            for &length in lengths {
                let tokens = start..end.min(start.saturating_add(length));
                start = tokens.end;
                segments.push(tokens);
            }
        }
        Self {
            segments: of_ranges(segments.into_iter()),
            batch,
            seq_len,
            device: device.clone(),
        }
    }

    /// Chosen queries `segments[..].queries` of `tokens` rows of keys.
    pub(crate) fn of_queries(segments: Vec<Segment>, tokens: usize, device: &B::Device) -> Self {
        Self {
            segments: HostTable::new(segments),
            batch: 1,
            seq_len: tokens,
            device: device.clone(),
        }
    }

    /// The same sequences in one row without gaps.
    pub(crate) fn without_padding(&self) -> Self {
        let mut end = 0;
        let ranges = self.segments().iter().map(|segment| {
            let start = end;
            end += segment.keys.len();
            start..end
        });
        Self {
            segments: of_ranges(ranges),
            batch: 1,
            seq_len: self.tokens(),
            device: self.device.clone(),
        }
    }

    /// Each sequence's rows of queries and of keys, counted through the batch.
    pub fn segments(&self) -> &[Segment] {
        self.segments.host()
    }

    /// The same for a kernel.
    pub(super) fn table(&self) -> &HostTable<IntTensor<B>, Segment> {
        &self.segments
    }

    /// `[batch, seq_len]`
    pub fn dims(&self) -> [usize; 2] {
        [self.batch, self.seq_len]
    }

    pub(crate) fn device(&self) -> &B::Device {
        &self.device
    }

    /// Real tokens of all sequences.
    pub fn tokens(&self) -> usize {
        self.segments().iter().map(|it| it.keys.len()).sum()
    }

    /// Tokens of the longest sequence.
    pub fn longest(&self) -> usize {
        let lengths = self.segments().iter().map(|it| it.keys.len());
        lengths.max().unwrap_or(0)
    }

    /// `true` at tokens of no sequence, `[batch, seq_len]`; `None` if there are none.
    pub fn mask_pad(&self) -> Option<Tensor<B, 2, Bool>> {
        if self.tokens() == self.batch * self.seq_len {
            return None;
        }
        let owners = self.owners();
        let mask: Vec<bool> = owners.iter().map(Option::is_none).collect();
        let mask = TensorData::new(mask, self.dims());
        Some(Tensor::from_data(mask, &self.device))
    }

    /// The same mask as a tensor, for backends without a kernel.
    pub(super) fn as_tensors(&self) -> AttentionMask<B> {
        let is_alone = |it: &Segment| it.keys.start.is_multiple_of(self.seq_len);
        if !self.segments().iter().all(is_alone) {
            return AttentionMask::Pairwise(self.blocked_pairs());
        }
        self.mask_pad()
            .map_or(AttentionMask::Full, AttentionMask::Padding)
    }

    /// `true` where a query must not see a key, `[batch, seq_len, seq_len]`.
    fn blocked_pairs(&self) -> Tensor<B, 3, Bool> {
        let Self { batch, seq_len, .. } = *self;
        let owners = self.owners();
        let rows = owners.chunks_exact(seq_len).flat_map(|owners| {
            let pairs = (0..seq_len * seq_len).map(|pair| {
                let (query, key) = (owners[pair / seq_len], owners[pair % seq_len]);
                query.is_none() || query != key
            });
            pairs.collect::<Vec<bool>>()
        });
        let blocked = TensorData::new(rows.collect(), [batch, seq_len, seq_len]);
        Tensor::from_data(blocked, &self.device)
    }

    /// Number of the sequence of each token, `[batch * seq_len]`.
    fn owners(&self) -> Vec<Option<usize>> {
        let mut owners = vec![None; self.batch * self.seq_len];
        for (sequence, segment) in self.segments().iter().enumerate() {
            owners[segment.keys.clone()].fill(Some(sequence));
        }
        owners
    }
}

fn of_ranges<I: Clone>(ranges: impl Iterator<Item = Range<usize>>) -> HostTable<I, Segment> {
    let segment = |tokens: Range<usize>| Segment {
        queries: tokens.clone(),
        keys: tokens,
    };
    let segments = ranges.filter(|it| !it.is_empty()).map(segment);
    HostTable::new(segments.collect::<Vec<_>>())
}
