//! How far a download is.

/// Hears how far a download is; `()` ignores it.
pub trait DownloadProgress {
    /// A file of `size` bytes begins, `received` of which are here from an earlier attempt.
    ///
    /// Comes again for the same file if it has to start over.
    fn start(&mut self, file: &str, size: u64, received: u64);

    /// So many bytes more.
    fn advance(&mut self, bytes: u64);

    /// The file is complete and its hash is right.
    fn finish(&mut self, file: &str);
}

impl DownloadProgress for () {
    fn start(&mut self, _file: &str, _size: u64, _received: u64) {}
    fn advance(&mut self, _bytes: u64) {}
    fn finish(&mut self, _file: &str) {}
}
