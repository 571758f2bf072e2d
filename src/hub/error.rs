//! What can go wrong between a name and a folder.

use std::io;
#[cfg(feature = "hub")]
use std::path::Path;
use std::path::PathBuf;

use super::ModelId;

/// A model that could not be found, downloaded or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// Neither a folder nor a name on the Hub.
    #[error("`{model}` is not a folder, and not a model on the Hub either: {problem}")]
    InvalidId {
        /// What was asked for.
        model: String,
        /// Why it cannot be a name.
        problem: String,
    },
    /// A name on the Hub, but this build only reads folders.
    #[error(
        "`{model}` is not a folder, and this program was built without the feature `hub`, which \
         downloads models"
    )]
    Disabled {
        /// What was asked for.
        model: String,
    },
    /// There is no place for the cache.
    #[error("no folder for the cache: set HF_HOME, or HOME")]
    NoCacheDir,
    /// The address of the Hub is not one.
    #[error("HF_ENDPOINT is `{endpoint}`: {problem}")]
    Endpoint {
        /// The address.
        endpoint: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No model of this name, or one that is hidden from us.
    #[error(
        "`{model}` is neither a folder here nor a model that {endpoint} shows; {}",
        hint(*with_token)
    )]
    ModelNotFound {
        /// Owner and name.
        model: String,
        /// The Hub that was asked.
        endpoint: String,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// The model exists, the branch, tag or commit does not.
    #[error("`{model}` has no revision `{revision}`: expected a branch, a tag or a commit")]
    RevisionNotFound {
        /// Owner and name.
        model: String,
        /// What was asked for.
        revision: String,
    },
    /// The Hub wants to know who asks, or refuses whoever asked.
    #[error("access to `{model}` is refused (status {status}); {}", hint(*with_token))]
    Denied {
        /// Owner and name.
        model: String,
        /// Status of the answer.
        status: u16,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// The model has no such file.
    #[error("`{model}` has no {wanted}; it has: {}", found.join(", "))]
    MissingFile {
        /// Owner, name and revision.
        model: String,
        /// What a checkpoint needs.
        wanted: String,
        /// The files that there are.
        found: Vec<String>,
    },
    /// No request was made, and the cache does not suffice.
    #[error(
        "`{model}` cannot be used offline: {} lacks {missing}; unset HF_HUB_OFFLINE to download it",
        cache.display()
    )]
    Offline {
        /// Owner, name and revision.
        model: String,
        /// What the cache lacks.
        missing: String,
        /// The model's folder in the cache.
        cache: PathBuf,
    },
    /// No answer came.
    #[error("no answer from {url}: {problem}")]
    Unreachable {
        /// Address without user, password and query.
        url: String,
        /// What the network said.
        problem: String,
    },
    /// An answer that is none.
    #[error("{url} answered with status {status}{}", after_colon(message))]
    Http {
        /// Address without user, password and query.
        url: String,
        /// Status of the answer.
        status: u16,
        /// What the server said about it, or nothing.
        message: String,
    },
    /// A download ended early, again and again; the next one continues it.
    #[error(
        "{file}: the download stopped at {received} of {size} bytes: {problem}; what came is kept \
         in {}, and the next download continues it",
        partial.display()
    )]
    Interrupted {
        /// Name of the file.
        file: String,
        /// Bytes that are here.
        received: u64,
        /// Bytes that there should be.
        size: u64,
        /// Why it stopped.
        problem: String,
        /// Where the bytes are.
        partial: PathBuf,
    },
    /// The server offers another number of bytes than its list says.
    #[error("{file}: expected {expected} bytes, the server sends {found}")]
    WrongSize {
        /// Name of the file.
        file: String,
        /// Bytes by the list of files.
        expected: u64,
        /// Bytes by the answer.
        found: u64,
    },
    /// The bytes are not those that the Hub has; they were thrown away.
    #[error(
        "{file}: the downloaded bytes have hash {found}, expected {expected}; they were removed"
    )]
    HashMismatch {
        /// Name of the file.
        file: String,
        /// SHA-256, or SHA-1 of the git object, in hexadecimal.
        expected: String,
        /// The same of what came.
        found: String,
    },
    /// An answer or a file that cannot be understood.
    #[error("{origin}: {problem}")]
    Malformed {
        /// Address or path.
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of the cache could not be read or written.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

#[cfg(feature = "hub")]
impl HubError {
    /// Whether the same request may succeed later, so that the cache may stand in for now.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Http { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

pub(super) fn invalid(model: &str, problem: impl Into<String>) -> HubError {
    HubError::InvalidId {
        model: model.into(),
        problem: problem.into(),
    }
}

#[cfg(feature = "hub")]
pub(super) fn io_error(path: &Path) -> impl Fn(io::Error) -> HubError + use<'_> {
    |source| HubError::Io {
        path: path.into(),
        source,
    }
}

/// Of a remote model, as messages name it.
pub(super) fn full_name(id: &ModelId) -> String {
    format!("{}@{}", id.name(), id.revision())
}

fn hint(with_token: bool) -> &'static str {
    if with_token {
        "the token of HF_TOKEN or `hf auth login` was sent and does not open it: if the model is \
         gated, accept its terms on its page first"
    } else {
        "if it is private or gated, set HF_TOKEN to a token that may read it, or run `hf auth login`"
    }
}

fn after_colon(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}
