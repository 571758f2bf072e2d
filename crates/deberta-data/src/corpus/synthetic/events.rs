//! What happens in between, and the rules that decide the words.

use super::ProbeKind::{Agreement, Recall, Season, Selection, Trade};
use super::lexicon::{ANIMAL, FOOD, TREASURE, Verb};
use super::story::{Teller, be};
use super::world::{Case, Character, Kind};

/// One thing that happens.
pub(super) fn event(teller: &mut Teller) {
    match teller.rng.below(100) {
        0..20 => work(teller),
        20..44 => use_thing(teller),
        44..60 => describe_things(teller),
        60..68 => weather(teller),
        68..77 => speak(teller),
        77..83 => be_proud(teller),
        83..89 => travel(teller),
        89..95 => mention_trade(teller),
        _ => feed_animal(teller),
    }
    teller.writer.stop();
}

/// The hero works with the tools of the trade, in its place, on its product.
fn work(teller: &mut Teller) {
    let (trade, other) = (teller.world.trade, teller.world.other_trade);
    let tool = teller.rng.below(3);
    let (tool, other_tool) = (trade.tools[tool], other.tools[tool]);
    let (hero, past) = (teller.world.hero, teller.world.past);
    teller.maybe_when();
    match teller.rng.below(4) {
        0 => {
            teller
                .subject(hero)
                .words(if past { "took" } else { "takes" });
            teller
                .pronoun(hero, Case::Possessive)
                .marked(Trade, tool, other_tool)
                .words("and");
            teller.verb(trade.verb, false);
            quantity(teller).marked(Trade, trade.product.plural, other.product.plural);
        }
        1 => {
            teller
                .writer
                .words("in the")
                .marked(Trade, trade.workplace, other.workplace);
            teller.subject(hero);
            teller.verb(trade.verb, false).words("the");
            teller
                .writer
                .marked(Trade, trade.product.singular, other.product.singular);
            teller
                .writer
                .words("with the")
                .marked(Trade, tool, other_tool);
        }
        2 => {
            teller
                .writer
                .words("the")
                .marked(Trade, tool, other_tool)
                .words("of");
            teller.name(hero).words(if past { "lay" } else { "lies" });
            teller
                .writer
                .words("in the")
                .marked(Trade, trade.workplace, other.workplace);
        }
        _ => {
            let motion = teller.rng.pick_skewed(&teller.lexicon.motion);
            teller.subject(hero);
            teller.verb(motion, false).words("to the");
            teller
                .writer
                .marked(Trade, trade.workplace, other.workplace)
                .words("to");
            teller.writer.words(trade.verb.base);
            quantity(teller).marked(Trade, trade.product.plural, other.product.plural);
        }
    }
}

fn quantity(teller: &mut Teller) -> &mut super::writer::Writer {
    const QUANTITIES: [&str; 8] = [
        "two", "three", "many", "some", "several", "four", "ten", "all the",
    ];
    let quantity = teller.rng.pick_skewed(&QUANTITIES);
    teller.writer.words(quantity)
}

/// `The twins ate a salty olive.` The verb chooses the class of its object.
fn use_thing(teller: &mut Teller) {
    let class = teller.rng.below(teller.lexicon.classes.len());
    let other = (class + 1 + teller.rng.below(teller.lexicon.classes.len() - 1))
        % teller.lexicon.classes.len();
    let class = &teller.lexicon.classes[class];
    let adjective = teller.rng.pick_skewed(&class.adjectives);
    let noun = teller.rng.pick_skewed(&class.nouns);
    let wrong = teller.rng.pick_skewed(&teller.lexicon.classes[other].nouns);
    let verb = teller.rng.pick_skewed(&class.verbs);
    let who = teller.someone();
    teller.maybe_when();
    teller.subject(who);
    teller.verb(verb, who.kind.is_plural());
    // Drinks have no plural; the others come in both numbers.
    let is_drink = verb == teller.lexicon.classes[1].verbs[0];
    let mut plural = false;
    match teller.rng.below(if is_drink { 2 } else { 4 }) {
        0 => {
            teller.writer.words("the").words(adjective);
        }
        1 => {
            teller.pronoun(who, Case::Possessive).words(adjective);
        }
        2 => {
            plural = true;
            quantity(teller).words(adjective);
        }
        _ => {
            teller.writer.a(adjective);
        }
    }
    teller
        .writer
        .marked(Selection, noun.form(plural), wrong.form(plural));
    if teller.rng.chance(35) {
        let where_to = if teller.rng.chance(50) {
            &teller.lexicon.nature
        } else {
            &teller.lexicon.furniture
        };
        let place = teller.rng.pick_skewed(where_to).singular;
        let near = teller.rng.pick(&["near the", "beside the", "behind the"]);
        teller.writer.words(near).words(place);
    } else if teller.rng.chance(40) {
        let adverb = teller.rng.pick_skewed(&teller.lexicon.adverbs);
        teller.writer.words(adverb);
    }
}

