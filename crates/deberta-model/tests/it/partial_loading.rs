//! Loading some of a file, or some of a network.

use std::path::Path;

use burn::backend::NdArray;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, backend::Backend};
use deberta_model::DebertaConfig;
use deberta_model::checkpoint::{
    CheckpointError, FloatType, LoadOptions, Loaded, Weights, hub_tensors, load_masked_lm_with,
    load_model_with, load_task_model_with,
};
use deberta_model::heads::classification::DebertaForSequenceClassification;
use deberta_model::heads::replaced_token::DebertaForReplacedTokenDetection;
use deberta_model::heads::token_classification::DebertaForTokenClassification;
use deberta_model::heads::{HeadConfig, TaskModel};
use deberta_model::hf_config::RtdPart;
use safetensors::SafeTensors;

use crate::support::{fixture_dir, to_f64};

type B = NdArray<f32>;
type Classifier = DebertaForSequenceClassification<B>;

fn numbers(tensors: &[(String, burn::tensor::TensorData)], name: &str) -> Vec<f64> {
    let found = tensors.iter().find(|(it, _)| it == name);
    to_f64(found.unwrap_or_else(|| panic!("no {name}")).1.clone())
}

fn classifier(options: &LoadOptions) -> Result<Loaded<Classifier>, CheckpointError> {
    load_task_model_with(&fixture_dir("hf/v3_mlm_new"), options, &Default::default())
}

#[test]
fn a_head_that_is_missing_is_an_error_unless_allowed() {
    let Err(CheckpointError::Mismatch { missing, .. }) = classifier(&LoadOptions::new()) else {
        panic!("loaded without a head");
    };
    let head = [
        "classifier.bias",
        "classifier.weight",
        "pooler.dense.bias",
        "pooler.dense.weight",
    ];
    assert_eq!(missing, head);

    let options = LoadOptions::new()
        .allow_missing("classifier.")
        .allow_missing("pooler.");
    let loaded = classifier(&options).unwrap();
    assert_eq!(loaded.report.fresh, head);
    let other_head = loaded.report.left_aside.iter();
    assert!(other_head.clone().count() > 0);
    assert!(
        other_head
            .clone()
            .all(|it| it.starts_with("lm_predictions."))
    );

    // The encoder comes from the file, the head from the seed.
    let tensors = hub_tensors::<B, _>(&loaded.model, &loaded.config).unwrap();
    let weights = Weights::open(&fixture_dir("hf/v3_mlm_new")).unwrap();
    let table = "deberta.embeddings.word_embeddings.weight";
    let stored = weights.read(table, FloatType::F64).unwrap();
    assert_eq!(numbers(&tensors, table), to_f64(stored));
    let drawn = |options: &LoadOptions| {
        let loaded = classifier(options).unwrap();
        let tensors = hub_tensors::<B, _>(&loaded.model, &loaded.config).unwrap();
        numbers(&tensors, "classifier.weight")
    };
    assert_eq!(drawn(&options), drawn(&options));
    assert_ne!(drawn(&options), drawn(&options.clone().seed(1)));
}

#[test]
fn dropout_is_that_of_the_file_unless_another_is_asked_for() {
    let config = |options: LoadOptions| {
        let options = options
            .allow_missing("classifier.")
            .allow_missing("pooler.");
        classifier(&options).map(|it| it.config)
    };
    let of_file = config(LoadOptions::new()).unwrap();
    let changed = config(LoadOptions::new().dropout(Some(0.25), None)).unwrap();
    assert_ne!(of_file.hidden_dropout_prob, 0.25);
    assert_eq!(changed.hidden_dropout_prob, 0.25);
    assert_eq!(
        changed.attention_probs_dropout_prob,
        of_file.attention_probs_dropout_prob
    );
    assert!(config(LoadOptions::new().dropout(None, Some(1.0))).is_err());
}

#[test]
fn tokens_are_classified_with_the_dropout_of_the_head() {
    type Training = burn::backend::Autodiff<B>;
    let device = Default::default();
    let config = DebertaConfig::v3(50, 16, 1, 2).without_dropout();
    let mut head = HeadConfig::new(&config, vec!["O".into(), "B".into()]);
    let states = Tensor::<Training, 3>::ones([1, 8, 16], &device);
    let mut differs = |dropout: f64| {
        head.classifier_dropout = dropout;
        let model = DebertaForTokenClassification::<Training>::init(&config, &head, 1, &device);
        let model = model.unwrap();
        let logits = || model.classify(states.clone()).into_data();
        logits() != logits()
    };
    assert!(!differs(0.0));
    assert!(differs(0.5));
}

