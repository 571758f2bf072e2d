//! Metrics against scikit-learn, scipy, seqeval and the scripts of SQuAD and ReCoRD.
//!
//! The files under `fixtures/metric` are made by `scripts/make_metric_golden.py`.

#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use deberta_data::metric::{
    AnswerJudgement, Answered, Average, ClassScores, Confusion, EntityReport, MultiLabel,
    SquadPart, TagScheme, accuracy, exact_match, mean_absolute_error, mean_squared_error, multirc,
    normalize_answer, pearson, roc_auc, spearman, squad_v1, squad_v2, token_f1,
};
use proptest::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;

const TOLERANCE: f64 = 1e-9;

fn cases<T: DeserializeOwned>(name: &str, at_least: usize) -> Vec<T> {
    let file = format!("tests/fixtures/metric/{name}.json");
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let cases: Vec<T> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() >= at_least, "{} cases", cases.len());
    cases
}

/// A number, or null for NaN.
type Number = Option<f64>;

#[track_caller]
fn check(case: usize, ours: f64, theirs: Number) {
    match theirs {
        None => assert!(ours.is_nan(), "case {case}: {ours}, expected NaN"),
        Some(theirs) => assert!(
            (ours - theirs).abs() < TOLERANCE,
            "case {case}: {ours}, expected {theirs}"
        ),
    }
}

/// Precision, recall and F1.
type Prf = [Number; 3];

#[track_caller]
fn check_prf(case: usize, ours: ClassScores, theirs: &[Number]) {
    for (ours, theirs) in [ours.precision, ours.recall, ours.f1]
        .into_iter()
        .zip(theirs)
    {
        check(case, ours, *theirs);
    }
}

#[derive(Deserialize)]
struct Averages {
    micro: Prf,
    r#macro: Prf,
    weighted: Prf,
}

