//! A double-array trie over bytes: every prefix of a text that is a piece, in one walk.

/// Label of a slot that no transition enters.
const EMPTY: u32 = 256;
/// Value of a node that ends no key.
const NO_VALUE: u32 = u32::MAX;
/// Bits of [`Node::link`] that hold the label.
const LABEL_BITS: u32 = 9;
/// Slots tried for a node with many children before a fresh block is opened.
const MAX_TRIES: usize = 64;

/// `link` is the base of the children above the label that leads here.
#[derive(Debug, Clone, Copy)]
struct Node {
    link: u32,
    value: u32,
}

impl Node {
    const FREE: Self = Self {
        link: EMPTY,
        value: NO_VALUE,
    };

    fn base(self) -> usize {
        (self.link >> LABEL_BITS) as usize
    }

    fn label(self) -> u32 {
        self.link & ((1 << LABEL_BITS) - 1)
    }
}

/// Maps byte strings to numbers.
#[derive(Debug)]
pub(in crate::tokenizer) struct DoubleArray {
    nodes: Vec<Node>,
}

impl DoubleArray {
    /// Builds the trie from keys with their values; `None` if it would need over 2^23 slots.
    ///
    /// Empty keys are ignored; of equal keys the first in sorted order wins.
    pub(in crate::tokenizer) fn build(mut keys: Vec<(&[u8], u32)>) -> Option<Self> {
        keys.retain(|(key, _)| !key.is_empty());
        keys.sort_unstable();
        keys.dedup_by(|later, first| later.0 == first.0);
        let mut builder = Builder::default();
        builder.grow();
        // The root sits in slot 0 and, like a free slot, answers to no byte.
        builder.occupy(0, EMPTY);
        builder.insert_all(&keys)?;
        Some(Self {
            nodes: builder.nodes,
        })
    }

    /// Calls `found(len, value)` for every key that is a prefix of `text`, shortest first.
    #[inline]
    pub(in crate::tokenizer) fn prefixes(&self, text: &[u8], mut found: impl FnMut(usize, u32)) {
        let mut base = self.nodes[0].base();
        for (index, &byte) in text.iter().enumerate() {
            let Some(node) = self.nodes.get(base ^ usize::from(byte)) else {
                return;
            };
            if node.label() != u32::from(byte) {
                return;
            }
            if node.value != NO_VALUE {
                found(index + 1, node.value);
            }
            base = node.base();
        }
    }
}

/// Places nodes so that no two share a slot and no two share a base.
#[derive(Default)]
struct Builder {
    nodes: Vec<Node>,
    /// Which bases are taken: labels alone tell the children of two nodes apart.
    used_base: Vec<bool>,
    /// For a used slot, a slot to its right to look at next; for a free one, itself.
    next_free: Vec<u32>,
    /// Slots left of this are no longer offered to nodes with many children.
    search_from: usize,
}

impl Builder {
    /// Depth-first over ranges of the sorted keys that share a prefix.
    fn insert_all(&mut self, keys: &[(&[u8], u32)]) -> Option<()> {
        let mut pending = vec![(0, keys, 0)];
        let mut children: Vec<(u8, std::ops::Range<usize>)> = Vec::new();
        while let Some((slot, mut range, depth)) = pending.pop() {
            if let Some((first, rest)) = range.split_first()
                && first.0.len() == depth
            {
                self.nodes[slot].value = first.1;
                range = rest;
            }
            children.clear();
            for (index, (key, _)) in range.iter().enumerate() {
                match children.last_mut() {
                    Some((byte, span)) if *byte == key[depth] => span.end = index + 1,
                    _ => children.push((key[depth], index..index + 1)),
                }
            }
            if children.is_empty() {
                continue;
            }
            let base = self.find_base(&children)?;
            self.used_base[base] = true;
            self.nodes[slot].link |= u32::try_from(base).ok()? << LABEL_BITS;
            for (byte, span) in &children {
                let child = base ^ usize::from(*byte);
                self.occupy(child, u32::from(*byte));
                pending.push((child, &range[span.clone()], depth + 1));
            }
        }
        Some(())
    }

