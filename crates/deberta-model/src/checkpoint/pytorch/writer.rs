//! Writing the zip format of `torch.save`, one tensor at a time.

use std::io::{Seek, Write};

use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, DateTime};

use super::opcode;
use crate::checkpoint::outgoing::{Outgoing, WriteError};

/// Folder inside the zip; PyTorch uses the file's name, any does.
const ROOT: &str = "archive";

/// Alignment of storages, as PyTorch writes them so that they can be mapped.
const ALIGNMENT: u16 = 64;

/// Longest entry whose header has no room for more than 32 bits.
const MAX_SMALL_ENTRY: u64 = u32::MAX as u64;

/// Writes a dictionary of tensors that `torch.load(..., weights_only=True)` reads.
///
/// # Errors
///
/// If a tensor cannot be read or the file not be written.
pub(in crate::checkpoint) fn write_archive(
    out: impl Write + Seek,
    tensors: &[Outgoing<'_>],
) -> Result<(), WriteError> {
    let mut zip = ZipWriter::new(out);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        // The same weights give the same file.
        .last_modified_time(DateTime::default())
        .with_alignment(ALIGNMENT);
    let start = |zip: &mut ZipWriter<_>, name: &str, len: u64| -> std::io::Result<()> {
        let options = options.large_file(len > MAX_SMALL_ENTRY);
        Ok(zip.start_file(format!("{ROOT}/{name}"), options)?)
    };
    let pickle = pickle(tensors);
    start(&mut zip, "data.pkl", pickle.len() as u64)?;
    zip.write_all(&pickle)?;
    start(&mut zip, "byteorder", 0)?;
    zip.write_all(b"little")?;
    for (key, tensor) in tensors.iter().enumerate() {
        start(&mut zip, &format!("data/{key}"), tensor.byte_len())?;
        tensor.write(&mut zip)?;
    }
    start(&mut zip, "version", 0)?;
    zip.write_all(b"3\n")?;
    zip.finish().map_err(std::io::Error::from)?;
    Ok(())
}

/// `OrderedDict` of names and `_rebuild_tensor_v2` calls, in protocol 2 as PyTorch uses it.
fn pickle(tensors: &[Outgoing<'_>]) -> Vec<u8> {
    let mut out = vec![opcode::PROTO, 2];
    empty_dict(&mut out);
    out.push(opcode::MARK);
    for (key, tensor) in tensors.iter().enumerate() {
        text(&mut out, &tensor.name);
        global(&mut out, "torch._utils", "_rebuild_tensor_v2");
        out.push(opcode::MARK);
        {
            out.push(opcode::MARK);
            text(&mut out, "storage");
            global(&mut out, "torch", tensor.dtype.storage_name());
            text(&mut out, &key.to_string());
            text(&mut out, "cpu");
            integer(&mut out, tensor.len());
            out.extend([opcode::TUPLE, opcode::BINPERSID]);
        }
        integer(&mut out, 0);
        tuple(&mut out, &tensor.shape);
        tuple(&mut out, &row_major_strides(&tensor.shape));
        // No gradient, no hooks.
        out.push(opcode::NEWFALSE);
        empty_dict(&mut out);
        out.extend([opcode::TUPLE, opcode::REDUCE]);
    }
    out.extend([opcode::SETITEMS, opcode::STOP]);
    out
}

fn empty_dict(out: &mut Vec<u8>) {
    global(out, "collections", "OrderedDict");
    out.extend([opcode::EMPTY_TUPLE, opcode::REDUCE]);
}

fn global(out: &mut Vec<u8>, module: &str, name: &str) {
    out.push(opcode::GLOBAL);
    out.extend(format!("{module}\n{name}\n").bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(opcode::BINUNICODE);
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.bytes());
}

fn integer(out: &mut Vec<u8>, number: usize) {
    // No file has so many entries that the highest bit, which is the sign, is set.
    out.extend([opcode::LONG1, 8]);
    out.extend((number as u64).to_le_bytes());
}

fn tuple(out: &mut Vec<u8>, numbers: &[usize]) {
    out.push(opcode::MARK);
    for number in numbers {
        integer(out, *number);
    }
    out.push(opcode::TUPLE);
}

fn row_major_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        // Of an empty tensor, the product may be beyond any number.
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
    }
    strides
}
