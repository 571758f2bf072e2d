//! The format of `torch.save` since 2020: an uncompressed zip with a pickle and one file per storage.

use std::io::Cursor;
use std::ops::Range;

use zip::{CompressionMethod, ZipArchive};

use super::tensors::Storages;

/// A zip file in memory whose entries are found without being copied.
pub(super) struct Archive<'a> {
    bytes: &'a [u8],
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// Folder that all entries are in, with a slash at its end.
    root: String,
}

impl<'a> Archive<'a> {
    /// Whether these bytes begin like a zip file.
    pub(super) fn recognises(bytes: &[u8]) -> bool {
        bytes.starts_with(b"PK\x03\x04")
    }

    /// # Errors
    ///
    /// If this is no zip file, has no pickle, or numbers in another byte order.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
        let root = zip.file_names().find_map(|name| {
            let root = name.strip_suffix("data.pkl")?;
            (root.is_empty() || root.ends_with('/')).then(|| root.to_owned())
        });
        let mut archive = Self {
            bytes,
            zip,
            root: root.ok_or("the zip file has no `data.pkl`")?,
        };
        if let Ok(order) = archive.entry("byteorder") {
            let order = &bytes[order];
            if order != b"little" {
                let order = String::from_utf8_lossy(order);
                return Err(format!("byte order `{order}`, expected `little`"));
            }
        }
        Ok(archive)
    }

    /// The pickle that describes the tensors.
    pub(super) fn pickle(&mut self) -> Result<&'a [u8], String> {
        Ok(&self.bytes[self.entry("data.pkl")?])
    }

    /// Where the content of an entry lies.
    fn entry(&mut self, name: &str) -> Result<Range<usize>, String> {
        let name = format!("{}{name}", self.root);
        let index = self.zip.index_for_name(&name);
        let index = index.ok_or_else(|| format!("the zip file has no `{name}`"))?;
        let entry = self.zip.by_index_raw(index);
        let entry = entry.map_err(|error| format!("`{name}`: {error}"))?;
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err(format!(
                "`{name}` is compressed or encrypted, which PyTorch does not write"
            ));
        }
        let range = entry.data_start().and_then(|start| {
            let start = usize::try_from(start).ok()?;
            let end = start.checked_add(usize::try_from(entry.size()).ok()?)?;
            (end <= self.bytes.len()).then_some(start..end)
        });
        range.ok_or_else(|| format!("`{name}` reaches beyond the end of the file"))
    }
}

impl Storages for Archive<'_> {
    fn range(&mut self, key: &str) -> Result<Range<usize>, String> {
        self.entry(&format!("data/{key}"))
    }
}
