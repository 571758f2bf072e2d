//! What all tasks of one call read, and where in it each of them looks.

use std::ops::Range;

use rayon::prelude::*;

use super::dropout::Pattern;
use super::slots::SlotTable;
use super::tile::{HeadRows, Matrix};
use super::{Inputs, Mask, Segment, Shape};

/// What all tasks of one call read.
pub(super) struct Plan<'a> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) dropout: Option<Pattern>,
    /// Last slot first: along a row of scores, the distance falls.
    pub(super) pos_key: Option<PositionTable>,
    /// Times the scale.
    pub(super) pos_query: Option<PositionTable>,
    /// Slots by rising distance.
    pub(super) rising: SlotTable,
    /// Slots by falling distance, counted from the last.
    pub(super) falling: SlotTable,
    /// Of each sequence: how many queries and keys come before nothing but padding.
    extents: Vec<Extent>,
    /// Queries that see no key, `[q_rows]`; empty if there are none.
    blind: Vec<bool>,
}

#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub(super) queries: usize,
    pub(super) keys: usize,
}

impl<'a> Plan<'a> {
    pub(super) fn new(inputs: &'a Inputs<'a>) -> Self {
        inputs.check();
        let slots = if inputs.has_positions() {
            inputs.slot_of_distance
        } else {
            &[]
        };
        let live = inputs.shape.live as u32;
        let (extents, blind) = seen(inputs);
        Self {
            inputs,
            dropout: inputs
                .dropout
                .filter(|dropout| dropout.prob > 0.0)
                .map(Pattern::new),
            pos_key: inputs
                .pos_key
                .map(|table| PositionTable::new(&inputs.shape, table, 1.0, true)),
            pos_query: inputs
                .pos_query
                .map(|table| PositionTable::new(&inputs.shape, table, inputs.scale, false)),
            rising: SlotTable::new(slots.to_vec()),
            falling: SlotTable::new(slots.iter().rev().map(|slot| live - 1 - slot).collect()),
            extents,
            blind,
        }
    }

    pub(super) fn segments(&self) -> usize {
        self.extents.len()
    }

    /// The segments in at most `parts` consecutive parts of similar work.
    pub(super) fn parts(&self, parts: usize) -> Vec<Range<usize>> {
        let work = |it: &Extent| it.queries * it.keys + 1;
        let total: usize = self.extents.iter().map(work).sum();
        let (mut done, mut first) = (0, 0);
        let mut ranges = Vec::new();
        for (segment, extent) in self.extents.iter().enumerate() {
            done += work(extent);
            // The last segment ends the last part: `done` is `total` then.
            if done * parts >= total * (ranges.len() + 1) {
                ranges.push(first..segment + 1);
                first = segment + 1;
            }
        }
        ranges
    }

    pub(super) fn segment(&self, segment: usize) -> &Segment {
        &self.inputs.segments[segment]
    }

    pub(super) fn extent(&self, segment: usize) -> Extent {
        self.extents[segment]
    }

    /// Row among all queries of query `query` of a segment.
    pub(super) fn query_row(&self, segment: usize, query: usize) -> usize {
        self.segment(segment).queries.start + query
    }

    pub(super) fn is_blind(&self, segment: usize, query: usize) -> bool {
        !self.blind.is_empty() && self.blind[self.query_row(segment, query)]
    }

    /// Index of a query among the rows of all heads, `[heads, q_rows]`.
    pub(super) fn score_row(&self, segment: usize, head: usize, query: usize) -> usize {
        head * self.inputs.shape.q_rows + self.query_row(segment, query)
    }

    /// Where head `head` of the queries of a segment lies.
    pub(super) fn query_rows(&self, segment: usize, head: usize) -> HeadRows {
        self.rows(self.segment(segment).queries.start, head)
    }

    /// Where head `head` of the keys of a segment lies.
    pub(super) fn key_rows(&self, segment: usize, head: usize) -> HeadRows {
        self.rows(self.segment(segment).keys.start, head)
    }

    fn rows(&self, first: usize, head: usize) -> HeadRows {
        let Shape { head_dim, .. } = self.inputs.shape;
        let stride = self.inputs.shape.width();
        HeadRows {
            first: first * stride + head * head_dim,
            stride,
            head_dim,
        }
    }

    pub(super) fn position(&self, segment: usize, query: usize) -> usize {
        match self.inputs.query_positions {
            None => query,
            Some(positions) => positions[self.query_row(segment, query)] as usize,
        }
    }

    /// First and last position among `queries`, which are not empty.
    fn position_bounds(&self, segment: usize, queries: Range<usize>) -> (usize, usize) {
        match self.inputs.query_positions {
            None => (queries.start, queries.end - 1),
            Some(_) => queries.fold((usize::MAX, 0), |(first, last), query| {
                let position = self.position(segment, query);
                (first.min(position), last.max(position))
            }),
        }
    }

