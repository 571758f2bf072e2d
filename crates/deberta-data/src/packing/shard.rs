//! One memory-mapped Arrow IPC file of examples.
#![allow(
    unsafe_code,
    reason = "memory maps: the file may be changed by another process, see the SAFETY comment"
)]

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_array::{Array, ListArray};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::{Block, root_as_footer};
use arrow_schema::{ArrowError, DataType};
use bytes::Bytes;
use memmap2::Mmap;
use sha2::{Digest, Sha256};

use super::error::PackError;
use super::index::ShardInfo;
use crate::corpus::fingerprint::hex;

/// Name of the only column.
pub(super) const COLUMN: &str = "input_ids";
/// Footer length and magic at the end of an Arrow file.
const TRAILER: usize = 10;

/// A shard that is open for reading.
#[derive(Debug)]
pub(super) struct Shard {
    path: PathBuf,
    map: Buffer,
    pub(super) batches: Vec<Batch>,
}

/// Examples of one record batch; both buffers lie in the memory map.
#[derive(Debug)]
pub(super) struct Batch {
    offsets: OffsetBuffer<i32>,
    tokens: ScalarBuffer<u32>,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub(super) fn example(&self, index: usize) -> &[u32] {
        &self.tokens[self.offsets[index] as usize..self.offsets[index + 1] as usize]
    }
}

impl Shard {
    /// Maps a shard and checks its size and layout; the tokens are only checked by
    /// [`Shard::verify`].
    pub(super) fn open(folder: &Path, info: &ShardInfo) -> Result<Self, PackError> {
        let path = folder.join(&info.file);
        let map = map(&path)?;
        let damaged = |reason: String| PackError::Damaged {
            path: path.clone(),
            reason,
        };
        if map.len() as u64 != info.bytes {
            let (found, expected) = (map.len(), info.bytes);
            return Err(damaged(format!(
                "it has {found} bytes, {expected} were written"
            )));
        }
        // With the layout as it was written, decoding cannot run over the end of the map.
        if layout_sha256(&map).map_err(damaged)? != info.layout_sha256 {
            return Err(damaged("its layout changed since it was written".into()));
        }
        let batches = decode(&map).map_err(|error| damaged(error.to_string()))?;
        let examples: usize = batches.iter().map(Batch::len).sum();
        if examples as u64 != info.examples {
            let expected = info.examples;
            return Err(damaged(format!(
                "it has {examples} examples, {expected} were written"
            )));
        }
        Ok(Self { path, map, batches })
    }

    /// Hashes the whole file.
    pub(super) fn verify(&self, info: &ShardInfo) -> Result<(), PackError> {
        if hex(&Sha256::digest(&self.map)) == info.sha256 {
            return Ok(());
        }
        let reason = "its bytes changed since it was written".into();
        Err(PackError::Damaged {
            path: self.path.clone(),
            reason,
        })
    }
}

/// Describes a shard that was just written.
pub(super) fn describe(
    path: &Path,
    file: String,
    examples: u64,
    tokens: u64,
) -> Result<ShardInfo, PackError> {
    let map = map(path)?;
    let layout_sha256 = layout_sha256(&map).map_err(|reason| PackError::Damaged {
        path: path.to_path_buf(),
        reason,
    })?;
    let sha256 = hex(&Sha256::digest(&map));
    Ok(ShardInfo {
        file,
        examples,
        tokens,
        bytes: map.len() as u64,
        sha256,
        layout_sha256,
    })
}

fn map(path: &Path) -> Result<Buffer, PackError> {
    let io_error = |source| PackError::Io {
        action: "read",
        path: path.to_path_buf(),
        source,
    };
    let file = File::open(path).map_err(io_error)?;
    // SAFETY: the map is undefined behaviour if the file shrinks or changes while it is mapped.
    // Shards are never written in place: packing writes new files and renames whole folders, so
    // the mapped file keeps its content even after it was replaced.
    let map = unsafe { Mmap::map(&file) }.map_err(io_error)?;
    Ok(Buffer::from(Bytes::from_owner(map)))
}

