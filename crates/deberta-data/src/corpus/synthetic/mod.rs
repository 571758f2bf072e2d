//! A small English-like language: the default corpus and a laboratory for ablations.
//!
//! Stories of about eighty words are drawn from a grammar over some three thousand words. Word
//! choice is random, yet much of each story follows from the rest of it, so there is something to
//! learn that counting neighbours cannot reach. Story `n` of a seed is always the same text.
//!
//! ```
//! use deberta_data::corpus::synthetic::{ProbeKind, SyntheticConfig, SyntheticLanguage};
//!
//! let language = SyntheticLanguage::new(SyntheticConfig::default());
//! let story = language.story(0);
//! assert_eq!(story, language.story(0));
//! let probe = language.probes(ProbeKind::Agreement, 7).next();
//! assert!(probe.is_some_and(|probe| probe.text.contains("[MASK]")));
//! ```
//!
//! # Grammar
//!
//! ```text
//! story    = opener hero friend [find] event{3..5, after a row 1..3} [hand-over, among the events] [keep | home] closer
//! opener   = row | beside | season | nothing
//! row      = "Along the road stood the B1, the B2, …, and the B6." + which is the nth (closer: one more)
//! beside   = "A new B1 opened beside the new B2."  closer: "Many people came to the B1, but few … B2."
//! hero     = a person with a name, a trade and a home town; friend = a person of the other gender, or a group
//! find     = the hero gets an <adjective> <treasure>; hand-over = gives it, gives it and gets it back, or refuses
//! event    = work | use a thing | describe things | weather | speak | be proud | travel | trade | animal
//! ```
//!
//! The whole story is told in the past or in the present; verbs inflect for tense and number.
//!
//! # What decides a word, and which part of the model it exercises
//!
//! | [`ProbeKind`] | rule | part of DeBERTa |
//! |---|---|---|
//! | `Determiner` | a/an by the sound of the next word | content of a neighbour at distance 1 (c2p) |
//! | `Agreement` | was/were by the head noun, across a phrase with a noun of either number | syntax at distance: c2p and p2c |
//! | `Pronoun` | gender and number of the one referred to; the two characters never share a pronoun | content to content, long range |
//! | `Recall` | names, places and things are mentioned again | content to content, copying |
//! | `Possession` | who has the treasure after it changed hands or did not | tracking roles: content with order |
//! | `Selection` | the verb chooses the class of its object | content to content, local |
//! | `Trade` | each trade has tools, a place and a product of its own | content to content, long range |
//! | `Season` | the weather keeps to the season | content to content, topic |
//! | `ClauseRole` | store or mall, by clause: one opened, one was there (the paper's example) | position: c2p, p2c, then the enhanced mask decoder |
//! | `AbsolutePosition` | which of six houses is the third: their neighbourhoods are alike | absolute position: the enhanced mask decoder |
//!
//! `ClauseRole` and `AbsolutePosition` need stories that begin where the sequence begins: pack with
//! document boundaries. A model with relative positions only can still count from `[CLS]`; the
//! question for an ablation is how much later it learns to.

mod events;
mod lexicon;
mod openers;
mod plot;
mod probe;
mod random;
mod story;
mod world;
mod writer;

use std::ops::Range;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use probe::{Probe, ProbeKind, Probes};

/// Held-out stories and probes are numbered from here, far from any training story.
const HELD_OUT_START: u64 = 1 << 62;
const PROBE_START: u64 = 1 << 61;
/// Stories by which the average length is judged and the generator is recognised.
const SAMPLE: u64 = 128;

/// Size and seed of the built-in corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyntheticConfig {
    /// Another seed, other stories. Default: 0
    pub seed: u64,
    /// Stories to train on, of about 420 bytes each. Default: 12 000
    pub train_stories: u64,
    /// Stories held out. Default: 400
    pub held_out_stories: u64,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            train_stories: 12_000,
            held_out_stories: 400,
        }
    }
}

/// The generator.
#[derive(Debug, Clone)]
pub struct SyntheticLanguage {
    config: SyntheticConfig,
    average_bytes: f64,
    fingerprint: String,
}

impl SyntheticLanguage {
    /// A language with the given seed.
    pub fn new(config: SyntheticConfig) -> Self {
        let mut hasher = Sha256::new();
        let mut bytes = 0;
        for story in 0..SAMPLE {
            let text = tell(config.seed, story).text;
            bytes += text.len();
            hasher.update(text.as_bytes());
        }
        // The sample stands for the generator: a change of the grammar or the words shows in it.
        hasher.update(config.seed.to_le_bytes());
        let fingerprint = super::fingerprint::hex(&hasher.finalize());
        Self {
            config,
            average_bytes: bytes as f64 / SAMPLE as f64,
            fingerprint,
        }
    }

    /// One story; the same for the same seed and number.
    pub fn story(&self, number: u64) -> String {
        tell(self.config.seed, number).text
    }

    /// Numbers of the stories to train on.
    pub fn train_stories(&self) -> Range<u64> {
        0..self.config.train_stories
    }

    /// Numbers of the held-out stories.
    pub fn held_out_stories(&self) -> Range<u64> {
        HELD_OUT_START..HELD_OUT_START + self.config.held_out_stories
    }

    /// Labelled sentences in which one rule decides a hidden word, without end; drawn from stories
    /// that are neither trained on nor held out.
    pub fn probes(&self, kind: ProbeKind, seed: u64) -> Probes {
        let first = PROBE_START + (crate::rng::mix(seed) >> 4);
        Probes::new(self.config.seed, kind, first)
    }

    /// Probes from given stories; the numbers may be those of [`SyntheticLanguage::train_stories`].
    pub fn probes_of(&self, kind: ProbeKind, stories: Range<u64>) -> impl Iterator<Item = Probe> {
        Probes::new(self.config.seed, kind, stories.start).until(stories.end)
    }

    /// Approximate size of some stories.
    pub(super) fn bytes_of(&self, stories: &Range<u64>) -> u64 {
        (self.average_bytes * (stories.end - stories.start) as f64) as u64
    }

    /// Changes with the seed and with the generator.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

fn tell(seed: u64, story: u64) -> writer::Writer {
    story::Teller::new(seed, story).tell()
}
