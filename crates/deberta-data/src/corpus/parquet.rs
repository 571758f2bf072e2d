//! Parquet files: one string column is read, page by page.
//!
//! The column is read as bytes and checked here, so that a row that is not UTF-8 costs that row
//! and not its whole batch. Strings of any Arrow type (`Utf8`, `LargeUtf8`, `Utf8View`) are stored
//! alike in Parquet.

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::CorpusOptions;
use super::documents::{Row, RowReader};
use super::error::CorpusError;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 1024;

/// Reads one file row by row.
pub(super) struct ParquetReader {
    path: Arc<Path>,
    file: SerializedFileReader<File>,
    column: String,
    column_index: usize,
    /// Definition level of a value that is present; 0 if the column has no nulls.
    max_definition: i16,
    next_group: usize,
    group: Option<ColumnReaderImpl<ByteArrayType>>,
    batch: VecDeque<Option<ByteArray>>,
    row: u64,
    num_rows: u64,
    file_bytes: u64,
}

impl ParquetReader {
    pub(super) fn open(path: Arc<Path>, options: &CorpusOptions) -> Result<Self, CorpusError> {
        let io_error = |source| CorpusError::Io {
            path: path.to_path_buf(),
            source,
        };
        let file = File::open(&path).map_err(io_error)?;
        let file_bytes = file.metadata().map_err(io_error)?.len();
        let file = SerializedFileReader::new(file).map_err(|source| decode_error(&path, source))?;
        let column = options.text_field.clone();
        let (column_index, max_definition) =
            find_column(&file, &column).map_err(|(found, available)| CorpusError::Column {
                path: path.to_path_buf(),
                column: column.clone(),
                found,
                available,
            })?;
        let num_rows = u64::try_from(file.metadata().file_metadata().num_rows()).unwrap_or(0);
        Ok(Self {
            path,
            file,
            column,
            column_index,
            max_definition,
            next_group: 0,
            group: None,
            batch: VecDeque::new(),
            row: 0,
            num_rows,
            file_bytes,
        })
    }

    /// Decodes rows until there is one; `false` at the end of the file.
    fn fill(&mut self) -> Result<bool, ParquetError> {
        while self.batch.is_empty() {
            let Some(group) = &mut self.group else {
                if self.next_group >= self.file.num_row_groups() {
                    return Ok(false);
                }
                let group = self.file.get_row_group(self.next_group)?;
                self.next_group += 1;
                match group.get_column_reader(self.column_index)? {
                    ColumnReader::ByteArrayColumnReader(reader) => self.group = Some(reader),
                    _ => return Err(ParquetError::General("a column changed its type".into())),
                }
                continue;
            };
            let (mut values, mut definitions) = (Vec::new(), Vec::new());
            let levels = (self.max_definition > 0).then_some(&mut definitions);
            let (rows, ..) = group.read_records(BATCH_ROWS, levels, None, &mut values)?;
            if rows == 0 {
                self.group = None;
            }
            if self.max_definition == 0 {
                self.batch.extend(values.into_iter().map(Some));
            } else {
                let mut values = values.into_iter();
                let present = |level| level == self.max_definition;
                let rows = definitions.into_iter();
                self.batch
                    .extend(rows.map(|level| present(level).then(|| values.next()).flatten()));
            }
        }
        Ok(true)
    }
}

impl RowReader for ParquetReader {
    fn next_row(&mut self) -> Result<Option<Row>, CorpusError> {
        self.fill()
            .map_err(|source| decode_error(&self.path, source))?;
        let Some(value) = self.batch.pop_front() else {
            return Ok(None);
        };
        self.row += 1;
        let (path, line) = (self.path.to_path_buf(), self.row);
        let Some(value) = value else {
            let reason = format!("the column `{}` is null", self.column);
            return Err(CorpusError::MalformedRow { path, line, reason });
        };
        match std::str::from_utf8(value.data()) {
            Ok(text) => Ok(Some(Row {
                text: text.to_owned(),
                line,
                starts_document: true,
            })),
            Err(error) => Err(CorpusError::InvalidUtf8 {
                path,
                line,
                byte: error.valid_up_to() + 1,
            }),
        }
    }

    fn bytes_read(&self) -> u64 {
        let share = self.row as f64 / self.num_rows.max(1) as f64;
        (self.file_bytes as f64 * share) as u64
    }
}

/// Index and definition level of a top-level string column, or what is found instead and the names
/// of the columns that exist.
fn find_column(
    file: &SerializedFileReader<File>,
    name: &str,
) -> Result<(usize, i16), (String, String)> {
    let schema = file.metadata().file_metadata().schema_descr();
    let columns = schema.columns();
    let found = match columns
        .iter()
        .position(|column| column.path().parts() == [name])
    {
        None => "is missing".to_owned(),
        Some(index) => {
            let column = &columns[index];
            if column.max_rep_level() == 0 && column.physical_type() == Type::BYTE_ARRAY {
                return Ok((index, column.max_def_level()));
            }
            format!("has type {}", column.physical_type())
        }
    };
    let names: Vec<String> = columns
        .iter()
        .map(|column| column.path().string())
        .collect();
    Err((found, names.join(", ")))
}

fn decode_error(path: &Path, source: ParquetError) -> CorpusError {
    CorpusError::Parquet {
        path: path.to_path_buf(),
        source: source.into(),
    }
}
