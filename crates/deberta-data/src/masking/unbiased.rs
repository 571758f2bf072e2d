//! Spans in random order until the budget is spent.

use super::ngram::NgramLengths;
use super::rng::Rng;
use super::units::Unit;

/// Places tried for a span before the rest of the budget goes to single units.
const MAX_TRIES: usize = 32;

/// Chooses units worth exactly `budget` tokens, or as close below as whole units allow.
///
/// The units lie on a ring, so that each is in as many possible spans as any other: no position is
/// masked more often. A span over the seam is one span cut in two.
pub(super) fn choose(
    units: &[Unit],
    budget: usize,
    lengths: &NgramLengths,
    rng: &mut Rng,
) -> Vec<bool> {
    let mut chosen = vec![false; units.len()];
    let mut left = budget;
    while left > 0 {
        let length = lengths.draw(rng).min(left).min(units.len());
        let Some(start) = find_place(units, &chosen, length, left, rng) else {
            fill_with_singles(units, &mut chosen, left, rng);
            break;
        };
        for index in (start..start + length).map(|index| index % units.len()) {
            chosen[index] = true;
            left -= units[index].len();
        }
    }
    chosen
}

/// A start from which `length` units are free and affordable.
fn find_place(
    units: &[Unit],
    chosen: &[bool],
    length: usize,
    left: usize,
    rng: &mut Rng,
) -> Option<usize> {
    (0..MAX_TRIES)
        .map(|_| rng.below(units.len()))
        .find(|start| {
            let span = (*start..start + length).map(|index| index % units.len());
            let mut tokens = 0;
            span.into_iter().all(|index| {
                tokens += units[index].len();
                !chosen[index] && tokens <= left
            })
        })
}

fn fill_with_singles(units: &[Unit], chosen: &mut [bool], mut left: usize, rng: &mut Rng) {
    let mut free: Vec<usize> = (0..units.len()).filter(|index| !chosen[*index]).collect();
    for done in 0..free.len() {
        let pick = done + rng.below(free.len() - done);
        free.swap(done, pick);
        let index = free[done];
        if units[index].len() <= left {
            chosen[index] = true;
            left -= units[index].len();
        }
        if left == 0 {
            return;
        }
    }
}
