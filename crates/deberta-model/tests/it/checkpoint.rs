//! Loading and saving in the Hub layout.

use std::collections::BTreeSet;
use std::path::Path;

use burn::backend::Flex;
use deberta_model::checkpoint::{
    CheckpointError, Compatibility, load_masked_lm, load_model, save_masked_lm,
};
use safetensors::SafeTensors;

use crate::support::fixture_dir;

type B = Flex;

fn copy_fixture(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture_dir(name).join(file), dir.path().join(file)).unwrap();
    }
    dir
}

fn load(dir: &Path) -> Result<(), CheckpointError> {
    load_masked_lm::<B>(dir, Compatibility::Microsoft, &Default::default()).map(|_| ())
}

/// Name, shape and bytes of every tensor.
fn contents(path: &Path) -> BTreeSet<(String, Vec<usize>, Vec<u8>)> {
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    tensors
        .iter()
        .map(|(name, view)| (name.to_owned(), view.shape().to_vec(), view.data().to_vec()))
        .collect()
}

#[test]
fn saved_checkpoints_equal_the_original_tensor_by_tensor() {
    for name in ["hf/v1_mlm_new", "hf/v3_mlm_new", "ms/emd_v1"] {
        let source = fixture_dir(name);
        let device = Default::default();
        let (model, config) =
            load_masked_lm::<B>(&source, Compatibility::Microsoft, &device).unwrap();
        let saved = tempfile::tempdir().unwrap();
        save_masked_lm(&model, &config, saved.path()).unwrap();
        assert!(
            contents(&saved.path().join("model.safetensors"))
                == contents(&source.join("model.safetensors")),
            "{name} changed"
        );
        let reread = load_masked_lm::<B>(saved.path(), Compatibility::Microsoft, &device);
        assert_eq!(reread.unwrap().1, config);
    }
}

#[test]
fn a_bare_encoder_leaves_the_heads_aside() {
    let dir = fixture_dir("ms/emd_v3");
    load_model::<B>(&dir, Compatibility::Microsoft, &Default::default()).unwrap();
}

#[test]
fn every_mismatch_is_listed_at_once() {
    let dir = copy_fixture("hf/v3_mlm_new");
    let path = dir.path().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace("\"vocab_size\": 128", "\"vocab_size\": 127")
            .replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"),
    )
    .unwrap();
    let Err(CheckpointError::Mismatch {
        missing,
        unexpected,
        wrong_shape,
        ..
    }) = load(dir.path())
    else {
        panic!("a network of another size was loaded");
    };
    assert_eq!(missing.len(), 16, "{missing:?}");
    assert!(missing.iter().all(|name| name.contains("layer.2.")));
    assert_eq!(unexpected, Vec::<String>::new());
    assert_eq!(wrong_shape.len(), 2, "{wrong_shape:?}");
}

