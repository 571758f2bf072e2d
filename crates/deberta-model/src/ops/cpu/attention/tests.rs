//! The kernel against nested loops in `f64`.

use super::backward::Gradients;
use super::reference::attention;
use super::*;

/// Owned inputs of one call.
pub(super) struct Case {
    pub(super) shape: Shape,
    pub(super) segments: Vec<Segment>,
    pub(super) zero_distance: usize,
    pub(super) query: Vec<f32>,
    pub(super) key: Vec<f32>,
    pub(super) value: Vec<f32>,
    pub(super) pos_key: Option<Vec<f32>>,
    pub(super) pos_query: Option<Vec<f32>>,
    pub(super) slots: Vec<u32>,
    pub(super) positions: Option<Vec<i32>>,
    pub(super) mask: Pattern,
    pub(super) dropout: Option<Dropout>,
    pub(super) d_out: Vec<f32>,
}

/// An owned [`Mask`].
pub(super) enum Pattern {
    Full,
    Padding(Vec<bool>),
    SelfPadding(Vec<bool>),
    Pairwise(Vec<bool>),
}

/// Numbers in [-1, 1) that repeat on every run.
pub(super) fn numbers(count: usize, salt: u64) -> Vec<f32> {
    let mut state = salt.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Slots as log-buckets give them: one per distance up to `mid`, then one for three distances.
pub(super) fn bucketed(q_len: usize, k_len: usize, mid: i64) -> (Vec<u32>, usize) {
    let bucket = |d: i64| match d.abs() {
        near if near <= mid => d,
        far => d.signum() * (mid + (far - mid + 2) / 3),
    };
    let first = bucket(1 - k_len as i64);
    let distances = 1 - k_len as i64..q_len as i64;
    let slots: Vec<u32> = distances.map(|d| (bucket(d) - first) as u32).collect();
    let live = slots.iter().max().map_or(1, |&last| last as usize + 1);
    (slots, live)
}

impl Case {
    pub(super) fn new(
        batch: usize,
        heads: usize,
        q_len: usize,
        k_len: usize,
        head_dim: usize,
    ) -> Self {
        let (slots, live) = bucketed(q_len, k_len, 20);
        let shape = Shape {
            q_rows: batch * q_len,
            k_rows: batch * k_len,
            heads,
            head_dim,
            live,
        };
        let width = heads * head_dim;
        let segment = |b: usize| Segment {
            queries: b * q_len..(b + 1) * q_len,
            keys: b * k_len..(b + 1) * k_len,
        };
        Self {
            shape,
            segments: (0..batch).map(segment).collect(),
            zero_distance: k_len - 1,
            query: numbers(batch * q_len * width, 1),
            key: numbers(batch * k_len * width, 2),
            value: numbers(batch * k_len * width, 3),
            pos_key: Some(numbers(live * width, 4)),
            pos_query: Some(numbers(live * width, 5)),
            slots,
            positions: None,
            mask: Pattern::Full,
            dropout: None,
            d_out: numbers(batch * q_len * width, 6),
        }
    }

    fn k_len(&self) -> usize {
        self.segments[0].keys.len()
    }

    fn with_mask(mut self, mask: Pattern) -> Self {
        self.mask = mask;
        self
    }

    pub(super) fn with_dropout(mut self, prob: f32) -> Self {
        self.dropout = Some(Dropout { prob, seed: 17 });
        self
    }

    /// The last two fifths of odd sequences, and one token in the middle of all.
    fn padding(&self) -> Vec<bool> {
        let (batch, k_len) = (self.segments.len(), self.k_len());
        let at_padding = |b: usize, j: usize| j == k_len / 3 || b % 2 == 1 && j >= k_len * 3 / 5;
        (0..batch * k_len)
            .map(|n| at_padding(n / k_len, n % k_len))
            .collect()
    }

    /// A third of the pairs, and all of every fifth query's.
    fn pairs(&self) -> Vec<bool> {
        let k_len = self.k_len();
        let blocked = |n: usize| n * 7 % 3 == 1 || n / k_len % 5 == 2;
        (0..self.shape.q_rows * k_len).map(blocked).collect()
    }

    pub(super) fn inputs(&self) -> Inputs<'_> {
        Inputs {
            shape: self.shape,
            segments: &self.segments,
            query: &self.query,
            key: &self.key,
            value: &self.value,
            pos_key: self.pos_key.as_deref(),
            pos_query: self.pos_query.as_deref(),
            slot_of_distance: &self.slots,
            zero_distance: self.zero_distance,
            query_positions: self.positions.as_deref(),
            mask: match &self.mask {
                Pattern::Full => Mask::Full,
                Pattern::Padding(pad) | Pattern::SelfPadding(pad) => Mask::Padding(pad),
                Pattern::Pairwise(blocked) => Mask::Pairwise(blocked),
            },
            blind_padded_queries: matches!(self.mask, Pattern::SelfPadding(_)),
            scale: 1.0 / (3.0 * self.shape.head_dim as f32).sqrt(),
            dropout: self.dropout,
        }
    }

    /// Everything the kernel computes, in one list.
    fn run(&self) -> Vec<Vec<f32>> {
        let inputs = self.inputs();
        let (out, lse) = forward(&inputs);
        let gradients = backward(&inputs, &out, &lse, &self.d_out);
        let Gradients {
            query,
            key,
            value,
            pos_key,
            pos_query,
        } = gradients;
        assert_eq!(pos_key.is_some(), self.pos_key.is_some());
        assert_eq!(pos_query.is_some(), self.pos_query.is_some());
        let absent = || vec![0.0; self.shape.live * self.shape.width()];
        let (pos_key, pos_query) = (
            pos_key.unwrap_or_else(absent),
            pos_query.unwrap_or_else(absent),
        );
        vec![out, lse, query, key, value, pos_key, pos_query]
    }

    #[track_caller]
    pub(super) fn check(&self) {
        let expected = attention(&self.inputs(), &self.d_out);
        let expected = [expected.out, expected.lse]
            .into_iter()
            .chain(expected.gradients);
        let names = [
            "out",
            "lse",
            "query",
            "key",
            "value",
            "pos_key",
            "pos_query",
        ];
        for ((actual, expected), name) in self.run().iter().zip(expected).zip(names) {
            assert_eq!(actual.len(), expected.len(), "{name}");
            let finite = |x: &f64| if x.is_finite() { x.abs() } else { 0.0 };
            let largest = expected.iter().map(finite).fold(1.0, f64::max);
            for (at, (&x, &y)) in actual.iter().zip(&expected).enumerate() {
                let same = f64::from(x) == y || (f64::from(x) - y).abs() < 4e-6 * largest;
                assert!(same, "{name}[{at}] is {x}, not {y} ({:?})", self.shape);
            }
        }
    }
}

