//! Sequences of different lengths in one call, against nested loops in `f64`.

use super::tests::{Case, bucketed, numbers};
use super::{Segment, Shape, plan};

/// Sequences of `lengths` queries and keys, with a gap of some rows between them.
fn ragged(lengths: &[[usize; 2]], heads: usize, head_dim: usize) -> Case {
    let (mut q_rows, mut k_rows) = (2, 1);
    let mut segments = Vec::new();
    for &[queries, keys] in lengths {
        segments.push(Segment {
            queries: q_rows..q_rows + queries,
            keys: k_rows..k_rows + keys,
        });
        (q_rows, k_rows) = (q_rows + queries, k_rows + keys + 3);
    }
    let longest = |side: fn(&[usize; 2]) -> usize| lengths.iter().map(side).max().unwrap();
    let [q_len, k_len] = [longest(|it| it[0]), longest(|it| it[1])];
    let (slots, live) = bucketed(q_len, k_len, 20);
    let width = heads * head_dim;
    Case {
        shape: Shape {
            q_rows,
            k_rows,
            heads,
            head_dim,
            live,
        },
        segments,
        query: numbers(q_rows * width, 1),
        key: numbers(k_rows * width, 2),
        value: numbers(k_rows * width, 3),
        pos_key: Some(numbers(live * width, 4)),
        pos_query: Some(numbers(live * width, 5)),
        slots,
        d_out: numbers(q_rows * width, 6),
        ..Case::new(1, 1, q_len, k_len, 1)
    }
}

#[test]
fn sequences_of_different_lengths_see_themselves_only() {
    let alike = [1, 40, 0, 70, 3, 1, 130].map(|len| [len, len]);
    ragged(&alike, 2, 8).check();
    ragged(&alike, 2, 8).with_dropout(0.2).check();
    ragged(&[[3, 90], [0, 5], [70, 1], [20, 64]], 3, 8).check();
}

#[test]
fn chosen_queries_of_sequences_of_different_lengths() {
    let mut case = ragged(&[[3, 90], [0, 5], [70, 66], [1, 1]], 2, 8);
    (case.slots, case.shape.live) = bucketed(90, 90, 20);
    let width = case.shape.width();
    case.pos_key = Some(numbers(case.shape.live * width, 4));
    case.pos_query = Some(numbers(case.shape.live * width, 5));
    let mut positions = vec![0; case.shape.q_rows];
    for segment in &case.segments {
        for query in segment.queries.clone() {
            positions[query] = (query * 37 % segment.keys.len()) as i32;
        }
    }
    case.positions = Some(positions);
    case.check();
}

#[test]
fn parts_of_a_mixed_batch_have_similar_work() {
    let lengths: Vec<[usize; 2]> = (0..40).map(|n| [1 + n * n % 97; 2]).collect();
    let case = ragged(&lengths, 1, 1);
    let inputs = case.inputs();
    let parts = plan::Plan::new(&inputs).parts(4);
    let covered: Vec<usize> = parts.iter().cloned().flatten().collect();
    assert_eq!(covered, (0..40).collect::<Vec<_>>());
    let work = |part: &std::ops::Range<usize>| -> usize {
        part.clone().map(|n| lengths[n][0].pow(2)).sum()
    };
    let (least, most) = (parts.iter().map(work).min(), parts.iter().map(work).max());
    assert!(parts.len() == 4 && most.unwrap() < 2 * least.unwrap());
}
