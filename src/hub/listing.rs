//! The files of a model, as the Hub lists them.

use hf_hub::Cache;
use hf_hub::api::sync::{ApiBuilder, ApiRepo};
use serde::Deserialize;

use super::cache::repo;
use super::http::{Ask, Client, Limits, header, refusal, shown, unreachable};
use super::model_id::is_commit;
use super::{ContentHash, HubError, HubOptions, ModelId};

/// Largest list of files that is read, in bytes.
const MAX_LIST_BYTES: u64 = 32 << 20;

/// A file of a model on the Hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Path below the model.
    pub name: String,
    /// Size in bytes, if the Hub says so.
    pub size: Option<u64>,
    /// Hash of the content, if the Hub says so.
    pub hash: Option<ContentHash>,
}

/// A state of a model: a commit and its files.
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: Vec<RemoteFile>,
}

impl Listing {
    pub(super) fn file(&self, name: &str) -> Option<&RemoteFile> {
        self.files.iter().find(|file| file.name == name)
    }
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    sha256: Option<String>,
    size: Option<u64>,
}

/// A model at the Hub.
pub(super) struct Hub<'a> {
    pub(super) id: &'a ModelId,
    pub(super) client: Client,
    endpoint: String,
    api: ApiRepo,
    limits: Limits,
}

impl<'a> Hub<'a> {
    pub(super) fn new(id: &'a ModelId, options: &HubOptions) -> Result<Self, HubError> {
        let client = Client::new(options)?;
        let endpoint = options.endpoint.trim_end_matches('/').to_owned();
        let cache = options.cache_dir.clone().ok_or(HubError::NoCacheDir)?;
        let api = ApiBuilder::from_cache(Cache::new(cache))
            .with_endpoint(endpoint.clone())
            .with_token(options.token.as_ref().map(|it| it.secret().to_owned()))
            .with_user_agent("deberta", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|error| HubError::Endpoint {
                endpoint: shown(&endpoint),
                problem: error.to_string(),
            })?;
        Ok(Self {
            id,
            client,
            endpoint,
            api: api.repo(repo(id)),
            limits: Limits::new(options),
        })
    }

    /// Asks for the commit and its files.
    pub(super) fn list(&self) -> Result<Listing, HubError> {
        let url = format!("{}/api/models/{}", self.endpoint, self.id.name());
        let mut request = self
            .api
            .info_request()
            .query("blobs", "true")
            .config()
            .http_status_as_error(false)
            .timeout_resolve(Some(self.limits.timeout))
            .timeout_connect(Some(self.limits.timeout))
            .timeout_recv_response(Some(self.limits.timeout))
            .timeout_per_read(Some(self.limits.timeout));
        if self.limits.direct {
            request = request.proxy(None);
        }
        let mut response = request
            .build()
            .call()
            .map_err(|error| unreachable(&url, &error))?;
        match response.status().as_u16() {
            200..=299 => {}
            404 if header(&response, "x-error-code").is_none() => return Err(self.not_found()),
            _ => return Err(self.refusal(response, &url)),
        }
        let body = response.body_mut().with_config().limit(MAX_LIST_BYTES);
        let text = body
            .read_to_vec()
            .map_err(|error| unreachable(&url, &error))?;
        parse(&text).map_err(|problem| HubError::Malformed {
            origin: shown(&url),
            problem,
        })
    }

    /// The address of a file of a commit, which never changes.
    pub(super) fn url(&self, commit: &str, name: &str) -> String {
        format!(
            "{}/{}/resolve/{commit}/{name}",
            self.endpoint,
            self.id.name()
        )
    }

    /// Size and hash of a file, by a request of its own if the list does not tell.
    pub(super) fn describe(
        &self,
        commit: &str,
        file: &RemoteFile,
    ) -> Result<(u64, ContentHash), HubError> {
        if let (Some(size), Some(hash)) = (file.size, &file.hash) {
            return Ok((size, hash.clone()));
        }
        let url = self.url(commit, &file.name);
        let ask = Ask {
            head: true,
            range: None,
        };
        let response = self.client.send(&url, ask)?;
        if response.status().is_client_error() || response.status().is_server_error() {
            return Err(self.refusal(response, &url));
        }
        let of = |names: [&str; 2]| names.iter().find_map(|name| header(&response, name));
        let etag = of(["x-linked-etag", "etag"]).unwrap_or_default();
        let digits = etag.trim_start_matches("W/").trim_matches('"');
        let size = of(["x-linked-size", "content-length"]);
        let size = file.size.or_else(|| size?.parse().ok());
        match (size, ContentHash::parse(digits)) {
            (Some(size), Some(hash)) => Ok((size, hash)),
            _ => Err(HubError::Malformed {
                origin: shown(&url),
                problem: format!("tells no size, or no hash: the etag is `{etag}`"),
            }),
        }
    }

    pub(super) fn refusal(
        &self,
        response: ureq::http::Response<ureq::Body>,
        url: &str,
    ) -> HubError {
        let with_token = self.client.with_token();
        refusal(response, url, self.id, &self.endpoint, with_token)
    }

    fn not_found(&self) -> HubError {
        HubError::ModelNotFound {
            model: super::error::full_name(self.id),
            endpoint: shown(&self.endpoint),
            with_token: self.client.with_token(),
        }
    }
}

fn parse(text: &[u8]) -> Result<Listing, String> {
    let answer: Answer = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if !is_commit(&answer.sha) {
        return Err(format!("`{}` is no commit", answer.sha));
    }
    let files = answer.siblings.into_iter().map(|it| {
        let (large_size, large_hash) = it.lfs.map_or((None, None), |lfs| (lfs.size, lfs.sha256));
        RemoteFile {
            name: it.rfilename,
            size: large_size.or(it.size),
            hash: large_hash
                .or(it.blob_id)
                .and_then(|digits| ContentHash::parse(&digits)),
        }
    });
    Ok(Listing {
        commit: answer.sha,
        files: files.collect(),
    })
}
