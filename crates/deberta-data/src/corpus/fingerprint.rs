//! A hash that changes when the text of a corpus changes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::UNIX_EPOCH;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::discover::SourceFile;
use super::error::CorpusError;

/// Up to this many bytes in all, every byte is hashed (a fraction of a second).
pub(super) const FULL_HASH_BYTES: u64 = 256 << 20;
/// Blocks read from each file of a larger corpus.
const SAMPLED_BLOCKS: u64 = 64;
const BLOCK_BYTES: u64 = 64 << 10;

/// Hashes every file: name below its root, size and content.
///
/// Beyond [`FULL_HASH_BYTES`] in all, the content of a file is represented by its modification
/// time and 64 evenly spaced blocks of 64 KiB.
pub(super) fn of_files(files: &[SourceFile]) -> Result<String, CorpusError> {
    let total: u64 = files.iter().map(|file| file.bytes).sum();
    let hashes: Vec<[u8; 32]> = files
        .par_iter()
        .map(|file| of_file(file, total > FULL_HASH_BYTES))
        .collect::<Result<_, _>>()?;
    let mut hasher = Sha256::new();
    for hash in hashes {
        hasher.update(hash);
    }
    Ok(hex(&hasher.finalize()))
}

fn of_file(source: &SourceFile, sampled: bool) -> Result<[u8; 32], CorpusError> {
    let io_error = |error| CorpusError::Io {
        path: source.path.to_path_buf(),
        source: error,
    };
    let mut file = File::open(&source.path).map_err(io_error)?;
    let metadata = file.metadata().map_err(io_error)?;
    let size = metadata.len();
    let mut hasher = Sha256::new();
    hasher.update((source.relative.len() as u64).to_le_bytes());
    hasher.update(source.relative.as_bytes());
    hasher.update(size.to_le_bytes());
    if sampled {
        let modified = metadata.modified().map_err(io_error)?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        hasher.update(since.as_nanos().to_le_bytes());
        let mut block = Vec::new();
        let stride = (size / SAMPLED_BLOCKS).max(BLOCK_BYTES);
        let mut offset = 0;
        while offset < size {
            // The last block ends with the file, where an append shows.
            let start = if offset + stride >= size {
                size.saturating_sub(BLOCK_BYTES)
            } else {
                offset
            };
            file.seek(SeekFrom::Start(start)).map_err(io_error)?;
            block.clear();
            file.by_ref()
                .take(BLOCK_BYTES)
                .read_to_end(&mut block)
                .map_err(io_error)?;
            hasher.update(&block);
            offset += stride;
        }
    } else {
        std::io::copy(&mut file, &mut hasher).map_err(io_error)?;
    }
    Ok(hasher.finalize().into())
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::discover::Format;

    fn source(path: &std::path::Path) -> SourceFile {
        let bytes = std::fs::metadata(path).unwrap().len();
        SourceFile {
            path: path.into(),
            relative: "a.txt".into(),
            format: Format::Text,
            bytes,
        }
    }

    #[test]
    fn a_sampled_hash_sees_an_append_and_a_touched_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, vec![b'x'; 5 << 20]).unwrap();
        let before = of_file(&source(&path), true).unwrap();
        assert_eq!(before, of_file(&source(&path), true).unwrap());

        let file = File::options().append(true).open(&path).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_modified(modified + std::time::Duration::from_secs(1))
            .unwrap();
        let touched = of_file(&source(&path), true).unwrap();
        assert_ne!(before, touched);
        std::io::Write::write_all(&mut &file, b"y").unwrap();
        file.set_modified(modified).unwrap();
        assert_ne!(before, of_file(&source(&path), true).unwrap());
    }
}
