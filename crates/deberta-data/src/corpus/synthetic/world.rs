//! Who and what a story is about.

use super::lexicon::{BUILDING, Lexicon, Noun, Season, TREASURE, Trade};
use super::random::StoryRng;

/// Gender and number of a character; decides the pronouns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Female,
    Male,
    Animal,
    Group,
}

/// Case of a pronoun.
#[derive(Debug, Clone, Copy)]
pub(super) enum Case {
    Subject,
    Object,
    Possessive,
    Reflexive,
}

impl Kind {
    pub(super) fn pronoun(self, case: Case) -> &'static str {
        let [female, male, animal, group] = match case {
            Case::Subject => ["she", "he", "it", "they"],
            Case::Object => ["her", "him", "it", "them"],
            Case::Possessive => ["her", "his", "its", "their"],
            Case::Reflexive => ["herself", "himself", "itself", "themselves"],
        };
        match self {
            Self::Female => female,
            Self::Male => male,
            Self::Animal => animal,
            Self::Group => group,
        }
    }

    pub(super) fn is_plural(self) -> bool {
        self == Self::Group
    }
}

/// A character: `Anna`, `the sailors`, `the horse`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Character {
    /// `the` before the name, or nothing.
    pub(super) article: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

/// The facts of one story. The two characters never share a pronoun.
pub(super) struct World {
    pub(super) hero: Character,
    pub(super) friend: Character,
    pub(super) trade: &'static Trade,
    pub(super) other_trade: &'static Trade,
    pub(super) season: &'static Season,
    pub(super) other_season: &'static Season,
    pub(super) place: &'static str,
    pub(super) other_place: &'static str,
    pub(super) treasure: Noun,
    pub(super) treasure_adjective: &'static str,
    /// The buildings of an opening sentence, all different.
    pub(super) buildings: [&'static str; 6],
    pub(super) past: bool,
}

impl World {
    pub(super) fn draw(rng: &mut StoryRng) -> Self {
        let lexicon = Lexicon::get();
        let (hero_kind, other_kind) = if rng.chance(50) {
            (Kind::Female, Kind::Male)
        } else {
            (Kind::Male, Kind::Female)
        };
        let hero = person(hero_kind, rng);
        let friend = if rng.chance(70) {
            person(other_kind, rng)
        } else {
            let name = rng.pick_skewed(&lexicon.groups).plural;
            Character {
                article: "the",
                name,
                kind: Kind::Group,
            }
        };
        let trade = rng.skewed(lexicon.trades.len());
        let season = rng.below(4);
        let place = rng.pick_skewed(&lexicon.places);
        let treasures = &lexicon.classes[TREASURE];
        Self {
            hero,
            friend,
            trade: &lexicon.trades[trade],
            other_trade: &lexicon.trades[(trade + 1 + rng.below(9)) % lexicon.trades.len()],
            season: &lexicon.seasons[season],
            other_season: &lexicon.seasons[(season + 1 + rng.below(3)) % 4],
            place,
            other_place: rng.pick_other(&lexicon.places, place),
            treasure: rng.pick_skewed(&treasures.nouns),
            treasure_adjective: rng.pick_skewed(&treasures.adjectives),
            buildings: buildings(rng),
            past: rng.chance(65),
        }
    }
}

fn person(kind: Kind, rng: &mut StoryRng) -> Character {
    let lexicon = Lexicon::get();
    let names = if kind == Kind::Female {
        &lexicon.female_names
    } else {
        &lexicon.male_names
    };
    Character {
        article: "",
        name: rng.pick_skewed(names),
        kind,
    }
}

fn buildings(rng: &mut StoryRng) -> [&'static str; 6] {
    let nouns = &Lexicon::get().classes[BUILDING].nouns;
    let mut chosen = [""; 6];
    for index in 0..chosen.len() {
        chosen[index] = loop {
            // Uniform: the slot, not the word, decides where a building stands.
            let candidate = rng.pick(nouns).singular;
            if !chosen.contains(&candidate) {
                break candidate;
            }
        };
    }
    chosen
}
