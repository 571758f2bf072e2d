//! What is in a safetensors file, without its tensors.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;
use serde_json::Value;

use super::HubError;
use super::http::{Ask, shown};
use super::listing::Hub;

/// Bytes that are asked for first; the header of most DeBERTa checkpoints fits.
const FIRST: u64 = 1 << 16;

/// Largest header that is read, in bytes, as in Python's library.
const MAX_HEADER: u64 = 25_000_000;

/// A tensor of a file on the Hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteTensor {
    /// Name in the file.
    pub name: String,
    /// Type as safetensors spells it, such as `F32`.
    pub dtype: String,
    /// Sizes of its axes.
    pub shape: Vec<u64>,
    /// The file that it is in.
    pub file: String,
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
}

/// The tensors of a safetensors file, sorted by name, by requests for its first bytes only.
pub(super) fn tensors(
    hub: &Hub<'_>,
    commit: &str,
    file: &str,
) -> Result<Vec<RemoteTensor>, HubError> {
    let url = hub.url(commit, file);
    let malformed = |problem: String| HubError::Malformed {
        origin: shown(&url),
        problem,
    };
    let mut start = prefix(hub, &url, FIRST)?;
    let length = start
        .first_chunk::<8>()
        .map(|bytes| u64::from_le_bytes(*bytes))
        .filter(|length| *length <= MAX_HEADER)
        .ok_or_else(|| malformed("is no safetensors file: no length of a header".into()))?;
    if (start.len() as u64) < 8 + length {
        start = prefix(hub, &url, 8 + length)?;
    }
    let text = usize::try_from(8 + length)
        .ok()
        .and_then(|end| start.get(8..end));
    let text = text.ok_or_else(|| malformed("ends within its header".into()))?;
    let entries: BTreeMap<String, Value> =
        serde_json::from_slice(text).map_err(|error| malformed(error.to_string()))?;
    entries
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
        .map(|(name, entry)| {
            let entry: Entry = serde_json::from_value(entry)
                .map_err(|error| malformed(format!("tensor `{name}`: {error}")))?;
            Ok(RemoteTensor {
                name,
                dtype: entry.dtype,
                shape: entry.shape,
                file: file.into(),
            })
        })
        .collect()
}

/// The first bytes of a file, fewer if it is shorter.
fn prefix(hub: &Hub<'_>, url: &str, bytes: u64) -> Result<Vec<u8>, HubError> {
    let ask = Ask {
        head: false,
        range: Some((0, Some(bytes - 1))),
    };
    let response = hub.client.send(url, ask)?;
    if !response.status().is_success() {
        return Err(hub.refusal(response, url));
    }
    // A server that ignores the range would send everything.
    let body = response.into_body().into_reader();
    let mut start = Vec::new();
    body.take(bytes)
        .read_to_end(&mut start)
        .map_err(|error| HubError::Unreachable {
            url: shown(url),
            problem: error.to_string(),
        })?;
    Ok(start)
}