/// `The keys near the lamp were rusty.` The verb agrees with the first noun; the nearest one has
/// either number, so it says nothing.
fn describe_things(teller: &mut Teller) {
    let (plural, near_plural) = (teller.rng.chance(50), teller.rng.chance(50));
    let class = &teller.lexicon.classes[[TREASURE, FOOD, 2, 3, 6, 7][teller.rng.below(6)]];
    let head = teller.rng.pick_skewed(&class.nouns);
    let adjective = teller.rng.pick_skewed(&class.adjectives);
    teller.maybe_when();
    teller.writer.words("the").words(head.form(plural));
    match teller.rng.below(3) {
        0 => near(teller, near_plural),
        1 => {
            let who = teller.someone();
            let verb = teller.rng.pick_skewed(&class.verbs);
            teller.writer.words("that");
            teller.name(who);
            teller.verb(verb, who.kind.is_plural());
            near(teller, near_plural);
        }
        _ => {
            let groups = &teller.lexicon.groups;
            let owner = teller.rng.pick_skewed(groups).form(near_plural);
            teller.writer.words("of the").words(owner);
        }
    }
    let past = teller.world.past;
    teller
        .writer
        .marked(Agreement, be(past, plural), be(past, !plural));
    teller.writer.words(adjective);
}

fn near(teller: &mut Teller, plural: bool) {
    let furniture = teller
        .rng
        .pick_skewed(&teller.lexicon.furniture)
        .form(plural);
    let preposition = teller
        .rng
        .pick(&["near the", "on the", "behind the", "under the"]);
    teller.writer.words(preposition).words(furniture);
}

/// The weather keeps to the season.
fn weather(teller: &mut Teller) {
    let (season, other) = (teller.world.season, teller.world.other_season);
    let noun = teller.rng.below(season.nouns.len());
    let adjective = teller.rng.below(season.adjectives.len());
    let (noun, wrong_noun) = (season.nouns[noun], other.nouns[noun]);
    let (adjective, wrong) = (season.adjectives[adjective], other.adjectives[adjective]);
    let past = teller.world.past;
    if teller.rng.chance(50) {
        teller
            .writer
            .words("in that")
            .marked(Season, season.name, other.name);
        teller.writer.words("the").marked(Season, noun, wrong_noun);
        let verb = teller.rng.pick(&season.verbs);
        teller.verb(verb, false);
    } else {
        teller
            .writer
            .words("it")
            .words(be(past, false))
            .marked(Season, adjective, wrong);
        teller
            .writer
            .words(if past { "because of the" } else { "from the" });
        teller.writer.marked(Season, noun, wrong_noun);
    }
}

/// `Anna told Tom that she needed a sieve.` · `Tom asked Anna why she was sad.`
fn speak(teller: &mut Teller) {
    let speaker = teller.someone();
    let hearer = teller.other(speaker);
    let past = teller.world.past;
    let adjective = teller.rng.pick_skewed(&teller.lexicon.person_adjectives);
    let verb = |base, past| Verb {
        base,
        third: match base {
            "tell" => "tells",
            _ => "asks",
        },
        past,
    };
    teller.name(speaker);
    if teller.rng.chance(50) {
        teller.verb(verb("tell", "told"), speaker.kind.is_plural());
        teller.name(hearer).words("that");
        teller.pronoun(speaker, Case::Subject);
        teller
            .writer
            .words(be(past, speaker.kind.is_plural()))
            .words(adjective);
    } else {
        teller.verb(verb("ask", "asked"), speaker.kind.is_plural());
        teller.name(hearer).words("why");
        teller.pronoun(hearer, Case::Subject);
        teller
            .writer
            .words(be(past, hearer.kind.is_plural()))
            .words("so")
            .words(adjective);
    }
}

/// `The twins were proud of themselves.`
fn be_proud(teller: &mut Teller) {
    let who = teller.someone();
    teller.maybe_when();
    teller.name(who);
    let feeling = teller.rng.pick(&[
        "proud of",
        "ashamed of",
        "sure of",
        "pleased with",
        "angry with",
    ]);
    teller.be(who.kind.is_plural()).words(feeling);
    teller.pronoun(who, Case::Reflexive);
}

/// Home is where the story began.
fn travel(teller: &mut Teller) {
    let who = teller.someone();
    let motion = teller.rng.pick_skewed(&teller.lexicon.motion);
    let (place, other) = (teller.world.place, teller.world.other_place);
    let goal = teller.rng.pick_skewed(&teller.lexicon.nature).singular;
    teller.maybe_when();
    teller.subject(who);
    teller.verb(motion, who.kind.is_plural());
    teller
        .writer
        .words("from")
        .marked(Recall, place, other)
        .words("to the")
        .words(goal);
}

/// `The baker, Anna, sang.`
fn mention_trade(teller: &mut Teller) {
    let (trade, other) = (teller.world.trade.name, teller.world.other_trade.name);
    let verb = teller.rng.pick_skewed(&teller.lexicon.intransitive);
    let adverb = teller.rng.pick_skewed(&teller.lexicon.adverbs);
    let hero = teller.world.hero;
    teller.maybe_when();
    teller
        .writer
        .words("the")
        .marked(Recall, trade, other)
        .glue(",");
    teller.marked_name(Recall, hero).glue(",");
    teller.verb(verb, false).words(adverb);
}

/// `The horse of Anna was hungry and wanted its olive.`
fn feed_animal(teller: &mut Teller) {
    let animals = &teller.lexicon.classes[ANIMAL];
    let name = teller.rng.pick_skewed(&animals.nouns).singular;
    let animal = Character {
        article: "the",
        name,
        kind: Kind::Animal,
    };
    let adjective = teller.rng.pick_skewed(&animals.adjectives);
    let food = teller
        .rng
        .pick_skewed(&teller.lexicon.classes[FOOD].nouns)
        .singular;
    let hero = teller.world.hero;
    teller.name(animal).words("of");
    teller.name(hero);
    teller.be(false).words(adjective).words("and");
    teller
        .writer
        .words(if teller.world.past { "wanted" } else { "wants" });
    teller.pronoun(animal, Case::Possessive).words(food);
}
