//! Damaged and hostile files, some by hand, most found by fuzzing: an error that names the file.

use std::path::Path;

use burn::backend::NdArray;
use deberta_model::checkpoint::{Compatibility, fuzzing, load_model};

use crate::support::fixture_dir;

/// Calls `check` with every file of a folder of bad files.
#[track_caller]
fn each(kind: &str, check: impl Fn(&str, Vec<u8>)) {
    let entries = std::fs::read_dir(fixture_dir("bad").join(kind)).unwrap();
    let mut count = 0;
    for entry in entries {
        let path = entry.unwrap().path();
        check(&path.display().to_string(), std::fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count > 0, "no bad files of {kind}");
}

/// Loads a folder that is fine but for one file, and checks that the error names it.
#[track_caller]
fn check_folder(case: &str, weights: &str, bytes: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let source = fixture_dir("hf/v3_base");
    std::fs::copy(source.join("config.json"), dir.path().join("config.json")).unwrap();
    let path = dir.path().join(weights);
    std::fs::write(&path, bytes).unwrap();
    check_error(case, dir.path(), weights);
}

#[track_caller]
fn check_error(case: &str, dir: &Path, file: &str) {
    let result = load_model::<NdArray<f32>>(dir, Compatibility::Microsoft, &Default::default());
    let error = result.err().unwrap_or_else(|| panic!("{case} was loaded"));
    let path = dir.join(file).display().to_string();
    assert!(error.to_string().contains(&path), "{case}: {error}");
}

#[test]
fn bad_pytorch_files_are_refused_by_name() {
    each("pytorch", |case, bytes| {
        let _ = fuzzing::pytorch(&bytes);
        check_folder(case, "pytorch_model.bin", &bytes);
    });
}

#[test]
fn bad_pickles_are_refused_by_name() {
    each("pickle", |case, bytes| {
        let file = fuzzing::legacy_file(&bytes);
        let _ = fuzzing::pytorch(&file);
        check_folder(case, "pytorch_model.bin", &file);
    });
}

#[test]
fn bad_safetensors_are_refused_by_name() {
    each("safetensors", |case, bytes| {
        let _ = fuzzing::safetensors(&bytes);
        check_folder(case, "model.safetensors", &bytes);
    });
}

#[test]
fn bad_indexes_are_refused_by_name() {
    each("index", |case, bytes| {
        let _ = fuzzing::index(&bytes);
        check_folder(case, "model.safetensors.index.json", &bytes);
    });
}

#[test]
fn bad_configurations_are_refused_by_name() {
    each("config", |case, bytes| {
        let _ = fuzzing::config(&bytes);
        let dir = tempfile::tempdir().unwrap();
        let weights = fixture_dir("hf/v3_base/model.safetensors");
        std::fs::copy(weights, dir.path().join("model.safetensors")).unwrap();
        std::fs::write(dir.path().join("config.json"), &bytes).unwrap();
        check_error(case, dir.path(), "config.json");
    });
}

#[test]
fn a_folder_in_the_place_of_a_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("config.json")).unwrap();
    check_error("a folder", dir.path(), "config.json");
    let config = fixture_dir("hf/v3_base/config.json");
    std::fs::remove_dir(dir.path().join("config.json")).unwrap();
    std::fs::copy(config, dir.path().join("config.json")).unwrap();
    std::fs::create_dir(dir.path().join("model.safetensors")).unwrap();
    check_error("a folder", dir.path(), "model.safetensors");
}

#[test]
fn an_empty_file_is_refused() {
    check_folder("empty", "model.safetensors", b"");
    check_folder("empty", "pytorch_model.bin", b"");
}
