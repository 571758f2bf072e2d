//! The words of the language, parsed once from their lists.

mod people;
mod words;

use std::sync::LazyLock;

/// A noun in both numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Noun {
    pub(super) singular: &'static str,
    pub(super) plural: &'static str,
}

impl Noun {
    pub(super) fn form(self, plural: bool) -> &'static str {
        if plural { self.plural } else { self.singular }
    }
}

/// A verb: `walk`, `walks`, `walked`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verb {
    pub(super) base: &'static str,
    pub(super) third: &'static str,
    pub(super) past: &'static str,
}

/// Things of one kind with the words that go with them and with no other kind.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) nouns: Vec<Noun>,
    pub(super) adjectives: Vec<&'static str>,
    pub(super) verbs: Vec<Verb>,
}

/// A trade with its place, tools and product.
#[derive(Debug)]
pub(super) struct Trade {
    pub(super) name: &'static str,
    pub(super) workplace: &'static str,
    pub(super) tools: Vec<&'static str>,
    pub(super) product: Noun,
    pub(super) verb: Verb,
}

/// A season with its weather.
#[derive(Debug)]
pub(super) struct Season {
    pub(super) name: &'static str,
    pub(super) nouns: Vec<&'static str>,
    pub(super) adjectives: Vec<&'static str>,
    pub(super) verbs: Vec<Verb>,
}

/// All words.
#[derive(Debug)]
pub(super) struct Lexicon {
    /// Food, drink, clothes, writing, animals, plants, instruments, vehicles, treasures and
    /// buildings, in this order.
    pub(super) classes: Vec<Class>,
    pub(super) nature: Vec<Noun>,
    pub(super) furniture: Vec<Noun>,
    pub(super) groups: Vec<Noun>,
    pub(super) person_adjectives: Vec<&'static str>,
    pub(super) adverbs: Vec<&'static str>,
    pub(super) seasons: Vec<Season>,
    pub(super) intransitive: Vec<Verb>,
    pub(super) motion: Vec<Verb>,
    pub(super) giving: Vec<Verb>,
    pub(super) getting: Vec<Verb>,
    pub(super) female_names: Vec<&'static str>,
    pub(super) male_names: Vec<&'static str>,
    pub(super) places: Vec<&'static str>,
    pub(super) trades: Vec<Trade>,
    /// Female and male form.
    pub(super) relations: Vec<(&'static str, &'static str)>,
}

/// Position of a class in [`Lexicon::classes`].
pub(super) const FOOD: usize = 0;
/// See [`FOOD`].
pub(super) const ANIMAL: usize = 4;
/// See [`FOOD`].
pub(super) const TREASURE: usize = 8;
/// See [`FOOD`].
pub(super) const BUILDING: usize = 9;

impl Lexicon {
    /// The one instance.
    pub(super) fn get() -> &'static Self {
        static LEXICON: LazyLock<Lexicon> = LazyLock::new(Lexicon::build);
        &LEXICON
    }

    fn build() -> Self {
        Self {
            classes: classes(),
            nature: nouns(words::NATURE),
            furniture: nouns(words::FURNITURE),
            groups: nouns(words::GROUPS),
            person_adjectives: list(words::PERSON_ADJECTIVES).collect(),
            adverbs: list(words::ADVERBS).collect(),
            seasons: words::SEASONS.iter().map(|line| season(line)).collect(),
            intransitive: verbs(words::INTRANSITIVE),
            motion: verbs(words::MOTION),
            giving: verbs(words::GIVING),
            getting: verbs(words::GETTING),
            female_names: names(people::FEMALE_NAMES, people::FEMALE_ENDINGS),
            male_names: names(people::MALE_NAMES, people::MALE_ENDINGS),
            places: compose(people::PLACE_STEMS, people::PLACE_ENDINGS),
            trades: people::TRADES.lines().map(trade).collect(),
            relations: list(people::RELATIONS)
                .filter_map(|pair| pair.split_once('|'))
                .collect(),
        }
    }
}

fn classes() -> Vec<Class> {
    let rows = [
        (words::FOOD, words::FOOD_ADJECTIVES),
        (words::DRINK, words::FOOD_ADJECTIVES),
        (words::CLOTHES, words::CLOTHES_ADJECTIVES),
        (words::WRITING, words::WRITING_ADJECTIVES),
        (words::ANIMAL, words::ANIMAL_ADJECTIVES),
        (words::PLANT, words::COLOURS),
        (words::INSTRUMENT, words::THING_ADJECTIVES),
        (words::VEHICLE, words::THING_ADJECTIVES),
        (words::TREASURE, words::THING_ADJECTIVES),
        (words::BUILDING, words::THING_ADJECTIVES),
    ];
    rows.into_iter()
        .zip(words::VERBS)
        .map(|((class, adjectives), verb_list)| Class {
            nouns: nouns(class),
            adjectives: list(adjectives).collect(),
            verbs: verbs(verb_list),
        })
        .collect()
}

