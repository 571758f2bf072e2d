//! The span choice of Microsoft's released code, left-to-right bias included.
//!
//! Reference: `NGramMaskGenerator.mask_tokens`, microsoft/DeBERTa `apps/tasks/mlm_task.py` at
//! 4d7fe0b.

use super::ngram::NgramLengths;
use super::rng::Rng;
use crate::tokenizer::VocabInfo;

/// Positions to mask, ascending.
///
/// One span is marked per window of `n / mask_prob` units, which marks one unit in six; then the
/// marked units are masked from the left until the budget is met, so the last tenth of an example
/// is hardly ever masked. A word may run across a special token and the last one may overshoot the
/// budget, as in the original.
pub(super) fn choose(
    ids: &[u32],
    vocab: &VocabInfo,
    words: bool,
    budget: usize,
    window: usize,
    lengths: &NgramLengths,
    rng: &mut Rng,
) -> Vec<usize> {
    let units = split(ids, vocab, words);
    let mut marked = vec![false; units.len()];
    let mut offset = 0;
    while offset < units.len() {
        let length = lengths.draw(rng);
        let context = (length * window).min(units.len() - offset);
        let start = offset + rng.below(context);
        let end = (start + length).min(units.len());
        marked[start..end].fill(true);
        offset = end.max(offset + context);
    }

    let mut positions = Vec::with_capacity(budget);
    for (unit, _) in units.into_iter().zip(marked).filter(|(_, marked)| *marked) {
        positions.extend(unit);
        if positions.len() >= budget {
            break;
        }
    }
    positions
}

fn split(ids: &[u32], vocab: &VocabInfo, words: bool) -> Vec<Vec<usize>> {
    let mut units: Vec<Vec<usize>> = Vec::with_capacity(ids.len());
    for (position, id) in ids
        .iter()
        .enumerate()
        .filter(|(_, id)| !vocab.is_special(**id))
    {
        match units.last_mut() {
            Some(word) if words && !vocab.starts_word(*id) => word.push(position),
            _ => units.push(vec![position]),
        }
    }
    units
}
