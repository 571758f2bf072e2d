//! Writes examples into Arrow IPC files of bounded size.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ListArray, RecordBatch, UInt32Array};
use arrow_buffer::OffsetBuffer;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};

use super::error::PackError;
use super::index::{Recipe, ShardInfo};
use super::shard::{self, COLUMN};

/// Tokens of a record batch, at most (an example more).
const BATCH_TOKENS: usize = 1 << 20;

/// Writes the shards of one folder.
pub(super) struct ShardWriter<'a> {
    folder: &'a Path,
    schema: SchemaRef,
    shard_tokens: usize,
    open: Option<OpenShard>,
    tokens: Vec<u32>,
    /// Where each example of the batch ends.
    offsets: Vec<i32>,
    pub(super) shards: Vec<ShardInfo>,
}

struct OpenShard {
    path: PathBuf,
    file: String,
    writer: FileWriter<BufWriter<File>>,
    examples: u64,
    tokens: u64,
}

impl<'a> ShardWriter<'a> {
    pub(super) fn new(folder: &'a Path, recipe: &Recipe, shard_tokens: usize) -> Self {
        let item = Arc::new(Field::new("item", DataType::UInt32, false));
        let field = Field::new(COLUMN, DataType::List(item), false);
        let schema = Schema::new(vec![field]).with_metadata(recipe.metadata());
        Self {
            folder,
            schema: Arc::new(schema),
            shard_tokens,
            open: None,
            tokens: Vec::new(),
            offsets: vec![0],
            shards: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, example: &[u32]) -> Result<(), PackError> {
        self.tokens.extend_from_slice(example);
        // A batch ends soon after 2^20 tokens, so its offsets fit 31 bits.
        self.offsets.push(self.tokens.len() as i32);
        if self.tokens.len() >= BATCH_TOKENS.min(self.shard_tokens) {
            self.write_batch()?;
            if self
                .open
                .as_ref()
                .is_some_and(|it| it.tokens >= self.shard_tokens as u64)
            {
                self.close_shard()?;
            }
        }
        Ok(())
    }

    /// Writes what is left; the shards are in `shards`.
    pub(super) fn finish(&mut self) -> Result<(), PackError> {
        if !self.tokens.is_empty() {
            self.write_batch()?;
        }
        self.close_shard()
    }

    fn write_batch(&mut self) -> Result<(), PackError> {
        let mut shard = match self.open.take() {
            Some(shard) => shard,
            None => self.open_shard()?,
        };
        let tokens = std::mem::take(&mut self.tokens);
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        shard.examples += offsets.len() as u64 - 1;
        shard.tokens += tokens.len() as u64;
        let DataType::List(item) = self.schema.field(0).data_type() else {
            return Err(arrow_error(&shard.path)(ArrowError::SchemaError(
                "not a list".into(),
            )));
        };
        let offsets = OffsetBuffer::new(offsets.into());
        let lists = ListArray::try_new(
            item.clone(),
            offsets,
            Arc::new(UInt32Array::from(tokens)),
            None,
        );
        lists
            .and_then(|lists| RecordBatch::try_new(self.schema.clone(), vec![Arc::new(lists)]))
            .and_then(|batch| shard.writer.write(&batch))
            .map_err(arrow_error(&shard.path))?;
        self.open = Some(shard);
        Ok(())
    }

    fn open_shard(&self) -> Result<OpenShard, PackError> {
        let file = format!("shard-{:05}.arrow", self.shards.len());
        let path = self.folder.join(&file);
        let handle = File::create(&path).map_err(|source| PackError::Io {
            action: "write",
            path: path.clone(),
            source,
        })?;
        let writer =
            FileWriter::try_new_buffered(handle, &self.schema).map_err(arrow_error(&path))?;
        Ok(OpenShard {
            path,
            file,
            writer,
            examples: 0,
            tokens: 0,
        })
    }

    fn close_shard(&mut self) -> Result<(), PackError> {
        let Some(OpenShard {
            path,
            file,
            mut writer,
            examples,
            tokens,
        }) = self.open.take()
        else {
            return Ok(());
        };
        writer.finish().map_err(arrow_error(&path))?;
        let buffered = writer.into_inner().map_err(arrow_error(&path))?;
        buffered
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .and_then(|handle| handle.sync_all())
            .map_err(|source| PackError::Io {
                action: "write",
                path: path.clone(),
                source,
            })?;
        self.shards
            .push(shard::describe(&path, file, examples, tokens)?);
        Ok(())
    }
}

/// A full disk arrives wrapped in Arrow's error; unwrap it, so that it reads like any other.
fn arrow_error(path: &Path) -> impl Fn(ArrowError) -> PackError {
    move |error| match error {
        ArrowError::IoError(_, source) => PackError::Io {
            action: "write",
            path: path.to_path_buf(),
            source,
        },
        source => PackError::Arrow {
            path: path.to_path_buf(),
            source,
        },
    }
}
