//! Runs of replaced-token detection.

use std::fs;
use std::path::Path;

use deberta::backend::DefaultBackend;
use deberta::model::checkpoint::{FloatType, Weights};
use deberta::pipeline::{Embedder, FillMask, ReplacedTokens};
use deberta::pretrain::{PretrainJob, PretrainOutcome};
use deberta::train::run::PretrainObjective;

use crate::{job, run};

const WORDS: &str = "deberta.embeddings.word_embeddings.weight";
const POSITIONS: &str = "deberta.embeddings.position_embeddings.weight";

fn rtd_job() -> PretrainJob {
    job().with_objective(PretrainObjective::Rtd)
}

fn settings(job: PretrainJob, settings: &[&str]) -> PretrainJob {
    settings
        .iter()
        .fold(job, |job, setting| job.with_setting(setting).unwrap())
}

fn read(dir: &Path, name: &str) -> Vec<f32> {
    let weights = Weights::open(dir).unwrap();
    weights
        .read(name, FloatType::F32)
        .unwrap()
        .iter::<f32>()
        .collect()
}

/// The folders of discriminator and generator.
fn dirs(outcome: PretrainOutcome) -> [std::path::PathBuf; 2] {
    [outcome.model_dir.unwrap(), outcome.generator_dir.unwrap()]
}

#[test]
fn raw_text_becomes_a_discriminator_and_a_generator() {
    let dir = tempfile::tempdir().unwrap();
    let job = rtd_job();
    let masking = &job.train.masking;
    assert_eq!((masking.keep_prob, masking.random_prob), (0.0, 0.0));
    assert_eq!((masking.max_ngram, masking.whole_word), (1, false));
    let (outcome, watcher) = run(&job, dir.path(), false).unwrap();
    assert_eq!(watcher.notes, Vec::<String>::new());
    let detection = outcome.report.evaluation.unwrap().detection;
    assert!(detection.replaced > 0 && detection.loss_nats().is_finite());
    let report = fs::read_to_string(&outcome.files.as_ref().unwrap().text).unwrap();
    assert!(report.contains("| always `original` |"), "{report}");
    let [model, generator] = dirs(outcome);

    let device = Default::default();
    let detector = ReplacedTokens::<DefaultBackend>::open(&model, &device).unwrap();
    let words = &detector.predict(&["the dog went to the house ."]).unwrap()[0];
    assert!(words.iter().all(|it| it.score > 0.0 && it.score < 1.0));
    Embedder::<DefaultBackend>::open(&model, &device).unwrap();
    let fill = FillMask::<DefaultBackend>::open(&generator, &device).unwrap();
    assert_eq!(
        fill.predict(&["the [MASK] ."], 2).unwrap()[0][0]
            .candidates
            .len(),
        2
    );

    // Each has a table of its own, and the positions are those of the mask decoder.
    assert_ne!(read(&model, WORDS), read(&generator, WORDS));
    assert_eq!(read(&model, POSITIONS), read(&generator, POSITIONS));
    let layers = |dir: &Path| {
        let config = fs::read_to_string(dir.join("config.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&config).unwrap()["num_hidden_layers"].clone()
    };
    assert_eq!((layers(&model), layers(&generator)), (2.into(), 1.into()));
}

#[test]
fn both_networks_go_on_learning_from_where_they_were() {
    let dir = tempfile::tempdir().unwrap();
    for sharing in ["gdes", "none"] {
        let sharing = format!("train.rtd.sharing={sharing}");
        let name = |name: &str| dir.path().join(format!("{name}-{sharing}"));
        let begun = settings(rtd_job(), &[&sharing]);
        let before = dirs(run(&begun, &name("general"), false).unwrap().0);
        let [model, generator] = before.each_ref().map(|it| it.to_str().unwrap());

        // At a rate of next to nothing both are what they were, up to the rounding of E_Δ.
        let still = rtd_job()
            .starting_from(model, &mut ())
            .and_then(|job| job.with_generator(generator, &mut ()))
            .unwrap();
        let still = settings(
            still,
            &[
                &sharing,
                "train.schedule.peak_lr=1e-30",
                "train.run.steps=1",
            ],
        );
        let (outcome, watcher) = run(&still, &name("still"), false).unwrap();
        let expected = format!("the generator starts from {generator}");
        assert_eq!(watcher.notes[0], expected);
        let after = dirs(outcome);
        let [old, new] = [&before, &after].map(|[model, _]| read(model, WORDS));
        assert!(old.iter().zip(&new).all(|(a, b)| (a - b).abs() < 1e-6));
        let file = |dir: &Path| fs::read(dir.join("model.safetensors")).unwrap();
        assert!(file(&before[1]) == file(&after[1]), "the generator");
        let head = "mask_predictions.dense.weight";
        assert_eq!(read(&before[0], head), read(&after[0], head));
    }
}

#[test]
fn a_generator_that_is_not_given_gets_the_embeddings_of_the_discriminator() {
    let dir = tempfile::tempdir().unwrap();
    let (outcome, _) = run(&job(), &dir.path().join("mlm"), false).unwrap();
    let model = outcome.model_dir.unwrap();
    let still = rtd_job()
        .starting_from(model.to_str().unwrap(), &mut ())
        .unwrap();
    let still = settings(
        still,
        &["train.schedule.peak_lr=1e-30", "train.run.steps=1"],
    );
    let (outcome, watcher) = run(&still, &dir.path().join("rtd"), false).unwrap();
    let [head, aside, fresh] = &watcher.notes[..] else {
        panic!("{:?}", watcher.notes);
    };
    assert!(head.contains("has no replaced-token head"), "{head}");
    assert!(aside.contains("lm_predictions.lm_head.bias"), "{aside}");
    assert!(
        fresh.contains("random weights and the embeddings of"),
        "{fresh}"
    );
    let [discriminator, generator] = dirs(outcome);
    for dir in [&discriminator, &generator] {
        assert_eq!(read(dir, WORDS), read(&model, WORDS));
        assert_eq!(read(dir, POSITIONS), read(&model, POSITIONS));
    }
}

#[test]
fn a_generator_needs_a_discriminator_to_go_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = rtd_job();
    job.init_generator = Some("some/generator".into());
    let error = run(&job, dir.path(), false).unwrap_err().to_string();
    let expected = "`init_generator` is some/generator, expected nothing without `init`";
    assert!(error.starts_with(expected), "{error}");
}
