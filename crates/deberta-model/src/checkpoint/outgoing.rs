//! Tensors on their way into files, read one at a time.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use burn::tensor::Bytes;
use serde_json::{Map, Value, json};

use super::CONFIG_FILE;
use super::error::{CheckpointError, io_error};
use super::floats::FloatType;
use super::names::{FUSED_PROJECTION, split_projection};
use super::pytorch::write_archive;
use crate::config::DebertaConfig;
use crate::hf_config::HfConfig;

/// Format of a weights file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WeightsFormat {
    /// `model.safetensors`.
    #[default]
    Safetensors,
    /// `pytorch_model.bin`, as `torch.save` writes it.
    PyTorch,
}

impl WeightsFormat {
    const ALL: [Self; 2] = [Self::Safetensors, Self::PyTorch];

    fn stem_and_extension(self) -> (&'static str, &'static str) {
        match self {
            Self::Safetensors => ("model", "safetensors"),
            Self::PyTorch => ("pytorch_model", "bin"),
        }
    }

    fn single_file(self) -> String {
        let (stem, extension) = self.stem_and_extension();
        format!("{stem}.{extension}")
    }

    fn index_file(self) -> String {
        format!("{}.index.json", self.single_file())
    }

    /// Name of part `part`, counted from 1, of `parts`.
    fn part_file(self, part: usize, parts: usize) -> String {
        let (stem, extension) = self.stem_and_extension();
        format!("{stem}-{part:05}-of-{parts:05}.{extension}")
    }

    /// Whether a file of this name holds a part of a model.
    fn is_part(self, name: &str) -> bool {
        let (stem, extension) = self.stem_and_extension();
        let inner = name.strip_prefix(stem).and_then(|rest| {
            let rest = rest.strip_suffix(extension)?.strip_suffix('.')?;
            rest.strip_prefix('-')?.split_once("-of-")
        });
        let digits = |text: &str| text.len() == 5 && text.bytes().all(|it| it.is_ascii_digit());
        inner.is_some_and(|(part, parts)| digits(part) && digits(parts))
    }
}

/// Why a tensor did not reach its file.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The file could not be written.
    Io(std::io::Error),
    /// The tensor could not be read.
    Tensor(CheckpointError),
}

impl From<std::io::Error> for WriteError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<CheckpointError> for WriteError {
    fn from(error: CheckpointError) -> Self {
        Self::Tensor(error)
    }
}

/// Bytes of a tensor that are in memory at a time; a row of a table is never split.
const PIECE_BYTES: usize = 8 << 20;

/// Reads rows of a tensor (places along its first axis) in a type, in row-major order.
pub(super) type ReadFn<'a> =
    Box<dyn Fn(FloatType, Range<usize>) -> Result<Bytes, CheckpointError> + 'a>;

/// A tensor that will be written.
pub(super) struct Outgoing<'a> {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    /// Type in the file to be written.
    pub(super) dtype: FloatType,
    pub(super) read: ReadFn<'a>,
}

impl Outgoing<'_> {
    /// All entries at once.
    pub(super) fn bytes(&self) -> Result<Bytes, CheckpointError> {
        (self.read)(self.dtype, 0..self.rows())
    }

    /// Writes all entries, a few rows at a time: word tables are half of a network.
    pub(super) fn write(&self, out: &mut impl Write) -> Result<(), WriteError> {
        self.write_pieces(out, PIECE_BYTES)
    }

    pub(super) fn write_pieces(
        &self,
        out: &mut impl Write,
        piece_bytes: usize,
    ) -> Result<(), WriteError> {
        if self.len() == 0 {
            return Ok(());
        }
        let row_bytes = self.len() / self.rows() * self.dtype.size();
        let step = (piece_bytes / row_bytes).max(1);
        for start in (0..self.rows()).step_by(step) {
            let end = self.rows().min(start + step);
            out.write_all(&(self.read)(self.dtype, start..end)?)?;
        }
        Ok(())
    }

    /// A single number is one row.
    pub(super) fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub(super) fn byte_len(&self) -> u64 {
        (self.len() * self.dtype.size()) as u64
    }
}