impl Averages {
    #[track_caller]
    fn check(&self, case: usize, ours: impl Fn(Average) -> ClassScores) {
        check_prf(case, ours(Average::Micro), &self.micro);
        check_prf(case, ours(Average::Macro), &self.r#macro);
        check_prf(case, ours(Average::Weighted), &self.weighted);
    }
}

#[derive(Deserialize)]
struct Classification {
    predictions: Vec<usize>,
    references: Vec<usize>,
    num_labels: usize,
    accuracy: Number,
    matthews: Number,
    kappa: Number,
    #[serde(flatten)]
    averages: Averages,
    /// Precision, recall, F1 and support.
    per_label: Vec<[Number; 4]>,
    matrix: Vec<Vec<u64>>,
}

#[test]
fn classification_equals_scikit_learn() {
    let golden = cases::<Classification>("classification", 30);
    for (case, it) in golden.into_iter().enumerate() {
        let ours = Confusion::new(&it.predictions, &it.references, it.num_labels).unwrap();
        check(case, ours.accuracy(), it.accuracy);
        check(
            case,
            accuracy(&it.predictions, &it.references).unwrap(),
            it.accuracy,
        );
        check(case, ours.matthews(), it.matthews);
        check(case, ours.quadratic_kappa(), it.kappa);
        it.averages.check(case, |average| ours.average(average));
        for (label, theirs) in it.per_label.iter().enumerate() {
            check_prf(case, ours.scores(label), theirs);
            check(case, ours.scores(label).support as f64, theirs[3]);
        }
        for (reference, row) in it.matrix.iter().enumerate() {
            for (prediction, count) in row.iter().enumerate() {
                assert_eq!(ours.count(reference, prediction), *count);
            }
        }
    }
}

#[derive(Deserialize)]
struct MultiLabelCase {
    predictions: Vec<Vec<usize>>,
    references: Vec<Vec<usize>>,
    num_labels: usize,
    subset_accuracy: Number,
    samples_f1: Number,
    #[serde(flatten)]
    averages: Averages,
    per_label: Vec<[Number; 4]>,
}

#[test]
fn sets_of_labels_equal_scikit_learn() {
    for (case, it) in cases::<MultiLabelCase>("multi_label", 15)
        .into_iter()
        .enumerate()
    {
        let ours = MultiLabel::new(&it.predictions, &it.references, it.num_labels).unwrap();
        check(case, ours.subset_accuracy(), it.subset_accuracy);
        check(case, ours.samples_f1(), it.samples_f1);
        it.averages.check(case, |average| ours.average(average));
        for (label, theirs) in it.per_label.iter().enumerate() {
            check_prf(case, ours.scores(label), theirs);
        }
    }
}

#[derive(Deserialize)]
struct Regression {
    predictions: Vec<f64>,
    references: Vec<f64>,
    pearson: Number,
    spearman: Number,
    mse: f64,
    mae: f64,
}

#[test]
fn correlations_equal_scipy_and_errors_scikit_learn() {
    for (case, it) in cases::<Regression>("regression", 25)
        .into_iter()
        .enumerate()
    {
        let (p, r) = (&it.predictions, &it.references);
        check(case, pearson(p, r).unwrap(), it.pearson);
        check(case, spearman(p, r).unwrap(), it.spearman);
        // Relative: one case is about numbers of 1e12.
        check(
            case,
            mean_squared_error(p, r).unwrap() / it.mse.max(1.0),
            Some(it.mse / it.mse.max(1.0)),
        );
        check(
            case,
            mean_absolute_error(p, r).unwrap() / it.mae.max(1.0),
            Some(it.mae / it.mae.max(1.0)),
        );
    }
}

#[derive(Deserialize)]
struct Auc {
    scores: Vec<f64>,
    references: Vec<bool>,
    auc: Number,
}

#[test]
fn the_area_under_the_curve_equals_scikit_learn() {
    for (case, it) in cases::<Auc>("roc_auc", 15).into_iter().enumerate() {
        check(case, roc_auc(&it.scores, &it.references).unwrap(), it.auc);
    }
}

#[derive(Deserialize)]
struct EntityCase {
    scheme: TagScheme,
    predictions: Vec<Vec<String>>,
    references: Vec<Vec<String>>,
    accuracy: Number,
    #[serde(flatten)]
    averages: Averages,
    per_kind: BTreeMap<String, [Number; 4]>,
}

#[test]
fn entities_equal_seqeval() {
    let mut kinds = 0;
    for (case, it) in cases::<EntityCase>("entity", 50).into_iter().enumerate() {
        let ours = EntityReport::new(&it.predictions, &it.references, it.scheme).unwrap();
        check(case, ours.accuracy(), it.accuracy);
        it.averages.check(case, |average| ours.average(average));
        let ours: BTreeMap<&str, ClassScores> = ours.per_kind().collect();
        for (kind, theirs) in &it.per_kind {
            check_prf(case, ours[kind.as_str()], theirs);
            check(case, ours[kind.as_str()].support as f64, theirs[3]);
            kinds += 1;
        }
    }
    assert!(kinds > 100);
}

#[derive(Deserialize)]
struct TextPair {
    prediction: String,
    reference: String,
    normalized: String,
    exact: bool,
    f1: f64,
}

#[test]
fn answers_are_normalised_and_compared_as_by_the_script() {
    for (case, it) in cases::<TextPair>("text_pairs", 120).into_iter().enumerate() {
        assert_eq!(normalize_answer(&it.prediction), it.normalized);
        assert_eq!(exact_match(&it.prediction, &it.reference), it.exact);
        check(case, token_f1(&it.prediction, &it.reference), Some(it.f1));
    }
}

#[derive(Deserialize)]
struct Question {
    prediction: Option<String>,
    references: Vec<String>,
    no_answer_prob: f64,
}

fn answered(questions: &[Question]) -> Vec<Answered<'_>> {
    let answered = questions.iter().map(|it| Answered {
        prediction: it.prediction.as_deref(),
        references: &it.references,
        no_answer_prob: it.no_answer_prob,
    });
    answered.collect()
}

