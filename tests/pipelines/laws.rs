//! What holds for every pipeline, whatever the numbers.

use burn::tensor::{Int, Tensor, TensorData};
use deberta::data::batching::BatchLimit;
use deberta::data::tokenizer::{SequenceConfig, Tokenize, Tokenizer};
use deberta::model::checkpoint::{SaveOptions, load_model, save_task_model_with};
use deberta::model::heads::replaced_token::DebertaForReplacedTokenDetection;
use deberta::model::heads::{HeadConfig, TaskModel};
use deberta::model::{DebertaConfig, DebertaInput};
use deberta::pipeline::{
    Embedder, LabelScore, LongTexts, QuestionAnswerer, ReplacedTokens, Reranker, TextClassifier,
    TokenClassifier, ZeroShotClassifier,
};

use super::{B, checkpoint};

const TEXTS: [&str; 5] = [
    "the quick brown fox jumps over the lazy dog in Berlin and in New York City",
    "",
    "你好世界 🙂",
    "e-mail: a@b.example",
    "Ada Lovelace",
];

fn classifier() -> TextClassifier<B> {
    let dir = checkpoint("classify_softmax");
    TextClassifier::open(dir.path(), &Default::default()).unwrap()
}

fn assert_close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-5, "{a} is not {b}");
}

#[test]
fn the_company_of_other_texts_changes_nothing() {
    let classifier = classifier();
    let together = classifier.predict(&TEXTS).unwrap();
    for (text, answer) in TEXTS.iter().zip(&together) {
        let alone = classifier.predict(&[*text]).unwrap();
        for (a, b) in alone[0].iter().zip(answer) {
            assert_eq!(a.label, b.label);
            assert_close(a.score, b.score);
        }
    }
    let limit = BatchLimit {
        tokens: 1,
        sequences: 1,
    };
    let one_by_one = classifier.with_batches(limit).predict(&TEXTS).unwrap();
    for (a, b) in one_by_one.iter().flatten().zip(together.iter().flatten()) {
        assert_close(a.score, b.score);
    }
}

#[test]
fn threads_share_a_pipeline() {
    fn is_shared<T: Send + Sync>(_: &T) {}
    let classifier = classifier();
    is_shared(&classifier);
    let expected = classifier.predict(&TEXTS).unwrap();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| classifier.predict(&TEXTS).unwrap()))
            .collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), expected);
        }
    });
}

#[test]
fn every_pipeline_can_be_sent_and_shared() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<TextClassifier<B>>();
    is_shared::<ZeroShotClassifier<B>>();
    is_shared::<Reranker<B>>();
    is_shared::<TokenClassifier<B>>();
    is_shared::<QuestionAnswerer<B>>();
    is_shared::<Embedder<B>>();
    is_shared::<ReplacedTokens<B>>();
    is_shared::<deberta::pipeline::FillMask<B>>();
}

#[test]
fn no_text_gives_no_answer() {
    assert!(classifier().predict::<&str>(&[]).unwrap().is_empty());
}

#[test]
fn the_best_labels_come_first() {
    let all = classifier().predict(&TEXTS).unwrap();
    let best = classifier().with_top_k(2).predict(&TEXTS).unwrap();
    for (all, best) in all.iter().zip(best) {
        assert!(all.is_sorted_by(|a, b| a.score >= b.score));
        assert_eq!(all[..2], best);
        assert_close(all.iter().map(|it| it.score).sum(), 1.0);
    }
}

#[test]
fn a_long_text_is_as_bad_as_its_worst_window() {
    let long = TEXTS[0].repeat(6);
    let score = |long_texts, label: &str| {
        let answer = classifier()
            .with_long_texts(long_texts)
            .predict(&[long.as_str()])
            .unwrap();
        let found = answer[0].iter().find(|it| it.label == label).unwrap();
        found.score
    };
    for label in classifier().labels() {
        let (max, mean) = (score(LongTexts::Max, label), score(LongTexts::Mean, label));
        // The first window is what truncation leaves.
        assert!(max >= score(LongTexts::Truncate, label) - 1e-6);
        assert!(max > mean && mean > 0.0, "{label}: {max} {mean}");
    }
    // A text that fits is one window.
    let short = |long_texts| {
        classifier()
            .with_long_texts(long_texts)
            .predict(&["fox"])
            .unwrap()
    };
    assert_eq!(short(LongTexts::Max), short(LongTexts::Truncate));
}