fn list(words: &'static str) -> impl Iterator<Item = &'static str> {
    words.split_whitespace()
}

fn nouns(words: &'static str) -> Vec<Noun> {
    list(words).map(noun).collect()
}

fn noun(word: &'static str) -> Noun {
    match word.split_once(':') {
        Some((singular, plural)) => Noun { singular, plural },
        None => Noun {
            singular: word,
            plural: keep(with_s(word)),
        },
    }
}

fn verbs(words: &'static str) -> Vec<Verb> {
    list(words).map(verb).collect()
}

fn verb(word: &'static str) -> Verb {
    let (base, past) = match word.split_once(':') {
        Some((base, past)) => (base, past),
        None => (word, keep(with_ed(word))),
    };
    Verb {
        base,
        third: keep(with_s(base)),
        past,
    }
}

fn season(line: &'static str) -> Season {
    let mut fields = line.split('|').map(str::trim);
    let mut next = || fields.next().unwrap_or_default();
    Season {
        name: next(),
        nouns: list(next()).collect(),
        adjectives: list(next()).collect(),
        verbs: verbs(next()),
    }
}

fn trade(line: &'static str) -> Trade {
    let mut fields = line.split('|').map(str::trim);
    let mut next = || fields.next().unwrap_or_default();
    Trade {
        name: next(),
        workplace: next(),
        tools: list(next()).collect(),
        product: noun(next()),
        verb: verb(next()),
    }
}

fn names(whole: &'static str, endings: &'static str) -> Vec<&'static str> {
    list(whole)
        .chain(compose(people::NAME_STEMS, endings))
        .collect()
}

fn compose(stems: &'static str, endings: &'static str) -> Vec<&'static str> {
    list(stems)
        .flat_map(|stem| list(endings).map(move |ending| keep(format!("{stem}{ending}"))))
        .collect()
}

/// The lexicon is built once and lives as long as the program.
fn keep(word: String) -> &'static str {
    Box::leak(word.into_boxed_str())
}

/// Plural of a noun, third person of a verb.
fn with_s(word: &str) -> String {
    let ends_in_consonant_y = word.ends_with('y')
        && !word.ends_with("ay")
        && !word.ends_with("ey")
        && !word.ends_with("oy")
        && !word.ends_with("uy");
    if ends_in_consonant_y {
        format!("{}ies", &word[..word.len() - 1])
    } else if ["s", "x", "z", "ch", "sh"]
        .iter()
        .any(|end| word.ends_with(end))
        || word == "go"
    {
        format!("{word}es")
    } else {
        format!("{word}s")
    }
}

fn with_ed(word: &str) -> String {
    let third = with_s(word);
    if word.ends_with('e') {
        format!("{word}d")
    } else if third.ends_with("ies") {
        format!("{}ied", &word[..word.len() - 1])
    } else {
        format!("{word}ed")
    }
}

/// `an` before a vowel sound, else `a`.
pub(super) fn article_before(word: &str) -> &'static str {
    const SILENT_H: [&str; 4] = ["honest", "hour", "hourglass", "heirloom"];
    const LIKE_YOU: [&str; 5] = ["use", "uni", "ewe", "eu", "one"];
    let starts_with_vowel = word.starts_with(['a', 'e', 'i', 'o', 'u']);
    let sounds_like_consonant =
        LIKE_YOU.iter().any(|start| word.starts_with(start)) && !word.starts_with("unin");
    if SILENT_H.contains(&word) || (starts_with_vowel && !sounds_like_consonant) {
        "an"
    } else {
        "a"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_inflect_like_english() {
        let plurals = ["apple", "cherry", "donkey", "fox", "peach"].map(with_s);
        assert_eq!(
            plurals,
            ["apples", "cherries", "donkeys", "foxes", "peaches"]
        );
        let pasts = ["bake", "study", "play", "polish"].map(with_ed);
        assert_eq!(pasts, ["baked", "studied", "played", "polished"]);
        let go = verb("go:went");
        assert_eq!((go.base, go.third, go.past), ("go", "goes", "went"));
    }

    #[test]
    fn articles_follow_the_sound() {
        let articles = [
            "apple",
            "useful",
            "honest",
            "uniform",
            "ugly",
            "ewe",
            "hourglass",
            "horse",
        ]
        .map(article_before);
        assert_eq!(articles, ["an", "a", "an", "a", "an", "a", "an", "a"]);
    }

    #[test]
    fn a_verb_tells_the_class_of_its_object() {
        let mut seen = std::collections::HashSet::new();
        for class in &Lexicon::get().classes {
            assert!(class.verbs.iter().all(|verb| seen.insert(verb.base)));
        }
        let nouns: Vec<&str> = Lexicon::get()
            .classes
            .iter()
            .flat_map(|class| class.nouns.iter().map(|noun| noun.singular))
            .collect();
        let distinct: std::collections::HashSet<&str> = nouns.iter().copied().collect();
        assert_eq!(nouns.len(), distinct.len(), "a noun is in two classes");
    }

    #[test]
    fn every_trade_has_tools_of_its_own() {
        let mut seen = std::collections::HashSet::new();
        for trade in &Lexicon::get().trades {
            assert!(trade.tools.len() >= 3, "{}", trade.name);
            for tool in &trade.tools {
                assert!(seen.insert(*tool), "{tool} of {}", trade.name);
            }
        }
    }
}
