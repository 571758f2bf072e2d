//! Models by name, from the Hugging Face Hub through its standard cache.
//!
//! [`resolve`] turns `microsoft/deberta-v3-base` into a folder that
//! [`checkpoint`](deberta_model::checkpoint) and
//! [`Tokenizer::open`](deberta_data::tokenizer::Tokenizer::open) read. A folder stays what it is, so
//! that one argument can be either.
//!
//! ```no_run
//! use deberta::hub::{self, HubOptions};
//!
//! let options = HubOptions::from_env();
//! let dir = hub::resolve("microsoft/deberta-v3-base", &options, &mut ())?;
//! # Ok::<(), hub::HubError>(())
//! ```
//!
//! The cache is the one of Python's `huggingface_hub`, in its layout and under its locks: what
//! either of them has downloaded, the other finds. [`HubOptions::from_env`] lists the variables
//! that are honoured.
//!
//! # What holds
//!
//! - A file enters the cache only if its bytes have the hash that the Hub lists for it: the SHA-256 of
//!   a large file, the SHA-1 of a git object otherwise.
//! - An interrupted download is continued where it stopped, at once or by the next call.
//! - A branch or tag is noted in the cache once everything that was asked for is there, and never so
//!   that a complete model is lost for offline use.
//! - The token goes to the endpoint only, not to the servers that it redirects to.
//! - Offline, or with a whole commit as revision, a complete model in the cache is used without any
//!   request; if the Hub cannot be reached, with a warning in the log.
//!
//! # What `hf-hub` does here
//!
//! The crate builds the addresses, asks for the list of files and knows the layout of the cache. Files
//! are fetched beside it, by the same `ureq`: its own downloads (0.5) compare no hash, know no
//! offline mode, and send the token along to wherever they are redirected. Its version 1 compares no
//! hash and resumes nothing either, and brings an asynchronous run time and 200 crates.
//!
//! Without the feature `hub`, only folders resolve.

#[cfg(feature = "hub")]
mod cache;
#[cfg(feature = "hub")]
mod download;
mod error;
#[cfg(feature = "hub")]
mod hash;
#[cfg(feature = "hub")]
mod header;
#[cfg(feature = "hub")]
mod http;
#[cfg(feature = "hub")]
mod listing;
mod model_id;
mod options;
mod progress;
#[cfg(feature = "hub")]
mod remote;
#[cfg(feature = "hub")]
mod select;

use std::path::{Path, PathBuf};

pub use error::HubError;
#[cfg(feature = "hub")]
pub use hash::ContentHash;
#[cfg(feature = "hub")]
pub use header::RemoteTensor;
#[cfg(feature = "hub")]
pub use listing::RemoteFile;
pub use model_id::ModelId;
pub use options::{HubOptions, Parts, Token};
pub use progress::DownloadProgress;
#[cfg(feature = "hub")]
pub use remote::{RemoteModel, inspect};

/// The folder of a model: `model` itself if it is one, else its snapshot in the cache.
///
/// `model` is a folder, `owner/name`, or `owner/name@revision` for a branch, a tag or a commit. What
/// is missing in the cache is downloaded: the configuration, the tokenizer and the weights in the
/// format that the checkpoint reader would choose.
///
/// # Errors
///
/// If there is no such model, or it may not be read, or it is not a checkpoint; if the network, the
/// server or the disk fails and the cache does not suffice; offline, if the cache does not suffice.
pub fn resolve(
    model: &str,
    options: &HubOptions,
    progress: &mut dyn DownloadProgress,
) -> Result<PathBuf, HubError> {
    if Path::new(model).is_dir() {
        return Ok(model.into());
    }
    let id = ModelId::parse(model)?;
    #[cfg(feature = "hub")]
    return remote::resolve(&id, options, progress);
    #[cfg(not(feature = "hub"))]
    {
        let _ = (options, progress);
        Err(HubError::Disabled {
            model: error::full_name(&id),
        })
    }
}

#[cfg(all(test, not(feature = "hub")))]
mod tests {
    use super::*;

    #[test]
    fn without_the_feature_a_name_is_refused_with_the_reason() {
        let options = HubOptions::from_lookup(|_| None);
        let error = resolve("someone/deberta", &options, &mut ()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("built without the feature `hub`"),
            "{error}"
        );
        assert!(resolve(env!("CARGO_MANIFEST_DIR"), &options, &mut ()).is_ok());
    }
}