#[test]
fn a_label_that_is_looked_for_is_found_in_any_window() {
    let long = TEXTS[0].repeat(6);
    let texts = [long.as_str(), "fox", ""];
    let all = classifier().with_long_texts(LongTexts::Max);
    let all = all.predict(&texts).unwrap();
    let of = |answer: &[LabelScore], label: &str| {
        let found = answer.iter().find(|it| it.label == label);
        found.map(|it| it.score)
    };
    // The scores come from different windows.
    let sum: f64 = all[0].iter().map(|it| it.score).sum();
    assert!(sum > 1.0 + 1e-3, "{sum}");
    let score = of(&all[0], "neutral").unwrap();
    // Never the first label.
    assert_ne!(all[0][0].label, "neutral");
    for (threshold, is_shown) in [(0.0, true), (score - 1e-4, true), (score + 1e-4, false)] {
        let flagged = classifier()
            .with_long_texts(LongTexts::Max)
            .with_labels(&["neutral"])
            .unwrap()
            .with_threshold(threshold)
            .predict(&texts)
            .unwrap();
        let expected = is_shown.then_some(score);
        assert_eq!(of(&flagged[0], "neutral").is_some(), is_shown);
        assert_close(
            of(&flagged[0], "neutral").unwrap_or(0.0),
            expected.unwrap_or(0.0),
        );
        assert!(flagged.iter().flatten().all(|it| it.label == "neutral"));
        assert!(flagged.iter().flatten().all(|it| it.score >= threshold));
    }
}

#[test]
fn windows_of_a_pair_move_over_its_longer_text() {
    let long = TEXTS[0].repeat(6);
    let phrase = "the quick brown fox jumps over the lazy dog ";
    // Of 48 tokens the second one leaves less than a quarter.
    for (short, room) in [(phrase.to_owned(), 26), (phrase.repeat(2), 8)] {
        let tokens = classifier().tokenizer().encode(&short).unwrap().ids.len();
        assert_eq!(48 - 3 - tokens, room);
        for pair in [(long.as_str(), short.as_str()), (&short, &long)] {
            let scores = |long_texts| {
                let classifier = classifier().with_long_texts(long_texts);
                let mut labels = classifier.predict(&[pair]).unwrap().remove(0);
                labels.sort_by(|a, b| a.label.cmp(&b.label));
                let scores = labels.into_iter().map(|it| it.score);
                scores.collect::<Vec<f64>>()
            };
            let (max, mean) = (scores(LongTexts::Max), scores(LongTexts::Mean));
            assert!(max.iter().zip(&mean).all(|(max, mean)| max > mean));
            assert_close(mean.iter().sum(), 1.0);
            if tokens < room {
                // Truncation leaves the short text whole, so what it leaves is the first window.
                let first = scores(LongTexts::Truncate);
                assert!(max.iter().zip(&first).all(|(max, it)| *max >= it - 1e-6));
            }
        }
    }
}

#[test]
fn documents_are_ranked_and_long_ones_cut() {
    let dir = checkpoint("classify_one_label");
    let reranker = Reranker::<B>::open(dir.path(), &Default::default()).unwrap();
    let long = "the lazy dog ".repeat(50);
    let documents = ["Ada Lovelace", long.as_str(), "", "in Berlin"];
    for query in ["Who?", long.as_str()] {
        let ranking = reranker.rank(query, &documents).unwrap();
        assert!(ranking.is_sorted_by(|a, b| a.score >= b.score));
        let mut indices: Vec<usize> = ranking.iter().map(|it| it.index).collect();
        indices.sort_unstable();
        assert_eq!(indices, [0, 1, 2, 3]);
        let pairs: Vec<(&str, &str)> = documents.iter().map(|it| (query, *it)).collect();
        let scores = reranker.predict(&pairs).unwrap();
        for document in ranking {
            assert_eq!(document.score, scores[document.index]);
        }
    }
}

