//! From a name on the Hub to a folder in the cache.

use std::path::PathBuf;

use super::cache::{Cached, RepoCache};
use super::download::Downloads;
use super::error::full_name;
use super::header::{RemoteTensor, tensors};
use super::listing::{Hub, Listing, RemoteFile};
use super::select::{CONFIGS, TOKENIZER, WEIGHTS, is_index, shards};
use super::{DownloadProgress, HubError, HubOptions, ModelId, Parts};

/// See [`resolve`](super::resolve).
pub(super) fn resolve(
    id: &ModelId,
    options: &HubOptions,
    progress: &mut dyn DownloadProgress,
) -> Result<PathBuf, HubError> {
    let cache = open_cache(id, options)?;
    if options.offline || id.is_commit() {
        match cache.lookup(options.parts)? {
            Cached::Complete(dir) => return Ok(dir),
            Cached::Lacks(missing) if options.offline => return Err(offline(id, &cache, missing)),
            Cached::Lacks(_) => {}
        }
    }
    let hub = Hub::new(id, options)?;
    let listing = match hub.list() {
        Err(error) if error.is_transient() => return fall_back(&cache, options.parts, error),
        result => result?,
    };
    let mut downloads = Downloads {
        hub: &hub,
        cache: &cache,
        commit: &listing.commit,
        retries: options.retries,
        progress,
    };
    fetch_metadata(&mut downloads, &listing, options.parts)?;
    if options.parts.network() {
        for file in weights(&mut downloads, &listing)? {
            downloads.fetch(file)?;
        }
    }
    note(&cache, &listing.commit, options.parts)?;
    Ok(cache.snapshot(&listing.commit))
}

/// A model on the Hub, known without its weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteModel {
    /// The commit that the revision stands for.
    pub commit: String,
    /// The snapshot in the cache, with configuration and tokenizer.
    pub dir: PathBuf,
    /// All files of the model.
    pub files: Vec<RemoteFile>,
    /// The files with the weights that [`resolve`](super::resolve) would download.
    pub weights: Vec<RemoteFile>,
    /// Their tensors, by file and name; `None` if they are no safetensors files, whose start alone
    /// tells.
    pub tensors: Option<Vec<RemoteTensor>>,
}

/// Learns what a model on the Hub is like, without downloading its weights.
///
/// Configuration and tokenizer enter the cache; of safetensors files the headers are read, a few
/// kilobytes each.
///
/// # Errors
///
/// As [`resolve`](super::resolve). Offline it always fails, and folders are not read: resolve those.
pub fn inspect(
    model: &str,
    options: &HubOptions,
    progress: &mut dyn DownloadProgress,
) -> Result<RemoteModel, HubError> {
    let id = ModelId::parse(model)?;
    let cache = open_cache(&id, options)?;
    if options.offline {
        let missing = "what only the Hub knows, the list of files".into();
        return Err(offline(&id, &cache, missing));
    }
    let hub = Hub::new(&id, options)?;
    let listing = hub.list()?;
    let mut downloads = Downloads {
        hub: &hub,
        cache: &cache,
        commit: &listing.commit,
        retries: options.retries,
        progress,
    };
    fetch_metadata(&mut downloads, &listing, Parts::Metadata)?;
    let weights: Vec<RemoteFile> = weights(&mut downloads, &listing)?
        .into_iter()
        .cloned()
        .collect();
    note(&cache, &listing.commit, Parts::Metadata)?;
    let is_safetensors = |file: &RemoteFile| file.name.ends_with(".safetensors");
    let tensors = weights.iter().all(is_safetensors).then(|| {
        let headers = weights
            .iter()
            .map(|file| tensors(&hub, &listing.commit, &file.name));
        headers.collect::<Result<Vec<_>, _>>()
    });
    Ok(RemoteModel {
        dir: cache.snapshot(&listing.commit),
        commit: listing.commit,
        files: listing.files,
        weights,
        tensors: tensors.transpose()?.map(|files| files.concat()),
    })
}

/// Configuration and tokenizer.
fn fetch_metadata(
    downloads: &mut Downloads<'_>,
    listing: &Listing,
    parts: Parts,
) -> Result<(), HubError> {
    let config = first(downloads, listing, &CONFIGS, "configuration (config.json)")?;
    downloads.fetch(config)?;
    if !parts.tokenizer() {
        return Ok(());
    }
    for name in TOKENIZER {
        match listing.file(name) {
            Some(file) => drop(downloads.fetch(file)?),
            None => downloads.cache.note_absent(&listing.commit, name)?,
        }
    }
    Ok(())
}

/// The files with the weights; a list of parts is fetched to know them.
fn weights<'l>(
    downloads: &mut Downloads<'_>,
    listing: &'l Listing,
) -> Result<Vec<&'l RemoteFile>, HubError> {
    let main = first(downloads, listing, &WEIGHTS, "weights that can be read")?;
    if !is_index(&main.name) {
        return Ok(vec![main]);
    }
    let index = downloads.fetch(main)?;
    shards(&index)?
        .iter()
        .map(|name| first(downloads, listing, &[name], &format!("`{name}`")))
        .collect()
}

/// The first of the names that the model has.
fn first<'l>(
    downloads: &Downloads<'_>,
    listing: &'l Listing,
    names: &[&str],
    wanted: &str,
) -> Result<&'l RemoteFile, HubError> {
    let found = names.iter().find_map(|name| listing.file(name));
    found.ok_or_else(|| HubError::MissingFile {
        model: full_name(downloads.hub.id),
        wanted: wanted.into(),
        found: listing.files.iter().map(|it| it.name.clone()).collect(),
    })
}

/// Notes the commit of the revision, unless it has fewer parts here than the one noted before:
/// offline, that one is worth more.
fn note(cache: &RepoCache, commit: &str, parts: Parts) -> Result<(), HubError> {
    if parts != Parts::All && matches!(cache.lookup(Parts::All), Ok(Cached::Complete(_))) {
        return Ok(());
    }
    cache.write_ref(commit)
}

/// The cache instead of a Hub that does not answer.
fn fall_back(cache: &RepoCache, parts: Parts, error: HubError) -> Result<PathBuf, HubError> {
    match cache.lookup(parts)? {
        Cached::Complete(dir) => {
            log::warn!("{error}; using {} from the cache", dir.display());
            Ok(dir)
        }
        Cached::Lacks(missing) => {
            log::info!("{} lacks {missing}", cache.root().display());
            Err(error)
        }
    }
}

fn open_cache(id: &ModelId, options: &HubOptions) -> Result<RepoCache, HubError> {
    let dir = options.cache_dir.as_ref().ok_or(HubError::NoCacheDir)?;
    Ok(RepoCache::new(dir, id))
}

fn offline(id: &ModelId, cache: &RepoCache, missing: String) -> HubError {
    HubError::Offline {
        model: full_name(id),
        missing,
        cache: cache.root().into(),
    }
}