#[derive(Deserialize)]
struct Squad1 {
    questions: Vec<Question>,
    exact_match: f64,
    f1: f64,
}

#[test]
fn squad_1_equals_the_script() {
    for (case, it) in cases::<Squad1>("squad1", 6).into_iter().enumerate() {
        let ours = squad_v1(&answered(&it.questions)).unwrap();
        check(case, ours.exact_match, Some(it.exact_match));
        check(case, ours.f1, Some(it.f1));
    }
}

#[derive(Deserialize)]
struct Squad2 {
    questions: Vec<Question>,
    threshold: f64,
    expected: BTreeMap<String, f64>,
}

#[test]
fn squad_2_with_its_best_thresholds_equals_the_script() {
    let mut parts = 0;
    for (case, it) in cases::<Squad2>("squad2", 10).into_iter().enumerate() {
        let ours = squad_v2(&answered(&it.questions), it.threshold).unwrap();
        let theirs = |name: &str| it.expected.get(name).copied();
        let mut check_part = |prefix: &str, part: Option<SquadPart>| {
            assert_eq!(part.is_some(), theirs(&format!("{prefix}total")).is_some());
            if let Some(part) = part {
                check(case, part.exact, theirs(&format!("{prefix}exact")));
                check(case, part.f1, theirs(&format!("{prefix}f1")));
                check(case, part.total as f64, theirs(&format!("{prefix}total")));
                parts += 1;
            }
        };
        check_part("", Some(ours.all));
        check_part("HasAns_", ours.has_answer);
        check_part("NoAns_", ours.no_answer);
        check(case, ours.best_exact.0, theirs("best_exact"));
        check(case, ours.best_exact.1, theirs("best_exact_thresh"));
        check(case, ours.best_f1.0, theirs("best_f1"));
        check(case, ours.best_f1.1, theirs("best_f1_thresh"));
    }
    assert!(parts > 20);
}

#[derive(Deserialize)]
struct MultiRc {
    candidates: Vec<(String, bool, bool)>,
    f1a: f64,
    exact_match: f64,
    f1m: f64,
}

#[test]
fn multirc_equals_its_formulas_in_scikit_learn() {
    for (case, it) in cases::<MultiRc>("multirc", 15).into_iter().enumerate() {
        let candidates = it
            .candidates
            .iter()
            .map(|(question, prediction, reference)| AnswerJudgement {
                question,
                prediction: *prediction,
                reference: *reference,
            });
        let ours = multirc(&candidates.collect::<Vec<_>>()).unwrap();
        check(case, ours.f1a, Some(it.f1a));
        check(case, ours.exact_match, Some(it.exact_match));
        check(case, ours.f1m, Some(it.f1m));
    }
}

proptest! {
    #[test]
    fn any_text_is_judged_without_a_panic(a in ".*", b in ".*") {
        let f1 = token_f1(&a, &b);
        prop_assert!((0.0..=1.0).contains(&f1));
        prop_assert!((f1 - token_f1(&b, &a)).abs() < 1e-12);
        let normal = normalize_answer(&a);
        prop_assert!(exact_match(&a, &normal) || normal != normalize_answer(&normal));
    }

    #[test]
    fn any_tags_are_judged_without_a_panic(
        tags in prop::collection::vec(("[OBIES.X]-?[a-c]?", "[OBIES]-[ab]"), 1..20)
    ) {
        let (a, b): (Vec<String>, Vec<String>) = tags.into_iter().unzip();
        for scheme in [TagScheme::Lenient, TagScheme::Iob2, TagScheme::Iobes] {
            if let Ok(report) = EntityReport::new(std::slice::from_ref(&a), std::slice::from_ref(&b), scheme) {
                let f1 = report.average(Average::Micro).f1;
                prop_assert!((0.0..=1.0).contains(&f1));
            }
        }
    }
}