#[test]
fn without_aggregation_long_texts_lose_no_token() {
    let dir = checkpoint("ner");
    let classifier = TokenClassifier::<B>::open(dir.path(), &Default::default())
        .unwrap()
        .with_aggregation(deberta::pipeline::Aggregation::None)
        .with_ignored_labels(Vec::new());
    let long = TEXTS[0].repeat(6);
    let tokens = classifier.tokenizer().encode(&long).unwrap();
    let entities = &classifier.predict(&[long.as_str()]).unwrap()[0];
    let places: Vec<(usize, usize)> = entities.iter().map(|it| (it.start, it.end)).collect();
    assert_eq!(places, tokens.offsets);
}

fn ner() -> TokenClassifier<B> {
    let dir = checkpoint("ner");
    TokenClassifier::open(dir.path(), &Default::default()).unwrap()
}

#[test]
fn unlikely_entities_are_left_out() {
    let all = ner().predict(&TEXTS).unwrap();
    let scores: Vec<f64> = all.iter().flatten().map(|it| it.score).collect();
    let middle = scores.iter().sum::<f64>() / scores.len() as f64;
    let likely = ner().with_threshold(middle).predict(&TEXTS).unwrap();
    for (all, likely) in all.into_iter().zip(&likely) {
        let expected = all.into_iter().filter(|it| it.score >= middle);
        assert_eq!(likely, &expected.collect::<Vec<_>>());
    }
    let count = likely.iter().flatten().count();
    assert!(0 < count && count < scores.len(), "{count}");
}

#[test]
fn nothing_of_an_entity_is_left_in_a_redacted_text() {
    let letters = |text: &str| -> String {
        let mut text = text.to_owned();
        for label in ["[O]", "[PER]", "[LOC]", "[MISC]"] {
            text = text.replace(label, "");
        }
        text.retain(|it| !it.is_whitespace());
        text
    };
    let redacted = ner().redact(&TEXTS).unwrap();
    let entities = ner().predict(&TEXTS).unwrap();
    assert!(
        redacted.iter().any(|it| it.contains("[LOC]")),
        "{redacted:?}"
    );
    for ((text, redacted), entities) in TEXTS.iter().zip(&redacted).zip(entities) {
        let is_entity = |at: usize| entities.iter().any(|it| (it.start..it.end).contains(&at));
        let kept = text.chars().enumerate().filter(|(at, _)| !is_entity(*at));
        let kept: String = kept.map(|(_, it)| it).collect();
        assert_eq!(letters(redacted), letters(&kept), "{redacted}");
    }
    assert_eq!(redacted[1], "");

    // In every window everything is an entity, so nothing may be left between them.
    let long = TEXTS[0].repeat(6);
    let everything = ner().with_ignored_labels(Vec::new());
    let redacted = everything.redact(&[long.as_str()]).unwrap().remove(0);
    assert_eq!(letters(&redacted), "", "{redacted}");
    let nothing = ner().with_threshold(1.1).redact(&[long.as_str()]).unwrap();
    assert_eq!(nothing, [long]);
}

#[test]
fn labels_that_the_network_was_never_told_are_selected_alike() {
    let dir = checkpoint("zero_shot_two_labels");
    let open = || {
        let classifier = ZeroShotClassifier::<B>::open(dir.path(), &Default::default()).unwrap();
        classifier.with_multi_label(true)
    };
    let labels = ["sport", "politics", "law"];
    let all = open().predict(&TEXTS, &labels).unwrap();
    let best = open().with_top_k(1).predict(&TEXTS, &labels).unwrap();
    let threshold = all[0][1].score;
    let likely = open()
        .with_threshold(threshold)
        .predict(&TEXTS, &labels)
        .unwrap();
    for ((all, best), likely) in all.iter().zip(best).zip(likely) {
        assert_eq!(all.len(), 3);
        assert_eq!(best, all[..1]);
        let expected = all.iter().filter(|it| it.score >= threshold).cloned();
        assert_eq!(likely, expected.collect::<Vec<_>>());
    }
}