#[test]
fn a_head_for_other_labels_starts_fresh() {
    let dir = fixture_dir("hf/v3_seqcls");
    let load = |options: &LoadOptions| -> Result<Loaded<Classifier>, _> {
        load_task_model_with(&dir, options, &Default::default())
    };
    let config = load(&LoadOptions::new()).unwrap().config;
    let labels = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
    let options = LoadOptions::new().head(HeadConfig::new(&config, labels));
    let Err(CheckpointError::Mismatch { wrong_shape, .. }) = load(&options) else {
        panic!("loaded three labels as five");
    };
    assert_eq!(wrong_shape.len(), 2, "{wrong_shape:?}");

    let loaded = load(&options.start_fresh("classifier.")).unwrap();
    assert_eq!(
        loaded.report.fresh,
        ["classifier.bias", "classifier.weight"]
    );
    assert_eq!(loaded.report.left_aside, loaded.report.fresh);
    assert_eq!(loaded.head.unwrap().labels.len(), 5);
}

/// Writes a folder with these tensors and the configuration of a fixture.
fn folder(config: &Path, tensors: &[(String, Vec<usize>, Vec<u8>)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(config, dir.path().join("config.json")).unwrap();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let dtype = safetensors::Dtype::F32;
        let view = safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes);
        (name.as_str(), view.unwrap())
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    std::fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
    dir
}

/// Gives a tensor another name, or none.
type Rename<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Tensors of a fixture, renamed; `None` leaves one out.
fn renamed(
    fixture: &str,
    rename: impl Fn(&str) -> Option<String>,
) -> Vec<(String, Vec<usize>, Vec<u8>)> {
    let bytes = std::fs::read(fixture_dir(fixture).join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let renamed = tensors.iter().filter_map(|(name, view)| {
        Some((rename(name)?, view.shape().to_vec(), view.data().to_vec()))
    });
    renamed.collect()
}

/// Every number of a network.
struct Numbers(Vec<f64>);

impl<B: Backend> ModuleVisitor<B> for Numbers {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.extend(to_f64(param.val().into_data()));
    }
}

fn all_numbers<M: Module<B>>(model: &M) -> Vec<f64> {
    let mut numbers = Numbers(Vec::new());
    model.visit(&mut numbers);
    numbers.0
}

fn encoder(dir: &Path, options: &LoadOptions) -> Vec<f64> {
    let loaded = load_model_with::<B>(dir, options, &Default::default());
    all_numbers(&loaded.unwrap().model)
}

#[test]
fn every_spelling_gives_the_same_encoder() {
    let source = fixture_dir("hf/v3_mlm_new");
    let expected = encoder(&source, &LoadOptions::new());
    let bare = |name: &str| name.strip_prefix("deberta.").map(str::to_owned);
    let gliner = |name: &str| {
        let encoder = bare(name).map(|it| format!("token_rep_layer.bert_layer.model.{it}"));
        Some(encoder.unwrap_or_else(|| format!("span_rep_layer.{name}")))
    };
    let spellings: [Rename<'_>; 6] = [
        &|name| bare(name).map(|it| format!("bert.{it}")),
        &bare,
        &|name| Some(format!("module.{name}")),
        &|name| Some(format!("_orig_mod.module.{name}")),
        &|name| Some(name.replace("LayerNorm.weight", "LayerNorm.gamma")),
        &gliner,
    ];
    for (index, spelling) in spellings.iter().enumerate() {
        let dir = folder(
            &source.join("config.json"),
            &renamed("hf/v3_mlm_new", spelling),
        );
        assert!(
            encoder(dir.path(), &LoadOptions::new()) == expected,
            "{index}"
        );
    }
}