    fn find_base(&mut self, children: &[(u8, std::ops::Range<usize>)]) -> Option<usize> {
        let first = usize::from(children[0].0);
        let mut slot = self.free_from(self.search_from);
        for _ in 0..MAX_TRIES {
            while slot >= self.nodes.len() {
                self.grow();
                slot = self.free_from(slot);
            }
            let base = slot ^ first;
            if self.fits(base, children) {
                return (base < 1 << (32 - LABEL_BITS)).then_some(base);
            }
            slot = self.free_from(slot + 1);
        }
        // The region is crowded: leave it behind and start a fresh block.
        self.search_from = self.free_from(self.search_from + 1);
        let base = self.nodes.len();
        self.grow();
        (base < 1 << (32 - LABEL_BITS)).then_some(base)
    }

    fn fits(&self, base: usize, children: &[(u8, std::ops::Range<usize>)]) -> bool {
        base != 0
            && !self.used_base[base]
            && children.iter().all(|(byte, _)| {
                let slot = base ^ usize::from(*byte);
                self.next_free[slot] as usize == slot
            })
    }

    /// First free slot at or after `slot`, with path halving; may be past the end.
    fn free_from(&mut self, mut slot: usize) -> usize {
        while let Some(&next) = self.next_free.get(slot) {
            let next = next as usize;
            if next == slot {
                return slot;
            }
            if let Some(&after) = self.next_free.get(next) {
                self.next_free[slot] = after;
            }
            slot = next;
        }
        slot
    }

    fn occupy(&mut self, slot: usize, label: u32) {
        self.nodes[slot].link = label;
        self.next_free[slot] += 1;
    }

    /// Adds 256 slots, so that `base ^ byte` never leaves the array for a base inside it.
    fn grow(&mut self) {
        let len = self.nodes.len() + 256;
        self.nodes.resize(len, Node::FREE);
        self.used_base.resize(len, false);
        self.next_free
            .extend((len - 256..len).map(|slot| slot as u32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(trie: &DoubleArray, text: &[u8]) -> Vec<(usize, u32)> {
        let mut hits = Vec::new();
        trie.prefixes(text, |len, value| hits.push((len, value)));
        hits
    }

    #[test]
    fn prefixes_come_shortest_first() {
        let keys = vec![
            (&b"ab"[..], 1),
            (&b"a"[..], 0),
            (&b"abcd"[..], 2),
            (&b"b"[..], 3),
        ];
        let trie = DoubleArray::build(keys).unwrap();
        assert_eq!(found(&trie, b"abcx"), [(1, 0), (2, 1)]);
        assert_eq!(found(&trie, b"abcd"), [(1, 0), (2, 1), (4, 2)]);
        assert_eq!(found(&trie, b"c"), []);
    }

    #[test]
    fn an_empty_trie_finds_nothing() {
        let trie = DoubleArray::build(Vec::new()).unwrap();
        assert_eq!(found(&trie, b"\0a\xff"), []);
    }

    proptest! {
        #[test]
        fn equals_a_linear_search(
            keys in proptest::collection::btree_set(
                proptest::collection::vec(prop_oneof![0u8..4, any::<u8>()], 1..6), 0..200),
            text in proptest::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..12),
        ) {
            let keys: Vec<_> = keys.into_iter().collect();
            let pairs = keys.iter().map(Vec::as_slice).zip(0u32..).collect();
            let trie = DoubleArray::build(pairs).unwrap();
            let mut expected: Vec<_> = keys.iter().zip(0u32..)
                .filter(|(key, _)| text.starts_with(key))
                .map(|(key, value)| (key.len(), value))
                .collect();
            expected.sort_unstable();
            prop_assert_eq!(found(&trie, &text), expected);
        }
    }
}
