//! The thread of a story: who it is about, and what becomes of the treasure.

use super::ProbeKind::{Possession, Recall};
use super::lexicon::{Noun, TREASURE, Verb};
use super::story::{Teller, form};
use super::world::{Case, Kind};

/// `Anna was an honest baker in Oakham.`
pub(super) fn introduce_hero(teller: &mut Teller) {
    let adjective = teller.rng.pick_skewed(&teller.lexicon.person_adjectives);
    let hero = teller.world.hero;
    let (trade, place, past) = (
        teller.world.trade.name,
        teller.world.place,
        teller.world.past,
    );
    let lived = if past { "lived" } else { "lives" };
    match teller.rng.below(4) {
        0 => {
            teller.name(hero);
            teller
                .be(false)
                .a(adjective)
                .words(trade)
                .words("in")
                .words(place);
        }
        1 => {
            teller
                .writer
                .words("in")
                .words(place)
                .words("there")
                .words(lived);
            teller
                .writer
                .a(adjective)
                .words(trade)
                .words("named")
                .words(hero.name);
        }
        2 => {
            teller
                .writer
                .a(adjective)
                .words(trade)
                .words("named")
                .words(hero.name);
            teller.writer.words(lived).words("in").words(place);
        }
        _ => {
            teller
                .name(hero)
                .glue(",")
                .a(adjective)
                .words(trade)
                .glue(",");
            teller
                .writer
                .words(if past { "came from" } else { "comes from" })
                .words(place);
        }
    }
    teller.writer.stop();
}

/// `Tom was the brother of Anna.`
pub(super) fn introduce_friend(teller: &mut Teller) {
    let (hero, friend) = (teller.world.hero, teller.world.friend);
    let adjective = teller.rng.pick_skewed(&teller.lexicon.person_adjectives);
    if friend.kind == Kind::Group {
        if teller.rng.chance(50) {
            teller.name(friend);
            teller.be(true).words("friends of");
            teller.name(hero);
        } else {
            teller.name(hero);
            let knew = if teller.world.past { "knew" } else { "knows" };
            teller
                .writer
                .words(knew)
                .words("the")
                .words(adjective)
                .words(friend.name);
        }
    } else {
        let (female, male) = teller.rng.pick_skewed(&teller.lexicon.relations);
        let relation = if friend.kind == Kind::Female {
            female
        } else {
            male
        };
        match teller.rng.below(3) {
            0 => {
                teller.name(friend);
                teller.be(false).words("the").words(relation).words("of");
                teller.name(hero);
            }
            1 => {
                teller.name(hero);
                let had = if teller.world.past { "had" } else { "has" };
                teller
                    .writer
                    .words(had)
                    .a(adjective)
                    .words(relation)
                    .glue(",");
                teller.name(friend);
            }
            _ => {
                teller
                    .name(friend)
                    .glue(", the")
                    .words(relation)
                    .words("of");
                teller.name(hero).glue(",");
                teller.be(false).words(adjective);
            }
        }
    }
    teller.writer.stop();
}

/// `Anna found an amber ring in the cave.`
pub(super) fn get_treasure(teller: &mut Teller) {
    let verb = teller.rng.pick_skewed(&teller.lexicon.getting);
    let place = teller.rng.pick_skewed(&teller.lexicon.nature).singular;
    let hero = teller.world.hero;
    teller.maybe_when();
    teller.subject(hero);
    let adjective = teller.world.treasure_adjective;
    teller.verb(verb, false).a(adjective);
    teller
        .writer
        .words(teller.world.treasure.singular)
        .words("in the")
        .words(place)
        .stop();
}

/// The treasure is given, given and returned, or refused; returns whether the friend has it now.
pub(super) fn hand_over(teller: &mut Teller) -> bool {
    let (hero, friend) = (teller.world.hero, teller.world.friend);
    let past = teller.world.past;
    let outcome = teller.rng.below(100);
    teller.maybe_when();
    if outcome < 30 {
        teller.name(friend);
        let want = Verb {
            base: "want",
            third: "wants",
            past: "wanted",
        };
        teller.verb(want, friend.kind.is_plural()).words("the");
        the_treasure(teller).glue(", but");
        teller
            .name(hero)
            .words(if past { "said no" } else { "says no" })
            .stop();
        return false;
    }
    let verb = teller.rng.pick_skewed(&teller.lexicon.giving);
    teller.name(hero);
    teller.verb(verb, false);
    if teller.rng.chance(50) {
        teller.name(friend).words("the");
        the_treasure(teller);
    } else {
        teller.writer.words("the");
        the_treasure(teller).words("to");
        teller.name(friend);
    }
    let returned = outcome >= 80;
    if returned {
        teller.writer.glue(", but");
        let bring = Verb {
            base: "bring",
            third: "brings",
            past: "brought",
        };
        teller
            .pronoun(friend, Case::Subject)
            .words(form(bring, past, friend.kind.is_plural()));
        teller.writer.words("it back");
    }
    teller.writer.stop();
    !returned
}

fn the_treasure(teller: &mut Teller) -> &mut super::writer::Writer {
    let treasures: &[Noun] = &teller.lexicon.classes[TREASURE].nouns;
    let wrong = teller
        .rng
        .pick_other(treasures, teller.world.treasure)
        .singular;
    teller
        .writer
        .marked(Recall, teller.world.treasure.singular, wrong)
}

/// `So the amber ring belonged to Tom.`
pub(super) fn keep(teller: &mut Teller, friend_has_it: bool) {
    let owner = if friend_has_it {
        teller.world.friend
    } else {
        teller.world.hero
    };
    let adjective = teller.world.treasure_adjective;
    let past = teller.world.past;
    if teller.rng.chance(50) {
        teller.writer.words("so the").words(adjective);
        the_treasure(teller).words(if past { "belonged to" } else { "belongs to" });
        if teller.rng.chance(50) {
            teller.marked_name(Possession, owner);
        } else {
            let other = teller.other(owner).kind.pronoun(Case::Object);
            teller
                .writer
                .marked(Possession, owner.kind.pronoun(Case::Object), other);
        }
    } else {
        teller.writer.words("in the end");
        teller.marked_name(Possession, owner);
        let have = Verb {
            base: "have",
            third: "has",
            past: "had",
        };
        teller
            .verb(have, owner.kind.is_plural())
            .words("the")
            .words(adjective);
        the_treasure(teller);
    }
    teller.writer.stop();
}

/// `At last the baker went home to Oakham.`
pub(super) fn go_home(teller: &mut Teller) {
    let (trade, other) = (teller.world.trade.name, teller.world.other_trade.name);
    let (place, other_place) = (teller.world.place, teller.world.other_place);
    let motion = teller.rng.pick_skewed(&teller.lexicon.motion);
    teller
        .writer
        .words("at last the")
        .marked(Recall, trade, other);
    teller
        .verb(motion, false)
        .words("home to")
        .marked(Recall, place, other_place);
    teller.writer.stop();
}