/// Joins query, key and value matrices into v1's `in_proj`, head by head. Names are ours.
pub(super) fn fuse_projections<'a>(
    tensors: Vec<Outgoing<'a>>,
    config: &DebertaConfig,
) -> Vec<Outgoing<'a>> {
    let mut fused: Vec<(String, [Option<Outgoing<'a>>; 3])> = Vec::new();
    let mut rest = Vec::new();
    for tensor in tensors {
        let Some((attention, part)) = split_projection(&tensor.name) else {
            rest.push(tensor);
            continue;
        };
        let attention = attention.to_owned();
        let found = fused.iter_mut().find(|(name, _)| *name == attention);
        match found {
            Some((_, parts)) => parts[part] = Some(tensor),
            None => {
                let mut parts = [None, None, None];
                parts[part] = Some(tensor);
                fused.push((attention, parts));
            }
        }
    }
    let shape = [config.all_head_size(), config.hidden_size];
    for (attention, parts) in fused {
        match parts {
            [Some(query), Some(key), Some(value)]
                if [&query, &key, &value].iter().all(|it| it.shape == shape) =>
            {
                rest.push(fuse(&attention, [query, key, value], config));
            }
            // An incomplete attention keeps its matrices, whose names say what is there.
            parts => rest.extend(parts.into_iter().flatten()),
        }
    }
    rest
}

fn fuse<'a>(attention: &str, parts: [Outgoing<'a>; 3], config: &DebertaConfig) -> Outgoing<'a> {
    let head_size = config.attention_head_size;
    let dtype = parts[0].dtype;
    Outgoing {
        name: format!("{attention}{FUSED_PROJECTION}"),
        shape: vec![3 * config.all_head_size(), config.hidden_size],
        dtype,
        read: Box::new(move |to, rows| {
            let mut fused = Vec::new();
            let mut row = rows.start;
            // The rows of one head in one of the matrices lie together.
            while row < rows.end {
                let (block, inside) = (row / head_size, row % head_size);
                let (head, part) = (block / 3, block % 3);
                let count = (head_size - inside).min(rows.end - row);
                let first = head * head_size + inside;
                fused.extend_from_slice(&(parts[part].read)(to, first..first + count)?);
                row += count;
            }
            Ok(Bytes::from_bytes_vec(fused))
        }),
    }
}

/// Writes a configuration, and tensors into one file or into several with an index. Removes the
/// weights that an earlier save left, in whatever format. Returns the names of the files.
///
/// Every file is written beside its name and renamed when all are complete, the configuration, without
/// which nothing can be loaded, last. A crash in between leaves the old checkpoint, the new one, or
/// none; never a mixture.
pub(super) fn write_checkpoint(
    dir: &Path,
    format: WeightsFormat,
    max_part_bytes: Option<u64>,
    config: &HfConfig,
    mut tensors: Vec<Outgoing<'_>>,
) -> Result<Vec<String>, CheckpointError> {
    // Wide types first keeps every tensor aligned.
    tensors.sort_by(|a, b| {
        let key = |it: &Outgoing<'_>| std::cmp::Reverse(it.dtype.size());
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    });
    let total: u64 = tensors.iter().map(Outgoing::byte_len).sum();
    let parts = split(tensors, max_part_bytes.unwrap_or(u64::MAX));
    let names: Vec<String> = match parts.len() {
        0 | 1 => vec![format.single_file()],
        count => (1..=count)
            .map(|part| format.part_file(part, count))
            .collect(),
    };

    let mut weights = Partials::new(dir);
    for (name, tensors) in names.iter().zip(&parts) {
        weights.write(name, |file, path| write_file(format, file, path, tensors))?;
    }
    if names.len() > 1 {
        let mut weight_map = Map::new();
        for (name, tensors) in names.iter().zip(&parts) {
            let entries = tensors.iter().map(|it| (it.name.clone(), json!(name)));
            weight_map.extend(entries);
        }
        let index = json!({"metadata": {"total_size": total}, "weight_map": weight_map});
        let text = format!("{index:#}\n");
        weights.write(&format.index_file(), |file, _| {
            Ok(file.write_all(text.as_bytes())?)
        })?;
    }
    let text = serde_json::to_string_pretty(config)
        .map_err(|source| io_error(&dir.join(CONFIG_FILE), std::io::Error::other(source)))?;
    let mut configuration = Partials::new(dir);
    configuration.write(CONFIG_FILE, |file, _| Ok(file.write_all(text.as_bytes())?))?;

    // Without it whatever else is there is no checkpoint.
    remove(dir, CONFIG_FILE)?;
    sync_dir(dir)?;
    let mut written = weights.rename()?;
    remove_leftovers(dir, &written)?;
    sync_dir(dir)?;
    written.extend(configuration.rename()?);
    sync_dir(dir)?;
    Ok(written)
}

/// Removes a file if it is there.
fn remove(dir: &Path, name: &str) -> Result<(), CheckpointError> {
    let path = dir.join(name);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error(&path, error)),
        _ => Ok(()),
    }
}

