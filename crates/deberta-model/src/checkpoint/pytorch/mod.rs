//! Files of `torch.save`, read without Python and written so that PyTorch reads them.

mod archive;
mod call;
mod legacy;
mod opcode;
mod pickle;
mod tensors;
mod writer;

use std::path::Path;
use std::sync::Arc;

use super::error::CheckpointError;
use super::files::{Blob, StoredTensor};
use archive::Archive;
use pickle::{Arena, Machine, Value};
use tensors::{Storages, find_weights, resolve};

pub(super) use writer::write_archive;

/// Appends the weights in a PyTorch file, in either format.
///
/// # Errors
///
/// If the file is malformed or has no dictionary of weights, or a tensor does not fit its storage.
pub(super) fn read_pytorch(
    path: &Path,
    blob: &Arc<Blob>,
    found: &mut Vec<StoredTensor>,
) -> Result<(), CheckpointError> {
    let malformed = |problem: String| CheckpointError::PyTorch {
        path: path.into(),
        problem,
    };
    if Archive::recognises(blob) {
        let mut archive = Archive::open(blob).map_err(malformed)?;
        let mut machine = Machine::new(archive.pickle().map_err(malformed)?);
        let root = machine.run().map_err(malformed)?;
        collect(&machine.arena, root, &mut archive, (path, blob), found)
    } else if legacy::recognises(blob) {
        let (machine, root, mut storages) = legacy::open(blob).map_err(malformed)?;
        collect(&machine.arena, root, &mut storages, (path, blob), found)
    } else {
        Err(malformed(
            "it begins neither like a zip file nor like the older format".into(),
        ))
    }
}

fn collect<'a>(
    arena: &Arena<'a>,
    root: Value<'a>,
    storages: &mut impl Storages,
    (path, blob): (&Path, &Arc<Blob>),
    found: &mut Vec<StoredTensor>,
) -> Result<(), CheckpointError> {
    let weights = find_weights(arena, root).map_err(|problem| CheckpointError::PyTorch {
        path: path.into(),
        problem,
    })?;
    for (name, tensor) in weights {
        let resolved = resolve(arena, tensor, storages, (path, blob), name);
        found.push(resolved.map_err(|problem| CheckpointError::Tensor {
            path: path.into(),
            name: name.into(),
            problem: format!("cannot be read: {problem}"),
        })?);
    }
    Ok(())
}