#[test]
fn damaged_files_are_refused_by_name() {
    let dir = copy_fixture("hf/v3_mlm_new");
    let path = dir.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = load(dir.path()).unwrap_err();
    assert!(
        matches!(error, CheckpointError::Safetensors { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("model.safetensors"), "{error}");

    std::fs::remove_file(&path).unwrap();
    assert!(matches!(
        load(dir.path()).unwrap_err(),
        CheckpointError::Io { .. }
    ));

    std::fs::write(dir.path().join("config.json"), "{\"vocab_size\": 3}").unwrap();
    let error = load(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("config.json") && error.contains("hidden_size"),
        "{error}"
    );
}

/// Loads `dir` and returns what saving gives.
fn resaved(dir: &Path) -> BTreeSet<(String, Vec<usize>, Vec<u8>)> {
    let device = Default::default();
    let (model, config) = load_masked_lm::<B>(dir, Compatibility::Microsoft, &device).unwrap();
    let saved = tempfile::tempdir().unwrap();
    save_masked_lm(&model, &config, saved.path()).unwrap();
    contents(&saved.path().join("model.safetensors"))
}

/// A folder with the configuration of `v1_mlm_legacy` and nothing else.
fn without_weights() -> tempfile::TempDir {
    let dir = copy_fixture("hf/v1_mlm_legacy");
    std::fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    dir
}

#[test]
fn pytorch_files_hold_the_same_weights() {
    let source = fixture_dir("hf/v1_mlm_legacy");
    let expected = resaved(&source);
    for name in ["pytorch_model.bin", "pytorch.model.bin"] {
        let dir = without_weights();
        std::fs::copy(source.join("pytorch_model.bin"), dir.path().join(name)).unwrap();
        assert!(resaved(dir.path()) == expected, "{name} differs");
    }
}

/// The format before 2020, in half precision.
#[test]
fn old_half_precision_pytorch_files_are_read() {
    let source = fixture_dir("hf/v1_mlm_legacy");
    let dir = without_weights();
    let target = dir.path().join("pytorch_model.bin");
    std::fs::copy(source.join("pytorch_model.legacy_fp16.bin"), target).unwrap();
    let (expected, found) = (resaved(&source), resaved(dir.path()));
    assert_eq!(expected.len(), found.len());
    for ((name, shape, exact), (other_name, other_shape, rounded)) in expected.iter().zip(&found) {
        assert_eq!((name, shape), (other_name, other_shape));
        let value = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
        for (exact, rounded) in exact.chunks_exact(4).zip(rounded.chunks_exact(4)) {
            let (exact, rounded) = (value(exact), value(rounded));
            // Half a unit in the last of f16's 11 bits; smaller numbers are spaced evenly.
            let allowed = (exact.abs() / 2048.0).max(3e-8);
            assert!(
                (exact - rounded).abs() <= allowed,
                "{name}: {exact} {rounded}"
            );
        }
    }
}

#[test]
fn weights_in_parts_are_joined() {
    let source = fixture_dir("hf/v3_mlm_new");
    let dir = copy_fixture("hf/v3_mlm_new");
    let path = |name: &str| dir.path().join(name);
    std::fs::remove_file(path("model.safetensors")).unwrap();
    let bytes = std::fs::read(source.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<_> = tensors.iter().collect();
    all.sort_by_key(|(name, _)| name.to_owned());
    let (first, second) = all.split_at(all.len() / 2);
    let mut weight_map = serde_json::Map::new();
    for (part, tensors) in [("a.safetensors", first), ("b.safetensors", second)] {
        for (name, _) in tensors {
            weight_map.insert((*name).to_owned(), part.into());
        }
        let bytes = safetensors::serialize(tensors.to_vec(), None).unwrap();
        std::fs::write(path(part), bytes).unwrap();
    }
    let index = path("model.safetensors.index.json");
    let write = |map: &serde_json::Map<_, _>| {
        let json = serde_json::json!({"metadata": {}, "weight_map": map});
        std::fs::write(&index, json.to_string()).unwrap();
    };
    write(&weight_map);
    assert!(resaved(dir.path()) == resaved(&source));

    std::fs::remove_file(path("b.safetensors")).unwrap();
    let error = load(dir.path()).unwrap_err();
    assert!(error.to_string().contains("b.safetensors"), "{error}");
    weight_map.insert("x".into(), "../outside.safetensors".into());
    write(&weight_map);
    let error = load(dir.path()).unwrap_err();
    assert!(
        matches!(error, CheckpointError::Index { .. }) && error.to_string().contains("../outside"),
        "{error}"
    );
}

/// Every truncation, and a flipped byte every so often: an error or other numbers, never a panic.
#[test]
fn damaged_pytorch_files_do_not_panic() {
    for name in ["pytorch_model.bin", "pytorch_model.legacy_fp16.bin"] {
        let bytes = std::fs::read(fixture_dir("hf/v1_mlm_legacy").join(name)).unwrap();
        let dir = without_weights();
        let path = dir.path().join("pytorch_model.bin");
        for length in (0..bytes.len()).step_by(bytes.len() / 40) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let error = load(dir.path()).unwrap_err().to_string();
            assert!(error.contains("pytorch_model.bin"), "{length}: {error}");
        }
        for place in (0..bytes.len().min(6_000)).step_by(61) {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x55;
            std::fs::write(&path, damaged).unwrap();
            let _ = load(dir.path());
        }
    }
}
