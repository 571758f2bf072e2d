//! Tables of a call as the kernels read them.

use burn::tensor::TensorData;
use burn::tensor::backend::Backend;
use burn::tensor::ops::IntTensor;

use crate::ops::{AttentionCall, MaskCall, Segment};

/// Live rows by distance, then of each live row, and of one more, its first distance.
pub(super) fn slots<B: Backend>(
    call: &AttentionCall<B>,
    device: &B::Device,
) -> Option<IntTensor<B>> {
    let table = &call.slot_of_distance;
    (!table.host().is_empty())
        .then(|| table.on_device(|slots| upload::<B>(with_first_distances(slots), device)))
}

/// First query, number of queries, first key and number of keys of each sequence.
pub(super) fn segments<B: Backend>(
    call: &AttentionCall<B>,
    device: &B::Device,
) -> Option<IntTensor<B>> {
    let MaskCall::Segments(table) = &call.mask else {
        return None;
    };
    let numbers = |it: &Segment| {
        let Segment { queries, keys } = it;
        [queries.start, queries.len(), keys.start, keys.len()]
    };
    (!table.host().is_empty()).then(|| {
        table.on_device(|segments| {
            let numbers = segments.iter().flat_map(numbers);
            upload::<B>(numbers.map(|it| it as i32).collect(), device)
        })
    })
}

fn upload<B: Backend>(numbers: Vec<i32>, device: &B::Device) -> IntTensor<B> {
    let count = numbers.len();
    B::int_from_data(TensorData::new(numbers, [count]), device)
}

fn with_first_distances(slots: &[u32]) -> Vec<i32> {
    assert!(slots.is_sorted(), "live rows fall as distances rise");
    let live = slots.last().map_or(0, |&last| last + 1);
    let first = |slot: u32| slots.partition_point(|&it| it < slot) as i32;
    let distances = slots.iter().map(|&slot| slot as i32);
    distances.chain((0..=live).map(first)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_of_a_live_row_lie_between_its_first_and_the_next() {
        let table = with_first_distances(&[0, 0, 0, 1, 2, 4, 4]);
        assert_eq!(table[..7], [0, 0, 0, 1, 2, 4, 4]);
        // Row 3 has no distance.
        assert_eq!(table[7..], [0, 3, 4, 5, 5, 7]);
    }
}
