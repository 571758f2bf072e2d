//! The two files of a byte-level BPE, and the merging itself.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use ahash::AHashMap;

/// Pairs of neighbours that may be joined.
#[derive(Debug)]
pub(super) struct MergeTable {
    /// Rank, the lowest first, and the piece that results.
    joined: AHashMap<(u32, u32), (u32, u32)>,
}

/// A piece of a word that is being joined.
#[derive(Clone, Copy)]
struct Symbol {
    id: u32,
    before: usize,
    after: usize,
}

/// Marks a symbol that has become part of the one before it, and the end of a word.
const NONE: usize = usize::MAX;

impl MergeTable {
    /// Looks the pieces of the merges up; the error says which one the vocabulary lacks.
    pub(super) fn new(
        vocab: &BTreeMap<String, u32>,
        merges: &[(String, String)],
    ) -> Result<Self, String> {
        let id = |piece: &str| {
            let id = vocab.get(piece).copied();
            id.ok_or_else(|| format!("`{piece}` is not in the vocabulary"))
        };
        let mut joined = AHashMap::with_capacity(merges.len());
        for ((left, right), rank) in merges.iter().zip(0u32..) {
            let result = id(&format!("{left}{right}"))?;
            joined.insert((id(left)?, id(right)?), (rank, result));
        }
        Ok(Self { joined })
    }

    /// Joins neighbours, always the pair of the lowest rank and of these the leftmost.
    ///
    /// Takes time proportional to `n log n` for `n` symbols.
    pub(super) fn cut(&self, singles: impl ExactSizeIterator<Item = u32>) -> Vec<u32> {
        let len = singles.len();
        let mut symbols: Vec<Symbol> = singles
            .enumerate()
            .map(|(at, id)| Symbol {
                id,
                before: at.wrapping_sub(1),
                after: if at + 1 < len { at + 1 } else { NONE },
            })
            .collect();
        let mut queue = BinaryHeap::new();
        let offer = |queue: &mut BinaryHeap<_>, symbols: &[Symbol], at: usize| {
            let left = symbols.get(at)?;
            let pair = (left.id, symbols.get(left.after)?.id);
            let (rank, result) = self.joined.get(&pair)?;
            queue.push(Reverse((*rank, at, pair, *result)));
            Some(())
        };
        for at in 0..len {
            offer(&mut queue, &symbols, at);
        }
        let mut gone = vec![false; len];
        while let Some(Reverse((_, at, pair, result))) = queue.pop() {
            let left = symbols[at];
            let Some(right) = symbols.get(left.after).copied() else {
                continue;
            };
            // What was offered may have changed since.
            if gone[at] || (left.id, right.id) != pair {
                continue;
            }
            gone[left.after] = true;
            symbols[at].id = result;
            symbols[at].after = right.after;
            if let Some(next) = symbols.get_mut(right.after) {
                next.before = at;
            }
            offer(&mut queue, &symbols, left.before);
            offer(&mut queue, &symbols, at);
        }
        let kept = symbols.iter().zip(gone).filter(|(_, gone)| !gone);
        kept.map(|(symbol, _)| symbol.id).collect()
    }
}

/// Reads `vocab.json`: pieces with their ids, without two pieces of one id or wide gaps.
pub(super) fn parse_vocab(bytes: &[u8]) -> Result<BTreeMap<String, u32>, String> {
    let vocab: BTreeMap<String, u32> =
        serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let mut names = AHashMap::with_capacity(vocab.len());
    for (piece, id) in &vocab {
        // A stray huge id would otherwise ask for gigabytes.
        if *id as usize > 2 * vocab.len() + 1024 {
            return Err(format!(
                "`{piece}` has the id {id}, with only {} pieces",
                vocab.len()
            ));
        }
        if piece.is_empty() {
            return Err(format!("the piece of id {id} is empty"));
        }
        if let Some(other) = names.insert(*id, piece) {
            return Err(format!("`{other}` and `{piece}` have the same id {id}"));
        }
    }
    Ok(vocab)
}

/// Reads `merges.txt`: two pieces a line, an optional `#version` line first.
pub(in crate::tokenizer) fn parse_merges(bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut merges = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || (number == 1 && line.starts_with("#version")) {
            continue;
        }
        match line.split_once(' ') {
            Some((left, right))
                if !left.is_empty() && !right.is_empty() && !right.contains(' ') =>
            {
                merges.push((left.to_owned(), right.to_owned()));
            }
            _ => return Err(format!("line {number} is `{line}`, expected two pieces")),
        }
    }
    Ok(merges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(merges: &[(u32, u32, u32)]) -> MergeTable {
        let joined = merges
            .iter()
            .zip(0..)
            .map(|((left, right, result), rank)| ((*left, *right), (rank, *result)));
        MergeTable {
            joined: joined.collect(),
        }
    }

    /// One merge a pass over the whole word, as `encoder.py` of GPT-2 does it.
    fn cut_slowly(table: &MergeTable, mut word: Vec<u32>) -> Vec<u32> {
        loop {
            let best = word
                .windows(2)
                .filter_map(|pair| {
                    let (rank, result) = table.joined.get(&(pair[0], pair[1]))?;
                    Some((*rank, pair[0], pair[1], *result))
                })
                .min();
            let Some((_, left, right, result)) = best else {
                return word;
            };
            let mut joined = Vec::new();
            let mut at = 0;
            while at < word.len() {
                if word[at] == left && word.get(at + 1) == Some(&right) {
                    joined.push(result);
                    at += 2;
                } else {
                    joined.push(word[at]);
                    at += 1;
                }
            }
            word = joined;
        }
    }

    proptest! {
        #[test]
        fn the_queue_merges_as_repeated_passes_do(
            merges in proptest::collection::vec((0u32..6, 0u32..6), 0..12),
            word in proptest::collection::vec(0u32..4, 0..40),
        ) {
            // Results are numbered on, a few of them shared by two pairs.
            let merges: Vec<_> = merges.iter().zip(4..)
                .map(|((left, right), id)| (*left, *right, if id % 3 == 0 { 4 } else { id }))
                .filter(|(left, right, result)| left != result && right != result)
                .collect();
            // As in a trained table, nothing is joined further before all that make it are known;
            // otherwise a pass over the word and the queue may differ.
            let mut known: Vec<(u32, u32, u32)> = Vec::new();
            for merge in merges {
                if known.iter().all(|(left, right, _)| *left != merge.2 && *right != merge.2) {
                    known.push(merge);
                }
            }
            let merges = known;
            let table = table(&merges);
            // A result that was met before could be joined for ever.
            prop_assume!(merges.iter().all(|(left, right, result)| left < result && right < result));
            prop_assert_eq!(table.cut(word.clone().into_iter()), cut_slowly(&table, word));
        }
    }
}
