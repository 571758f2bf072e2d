//! Weights files: memory maps, and the tensors in them.

use std::borrow::Cow;
use std::fs::File;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use super::error::{CheckpointError, io_error};
use super::floats::{ElementType, FloatType};
use super::numbers::Numbers;

// Files are little-endian; so are all machines that Burn's backends run on.
const _: () = assert!(cfg!(target_endian = "little"));

/// The bytes of a file, mapped or, where there is no file, owned.
pub(super) enum Blob {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Blob {
    #[allow(
        unsafe_code,
        reason = "memory-maps the weights instead of copying them"
    )]
    pub(super) fn open(path: &Path) -> Result<Arc<Self>, CheckpointError> {
        let file = File::open(path).map_err(|source| io_error(path, source))?;
        let metadata = file.metadata().map_err(|source| io_error(path, source))?;
        if !metadata.is_file() {
            let source = std::io::Error::other("not a file");
            return Err(io_error(path, source));
        }
        // SAFETY: the map is read-only and its bytes are validated before use. As with every
        // memory-mapped reader, truncating the file while it is being loaded is not supported.
        let map = unsafe { Mmap::map(&file) }.map_err(|source| io_error(path, source))?;
        Ok(Arc::new(Self::Mapped(map)))
    }

    /// Tells the system that these bytes will be read now, all of them.
    fn prefetch(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self {
            // Failing to read ahead is harmless.
            let _ = map.advise_range(memmap2::Advice::WillNeed, range.start, range.len());
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    /// Tells the system that these bytes will not be read again soon, so that a loaded network and
    /// its file do not both count as memory of the process.
    #[allow(
        unsafe_code,
        reason = "gives mapped pages back while the rest is still being read"
    )]
    fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self {
            use memmap2::UncheckedAdvice;
            // SAFETY: the map is a read-only view of a file, so a released page is read from the
            // file again when it is touched. Failing to release is harmless.
            let _ = unsafe {
                map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len())
            };
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

/// One tensor of a file; its bytes are read when they are asked for.
pub(super) struct StoredTensor {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: ElementType,
    pub(super) blob: Arc<Blob>,
    /// Bytes of the tensor, or of the part of a storage that a strided one is spread over.
    pub(super) range: Range<usize>,
    /// Steps between entries, for tensors that do not lie in the file row by row.
    pub(super) strides: Option<Strides>,
}

/// Layout of a tensor whose entries are not in row-major order. Its last entry lies within the
/// tensor's range.
pub(super) struct Strides {
    /// Entries from one to the next, per axis.
    pub(super) steps: Vec<usize>,
    /// Bytes of one entry.
    pub(super) size: usize,
}

impl StoredTensor {
    /// The entries in row-major order: mapped if they lie so, otherwise copied.
    pub(super) fn bytes(&self) -> Cow<'_, [u8]> {
        self.blob.prefetch(self.range.clone());
        let bytes = &self.blob[self.range.clone()];
        match &self.strides {
            None => Cow::Borrowed(bytes),
            Some(strides) => {
                let rows = 0..self.shape.first().copied().unwrap_or(1);
                Cow::Owned(gather(bytes, &self.shape, strides, rows))
            }
        }
    }

    /// The entries at some places of the first axis, in row-major order. Places are within the shape.
    pub(super) fn rows(&self, rows: Range<usize>, row_bytes: usize) -> Cow<'_, [u8]> {
        let bytes = &self.blob[self.range.clone()];
        match &self.strides {
            None => Cow::Borrowed(&bytes[rows.start * row_bytes..rows.end * row_bytes]),
            Some(strides) => Cow::Owned(gather(bytes, &self.shape, strides, rows)),
        }
    }

    pub(super) fn release(&self) {
        self.blob.release(self.range.clone());
    }

    /// The floating-point type.
    ///
    /// # Errors
    ///
    /// If it is another type.
    pub(super) fn float(&self) -> Result<FloatType, CheckpointError> {
        self.dtype.float().ok_or_else(|| {
            self.error(format!(
                "has type {}, expected f64, f32, f16 or bf16",
                self.dtype
            ))
        })
    }

    /// Number of entries. Shapes are checked against the file's length when it is opened.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether both hold the same numbers in the same type.
    pub(super) fn equals(&self, other: &Self) -> bool {
        self.shape == other.shape && self.dtype == other.dtype && self.bytes() == other.bytes()
    }

    pub(super) fn numbers<'a>(&'a self, bytes: &'a [u8]) -> Result<Numbers<'a>, CheckpointError> {
        Ok(Numbers {
            bytes,
            dtype: self.float()?,
            shape: &self.shape,
        })
    }

    pub(super) fn error(&self, problem: String) -> CheckpointError {
        CheckpointError::Tensor {
            path: self.path.clone(),
            name: self.name.clone(),
            problem,
        }
    }
}

/// Copies strided entries at some places of the first axis into row-major order.
fn gather(bytes: &[u8], shape: &[usize], strides: &Strides, rows: Range<usize>) -> Vec<u8> {
    let Strides { steps, size } = strides;
    let row_len: usize = shape.iter().skip(1).product();
    let count = rows.len() * row_len;
    let mut out = Vec::with_capacity(count * size);
    let mut place = vec![0; shape.len()];
    if let Some(first) = place.first_mut() {
        *first = rows.start;
    }
    for _ in 0..count {
        let entry: usize = place.iter().zip(steps).map(|(at, step)| at * step).sum();
        out.extend_from_slice(&bytes[entry * size..(entry + 1) * size]);
        for (at, len) in place.iter_mut().zip(shape).rev() {
            *at += 1;
            if *at < *len {
                break;
            }
            *at = 0;
        }
    }
    out
}

/// Appends the tensors of a safetensors file.
pub(super) fn read_safetensors(
    path: &Path,
    blob: &Arc<Blob>,
    tensors: &mut Vec<StoredTensor>,
) -> Result<(), CheckpointError> {
    let parsed = SafeTensors::deserialize(blob).map_err(|source| CheckpointError::Safetensors {
        path: path.into(),
        source,
    })?;
    for (name, view) in parsed.iter() {
        let dtype = match view.dtype() {
            Dtype::F64 => ElementType::Float(FloatType::F64),
            Dtype::F32 => ElementType::Float(FloatType::F32),
            Dtype::F16 => ElementType::Float(FloatType::F16),
            Dtype::BF16 => ElementType::Float(FloatType::Bf16),
            other => ElementType::Other(other.to_string().to_lowercase()),
        };
        let start = view.data().as_ptr() as usize - blob.as_ptr() as usize;
        tensors.push(StoredTensor {
            name: name.into(),
            path: path.into(),
            shape: view.shape().to_vec(),
            dtype,
            blob: Arc::clone(blob),
            range: start..start + view.data().len(),
            strides: None,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strided_entries_are_put_in_order() {
        let bytes: Vec<u8> = (0..6).collect();
        let transposed = Strides {
            steps: vec![1, 3],
            size: 1,
        };
        assert_eq!(
            gather(&bytes, &[3, 2], &transposed, 0..3),
            [0, 3, 1, 4, 2, 5]
        );
        assert_eq!(gather(&bytes, &[3, 2], &transposed, 1..3), [1, 4, 2, 5]);
        let pairs = Strides {
            steps: vec![2],
            size: 2,
        };
        assert_eq!(gather(&bytes, &[2], &pairs, 0..2), [0, 1, 4, 5]);
        let scalar = Strides {
            steps: vec![],
            size: 2,
        };
        assert_eq!(gather(&bytes, &[], &scalar, 0..1), [0, 1]);
    }
}
