//! Hashes that the Hub lists for its files.

use sha1::{Digest as _, Sha1};
use sha2::{Digest as _, Sha256};

use super::model_id::is_lower_hex;

/// The hash of a file's content, which is also its name in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentHash {
    /// Of the bytes, for files in large-file storage.
    Sha256(String),
    /// Of the git object, `blob`, a space, the size, a zero and the bytes, for the others.
    GitSha1(String),
}

impl ContentHash {
    /// Reads a hash by its length, 64 or 40 lower-case hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.len() {
            64 if is_lower_hex(text) => Some(Self::Sha256(text.into())),
            40 if is_lower_hex(text) => Some(Self::GitSha1(text.into())),
            _ => None,
        }
    }

    /// Lower-case hexadecimal digits.
    pub fn digits(&self) -> &str {
        match self {
            Self::Sha256(digits) | Self::GitSha1(digits) => digits,
        }
    }

    /// Starts to compute the same kind of hash of `size` bytes.
    pub(super) fn hasher(&self, size: u64) -> Hasher {
        match self {
            Self::Sha256(_) => Hasher::Sha256(Sha256::new()),
            Self::GitSha1(_) => Hasher::GitSha1(Sha1::new().chain_update(format!("blob {size}\0"))),
        }
    }
}

/// A hash in the making.
pub(super) enum Hasher {
    Sha256(Sha256),
    GitSha1(Sha1),
}

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::GitSha1(hasher) => hasher.update(bytes),
        }
    }

    pub(super) fn digits(self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|it| format!("{it:02x}")).collect();
        match self {
            Self::Sha256(hasher) => hex(&hasher.finalize()),
            Self::GitSha1(hasher) => hex(&hasher.finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_sha256sum_and_git_hash_object() {
        // `printf 'hello\n' | sha256sum` and `printf 'hello\n' | git hash-object --stdin`.
        for expected in [
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
            "ce013625030ba8dba906f756967f9e9ca394464a",
        ] {
            let mut hasher = ContentHash::parse(expected).unwrap().hasher(6);
            hasher.update(b"hel");
            hasher.update(b"lo\n");
            assert_eq!(hasher.digits(), expected);
        }
        assert_eq!(ContentHash::parse("../../../etc/passwd"), None);
        assert_eq!(ContentHash::parse(&"G".repeat(40)), None);
    }
}
