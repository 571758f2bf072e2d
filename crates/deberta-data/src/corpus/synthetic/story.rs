//! The plan of a story: which sentences, in which order.

use super::lexicon::{Lexicon, Verb};
use super::random::StoryRng;
use super::world::{Case, Character, World};
use super::writer::Writer;
use super::{ProbeKind, events, openers, plot};

/// Tells one story: its facts, its words so far, and its random numbers.
pub(super) struct Teller {
    pub(super) world: World,
    pub(super) writer: Writer,
    pub(super) rng: StoryRng,
    pub(super) lexicon: &'static Lexicon,
}

impl Teller {
    pub(super) fn new(seed: u64, story: u64) -> Self {
        let mut rng = StoryRng::new(seed, story);
        let world = World::draw(&mut rng);
        Self {
            world,
            writer: Writer::new(),
            rng,
            lexicon: Lexicon::get(),
        }
    }

    /// Writes the whole story.
    pub(super) fn tell(mut self) -> Writer {
        let opener = openers::open(&mut self);
        plot::introduce_hero(&mut self);
        plot::introduce_friend(&mut self);
        let transfers = self.rng.chance(60);
        if transfers {
            plot::get_treasure(&mut self);
        }
        // A row takes three sentences itself; stories of all kinds should fit 128 tokens.
        let least = if matches!(opener, openers::Opener::Row { .. }) {
            1
        } else {
            3
        };
        let middle = least + self.rng.below(3);
        let hand_over_after = self.rng.below(middle);
        let mut handed_over = false;
        for index in 0..middle {
            events::event(&mut self);
            if transfers && index == hand_over_after {
                handed_over = plot::hand_over(&mut self);
            }
        }
        if transfers {
            plot::keep(&mut self, handed_over);
        } else if self.rng.chance(60) {
            plot::go_home(&mut self);
        }
        openers::close(&mut self, opener);
        self.writer
    }

    /// The other character.
    pub(super) fn other(&self, than: Character) -> Character {
        if than.kind == self.world.hero.kind {
            self.world.friend
        } else {
            self.world.hero
        }
    }

    pub(super) fn someone(&mut self) -> Character {
        if self.rng.chance(60) {
            self.world.hero
        } else {
            self.world.friend
        }
    }

    /// `Anna`, `the sailors`.
    pub(super) fn name(&mut self, who: Character) -> &mut Writer {
        if !who.article.is_empty() {
            self.writer.words(who.article);
        }
        self.writer.words(who.name)
    }

    /// A name that the context decides: the other character would be wrong.
    pub(super) fn marked_name(&mut self, kind: ProbeKind, who: Character) -> &mut Writer {
        let other = self.other(who);
        // "the [MASK]" would rule out a person by its article alone.
        if who.article == other.article {
            self.writer.marked(kind, who.name, other.name)
        } else {
            self.name(who)
        }
    }

    /// Name or pronoun as the subject; unmarked, as either character could act.
    pub(super) fn subject(&mut self, who: Character) -> &mut Writer {
        if self.rng.chance(45) {
            self.name(who)
        } else {
            self.writer.words(who.kind.pronoun(Case::Subject))
        }
    }

    /// A pronoun that the context decides.
    pub(super) fn pronoun(&mut self, who: Character, case: Case) -> &mut Writer {
        let other = self.other(who).kind.pronoun(case);
        self.writer
            .marked(ProbeKind::Pronoun, who.kind.pronoun(case), other)
    }

    /// A verb that agrees with its subject and with the tense of the story.
    pub(super) fn verb(&mut self, verb: Verb, plural: bool) -> &mut Writer {
        self.writer.words(form(verb, self.world.past, plural))
    }

    /// `was`, `were`, `is` or `are`.
    pub(super) fn be(&mut self, plural: bool) -> &mut Writer {
        let past = self.world.past;
        self.writer.words(be(past, plural))
    }

    /// Now and then an adverbial, so that sentences do not begin alike.
    pub(super) fn maybe_when(&mut self) {
        const WHEN: [&str; 14] = [
            "one day",
            "later",
            "after that",
            "then",
            "the next morning",
            "before noon",
            "in the evening",
            "soon",
            "at dawn",
            "every week",
            "at last",
            "on Sunday",
            "for a while",
            "the same night",
        ];
        if self.rng.chance(40) {
            let when = self.rng.pick_skewed(&WHEN);
            self.writer.words(when).glue(",");
        }
    }
}

pub(super) fn form(verb: Verb, past: bool, plural: bool) -> &'static str {
    match (past, plural) {
        (true, _) => verb.past,
        (false, true) => verb.base,
        (false, false) => verb.third,
    }
}

pub(super) fn be(past: bool, plural: bool) -> &'static str {
    match (past, plural) {
        (true, false) => "was",
        (true, true) => "were",
        (false, false) => "is",
        (false, true) => "are",
    }
}