#[test]
fn all_answers_to_a_question_can_be_asked_for() {
    let dir = checkpoint("qa");
    let answers = |top_k: usize, tokens: usize, whole_words: bool| {
        QuestionAnswerer::<B>::open(dir.path(), &Default::default())
            .unwrap()
            .with_top_k(top_k)
            .with_max_answer_tokens(tokens)
            .with_whole_words(whole_words)
            .predict(&[("Who?", TEXTS[0])])
            .unwrap()
            .remove(0)
    };
    for whole_words in [true, false] {
        let all = answers(usize::MAX, usize::MAX, whole_words);
        assert_eq!(all, answers(100_000, 100_000, whole_words));
        assert!(all.len() > 100, "{}", all.len());
    }
}

/// An encoder and its tokenizer with a random head for replaced tokens.
fn discriminator() -> tempfile::TempDir {
    let dir = checkpoint("embed");
    let device = Default::default();
    let (_, config): (_, DebertaConfig) =
        load_model::<B>(dir.path(), Default::default(), &device).unwrap();
    let config = DebertaConfig {
        initializer_range: 0.5,
        ..config
    };
    let head = HeadConfig::new(&config, vec!["replaced".into()]);
    let model = DebertaForReplacedTokenDetection::<B>::init(&config, &head, 3, &device).unwrap();
    save_task_model_with(&model, &config, &head, dir.path(), &SaveOptions::new()).unwrap();
    dir
}

#[test]
fn a_word_is_as_suspicious_as_its_worst_token() {
    let dir = discriminator();
    let device = Default::default();
    let detector = ReplacedTokens::<B>::open(dir.path(), &device).unwrap();
    let text = "Ada Lovelace jumps supercalifragilistic";
    let words = &detector.predict(&[text]).unwrap()[0];
    let found: Vec<&str> = words.iter().map(|it| it.text.as_str()).collect();
    assert_eq!(found, text.split(' ').collect::<Vec<_>>());

    let tokenizer = Tokenizer::open(dir.path()).unwrap();
    let sequence = SequenceConfig::default()
        .encode(&tokenizer, text, None)
        .unwrap();
    let (model, _, _) = deberta::model::checkpoint::load_task_model::<
        B,
        DebertaForReplacedTokenDetection<B>,
    >(dir.path(), Default::default(), &device)
    .unwrap();
    let ids: Vec<i32> = sequence.ids.iter().map(|&it| it as i32).collect();
    let ids = TensorData::new(ids, [1, sequence.len()]);
    let logits = model.forward(DebertaInput::new(Tensor::<B, 2, Int>::from_data(
        ids, &device,
    )));
    let logits: Vec<f32> = logits.into_data().to_vec().unwrap();
    for word in words {
        // The space before a word may be a token of its own.
        let of_word = (1..sequence.len() - 1).filter(|&at| {
            let (start, _) = sequence.offsets[at];
            (word.start.saturating_sub(1)..word.end).contains(&start)
        });
        let worst = of_word.map(|at| logits[at]).fold(f32::MIN, f32::max);
        assert_close(word.score, 1.0 / (1.0 + f64::from(-worst).exp()));
        assert_eq!(text.chars().nth(word.start), word.text.chars().next());
    }
    assert!(
        words
            .iter()
            .any(|it| (it.score - words[0].score).abs() > 1e-3)
    );
}

#[test]
fn answers_can_be_stored() {
    let answers = classifier().predict(&TEXTS).unwrap();
    let json = serde_json::to_string(&answers).unwrap();
    let read: Vec<Vec<deberta::pipeline::LabelScore>> = serde_json::from_str(&json).unwrap();
    assert_eq!(read, answers);
}
