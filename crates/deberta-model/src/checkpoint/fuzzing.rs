//! Entry points for fuzzing: files given as bytes. Not part of the interface.

use std::path::Path;
use std::sync::Arc;

use super::error::CheckpointError;
use super::files::{Blob, read_safetensors};
use super::floats::FloatType;
use super::folder::parse_index;
use super::pytorch::read_pytorch;
use super::weights::Weights;
use crate::hf_config::{HfConfig, RtdPart};

/// Most bytes of one tensor that is read; larger ones are for the reader's memory, not for a test.
const MAX_READ: usize = 1 << 20;

/// Magic number, version, and an empty description of the machine.
const LEGACY_HEADER: &[u8] =
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.";

/// Parses a `config.json` as far as a configuration of a network and of a head.
///
/// # Errors
///
/// As [`HfConfig::open`].
pub fn config(bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    for part in [RtdPart::Discriminator, RtdPart::Generator] {
        let file = HfConfig::parse_part(text, part).map_err(|error| error.to_string())?;
        let config = file.to_config().map_err(|error| error.to_string())?;
        file.to_head_config().map_err(|error| error.to_string())?;
        let again = HfConfig::from_config(&config).to_config();
        assert_eq!(
            again.as_ref(),
            Ok(&config),
            "a configuration changed when written"
        );
    }
    Ok(())
}

/// Reads every tensor of a safetensors file.
///
/// # Errors
///
/// As [`Weights::open`].
pub fn safetensors(bytes: &[u8]) -> Result<(), CheckpointError> {
    let mut tensors = Vec::new();
    let blob = Arc::new(Blob::Owned(bytes.to_vec()));
    read_safetensors(Path::new("fuzz.safetensors"), &blob, &mut tensors)?;
    read_all(tensors);
    Ok(())
}

/// Reads every tensor of a PyTorch file of either format.
///
/// # Errors
///
/// As [`Weights::open`].
pub fn pytorch(bytes: &[u8]) -> Result<(), CheckpointError> {
    let mut tensors = Vec::new();
    let blob = Arc::new(Blob::Owned(bytes.to_vec()));
    read_pytorch(Path::new("fuzz.bin"), &blob, &mut tensors)?;
    read_all(tensors);
    Ok(())
}

/// Reads what follows the header of PyTorch's older format: a pickle of tensors, one of the names of
/// their storages, and the storages.
///
/// # Errors
///
/// As [`Weights::open`].
pub fn pickle(bytes: &[u8]) -> Result<(), CheckpointError> {
    pytorch(&legacy_file(bytes))
}

/// The file that [`pickle`] reads.
pub fn legacy_file(bytes: &[u8]) -> Vec<u8> {
    let mut file = LEGACY_HEADER.to_vec();
    file.extend_from_slice(bytes);
    file
}

/// Parses the list of the parts of a model.
///
/// # Errors
///
/// As [`Weights::open`].
pub fn index(bytes: &[u8]) -> Result<(), CheckpointError> {
    let text = String::from_utf8_lossy(bytes);
    parse_index(Path::new("fuzz.index.json"), &text).map(drop)
}

fn read_all(tensors: Vec<super::files::StoredTensor>) {
    for tensor in &tensors {
        if tensor.range.len() > MAX_READ || tensor.dtype.float().is_none() {
            continue;
        }
        let bytes = tensor.bytes();
        let size = tensor.dtype.float().map_or(1, FloatType::size);
        assert_eq!(
            bytes.len(),
            tensor.len() * size,
            "a tensor without all its bytes"
        );
        if let Ok(numbers) = tensor.numbers(&bytes) {
            let _ = numbers.to_data(FloatType::F16, true);
        }
    }
    let weights = Weights::new("fuzz".into(), tensors, RtdPart::default());
    let _ = (weights.heads(), weights.parameters(), weights.dtypes());
    let _ = (weights.tensors().count(), weights.check_tied_copies());
}