/// The blocks that the footer lists, and where the footer begins.
fn blocks(map: &[u8]) -> Result<(Vec<Block>, &[u8]), String> {
    let trailer = map
        .len()
        .checked_sub(TRAILER)
        .ok_or("it is too short for an Arrow file")?;
    let bytes: [u8; TRAILER] = map[trailer..].try_into().map_err(|_| "no trailer")?;
    let length = read_footer_length(bytes).map_err(|error| error.to_string())?;
    let start = trailer
        .checked_sub(length)
        .ok_or("its footer is longer than the file")?;
    let footer = &map[start..trailer];
    let root = root_as_footer(footer).map_err(|error| error.to_string())?;
    let blocks = root.recordBatches().iter().flatten().copied().collect();
    Ok((blocks, footer))
}

/// Offset, metadata length and total length of a block, if it lies within the file.
fn extent(block: &Block, file_bytes: usize) -> Result<(usize, usize, usize), String> {
    let outside = || "a block lies outside the file".to_owned();
    let offset = usize::try_from(block.offset()).map_err(|_| outside())?;
    let metadata = usize::try_from(block.metaDataLength()).map_err(|_| outside())?;
    let body = usize::try_from(block.bodyLength()).map_err(|_| outside())?;
    let length = metadata.checked_add(body).ok_or_else(outside)?;
    match offset.checked_add(length) {
        Some(end) if end <= file_bytes => Ok((offset, metadata, length)),
        _ => Err(outside()),
    }
}

/// Hashes the footer and the header of each block.
fn layout_sha256(map: &[u8]) -> Result<String, String> {
    let (blocks, footer) = blocks(map)?;
    let mut hasher = Sha256::new();
    hasher.update(footer);
    for block in &blocks {
        let (offset, metadata, _) = extent(block, map.len())?;
        hasher.update(&map[offset..offset + metadata]);
    }
    Ok(hex(&hasher.finalize()))
}

fn decode(map: &Buffer) -> Result<Vec<Batch>, ArrowError> {
    let (blocks, footer) = blocks(map).map_err(ArrowError::ParseError)?;
    let footer =
        root_as_footer(footer).map_err(|error| ArrowError::ParseError(error.to_string()))?;
    let schema = footer
        .schema()
        .ok_or_else(|| ArrowError::ParseError("no schema".into()))?;
    let schema = std::sync::Arc::new(try_fb_to_schema(schema)?);
    let decoder = FileDecoder::new(schema, footer.version()).with_require_alignment(true);
    let mut batches = Vec::with_capacity(blocks.len());
    for block in &blocks {
        let (offset, _, length) = extent(block, map.len()).map_err(ArrowError::ParseError)?;
        let data = map.slice_with_length(offset, length);
        if let Some(batch) = decoder.read_record_batch(block, &data)? {
            let column = batch
                .column_by_name(COLUMN)
                .and_then(|it| it.as_list_opt::<i32>());
            let lists: &ListArray = column.ok_or_else(|| {
                ArrowError::SchemaError(format!("the column `{COLUMN}` is not a list"))
            })?;
            if *lists.values().data_type() != DataType::UInt32 {
                return Err(ArrowError::SchemaError("the tokens are not UInt32".into()));
            }
            batches.push(Batch {
                offsets: lists.offsets().clone(),
                tokens: lists.values().as_primitive::<UInt32Type>().values().clone(),
            });
        }
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packing::PackOptions;
    use crate::packing::index::Recipe;
    use crate::packing::writer::ShardWriter;

    /// Opening checks the layout only, so a damaged token goes unseen; but nothing may panic, and
    /// `verify` sees every bit.
    #[test]
    fn a_flipped_bit_never_panics_and_never_passes_verification() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = Recipe::new("c".into(), "t", &PackOptions::new(8));
        let mut writer = ShardWriter::new(folder.path(), &recipe, 1000);
        for id in 0..40 {
            writer.push(&[1, id, id + 1, 2]).unwrap();
        }
        writer.finish().unwrap();
        let info = writer.shards[0].clone();
        let path = folder.path().join(&info.file);
        let whole = std::fs::read(&path).unwrap();
        let mut opened = 0;
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, flipped).unwrap();
            let Ok(shard) = Shard::open(folder.path(), &info) else {
                continue;
            };
            opened += 1;
            for batch in &shard.batches {
                assert!((0..batch.len()).all(|index| batch.example(index).len() < 2000));
            }
            assert!(shard.verify(&info).is_err(), "byte {at}");
        }
        assert!(
            opened > 600,
            "damaged tokens alone are not seen on opening: {opened}"
        );
    }
}
