//! What is masked as a whole: words, or single tokens.

use std::ops::Range;

use crate::tokenizer::VocabInfo;

/// Longer runs without a space (Chinese clauses, addresses) are not taken for words.
const MAX_WORD_TOKENS: usize = 16;

/// Positions of one unit.
pub(super) type Unit = Range<usize>;

/// Groups the tokens that may be masked into words, or leaves them single.
///
/// A word ends at a special token. One of more than `max_tokens` tokens, or more than
/// [`MAX_WORD_TOKENS`], falls apart into its tokens: it would swallow the budget of the example.
pub(super) fn split(ids: &[u32], vocab: &VocabInfo, words: bool, max_tokens: usize) -> Vec<Unit> {
    let longest = max_tokens.min(MAX_WORD_TOKENS);
    let mut units: Vec<Unit> = Vec::with_capacity(ids.len());
    let mut word: Unit = 0..0;
    for (position, id) in ids.iter().enumerate() {
        let special = vocab.is_special(*id);
        let continues = words && !special && !vocab.starts_word(*id) && word.end == position;
        if continues && !word.is_empty() {
            word.end += 1;
            continue;
        }
        push(&mut units, word, longest);
        word = if special {
            position..position
        } else {
            position..position + 1
        };
    }
    push(&mut units, word, longest);
    units
}

fn push(units: &mut Vec<Unit>, word: Unit, longest: usize) {
    if word.len() > longest {
        units.extend(word.map(|position| position..position + 1));
    } else if !word.is_empty() {
        units.push(word);
    }
}
