//! Inputs of any length as batches of similar length, and their results in the old order.

/// How large a batch may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimit {
    /// Tokens of a batch: its sequences times the longest of them, which is what a network without
    /// support for padding computes and what the ids take in memory. A single sequence may be
    /// longer.
    pub tokens: usize,
    /// Sequences of a batch.
    pub sequences: usize,
}

impl Default for BatchLimit {
    /// 2,048 tokens, where the products of a network are large enough to run at full speed, and
    /// 64 sequences.
    fn default() -> Self {
        Self {
            tokens: 2048,
            sequences: 64,
        }
    }
}

/// Batches of inputs whose lengths are alike, the longest first.
///
/// The longest first, so that a batch that does not fit into memory fails at the start.
///
/// ```
/// use deberta_data::batching::{BatchLimit, LengthBatches};
///
/// let texts = ["a", "a b c d", "a b", "a b c"];
/// let lengths = texts.map(|text| text.split(' ').count());
/// let batches = LengthBatches::new(&lengths, BatchLimit { tokens: 8, sequences: 2 });
///
/// let mut counts = Vec::new();
/// for batch in batches.iter() {
///     counts.extend(batch.iter().map(|&input| lengths[input]));
/// }
/// assert_eq!(counts, [4, 3, 2, 1]);
/// assert_eq!(batches.restore(counts), lengths);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LengthBatches {
    /// Indices of the inputs, batch after batch.
    order: Vec<usize>,
    /// Where in `order` each batch ends.
    ends: Vec<usize>,
}

impl LengthBatches {
    /// Groups inputs of `lengths` tokens; inputs of equal length keep their order.
    ///
    /// A limit of zero is taken as one: every batch has an input.
    pub fn new(lengths: &[usize], limit: BatchLimit) -> Self {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&input| std::cmp::Reverse(lengths[input]));
        let mut ends = Vec::new();
        let mut start = 0;
        while start < order.len() {
            let fitting = limit.tokens / lengths[order[start]].max(1);
            let size = fitting.min(limit.sequences).max(1);
            start = order.len().min(start + size);
            ends.push(start);
        }
        Self { order, ends }
    }

    /// The indices of the inputs of each batch.
    pub fn iter(&self) -> impl Iterator<Item = &[usize]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let ranges = self.ends.iter().zip(starts);
        ranges.map(|(&end, start)| &self.order[start..end])
    }

    /// Number of batches.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no input.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Puts one result per input, in the order of [`iter`](Self::iter), into the order of the
    /// inputs.
    ///
    /// # Panics
    ///
    /// If there are not as many results as inputs.
    pub fn restore<T>(&self, results: impl IntoIterator<Item = T>) -> Vec<T> {
        let mut restored: Vec<(usize, T)> = self.order.iter().copied().zip(results).collect();
        assert_eq!(restored.len(), self.order.len(), "one result per input");
        restored.sort_unstable_by_key(|(input, _)| *input);
        restored.into_iter().map(|(_, result)| result).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn batches_hold_every_input_once_within_their_limits(
            lengths in prop::collection::vec(0_usize..40, 0..200),
            tokens in 0_usize..100,
            sequences in 0_usize..9,
        ) {
            let batches = LengthBatches::new(&lengths, BatchLimit { tokens, sequences });
            let mut inputs: Vec<usize> = batches.iter().flatten().copied().collect();
            for batch in batches.iter() {
                let longest = batch.iter().map(|&input| lengths[input]).max().unwrap();
                prop_assert!(batch.len() == 1 || batch.len() <= sequences);
                prop_assert!(batch.len() == 1 || batch.len() * longest <= tokens);
            }
            prop_assert_eq!(batches.iter().count(), batches.len());
            prop_assert_eq!(batches.restore(inputs.clone()), (0..lengths.len()).collect::<Vec<_>>());
            inputs.sort_unstable();
            prop_assert_eq!(inputs, (0..lengths.len()).collect::<Vec<_>>());
        }

        #[test]
        fn no_batch_could_take_the_next_input(
            lengths in prop::collection::vec(1_usize..40, 1..200),
            tokens in 40_usize..400,
        ) {
            let limit = BatchLimit { tokens, sequences: usize::MAX };
            let batches = LengthBatches::new(&lengths, limit);
            let last = batches.len() - 1;
            for batch in batches.iter().take(last) {
                prop_assert!((batch.len() + 1) * lengths[batch[0]] > tokens);
            }
        }
    }

    #[test]
    fn sentences_and_a_long_text_cost_little_padding() {
        let lengths: Vec<usize> = (0..1000).map(|n| 5 + n * 37 % 60).chain([512]).collect();
        let batches = LengthBatches::new(&lengths, BatchLimit::default());
        let padded: usize = batches.iter().map(|it| it.len() * lengths[it[0]]).sum();
        let real: usize = lengths.iter().sum();
        assert!(padded < real * 11 / 10, "{padded} for {real}");
    }

    #[test]
    fn a_missing_result_is_noticed() {
        let batches = LengthBatches::new(&[1, 2], BatchLimit::default());
        let restored = std::panic::catch_unwind(|| batches.restore([1]));
        assert!(restored.is_err());
    }
}