#[test]
fn generator_and_discriminator_are_told_apart() {
    let source = fixture_dir("ms/emd_v3");
    let mut tensors = renamed("ms/emd_v3", |name| {
        (!name.starts_with("lm_predictions.")).then(|| format!("discriminator.{name}"))
    });
    // Something else than the discriminator's, to tell them apart.
    let negated = |bytes: &[u8]| -> Vec<u8> {
        let numbers = bytes.chunks_exact(4);
        let numbers = numbers.map(|it| -f32::from_le_bytes(it.try_into().unwrap()));
        numbers.flat_map(f32::to_le_bytes).collect()
    };
    let generator = renamed("ms/emd_v3", |name| {
        (!name.starts_with("mask_predictions.")).then(|| format!("generator.{name}"))
    });
    tensors.extend(
        generator
            .into_iter()
            .map(|(name, shape, bytes)| (name, shape, negated(&bytes))),
    );
    let text = std::fs::read_to_string(source.join("config.json")).unwrap();
    let nested = format!(r#"{{"generator": {text}, "discriminator": {text}}}"#);
    let scratch = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(scratch.path(), nested).unwrap();
    let dir = folder(scratch.path(), &tensors);

    let device = Default::default();
    let options = LoadOptions::new();
    let alone = load_task_model_with::<B, DebertaForReplacedTokenDetection<B>>;
    let expected = alone(&source, &options, &device).unwrap();
    let found = alone(dir.path(), &options, &device).unwrap();
    assert!(all_numbers(&found.model) == all_numbers(&expected.model));

    let expected = load_masked_lm_with::<B>(&source, &options, &device).unwrap();
    let options = options.part(RtdPart::Generator);
    let found = load_masked_lm_with::<B>(dir.path(), &options, &device).unwrap();
    assert_eq!(found.config, expected.config);
    let negative: Vec<f64> = all_numbers(&expected.model).iter().map(|it| -it).collect();
    assert!(all_numbers(&found.model) == negative);
}

#[test]
fn leftovers_of_disentangled_embedding_sharing_are_ignored() {
    let source = fixture_dir("ms/emd_v3");
    let mut tensors = renamed("ms/emd_v3", |name| Some(name.into()));
    for table in ["word_embeddings", "position_embeddings"] {
        let name = format!("deberta.embeddings.{table}._weight");
        tensors.push((name, vec![1], vec![0; 4]));
    }
    let dir = folder(&source.join("config.json"), &tensors);
    let expected = encoder(&source, &LoadOptions::new());
    assert!(encoder(dir.path(), &LoadOptions::new()) == expected);
}

#[test]
fn unknown_tensors_are_an_error_unless_allowed() {
    let source = fixture_dir("hf/v3_base");
    let mut tensors = renamed("hf/v3_base", |name| Some(name.into()));
    tensors.push(("adapter.down.weight".into(), vec![1], vec![0; 4]));
    let dir = folder(&source.join("config.json"), &tensors);
    let load =
        |options: &LoadOptions| load_model_with::<B>(dir.path(), options, &Default::default());
    let Err(CheckpointError::Mismatch { unexpected, .. }) = load(&LoadOptions::new()) else {
        panic!("an unknown tensor was accepted");
    };
    assert_eq!(unexpected, ["adapter.down.weight"]);
    let loaded = load(&LoadOptions::new().allow_unexpected("adapter.")).unwrap();
    assert_eq!(loaded.report.left_aside, ["adapter.down.weight"]);
}

#[test]
fn two_tensors_for_one_parameter_are_named() {
    let source = fixture_dir("hf/v3_mlm_new");
    let mut tensors = renamed("hf/v3_mlm_new", |name| Some(name.into()));
    let copy = renamed("hf/v3_mlm_new", |name| {
        (name == "lm_predictions.lm_head.bias").then(|| "cls.predictions.bias".into())
    });
    tensors.extend(copy);
    let dir = folder(&source.join("config.json"), &tensors);
    let error = load_masked_lm_with::<B>(dir.path(), &LoadOptions::new(), &Default::default());
    let error = error.err().unwrap().to_string();
    for name in ["`cls.predictions.bias`", "`lm_predictions.lm_head.bias`"] {
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn an_output_matrix_of_its_own_is_refused() {
    let source = fixture_dir("hf/v3_mlm_legacy");
    let table = "deberta.embeddings.word_embeddings.weight";
    let with_decoder = |change: u8| {
        let mut tensors = renamed("hf/v3_mlm_legacy", |name| Some(name.into()));
        let (_, shape, mut bytes) = tensors.iter().find(|it| it.0 == table).unwrap().clone();
        bytes[0] ^= change;
        tensors.push(("cls.predictions.decoder.weight".into(), shape, bytes));
        let dir = folder(&source.join("config.json"), &tensors);
        load_masked_lm_with::<B>(dir.path(), &LoadOptions::new(), &Default::default())
    };
    with_decoder(0).unwrap();
    let error = with_decoder(1).err().unwrap().to_string();
    assert!(
        error.contains("decoder.weight") && error.contains(table),
        "{error}"
    );
}
