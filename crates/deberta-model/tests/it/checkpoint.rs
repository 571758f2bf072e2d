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
    assert!(missing.iter().all(|name| name.contains("layers.2.")));
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