    /// Entry of [`Self::falling`] for a query at `position` and key 0; key `j` is `j` further.
    pub(super) fn falling_entry(&self, position: usize) -> usize {
        self.falling.len() - 1 - self.inputs.zero_distance - position
    }

    /// Entry of [`Self::rising`] for a query at `position` and key `key`.
    pub(super) fn rising_entry(&self, position: usize, key: usize) -> usize {
        position + self.inputs.zero_distance - key
    }

    /// Slots in [`Self::falling`] that `queries` read for the first `keys` keys.
    pub(super) fn query_slots(
        &self,
        segment: usize,
        queries: Range<usize>,
        keys: usize,
    ) -> Range<usize> {
        let (first, last) = self.position_bounds(segment, queries);
        self.falling
            .bounds(self.falling_entry(last)..self.falling_entry(first) + keys)
    }

    /// Slots in [`Self::rising`] that `keys` read for `queries`.
    pub(super) fn key_slots(
        &self,
        segment: usize,
        queries: Range<usize>,
        keys: Range<usize>,
    ) -> Range<usize> {
        let (first, last) = self.position_bounds(segment, queries);
        self.rising
            .bounds(self.rising_entry(first, keys.end - 1)..self.rising_entry(last, keys.start) + 1)
    }
}

/// Extents and blind queries, from the mask.
fn seen(inputs: &Inputs<'_>) -> (Vec<Extent>, Vec<bool>) {
    let whole = |it: &Segment| Extent {
        // Without keys there is nothing to see.
        queries: it.queries.len() * usize::from(!it.keys.is_empty()),
        keys: it.keys.len(),
    };
    let segments = inputs.segments;
    match inputs.mask {
        Mask::Full => (segments.iter().map(whole).collect(), Vec::new()),
        Mask::Pairwise(blocked) => {
            let mut blind = vec![false; inputs.shape.q_rows];
            for it in segments {
                for query in it.queries.clone() {
                    let pairs = &blocked[query * it.keys.len()..][..it.keys.len()];
                    blind[query] = pairs.iter().all(|&blocked| blocked);
                }
            }
            (segments.iter().map(whole).collect(), blind)
        }
        Mask::Padding(padding) => {
            let extent = |it: &Segment| {
                let padding = &padding[it.keys.clone()];
                let last = padding.iter().rposition(|&pad| !pad);
                let keys = last.map_or(0, |last| last + 1);
                let queries = match (keys, inputs.blind_padded_queries) {
                    (0, _) => 0,
                    (_, true) => keys,
                    (_, false) => it.queries.len(),
                };
                Extent { queries, keys }
            };
            let blind = inputs.blind_padded_queries.then(|| padding.to_vec());
            (
                segments.iter().map(extent).collect(),
                blind.unwrap_or_default(),
            )
        }
    }
}

/// A position table, head after head, in the order in which [`SlotTable`] counts slots.
pub(super) struct PositionTable {
    /// `[heads, live, head_dim]`
    rows: Vec<f32>,
    /// `[heads, head_dim, live]`, which is how the scores read it.
    columns: Vec<f32>,
    live: usize,
    head_dim: usize,
}

impl PositionTable {
    fn new(shape: &Shape, table: &[f32], factor: f32, last_first: bool) -> Self {
        let Shape { live, head_dim, .. } = *shape;
        let size = (live * head_dim).max(1);
        let (mut rows, mut columns) = (vec![0.0; table.len()], vec![0.0; table.len()]);
        let heads = rows
            .par_chunks_exact_mut(size)
            .zip(columns.par_chunks_exact_mut(size));
        heads.enumerate().for_each(|(head, (rows, columns))| {
            for (row, dst) in rows.chunks_exact_mut(head_dim).enumerate() {
                let slot = if last_first { live - 1 - row } else { row };
                let src = &table[slot * shape.width() + head * head_dim..][..head_dim];
                for (dst, &src) in dst.iter_mut().zip(src) {
                    *dst = src * factor;
                }
            }
            for (column, dst) in columns.chunks_exact_mut(live).enumerate() {
                for (dst, row) in dst.iter_mut().zip(rows.chunks_exact(head_dim)) {
                    *dst = row[column];
                }
            }
        });
        Self {
            rows,
            columns,
            live,
            head_dim,
        }
    }

    /// Rows `slots` of `head`, `[slots, head_dim]`.
    pub(super) fn rows(&self, head: usize, slots: &Range<usize>) -> Matrix<'_> {
        let first = (head * self.live + slots.start) * self.head_dim;
        Matrix::new(
            &self.rows[first..],
            slots.len(),
            self.head_dim,
            self.head_dim,
        )
    }

    /// The transpose of [`Self::rows`], `[head_dim, slots]`.
    pub(super) fn columns(&self, head: usize, slots: &Range<usize>) -> Matrix<'_> {
        let first = head * self.live * self.head_dim + slots.start;
        Matrix::new(
            &self.columns[first..],
            self.head_dim,
            slots.len(),
            self.live,
        )
    }
}
