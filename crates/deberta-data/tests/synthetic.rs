//! The synthetic language keeps its own rules: checked on the text alone, with no help from the
//! generator.
#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::collections::{HashMap, HashSet};

use deberta_data::corpus::Corpus;
use deberta_data::corpus::synthetic::{Probe, ProbeKind, SyntheticConfig, SyntheticLanguage};

const STORIES: u64 = 3000;

fn language() -> SyntheticLanguage {
    SyntheticLanguage::new(SyntheticConfig::default())
}

fn stories() -> Vec<String> {
    let language = language();
    (0..STORIES).map(|number| language.story(number)).collect()
}

fn sentences(story: &str) -> Vec<Vec<&str>> {
    let sentences = story
        .split('.')
        .map(str::trim)
        .filter(|sentence| !sentence.is_empty());
    sentences
        .map(|it| {
            it.split([' ', ','])
                .filter(|word| !word.is_empty())
                .collect()
        })
        .collect()
}

fn probes(kind: ProbeKind) -> Vec<Probe> {
    language().probes_of(kind, 0..STORIES).collect()
}

/// The sentence with the asked mask, up to the mask and after it.
fn around(probe: &Probe) -> (String, String) {
    let mut ends = probe.text.match_indices("[MASK]");
    let at = ends.nth(probe.mask_index).unwrap().0;
    let start = probe.text[..at].rfind(". ").map_or(0, |dot| dot + 2);
    let after = &probe.text[at + "[MASK]".len()..];
    let end = after.find('.').unwrap();
    (
        probe.text[start..at].trim().to_owned(),
        after[..end].trim().to_owned(),
    )
}

#[test]
fn a_seed_gives_the_same_stories_and_another_seed_others() {
    let other = SyntheticConfig {
        seed: 1,
        ..SyntheticConfig::default()
    };
    let (one, same, other) = (language(), language(), SyntheticLanguage::new(other));
    for number in 0..50 {
        assert_eq!(one.story(number), same.story(number));
        assert_ne!(one.story(number), other.story(number));
    }
    // The text of one story, so that a change of the language is a decision and not an accident.
    assert_eq!(one.story(6), STORY_6);
}

const STORY_6: &str = "This story begins in autumn. Corric was a foolish undertaker in Maplefield. \
    Sarah was the godmother of Corric. Soon, he won a clean hourglass in the quarry. He crawled to \
    the mortuary to line ten coffins. Corric gave the hourglass to Sarah. Corric told Sarah that he \
    was angry. One day, the shroud of Corric lay in the mortuary. On Sunday, Corric sipped his raw \
    milk. In the end Sarah had the clean hourglass.";

