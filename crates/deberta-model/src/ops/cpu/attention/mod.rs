//! Disentangled attention in one pass over plain `f32` slices, forward and backward.
//!
//! ```text
//! s[i, j] = scale (q_i·k_j + q_i·pos_key[δ(i, j)] + k_j·pos_query[δ(i, j)])          Eq. (4)
//! out_i   = Σ_j dropout(softmax(s_i))_j v_j
//! ```
//!
//! Sequences of any length lie one after the other in the rows of each tensor. One task does one head
//! of one sequence, a block of queries at a time: the scores of a block stay in the processor's
//! cache, and no `[batch, heads, q_len, k_len]` tensor ever exists. The forward pass keeps one number per row, the log of the sum of exponentials, from which the backward pass
//! recomputes the probabilities. Results do not depend on the number of threads.

mod backward;
mod dropout;
mod forward;
mod plan;
mod positions;
mod scores;
mod slots;
mod softmax;
mod tile;

#[cfg(test)]
mod ragged_tests;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub(crate) use backward::backward;
pub(crate) use forward::forward;

use crate::ops::Segment;

/// Sizes of one call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Queries of all sequences.
    pub(crate) q_rows: usize,
    /// Keys of all sequences.
    pub(crate) k_rows: usize,
    pub(crate) heads: usize,
    pub(crate) head_dim: usize,
    /// Rows of the position tables.
    pub(crate) live: usize,
}

impl Shape {
    /// Width of a row of all heads.
    fn width(&self) -> usize {
        self.heads * self.head_dim
    }
}

/// Which pairs are blocked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mask<'a> {
    /// None.
    Full,
    /// `true` at padding, `[k_rows]`.
    Padding(&'a [bool]),
    /// `true` where the query must not see the key, `[q_rows, k_len]` for sequences that all have
    /// `k_len` keys.
    Pairwise(&'a [bool]),
}

/// Inverted dropout on the probabilities.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dropout {
    /// Share of probabilities set to zero, in [0, 1].
    pub(crate) prob: f32,
    pub(crate) seed: u64,
}

/// Everything the forward pass reads; the backward pass needs the same.
///
/// Heads lie side by side in a row, as linear layers write them; nothing is transposed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub(crate) shape: Shape,
    /// The sequences: which queries see which keys. Rows of no sequence give zero.
    pub(crate) segments: &'a [Segment],
    /// `[q_rows, heads * head_dim]`
    pub(crate) query: &'a [f32],
    /// `[k_rows, heads * head_dim]`
    pub(crate) key: &'a [f32],
    /// `[k_rows, heads * head_dim]`
    pub(crate) value: &'a [f32],
    /// `[live, heads * head_dim]`, if scores have the content-to-position term.
    pub(crate) pos_key: Option<&'a [f32]>,
    /// `[live, heads * head_dim]`, if scores have the position-to-content term.
    pub(crate) pos_query: Option<&'a [f32]>,
    /// Row of the position tables for the distance `d = query position - key position`, at index
    /// `d + zero_distance`. Not read without position terms.
    pub(crate) slot_of_distance: &'a [u32],
    pub(crate) zero_distance: usize,
    /// `[q_rows]`, positions within the sequence; without them, the queries of a sequence stand at
    /// `0, 1, …`. Its keys always do.
    pub(crate) query_positions: Option<&'a [i32]>,
    pub(crate) mask: Mask<'a>,
    /// Queries at padding see nothing: for self-attention with [`Mask::Padding`].
    pub(crate) blind_padded_queries: bool,
    /// Multiplies the sum of the three terms.
    pub(crate) scale: f32,
    pub(crate) dropout: Option<Dropout>,
}

impl Inputs<'_> {
    /// Stops a wrong size here, where it can be named, before any arithmetic on indices.
    fn check(&self) {
        let Shape {
            q_rows,
            k_rows,
            live,
            ..
        } = self.shape;
        let width = self.shape.width();
        assert_eq!(self.query.len(), q_rows * width, "size of query");
        assert_eq!(self.key.len(), k_rows * width, "size of key");
        assert_eq!(self.value.len(), k_rows * width, "size of value");
        for table in [self.pos_key, self.pos_query].into_iter().flatten() {
            assert_eq!(table.len(), live * width, "size of a position table");
        }
        self.check_segments();
        match self.mask {
            Mask::Full => {}
            Mask::Padding(padding) => {
                assert_eq!(padding.len(), k_rows, "size of padding");
                assert!(
                    !self.blind_padded_queries
                        || self.segments.iter().all(|it| it.queries == it.keys),
                    "only queries that are the keys' own tokens can be at padding"
                );
            }
            Mask::Pairwise(blocked) => {
                let pairs = |it: &Segment| it.queries.end * it.keys.len();
                let needed = self.segments.iter().map(pairs).max().unwrap_or(0);
                assert!(needed <= blocked.len(), "size of mask");
            }
        }
        if self.has_positions() {
            self.check_distances();
        }
    }

    /// Tasks write the rows of their segment without asking: segments must not overlap.
    fn check_segments(&self) {
        let (mut q_end, mut k_end) = (0, 0);
        for Segment { queries, keys } in self.segments {
            assert!(q_end <= queries.start && k_end <= keys.start, "overlap");
            assert!(queries.start <= queries.end && keys.start <= keys.end);
            (q_end, k_end) = (queries.end, keys.end);
        }
        let Shape { q_rows, k_rows, .. } = self.shape;
        assert!(q_end <= q_rows && k_end <= k_rows, "rows of a segment");
    }

    fn check_distances(&self) {
        let slots = self.slot_of_distance;
        assert!(
            slots.iter().all(|&slot| (slot as usize) < self.shape.live),
            "slot of a distance"
        );
        let positions = slots.len().saturating_sub(self.zero_distance);
        let keys = self.segments.iter().map(|it| it.keys.len()).max();
        assert!(
            keys.unwrap_or(0) <= self.zero_distance + 1,
            "distances of all keys"
        );
        match self.query_positions {
            None => {
                let queries = self.segments.iter().map(|it| it.queries.len()).max();
                assert!(
                    queries.unwrap_or(0) <= positions,
                    "distances of all queries"
                );
            }
            Some(given) => {
                assert_eq!(given.len(), self.shape.q_rows, "size of query_positions");
                let fits = |&p: &i32| usize::try_from(p).is_ok_and(|p| p < positions);
                assert!(given.iter().all(fits), "position of a query");
            }
        }
    }

    fn has_positions(&self) -> bool {
        self.pos_key.is_some() || self.pos_query.is_some()
    }
}
