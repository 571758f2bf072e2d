//! Files that `torch.save` wrote, against the numbers that PyTorch says are in them.

use std::path::Path;

use burn::tensor::DType;
use deberta_model::checkpoint::{ElementType, FloatType, Weights};
use safetensors::SafeTensors;

use crate::support::fixture_dir;

/// Name, shape and numbers of every tensor.
type Contents = Vec<(String, Vec<usize>, Vec<f64>)>;

fn expected() -> Contents {
    let bytes = std::fs::read(fixture_dir("pytorch/expected.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut contents: Contents = tensors
        .iter()
        .map(|(name, view)| {
            let numbers = view.data().chunks_exact(8);
            let numbers = numbers.map(|it| f64::from_le_bytes(it.try_into().unwrap()));
            (name.to_owned(), view.shape().to_vec(), numbers.collect())
        })
        .collect();
    contents.sort_by(|a, b| a.0.cmp(&b.0));
    contents
}

/// Every float tensor of a folder.
fn contents(weights: &Weights) -> Contents {
    let floats = weights
        .tensors()
        .filter(|it| matches!(it.dtype, ElementType::Float(_)));
    floats
        .map(|tensor| {
            let data = weights.read(&tensor.name, FloatType::F64).unwrap();
            assert_eq!(
                (&data.shape.to_vec(), data.dtype),
                (&tensor.shape, DType::F64)
            );
            (tensor.name, tensor.shape, data.to_vec().unwrap())
        })
        .collect()
}

/// Opens one file alone in a folder.
fn open(file: &Path) -> Weights {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(file, dir.path().join("pytorch_model.bin")).unwrap();
    Weights::open(dir.path()).unwrap()
}

fn fixture(name: &str) -> Weights {
    open(&fixture_dir("pytorch").join(name))
}

#[test]
fn both_formats_are_read_in_every_type() {
    for format in ["zip", "legacy"] {
        for dtype in FloatType::ALL {
            let weights = fixture(&format!("{format}_{dtype}.bin"));
            assert_eq!(contents(&weights), expected(), "{format} {dtype}");
            let types: Vec<_> = weights.tensors().map(|it| it.dtype.to_string()).collect();
            let floats = types.iter().filter(|it| **it == dtype.to_string()).count();
            assert_eq!(
                (floats, types.len()),
                (expected().len(), expected().len() + 1)
            );
            assert!(types.contains(&"i64".to_owned()));
        }
    }
}

#[test]
fn pickles_of_newer_protocols_are_read() {
    for protocol in 3..=5 {
        let weights = fixture(&format!("zip_protocol{protocol}.bin"));
        assert_eq!(contents(&weights), expected(), "{protocol}");
    }
}

#[test]
fn strided_and_shared_storages_give_the_same_numbers() {
    for format in ["zip", "legacy"] {
        let weights = fixture(&format!("{format}_strided.bin"));
        assert_eq!(contents(&weights), expected(), "{format}");
    }
}

#[test]
fn weights_are_found_beside_the_state_of_an_optimiser_and_nothing_is_executed() {
    let weights = fixture("zip_training.bin");
    assert_eq!(contents(&weights), expected());
    // What unpickling the file would leave behind.
    assert!(!Path::new("/tmp/executed-by-a-pickle").exists());
}

#[test]
fn parameters_of_a_wrapped_module_are_read() {
    let weights = fixture("zip_parameters.bin");
    let mut found = contents(&weights);
    for (name, ..) in &mut found {
        *name = name.strip_prefix("module.").unwrap().to_owned();
    }
    assert_eq!(found, expected());
    let hub_names = weights.tensors().map(|it| it.hub_name.unwrap());
    let expected = expected();
    assert!(hub_names.eq(expected.iter().map(|it| it.0.clone())));
}

#[test]
fn parts_are_joined() {
    let weights = Weights::open(&fixture_dir("pytorch/sharded")).unwrap();
    assert_eq!(contents(&weights), expected());
    assert!(weights.path().ends_with("pytorch_model.bin.index.json"));
    let files: std::collections::BTreeSet<_> = weights.tensors().map(|it| it.file).collect();
    assert_eq!(files.len(), 2);
}

#[test]
fn a_file_without_weights_says_so() {
    let error = |pickle: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pytorch_model.bin");
        let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file("archive/data.pkl", options).unwrap();
        std::io::Write::write_all(&mut zip, pickle).unwrap();
        zip.finish().unwrap();
        Weights::open(dir.path()).err().unwrap().to_string()
    };
    // A whole module, as `torch.save(model)` writes it.
    let text = error(b"\x80\x02ctransformers\nDebertaModel\n)\x81}b.");
    assert!(text.contains("state_dict()"), "{text}");
    let text = error(b"\x80\x02}(X\x05\x00\x00\x00epochK\x03X\x02\x00\x00\x00lrK\x01u.");
    assert!(text.contains("`epoch`, `lr`"), "{text}");
}