const LENGTHS: [[usize; 2]; 7] = [
    [1, 1],
    [1, 65],
    [65, 1],
    [16, 16],
    [65, 64],
    [130, 67],
    [33, 130],
];

#[test]
fn values_and_gradients_equal_the_nested_loops() {
    for [q_len, k_len] in LENGTHS {
        Case::new(2, 3, q_len, k_len, 8).check();
    }
    Case::new(1, 2, 70, 70, 32).check();
    Case::new(1, 1, 129, 129, 64).check();
}

#[test]
fn many_blocks_of_queries_equal_the_nested_loops() {
    Case::new(1, 1, 300, 300, 8).check();
}

#[test]
fn padded_keys_are_not_seen() {
    for [q_len, k_len] in LENGTHS {
        let case = Case::new(3, 2, q_len, k_len, 8);
        let padding = case.padding();
        case.with_mask(Pattern::Padding(padding)).check();
    }
}

#[test]
fn padded_queries_of_self_attention_see_nothing() {
    for len in [1, 16, 65, 130] {
        let case = Case::new(2, 2, len, len, 8);
        let padding = case.padding();
        case.with_mask(Pattern::SelfPadding(padding)).check();
    }
}

#[test]
fn a_sequence_of_padding_gives_zero() {
    for mask in [Pattern::Padding, Pattern::SelfPadding] {
        let case = Case::new(2, 1, 9, 9, 8);
        let padding = (0..18).map(|n| n >= 9).collect();
        let case = case.with_mask(mask(padding));
        case.check();
        assert!(case.run()[0][9 * 8..].iter().all(|&x| x == 0.0));
    }
}

#[test]
fn blocked_pairs_are_not_seen() {
    for [q_len, k_len] in LENGTHS {
        let case = Case::new(2, 2, q_len, k_len, 8);
        let pairs = case.pairs();
        case.with_mask(Pattern::Pairwise(pairs)).check();
    }
}

#[test]
fn either_position_term_may_be_missing() {
    for (c2p, p2c) in [(false, true), (true, false), (false, false)] {
        let mut case = Case::new(2, 2, 70, 40, 8);
        case.pos_key = case.pos_key.filter(|_| c2p);
        case.pos_query = case.pos_query.filter(|_| p2c);
        if !c2p && !p2c {
            case.slots.clear();
        }
        case.check();
    }
}

#[test]
fn queries_may_stand_anywhere() {
    for k_len in [40, 130] {
        let mut case = Case::new(2, 2, 70, k_len, 8);
        let (slots, live) = bucketed(k_len, k_len, 20);
        let width = case.shape.width();
        case.shape.live = live;
        case.slots = slots;
        case.pos_key = Some(numbers(live * width, 4));
        case.pos_query = Some(numbers(live * width, 5));
        case.positions = Some((0..140).map(|n| (n * 37 % k_len) as i32).collect());
        case.check();
        let padding = case.padding();
        case.with_mask(Pattern::Padding(padding))
            .with_dropout(0.2)
            .check();
    }
}

#[test]
fn dropped_probabilities_are_the_same_in_both_passes() {
    for prob in [0.1, 0.5, 1.0] {
        Case::new(2, 2, 65, 70, 8).with_dropout(prob).check();
        let case = Case::new(2, 2, 65, 65, 8).with_dropout(prob);
        let padding = case.padding();
        case.with_mask(Pattern::SelfPadding(padding)).check();
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let case = Case::new(3, 2, 150, 150, 16).with_dropout(0.1);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| case.run())
    };
    let alone = run(1);
    for threads in [2, 5] {
        assert!(run(threads) == alone, "{threads} threads");
    }
}

#[test]
fn large_scores_neither_overflow_nor_vanish() {
    let mut case = Case::new(1, 1, 20, 20, 8);
    case.query.iter_mut().for_each(|x| *x *= 300.0);
    let (out, lse) = forward(&case.inputs());
    let expected = attention(&case.inputs(), &case.d_out);
    for (actual, expected) in [(out, expected.out), (lse, expected.lse)] {
        for (x, y) in actual.iter().zip(expected) {
            assert!(
                (f64::from(*x) - y).abs() < 2e-4 * y.abs().max(1.0),
                "{x} is not {y}"
            );
        }
    }
}

#[test]
fn nan_is_not_swallowed() {
    let mut case = Case::new(1, 1, 3, 3, 8);
    case.query[8] = f32::NAN;
    let (out, _) = forward(&case.inputs());
    assert!(out[8..16].iter().all(|x| x.is_nan()));
    assert!(out[..8].iter().chain(&out[16..]).all(|x| x.is_finite()));
}
