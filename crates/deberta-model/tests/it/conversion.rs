//! From file to file, and what is said about files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::backend::NdArray;
use deberta_model::HfConfig;
use deberta_model::checkpoint::{
    CheckpointError, Compatibility, ConvertOptions, FloatType, Head, SaveOptions, Weights,
    WeightsFormat, convert, load_masked_lm, save_masked_lm_with,
};

use crate::support::{fixture_dir, to_f64};

type B = NdArray<f32>;

/// Numbers of every tensor under its name on the Hub.
fn contents(dir: &Path) -> BTreeMap<String, Vec<f64>> {
    let weights = Weights::open(dir).unwrap();
    let named = weights.tensors().filter_map(|tensor| {
        let data = weights.read(&tensor.name, FloatType::F64).unwrap();
        Some((tensor.hub_name?, to_f64(data)))
    });
    named.collect()
}

fn names(dir: &Path) -> BTreeSet<String> {
    let weights = Weights::open(dir).unwrap();
    weights.tensors().map(|it| it.name).collect()
}

fn files(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn conversion_keeps_every_number_in_every_format() {
    for name in ["hf/v1_mlm_legacy", "hf/v2_base_noshare", "ms/emd_v3"] {
        let source = fixture_dir(name);
        let expected = contents(&source);
        for format in [WeightsFormat::Safetensors, WeightsFormat::PyTorch] {
            for max_part_bytes in [None, Some(20_000)] {
                let target = tempfile::tempdir().unwrap();
                let mut options = ConvertOptions::new().format(format);
                options.max_part_bytes = max_part_bytes;
                let report = convert(&source, target.path(), &options).unwrap();
                assert!(contents(target.path()) == expected, "{name} {options:?}");
                assert_eq!(report.tensors, expected.len());
                assert_eq!(report.files.len() > 3, max_part_bytes.is_some());
                let written: BTreeSet<String> = report.files.into_iter().collect();
                assert_eq!(written, files(target.path()));
                // Names are those of the Hub, whatever they were before.
                assert!(names(target.path()).iter().eq(expected.keys()));
            }
        }
    }
}

#[test]
fn converted_masked_language_models_say_which_head_they_have() {
    let source = fixture_dir("hf/v3_mlm_legacy");
    let target = tempfile::tempdir().unwrap();
    convert(&source, target.path(), &ConvertOptions::new()).unwrap();
    let config = HfConfig::open(&target.path().join("config.json")).unwrap();
    assert_eq!(config.other["legacy"], false);
    let load = |dir: &Path| load_masked_lm::<B>(dir, Compatibility::Microsoft, &Default::default());
    assert_eq!(load(target.path()).unwrap().1, load(&source).unwrap().1);
}

#[test]
fn narrower_types_round_and_refuse_what_they_cannot_hold() {
    let source = fixture_dir("hf/v3_base");
    let target = tempfile::tempdir().unwrap();
    let options = ConvertOptions::new().dtype(FloatType::Bf16);
    convert(&source, target.path(), &options).unwrap();
    for (name, numbers) in contents(target.path()) {
        for (found, exact) in numbers.iter().zip(&contents(&source)[&name]) {
            // Half a unit in the last of bf16's 8 bits.
            assert!(
                (found - exact).abs() <= exact.abs() / 256.0,
                "{name}: {found} {exact}"
            );
        }
    }
    let config = HfConfig::open(&target.path().join("config.json")).unwrap();
    assert_eq!(config.other["dtype"], "bfloat16");

    // 1e5 is finite in f32 and bf16, infinite in f16.
    let large = tempfile::tempdir().unwrap();
    std::fs::copy(source.join("config.json"), large.path().join("config.json")).unwrap();
    let bytes = 1e5f32.to_le_bytes();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &bytes);
    let file = safetensors::serialize([("encoder.LayerNorm.bias", view.unwrap())], None);
    std::fs::write(large.path().join("model.safetensors"), file.unwrap()).unwrap();
    let target = tempfile::tempdir().unwrap();
    let convert_to = |dtype| {
        convert(
            large.path(),
            target.path(),
            &ConvertOptions::new().dtype(dtype),
        )
    };
    let error = convert_to(FloatType::F16).err().unwrap().to_string();
    assert!(
        error.contains("encoder.LayerNorm.bias") && error.contains("f16"),
        "{error}"
    );
    assert_eq!(files(target.path()), BTreeSet::new());
    convert_to(FloatType::Bf16).unwrap();
}

#[test]
fn the_tokenizer_comes_along_and_the_source_stays() {
    let source = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(
            fixture_dir("hf/v3_base").join(file),
            source.path().join(file),
        )
        .unwrap();
    }
    std::fs::write(source.path().join("spm.model"), "pieces").unwrap();
    std::fs::write(source.path().join("task.json"), "{}").unwrap();
    let target = source.path().join("converted");
    convert(source.path(), &target, &ConvertOptions::new()).unwrap();
    assert_eq!(std::fs::read(target.join("spm.model")).unwrap(), b"pieces");
    assert_eq!(std::fs::read(target.join("task.json")).unwrap(), b"{}");
    let before = contents(source.path());
    let same = convert(source.path(), source.path(), &ConvertOptions::new());
    assert!(matches!(same, Err(CheckpointError::Io { .. })));
    assert!(contents(source.path()) == before);
}

