//! The weights files of a folder, in whichever format they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use burn::store::TensorSnapshot;
use burn::tensor::{Bytes, DType, TensorData};
use burn_store::pytorch::PytorchReader;
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::{CheckpointError, WEIGHTS_FILE, io_error};

/// Names that a folder is searched for, in this order. An index names the parts of a large model.
const CANDIDATES: [&str; 5] = [
    WEIGHTS_FILE,
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    // Microsoft's own releases.
    "pytorch.model.bin",
];

/// Part of an index that matters: which file holds which tensor.
#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

/// One tensor of a file; its bytes are read when they are asked for.
pub(super) struct StoredTensor {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) shape: Vec<usize>,
    /// `None` for types that no parameter has.
    pub(super) dtype: Option<DType>,
    content: Content,
}

enum Content {
    Mapped {
        map: Rc<Mmap>,
        start: usize,
        len: usize,
    },
    Snapshot(TensorSnapshot),
}

impl StoredTensor {
    pub(super) fn data(&self) -> Result<TensorData, CheckpointError> {
        match &self.content {
            Content::Mapped { map, start, len } => {
                let bytes = Bytes::from_bytes_vec(map[*start..start + len].to_vec());
                let dtype = self.dtype.unwrap_or(DType::U8);
                Ok(TensorData::from_bytes(bytes, self.shape.clone(), dtype))
            }
            Content::Snapshot(snapshot) => snapshot
                .to_data()
                .map_err(|error| self.error(format!("could not be read: {error}"))),
        }
    }

    pub(super) fn error(&self, problem: String) -> CheckpointError {
        CheckpointError::Tensor {
            path: self.path.clone(),
            name: self.name.clone(),
            problem,
        }
    }
}

/// The file to name in messages about the whole, and every tensor of the folder.
pub(super) fn open_weights(dir: &Path) -> Result<(PathBuf, Vec<StoredTensor>), CheckpointError> {
    let main = CANDIDATES
        .iter()
        .map(|name| dir.join(name))
        .find(|path| path.exists())
        // Reading it says that it is missing.
        .unwrap_or_else(|| dir.join(WEIGHTS_FILE));
    let files = if main.extension().is_some_and(|it| it == "json") {
        shards(dir, &main)?
    } else {
        vec![main.clone()]
    };
    let mut tensors = Vec::new();
    for path in files {
        if path.extension().is_some_and(|it| it == "bin") {
            open_pytorch(&path, &mut tensors)?;
        } else {
            open_safetensors(&path, &mut tensors)?;
        }
    }
    Ok((main, tensors))
}

fn shards(dir: &Path, index: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let malformed = |problem: String| CheckpointError::Index {
        path: index.into(),
        problem,
    };
    let text = std::fs::read_to_string(index).map_err(|source| io_error(index, source))?;
    let parsed: ShardIndex =
        serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    let names: BTreeSet<&String> = parsed.weight_map.values().collect();
    if names.is_empty() {
        return Err(malformed("`weight_map` names no file".into()));
    }
    names
        .into_iter()
        .map(|name| {
            // Parts lie beside their index; anything else is not for us to open.
            let plain = Path::new(name)
                .file_name()
                .is_some_and(|it| it == name.as_str());
            if plain {
                Ok(dir.join(name))
            } else {
                Err(malformed(format!(
                    "`weight_map` has `{name}`, expected the name of a file in the same folder"
                )))
            }
        })
        .collect()
}

#[allow(
    unsafe_code,
    reason = "memory-maps the weights instead of copying them"
)]
fn open_safetensors(path: &Path, tensors: &mut Vec<StoredTensor>) -> Result<(), CheckpointError> {
    let file = File::open(path).map_err(|source| io_error(path, source))?;
    // SAFETY: the map is read-only and its bytes are validated before use. As with every
    // memory-mapped reader, truncating the file while it is being loaded is not supported.
    let map = unsafe { Mmap::map(&file) }.map_err(|source| io_error(path, source))?;
    let map = Rc::new(map);
    let parsed = SafeTensors::deserialize(&map).map_err(|source| CheckpointError::Safetensors {
        path: path.into(),
        source,
    })?;
    for (name, view) in parsed.iter() {
        let dtype = match view.dtype() {
            Dtype::F64 => Some(DType::F64),
            Dtype::F32 => Some(DType::F32),
            Dtype::F16 => Some(DType::F16),
            Dtype::BF16 => Some(DType::BF16),
            _ => None,
        };
        tensors.push(StoredTensor {
            name: name.into(),
            path: path.into(),
            shape: view.shape().to_vec(),
            dtype,
            content: Content::Mapped {
                map: Rc::clone(&map),
                start: view.data().as_ptr() as usize - map.as_ptr() as usize,
                len: view.data().len(),
            },
        });
    }
    Ok(())
}

/// Files of `torch.save`, the zip format and the older one; the pickle in them is parsed, never
/// executed.
fn open_pytorch(path: &Path, tensors: &mut Vec<StoredTensor>) -> Result<(), CheckpointError> {
    // The reader's own message for a missing file does not name it.
    File::open(path).map_err(|source| io_error(path, source))?;
    let reader = PytorchReader::new(path).map_err(|error| CheckpointError::PyTorch {
        path: path.into(),
        problem: error.to_string(),
    })?;
    let mut snapshots: Vec<_> = reader.into_tensors().into_iter().collect();
    snapshots.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, snapshot) in snapshots {
        let float = [DType::F64, DType::F32, DType::F16, DType::BF16];
        tensors.push(StoredTensor {
            name,
            path: path.into(),
            shape: snapshot.shape.to_vec(),
            dtype: float.contains(&snapshot.dtype).then_some(snapshot.dtype),
            content: Content::Snapshot(snapshot),
        });
    }
    Ok(())
}