#[test]
fn the_default_corpus_has_the_promised_size_and_vocabulary() {
    let corpus = Corpus::synthetic(SyntheticConfig::default());
    let mut words: HashMap<String, u32> = HashMap::new();
    let mut bytes = 0;
    for story in corpus.documents() {
        let story = story.unwrap().text;
        bytes += story.len();
        for word in story
            .split(|c: char| !c.is_alphabetic())
            .filter(|word| !word.is_empty())
        {
            *words.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    assert!((5_000_000..6_000_000).contains(&bytes), "{bytes}");
    let estimate = corpus.total_bytes() as f64;
    assert!(
        (estimate / bytes as f64 - 1.0).abs() < 0.05,
        "{estimate} against {bytes}"
    );
    assert!(words.len() > 2500, "{} words", words.len());
    let learnable = words.values().filter(|count| **count >= 10).count();
    assert!(
        learnable * 10 > words.len() * 9,
        "{learnable} of {} words occur often",
        words.len()
    );
}

#[test]
fn stories_differ_and_held_out_stories_are_unseen() {
    let config = SyntheticConfig::default();
    let mut seen = HashSet::new();
    for story in Corpus::synthetic(config).documents() {
        assert!(
            seen.insert(story.unwrap().text),
            "two training stories are the same"
        );
    }
    for story in Corpus::synthetic_held_out(config).documents() {
        assert!(
            !seen.contains(&story.unwrap().text),
            "a held-out story is in the training set"
        );
    }
    assert_eq!(Corpus::synthetic_held_out(config).documents().count(), 400);
}

#[test]
fn articles_follow_the_sound_of_the_next_word() {
    let an_despite_consonant = ["honest", "hourglass", "heirloom"];
    let a_despite_vowel = ["useful", "useless", "unique", "uniform", "ewe"];
    let mut count = 0;
    for story in stories() {
        for sentence in sentences(&story) {
            for pair in sentence.windows(2) {
                let article = pair[0].to_lowercase();
                if article != "a" && article != "an" {
                    continue;
                }
                let vowel = pair[1].starts_with(['a', 'e', 'i', 'o', 'u']);
                let an = an_despite_consonant.contains(&pair[1])
                    || (vowel && !a_despite_vowel.contains(&pair[1]));
                assert_eq!(article == "an", an, "{} {}", pair[0], pair[1]);
                count += 1;
            }
        }
    }
    assert!(count > 5000, "{count}");
}

fn is_plural(noun: &str) -> bool {
    let singular_in_s = ["atlas", "iris", "compass", "omnibus", "hourglass"];
    noun.ends_with('s') && !singular_in_s.contains(&noun)
}

#[test]
fn verbs_agree_with_the_head_and_not_with_the_nearest_noun() {
    let mut attracted = 0;
    let probes = probes(ProbeKind::Agreement);
    for probe in &probes {
        let (before, _) = around(probe);
        let subject = before.rsplit(", ").next().unwrap().to_owned();
        let words: Vec<&str> = subject.split(' ').collect();
        assert!(words[0].eq_ignore_ascii_case("the"), "{before}");
        let plural = ["were", "are"].contains(&probe.answer.as_str());
        assert_eq!(is_plural(words[1]), plural, "{before} {}", probe.answer);
        let nearest = words[words.len() - 1];
        attracted += usize::from((is_plural(nearest) || nearest == "children") != plural);
    }
    assert!(probes.len() > 1000);
    let share = attracted as f64 / probes.len() as f64;
    assert!(
        (0.45..0.55).contains(&share),
        "the nearest noun has the other number in {share}"
    );
}

#[test]
fn pronouns_keep_to_the_gender_and_number_of_the_character() {
    let mut kinds: HashMap<String, String> = HashMap::new();
    let mut count = 0;
    for story in stories() {
        for sentence in sentences(&story) {
            let Some(reflexive) = sentence.last().filter(|word| word.contains("sel")) else {
                continue;
            };
            let Some(be) = sentence
                .iter()
                .rposition(|it| ["was", "were", "is", "are"].contains(it))
            else {
                continue;
            };
            if ["herself", "himself", "themselves"].contains(reflexive) {
                let name = sentence[be - 1].to_owned();
                let kind = kinds.entry(name.clone()).or_insert((*reflexive).to_owned());
                assert_eq!(kind, reflexive, "{name}");
                count += 1;
            }
        }
    }
    assert!(count > 300, "{count}");
    // `told X that she` refers to the speaker, `asked X why she` to the one who is asked.
    let mut tested = 0;
    for probe in probes(ProbeKind::Pronoun) {
        let (before, _) = around(&probe);
        let words: Vec<&str> = before.split(' ').collect();
        let [.., link] = words[..] else { continue };
        let referent = match link {
            "that" => words[usize::from(words[0] == "The")],
            "why" => words[words.len() - 2],
            _ => continue,
        };
        let Some(kind) = kinds.get(referent) else {
            continue;
        };
        let expected = match kind.as_str() {
            "herself" => "she",
            "himself" => "he",
            _ => "they",
        };
        assert_eq!(probe.answer, expected, "{before}");
        tested += 1;
    }
    assert!(tested > 300, "{tested}");
}

/// Follows the treasure through the story and says who has it.
fn owner_of_treasure(story: &str) -> Option<(String, String)> {
    const GIVE: [&str; 21] = [
        "give", "gives", "gave", "sell", "sells", "sold", "hand", "hands", "handed", "lend",
        "lends", "lent", "offer", "offers", "offered", "send", "sends", "sent", "bring", "brings",
        "brought",
    ];
    let mut owner = None;
    let mut claim = None;
    for sentence in story.split('.').map(str::trim) {
        let clause = sentence
            .split_once(", ")
            .filter(|(head, _)| !head.contains(" the "));
        let sentence = match clause {
            Some((_, rest)) if !rest.starts_with("but") => rest,
            _ => sentence,
        };
        let (main, but) = sentence.split_once(", but ").unwrap_or((sentence, ""));
        let words: Vec<&str> = main.split(' ').collect();
        if but.ends_with("said no") || but.ends_with("says no") {
            owner = but.split(' ').next().map(str::to_owned);
        } else if words.len() > 3 && GIVE.contains(&words[1]) {
            let receiver = if words[words.len() - 2] == "to" || words[words.len() - 3] == "to" {
                words[words.len() - 1]
            } else if words[2] == "the" {
                words[3]
            } else {
                words[2]
            };
            let giver = words[0];
            owner = Some(
                if but.ends_with("it back") {
                    giver
                } else {
                    receiver
                }
                .to_owned(),
            );
        } else if words[0] == "So" {
            claim = words.last().map(|it| (*it).to_owned());
        } else if main.starts_with("In the end ") {
            let at = if words[3] == "the" { 4 } else { 3 };
            claim = Some(words[at].to_owned());
        }
    }
    owner.zip(claim)
}

#[test]
fn the_treasure_belongs_to_whoever_has_it_in_the_end() {
    let (mut kept, mut given) = (0, 0);
    for story in stories() {
        let Some((owner, claim)) = owner_of_treasure(&story) else {
            continue;
        };
        if ["her", "him", "them"].contains(&claim.as_str()) {
            continue;
        }
        assert_eq!(owner, claim, "{story}");
        // The hero gets the treasure; whether it changed hands must vary.
        let hero = story
            .split(" named ")
            .nth(1)
            .and_then(|it| it.split([' ', '.']).next());
        match hero {
            Some(hero) if hero == claim => kept += 1,
            Some(_) => given += 1,
            None => {}
        }
    }
    assert!(kept > 150 && given > 150, "{kept} kept, {given} given");
}

/// Each key goes with one value only.
#[track_caller]
fn assert_function(pairs: impl IntoIterator<Item = (String, String)>, at_least: usize) {
    let mut map: HashMap<String, String> = HashMap::new();
    let mut count = 0;
    for (key, value) in pairs {
        let known = map.entry(key.clone()).or_insert_with(|| value.clone());
        assert_eq!(*known, value, "{key}");
        count += 1;
    }
    assert!(count >= at_least, "{count}");
}

#[test]
fn a_tool_tells_the_trade() {
    let trade_of = |story: &str| {
        let introduced = story.split(" named ").next()?;
        (introduced != story).then(|| introduced.rsplit(' ').next().unwrap().to_owned())
    };
    let pairs = stories().into_iter().filter_map(|story| {
        let trade = trade_of(&story)?;
        let (_, rest) = story
            .split_once(" took her ")
            .or_else(|| story.split_once(" took his "))?;
        let tool = rest.split(' ').next()?.to_owned();
        Some((tool, trade))
    });
    assert_function(pairs.collect::<Vec<_>>(), 150);
}

#[test]
fn the_weather_tells_the_season() {
    let pairs = stories().into_iter().filter_map(|story| {
        let (_, rest) = story.split_once("n that ")?;
        let mut words = rest.split(' ');
        let season = words.next()?.to_owned();
        (words.next()? == "the").then(|| (words.next().unwrap().to_owned(), season))
    });
    assert_function(pairs.collect::<Vec<_>>(), 300);
}

#[test]
fn a_verb_never_takes_the_distractor() {
    const BEFORE_OBJECT: [&str; 14] = [
        "the", "a", "an", "his", "her", "its", "their", "two", "three", "many", "some", "several",
        "four", "ten",
    ];
    let mut objects: HashMap<String, HashSet<String>> = HashMap::new();
    let mut questions = Vec::new();
    for probe in probes(ProbeKind::Selection) {
        let (before, _) = around(&probe);
        let words: Vec<&str> = before.split(' ').collect();
        let mut verb = words.len() - 2;
        assert!(BEFORE_OBJECT.contains(&words[verb]), "{before}");
        while BEFORE_OBJECT.contains(&words[verb]) || words[verb] == "all" {
            verb -= 1;
        }
        objects
            .entry(words[verb].to_owned())
            .or_default()
            .insert(probe.answer);
        questions.push((words[verb].to_owned(), probe.distractor));
    }
    for (verb, distractor) in &questions {
        assert!(!objects[verb].contains(distractor), "{verb} {distractor}");
    }
    assert!(questions.len() > 2000);
}

#[test]
fn the_nth_house_is_the_nth_in_the_row() {
    let ordinals = ["first", "second", "third", "fourth", "fifth", "sixth"];
    let mut positions = [0; 6];
    for story in stories() {
        let Some(rest) = story.strip_prefix("Along the road stood the ") else {
            continue;
        };
        let (row, rest) = rest.split_once('.').unwrap();
        let row = row.replace(" and the ", ", the ");
        let row: Vec<&str> = row.split(", the ").collect();
        assert_eq!(row.len(), 6);
        let mut named = 0;
        for sentence in rest
            .split('.')
            .filter(|sentence| sentence.contains(" house "))
        {
            let words: Vec<&str> = sentence
                .split([' ', ','])
                .filter(|it| !it.is_empty())
                .collect();
            for (at, word) in words.iter().enumerate() {
                if let Some(nth) = ordinals.iter().position(|ordinal| ordinal == word) {
                    let building = words[at..]
                        .iter()
                        .skip_while(|it| **it != "the")
                        .nth(1)
                        .unwrap();
                    assert_eq!(row[nth], *building, "{story}");
                    positions[nth] += 1;
                    named += 1;
                }
            }
        }
        assert_eq!(named, 3, "{story}");
    }
    assert!(positions.iter().all(|count| *count > 200), "{positions:?}");
}

#[test]
fn the_building_that_opened_is_the_one_people_come_to() {
    let mut orders = [0; 2];
    for story in stories() {
        let Some(rest) = story.strip_prefix("A new ") else {
            continue;
        };
        let (opened, rest) = rest.split_once(" opened beside the new ").unwrap();
        let (other, rest) = rest.split_once('.').unwrap();
        let many = rest
            .find(&format!("any people came to the {opened}"))
            .unwrap();
        let few = rest
            .find(&format!("ew people went to the {other}"))
            .unwrap();
        orders[usize::from(many < few)] += 1;
    }
    assert!(orders.iter().all(|count| *count > 200), "{orders:?}");
}

#[test]
fn probes_restore_their_story_and_need_what_they_hide() {
    let language = language();
    for kind in ProbeKind::ALL {
        for probe in language.probes(kind, 3).take(200) {
            assert_ne!(probe.answer, probe.distractor, "{kind:?}");
            let masks = probe.text.matches("[MASK]").count();
            assert!(probe.mask_index < masks);
            let hidden = match kind {
                ProbeKind::AbsolutePosition => 6,
                ProbeKind::ClauseRole => 2,
                _ => 1,
            };
            assert_eq!(masks, hidden, "{kind:?}");
        }
        let twice: Vec<Probe> = language.probes(kind, 3).take(20).collect();
        assert_eq!(twice, language.probes(kind, 3).take(20).collect::<Vec<_>>());
        assert_ne!(twice, language.probes(kind, 4).take(20).collect::<Vec<_>>());
    }
    let story = language.story(0);
    let mut restored = 0;
    for probe in language.probes_of(ProbeKind::Recall, 0..1) {
        assert_eq!(probe.text.replacen("[MASK]", &probe.answer, 1), story);
        restored += 1;
    }
    assert!(restored > 0);
}

/// Counts of neighbouring words, the best that a bigram model can know, do not answer the probes.
#[test]
fn neighbours_do_not_answer_the_probes() {
    let mut follows: HashMap<(String, String), u32> = HashMap::new();
    for story in stories() {
        for sentence in sentences(&story) {
            for pair in sentence.windows(2) {
                *follows
                    .entry((pair[0].to_owned(), pair[1].to_owned()))
                    .or_default() += 1;
            }
        }
    }
    let count = |left: &str, right: &str| {
        follows
            .get(&(left.to_owned(), right.to_owned()))
            .copied()
            .unwrap_or(0)
    };
    for kind in [
        ProbeKind::Agreement,
        ProbeKind::Pronoun,
        ProbeKind::Recall,
        ProbeKind::Possession,
        ProbeKind::Trade,
        ProbeKind::ClauseRole,
        ProbeKind::AbsolutePosition,
    ] {
        let (mut right, mut total) = (0.0, 0.0);
        for probe in language().probes(kind, 0).take(1500) {
            let (before, after) = around(&probe);
            let left = before.rsplit(' ').next().unwrap().to_owned();
            let next = after
                .split([' ', ','])
                .find(|it| !it.is_empty())
                .unwrap_or("")
                .to_owned();
            let score = |word: &str| {
                (1.0 + f64::from(count(&left, word))) * (1.0 + f64::from(count(word, &next)))
            };
            let (answer, distractor) = (score(&probe.answer), score(&probe.distractor));
            right += match answer.total_cmp(&distractor) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
            total += 1.0;
        }
        assert!(
            right / total < 0.72,
            "{kind:?}: neighbours are right in {:.3}",
            right / total
        );
    }
}
