//! First sentences, two of which hide a riddle of position that the end of the story answers.

use super::ProbeKind;
use super::story::Teller;

/// How a story began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opener {
    /// `Along the road stood the mill, the inn, …`
    Row {
        /// The slot that the last sentence names.
        named_last: usize,
    },
    /// `A new store opened beside the new mall.`
    Beside,
    /// Season or nothing in particular.
    Plain,
}

const ORDINALS: [&str; 6] = ["first", "second", "third", "fourth", "fifth", "sixth"];

pub(super) fn open(teller: &mut Teller) -> Opener {
    match teller.rng.below(100) {
        0..25 => row(teller),
        25..50 => beside(teller),
        _ => plain(teller),
    }
}

pub(super) fn close(teller: &mut Teller, opener: Opener) {
    let [first, second, ..] = teller.world.buildings;
    match opener {
        Opener::Row { named_last } => {
            teller
                .writer
                .words("the")
                .words(ORDINALS[named_last])
                .words("house");
            let building = teller.world.buildings[named_last];
            teller.be(false).words("the").words(building).stop();
        }
        Opener::Beside => {
            // Either order, so that only the roles in the first sentence tell the two apart.
            let (many, few) = ("many people came to the", "few people went to the");
            if teller.rng.chance(50) {
                teller
                    .writer
                    .words(many)
                    .words(first)
                    .glue(", but")
                    .words(few)
                    .words(second);
            } else {
                teller
                    .writer
                    .words(few)
                    .words(second)
                    .glue(", but")
                    .words(many)
                    .words(first);
            }
            teller.writer.stop();
        }
        Opener::Plain => {}
    }
}

/// Six houses in a row. The words around the inner slots are the same, so only the place counted
/// from the start tells which is the third. Three slots are named by their number elsewhere.
fn row(teller: &mut Teller) -> Opener {
    let buildings = teller.world.buildings;
    let mut order = [0, 1, 2, 3, 4, 5];
    for index in 0..3 {
        order.swap(index, index + teller.rng.below(6 - index));
    }
    let [one, two, named_last, ..] = order;
    let named = [one, two, named_last];
    teller.writer.words("along the road stood");
    for (slot, building) in buildings.into_iter().enumerate() {
        match slot {
            0 => {}
            5 => {
                teller.writer.words("and");
            }
            _ => {
                teller.writer.glue(",");
            }
        }
        let turn = named.iter().position(|it| *it == slot);
        let distractor = turn.map_or("", |turn| buildings[named[(turn + 1) % 3]]);
        teller
            .writer
            .words("the")
            .slot(ProbeKind::AbsolutePosition, building, distractor);
    }
    teller.writer.stop();
    let writer = &mut teller.writer;
    writer
        .words("the")
        .words(ORDINALS[one])
        .words("house")
        .words(past_be(teller.world.past));
    writer
        .words("the")
        .words(buildings[one])
        .glue(", and the")
        .words(ORDINALS[two]);
    writer
        .words(past_be(teller.world.past))
        .words("the")
        .words(buildings[two])
        .stop();
    Opener::Row { named_last }
}

fn past_be(past: bool) -> &'static str {
    if past { "was" } else { "is" }
}

/// The paper's sentence: `store` and `mall` both follow `new`, but one opened and the other was
/// there. The end of the story says which is which.
fn beside(teller: &mut Teller) -> Opener {
    let [first, second, ..] = teller.world.buildings;
    let kind = ProbeKind::ClauseRole;
    teller.writer.words("a new").slot(kind, first, second);
    teller
        .writer
        .words("opened beside the new")
        .slot(kind, second, first);
    teller.writer.stop();
    Opener::Beside
}

fn plain(teller: &mut Teller) -> Opener {
    let season = teller.world.season.name;
    let place = teller.world.place;
    match teller.rng.below(4) {
        0 => {
            teller.writer.words("it");
            teller
                .be(false)
                .words(season)
                .words("in")
                .words(place)
                .stop();
        }
        1 => {
            let words = if teller.world.past {
                "came early to"
            } else {
                "comes early to"
            };
            teller.writer.words(season).words(words).words(place).stop();
        }
        2 => {
            teller
                .writer
                .words("this story begins in")
                .words(season)
                .stop();
        }
        _ => {}
    }
    Opener::Plain
}