#[test]
fn saving_again_leaves_no_file_of_another_layout() {
    let source = fixture_dir("hf/v1_mlm_new");
    let (model, config) =
        load_masked_lm::<B>(&source, Compatibility::Microsoft, &Default::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let save = |options: &SaveOptions| {
        save_masked_lm_with(&model, &config, dir.path(), options).unwrap();
        assert!(contents(dir.path()) == contents(&source));
        files(dir.path())
    };
    let single = BTreeSet::from(["config.json", "model.safetensors"].map(str::to_owned));
    assert_eq!(save(&SaveOptions::new()), single);
    let parts = save(&SaveOptions::new().max_part_bytes(30_000));
    assert!(
        parts.len() > 3 && !parts.contains("model.safetensors"),
        "{parts:?}"
    );
    assert!(parts.contains("model.safetensors.index.json"));
    assert_eq!(save(&SaveOptions::new()), single);
    // Readers prefer safetensors, which would be the old ones.
    let pytorch = BTreeSet::from(["config.json", "pytorch_model.bin"].map(str::to_owned));
    let as_pytorch = SaveOptions::new().format(WeightsFormat::PyTorch);
    assert_eq!(save(&as_pytorch), pytorch);
    let parts = save(&as_pytorch.max_part_bytes(30_000));
    assert!(parts.contains("pytorch_model.bin.index.json"), "{parts:?}");
    assert_eq!(save(&SaveOptions::new()), single);
}

#[test]
fn parts_stay_below_their_limit_and_the_index_names_all() {
    let target = tempfile::tempdir().unwrap();
    let limit = 20_000;
    let options = ConvertOptions::new().max_part_bytes(limit);
    convert(&fixture_dir("hf/v3_base"), target.path(), &options).unwrap();
    let index = std::fs::read_to_string(target.path().join("model.safetensors.index.json"));
    let index: serde_json::Value = serde_json::from_str(&index.unwrap()).unwrap();
    let map = index["weight_map"].as_object().unwrap();
    let weights = Weights::open(target.path()).unwrap();
    let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
    for tensor in weights.tensors() {
        let file = tensor
            .file
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(map[&tensor.name], file.as_str());
        *sizes.entry(file).or_default() += 4 * tensor.shape.iter().product::<usize>() as u64;
    }
    assert_eq!(map.len(), weights.tensors().count());
    assert!(
        sizes.len() > 2 && sizes.values().all(|size| *size <= limit),
        "{sizes:?}"
    );
    assert_eq!(index["metadata"]["total_size"], sizes.values().sum::<u64>());
}

#[test]
fn heads_are_recognised_and_fit() {
    use Head::*;
    let cases: [(&str, &[Head]); 9] = [
        ("hf/v3_base", &[]),
        ("hf/v1_mlm_legacy", &[MaskedLm]),
        ("hf/v3_mlm_new", &[MaskedLm]),
        ("ms/emd_v3", &[MaskedLm, EnhancedMaskDecoder, ReplacedToken]),
        ("hf/v3_seqcls", &[SequenceClassification]),
        (
            "hf/v3_seqcls_reg",
            &[SequenceClassification, MultipleChoice],
        ),
        ("hf/v3_mc", &[SequenceClassification, MultipleChoice]),
        ("hf/v1_tokcls", &[TokenClassification]),
        ("hf/v1_qa", &[QuestionAnswering]),
    ];
    let device = Default::default();
    for (name, heads) in cases {
        let dir = fixture_dir(name);
        let weights = Weights::open(&dir).unwrap();
        assert_eq!(weights.heads(), heads.iter().copied().collect(), "{name}");
        let config = HfConfig::open(&dir.join("config.json")).unwrap();
        let fit = |head| weights.fit::<B>(&config, head, &device).unwrap();
        assert!(fit(None).is_complete(), "{name}");
        // Multiple choice is told from two labels by the configuration alone.
        let heads = heads
            .iter()
            .filter(|it| name != "hf/v3_mc" || **it == MultipleChoice);
        for head in heads.clone() {
            assert!(
                fit(Some(*head)).is_complete(),
                "{name} {head:?} {:?}",
                fit(Some(*head))
            );
        }
        let has_decoder = heads.clone().any(|it| *it == EnhancedMaskDecoder);
        assert!(!fit(Some(EntityRecognition)).missing.is_empty());
        assert_eq!(
            fit(Some(EnhancedMaskDecoder)).is_complete(),
            has_decoder,
            "{name}"
        );
    }
}

#[test]
fn parameters_are_counted_without_copies() {
    let weights = Weights::open(&fixture_dir("hf/v3_base")).unwrap();
    let config = HfConfig::open(&fixture_dir("hf/v3_base/config.json")).unwrap();
    let expected = config.to_config().unwrap().num_parameters() as u64;
    assert_eq!(weights.parameters(), expected);
    assert_eq!(weights.dtypes().len(), 1);
}
