//! From paths to the list of files to read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::CorpusError;

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Jsonl,
    Parquet,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "txt" | "text" | "raw" | "tokens" => Some(Self::Text),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// Extensions of files whose bytes are not, or not only, the text that they hold.
const NOT_PLAIN: &[&str] = &[
    "7z",
    "arrow",
    "avro",
    "bin",
    "bz2",
    "csv",
    "doc",
    "docx",
    "epub",
    "feather",
    "gz",
    "h5",
    "htm",
    "html",
    "json",
    "npy",
    "npz",
    "odt",
    "pdf",
    "pickle",
    "pkl",
    "pt",
    "pth",
    "rtf",
    "safetensors",
    "tar",
    "tgz",
    "tsv",
    "xls",
    "xlsx",
    "xml",
    "xz",
    "zip",
    "zst",
];

/// The format of a file that is named itself: plain text, unless its extension says otherwise.
fn format_of_named(path: &Path) -> Result<Format, CorpusError> {
    let extension = path.extension().and_then(|it| it.to_str());
    let extension = extension.unwrap_or_default().to_ascii_lowercase();
    if NOT_PLAIN.contains(&extension.as_str()) {
        return Err(CorpusError::NotPlain {
            path: path.into(),
            extension,
        });
    }
    Ok(Format::of(path).unwrap_or(Format::Text))
}

/// One file of a corpus.
#[derive(Debug, Clone)]
pub(super) struct SourceFile {
    pub(super) path: Arc<Path>,
    /// Path below the root that was asked for, with `/`: part of the fingerprint.
    pub(super) relative: String,
    pub(super) format: Format,
    pub(super) bytes: u64,
}

/// Lists the files of `roots` in order; folders are walked in name order.
///
/// A file that is named itself is read as plain text unless the extension says otherwise, and refused
/// if that is known to hold something else; in folders only known extensions count, and hidden files
/// and links to folders are left out.
pub(super) fn discover(roots: &[PathBuf]) -> Result<Vec<SourceFile>, CorpusError> {
    let mut files = Vec::new();
    for root in roots {
        let metadata = metadata_of(root)?;
        if metadata.is_dir() {
            let before = files.len();
            walk(root, "", &mut files)?;
            if files.len() == before {
                return Err(CorpusError::NoFiles { path: root.clone() });
            }
        } else {
            files.push(SourceFile {
                path: root.as_path().into(),
                relative: root
                    .file_name()
                    .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
                format: format_of_named(root)?,
                bytes: metadata.len(),
            });
        }
    }
    Ok(files)
}

fn walk(folder: &Path, prefix: &str, files: &mut Vec<SourceFile>) -> Result<(), CorpusError> {
    let io_error = |source| CorpusError::Io {
        path: folder.to_path_buf(),
        source,
    };
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(io_error)? {
        let entry = entry.map_err(io_error)?;
        let is_link = entry.file_type().map_err(io_error)?.is_symlink();
        entries.push((
            entry.file_name().to_string_lossy().into_owned(),
            entry.path(),
            is_link,
        ));
    }
    entries.sort();
    for (name, path, is_link) in entries {
        if name.starts_with('.') {
            continue;
        }
        let relative = format!("{prefix}{name}");
        if path.is_dir() {
            if !is_link {
                walk(&path, &format!("{relative}/"), files)?;
            }
        } else if let Some(format) = Format::of(&path) {
            let bytes = metadata_of(&path)?.len();
            files.push(SourceFile {
                path: path.into(),
                relative,
                format,
                bytes,
            });
        }
    }
    Ok(())
}

fn metadata_of(path: &Path) -> Result<fs::Metadata, CorpusError> {
    fs::metadata(path).map_err(|source| CorpusError::Io {
        path: path.to_path_buf(),
        source,
    })
}
