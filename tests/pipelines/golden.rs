//! The answers of the transformers library: the same labels and offsets, scores within 1e-5.

use deberta::pipeline::{
    Aggregation, Answer, Embedder, Entity, LabelScore, Pooling, QuestionAnswerer, Reranker,
    TextClassifier, TokenClassifier, ZeroShotClassifier,
};
use serde_json::{Value, json};

use super::{B, Case, cases, checkpoint};

const TOLERANCE: f64 = 1e-5;

/// Compares all but the scores exactly; equal scores may come in another order.
#[track_caller]
fn assert_same(case: &Case, actual: &[(Value, f64)]) {
    let expected = case.answers.iter().map(|answer| {
        let (score, rest) = answer.split_last().unwrap();
        (Value::from(rest), score.as_f64().unwrap())
    });
    let mut expected: Vec<(Value, f64)> = expected.collect();
    let mut actual = actual.to_vec();
    for ((_, a), (_, b)) in expected.iter().zip(&actual) {
        assert!((a - b).abs() <= TOLERANCE, "{case:?}: {actual:?}");
    }
    for list in [&mut expected, &mut actual] {
        list.sort_by_key(|(answer, _)| answer.to_string());
    }
    let names = |list: &[(Value, f64)]| -> Vec<Value> {
        list.iter().map(|(answer, _)| answer.clone()).collect()
    };
    assert_eq!(names(&expected), names(&actual), "{:?}", case.input);
    for ((_, a), (_, b)) in expected.iter().zip(&actual) {
        assert!((a - b).abs() <= TOLERANCE, "{case:?}: {actual:?}");
    }
}

fn labels(answer: &[LabelScore]) -> Vec<(Value, f64)> {
    answer
        .iter()
        .map(|it| (json!([it.label]), it.score))
        .collect()
}

fn texts(cases: &[Case]) -> Vec<&str> {
    cases.iter().map(|it| it.input.text.as_str()).collect()
}

#[test]
fn classification_follows_the_problem_type_of_the_checkpoint() {
    for (folder, name) in [
        ("classify_softmax", "classify_softmax"),
        ("classify_sigmoid", "classify_sigmoid"),
        ("classify_regression", "classify_regression"),
        ("classify_one_label", "classify_one_label"),
    ] {
        let dir = checkpoint(folder);
        let classifier = TextClassifier::<B>::open(dir.path(), &Default::default()).unwrap();
        let cases = cases(name);
        let answers = classifier.predict(&texts(&cases)).unwrap();
        for (case, answer) in cases.iter().zip(answers) {
            assert_same(case, &labels(&answer));
        }
    }
}

#[test]
fn pairs_are_classified_as_pairs() {
    let dir = checkpoint("classify_softmax");
    let classifier = TextClassifier::<B>::open(dir.path(), &Default::default()).unwrap();
    let cases = cases("classify_pairs");
    let pairs: Vec<(&str, &str)> = cases
        .iter()
        .map(|it| (it.input.text.as_str(), it.input.text_pair.as_str()))
        .collect();
    for (case, answer) in cases.iter().zip(classifier.predict(&pairs).unwrap()) {
        assert_same(case, &labels(&answer));
    }
}

#[test]
fn a_reranker_scores_pairs_by_the_sigmoid() {
    let dir = checkpoint("classify_one_label");
    let reranker = Reranker::<B>::open(dir.path(), &Default::default()).unwrap();
    let cases = cases("rerank");
    let pairs: Vec<(&str, &str)> = cases
        .iter()
        .map(|it| (it.input.query.as_str(), it.input.document.as_str()))
        .collect();
    for (case, score) in cases.iter().zip(reranker.predict(&pairs).unwrap()) {
        assert_same(case, &[(json!(["relevant"]), score)]);
    }
}

#[test]
fn zero_shot_labels_are_chosen_by_entailment() {
    let chosen = ["sport", "politics and law", "科学"];
    for folder in ["zero_shot_three_labels", "zero_shot_two_labels"] {
        let dir = checkpoint(folder);
        for (multi_label, ending) in [(false, ""), (true, "_multi-label")] {
            let classifier = ZeroShotClassifier::<B>::open(dir.path(), &Default::default())
                .and_then(|it| it.with_template("This example is about {}."))
                .unwrap()
                .with_multi_label(multi_label);
            let name = folder.replace("zero_shot", "zero-shot") + ending;
            let cases = cases(&name);
            let answers = classifier.predict(&texts(&cases), &chosen).unwrap();
            for (case, answer) in cases.iter().zip(answers) {
                assert_same(case, &labels(&answer));
            }
        }
    }
}

#[test]
fn entities_are_aggregated_in_every_way() {
    let dir = checkpoint("ner");
    for (aggregation, name) in [
        (Aggregation::None, "ner_none"),
        (Aggregation::Simple, "ner_simple"),
        (Aggregation::First, "ner_first"),
        (Aggregation::Max, "ner_max"),
        (Aggregation::Average, "ner_average"),
    ] {
        let classifier = TokenClassifier::<B>::open(dir.path(), &Default::default())
            .and_then(|it| it.with_stride(12))
            .unwrap()
            .with_aggregation(aggregation);
        let cases = cases(name);
        let answers = classifier.predict(&texts(&cases)).unwrap();
        let entity = |it: &Entity| (json!([it.label, it.start, it.end]), it.score);
        for (case, answer) in cases.iter().zip(answers) {
            let answer: Vec<_> = answer.iter().map(entity).collect();
            assert_same(case, &answer);
        }
    }
}

#[test]
fn answers_are_found_in_windows() {
    let dir = checkpoint("qa");
    let open = || QuestionAnswerer::<B>::open(dir.path(), &Default::default()).unwrap();
    for (name, answerer) in [
        ("qa_best", open()),
        (
            "qa_five_best_no_answer",
            open().with_top_k(5).with_no_answer(true),
        ),
        (
            "qa_short_by_token",
            open()
                .with_top_k(3)
                .with_max_answer_tokens(4)
                .with_whole_words(false),
        ),
    ] {
        let cases = cases(name);
        let questions: Vec<(&str, &str)> = cases
            .iter()
            .map(|it| (it.input.question.as_str(), it.input.context.as_str()))
            .collect();
        let answer = |it: &Answer| (json!([it.text, it.start, it.end]), it.score);
        for (case, answers) in cases.iter().zip(answerer.predict(&questions).unwrap()) {
            let answers: Vec<_> = answers.iter().map(answer).collect();
            assert_same(case, &answers);
        }
    }
}

#[test]
fn embeddings_are_pooled_and_normalised() {
    let dir = checkpoint("embed");
    for (pooling, name) in [(Pooling::Mean, "embed_mean"), (Pooling::Cls, "embed_cls")] {
        let embedder = Embedder::<B>::open(dir.path(), &Default::default())
            .unwrap()
            .with_pooling(pooling);
        let cases = cases(name);
        for (case, vector) in cases.iter().zip(embedder.predict(&texts(&cases)).unwrap()) {
            let vector = vector.iter().enumerate();
            let vector: Vec<_> = vector
                .map(|(at, it)| (json!([at]), f64::from(*it)))
                .collect();
            assert_same(case, &vector);
        }
    }
}