/// Makes what was renamed or removed last through a power cut, where folders are files.
fn sync_dir(dir: &Path) -> Result<(), CheckpointError> {
    if cfg!(unix) {
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(|source| io_error(dir, source))?;
    }
    Ok(())
}

/// Removes weights that were not just written: a reader might prefer those of another format.
fn remove_leftovers(dir: &Path, written: &[String]) -> Result<(), CheckpointError> {
    let in_dir = |source| io_error(dir, source);
    for entry in std::fs::read_dir(dir).map_err(in_dir)? {
        let name = entry.map_err(in_dir)?.file_name();
        let Some(name) = name.to_str() else {
            continue;
        };
        let is_weights = WeightsFormat::ALL.into_iter().any(|format| {
            name == format.single_file() || name == format.index_file() || format.is_part(name)
        });
        if is_weights && !written.iter().any(|it| it == name) {
            remove(dir, name)?;
        }
    }
    Ok(())
}

/// Fills parts in order; a tensor that is larger than a part gets one of its own.
fn split(tensors: Vec<Outgoing<'_>>, max_bytes: u64) -> Vec<Vec<Outgoing<'_>>> {
    let mut parts: Vec<Vec<Outgoing<'_>>> = vec![Vec::new()];
    let mut filled = 0;
    for tensor in tensors {
        let len = tensor.byte_len();
        if filled > 0 && filled + len > max_bytes {
            parts.push(Vec::new());
            filled = 0;
        }
        filled += len;
        if let Some(part) = parts.last_mut() {
            part.push(tensor);
        }
    }
    parts
}

fn write_file(
    format: WeightsFormat,
    file: &mut File,
    path: &Path,
    tensors: &[Outgoing<'_>],
) -> Result<(), WriteError> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    match format {
        WeightsFormat::Safetensors => write_safetensors(&mut out, tensors),
        WeightsFormat::PyTorch => write_archive(&mut out, tensors),
    }
    .and_then(|()| Ok(out.flush()?))
    .map_err(|error| match error {
        WriteError::Io(source) => WriteError::Tensor(io_error(path, source)),
        other => other,
    })
}

/// Layout: length of the header in eight bytes, header in JSON, tensors in the order of the header.
fn write_safetensors(out: &mut impl Write, tensors: &[Outgoing<'_>]) -> Result<(), WriteError> {
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({"format": "pt"}));
    let mut start = 0;
    for tensor in tensors {
        let end = start + tensor.byte_len();
        header.insert(
            tensor.name.clone(),
            json!({
                "dtype": tensor.dtype.safetensors_name(),
                "shape": tensor.shape,
                "data_offsets": [start, end],
            }),
        );
        start = end;
    }
    let mut header = Value::Object(header).to_string();
    // Padding keeps the tensors aligned to eight bytes.
    let padded = header.len().next_multiple_of(8);
    header.extend(std::iter::repeat_n(' ', padded - header.len()));
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    for tensor in tensors {
        tensor.write(out)?;
    }
    Ok(())
}

/// Files that are being written beside their names.
struct Partials<'a> {
    dir: &'a Path,
    names: Vec<String>,
}

impl<'a> Partials<'a> {
    fn new(dir: &'a Path) -> Self {
        Self {
            dir,
            names: Vec::new(),
        }
    }

    fn partial(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.partial"))
    }

    /// Writes one file and flushes it to the disk.
    fn write(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut File, &Path) -> Result<(), WriteError>,
    ) -> Result<(), CheckpointError> {
        let path = self.partial(name);
        self.names.push(name.into());
        let result = File::create(&path).map_err(WriteError::from);
        let result = result.and_then(|mut file| {
            write(&mut file, &path)?;
            Ok(file.sync_all()?)
        });
        result.map_err(|error| match error {
            WriteError::Io(source) => io_error(&self.dir.join(name), source),
            WriteError::Tensor(error) => error,
        })
    }

    /// Gives the files their names, in the order in which they were written.
    fn rename(mut self) -> Result<Vec<String>, CheckpointError> {
        for name in &self.names {
            let path = self.dir.join(name);
            let renamed = std::fs::rename(self.partial(name), &path);
            renamed.map_err(|source| io_error(&path, source))?;
        }
        Ok(std::mem::take(&mut self.names))
    }
}

impl Drop for Partials<'_> {
    /// What was not put in place is not worth keeping.
    fn drop(&mut self) {
        for name in &self.names {
            // Best effort: the error to report is the one that happened first.
            let _ = std::fs::remove_file(self.partial(name));
        }
    }
}
