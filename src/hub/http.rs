//! Requests, and which of them carry the token.

use std::io::Read;
use std::time::Duration;

use ureq::http::{Response, StatusCode, Uri};
use ureq::{Agent, Body};

use super::error::full_name;
use super::{HubError, HubOptions, ModelId, Token};

/// Redirects that are followed, as in browsers and Python's library.
const MAX_REDIRECTS: usize = 10;

/// Most that is read of what a server says about its refusal, in bytes.
const MAX_MESSAGE: u64 = 300;

/// Makes requests for files.
pub(super) struct Client {
    agent: Agent,
    endpoint: Uri,
    token: Option<Token>,
}

/// How a request differs from a plain one.
#[derive(Clone, Copy, Default)]
pub(super) struct Ask {
    /// The headers only, with those of the endpoint itself rather than of where it redirects to.
    pub(super) head: bool,
    /// First byte, and last byte if not the last of all.
    pub(super) range: Option<(u64, Option<u64>)>,
}

impl Client {
    pub(super) fn new(options: &HubOptions) -> Result<Self, HubError> {
        let wrong = |problem: &str| HubError::Endpoint {
            endpoint: shown(&options.endpoint),
            problem: problem.into(),
        };
        let endpoint: Uri = options
            .endpoint
            .parse()
            .map_err(|_| wrong("not an address"))?;
        let is_web = matches!(endpoint.scheme_str(), Some("http" | "https"));
        if !is_web || endpoint.query().is_some() {
            return Err(wrong("expected `https://` and a host"));
        }
        let mut config = Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("deberta/", env!("CARGO_PKG_VERSION")))
            // What is counted and resumed are the bytes of the file.
            .accept_encoding("identity")
            .timeout_resolve(Some(options.timeout))
            .timeout_connect(Some(options.timeout))
            .timeout_recv_response(Some(options.timeout))
            .timeout_per_read(Some(options.timeout));
        if is_loopback(&endpoint) {
            config = config.proxy(None);
        }
        Ok(Self {
            agent: config.build().into(),
            endpoint,
            token: options.token.clone(),
        })
    }

    pub(super) fn with_token(&self) -> bool {
        self.token.is_some()
    }

    /// Follows redirects; the token stays at the endpoint.
    pub(super) fn send(&self, url: &str, ask: Ask) -> Result<Response<Body>, HubError> {
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let malformed = |problem: &str| HubError::Malformed {
                origin: shown(&url),
                problem: problem.into(),
            };
            let uri: Uri = url.parse().map_err(|_| malformed("is not an address"))?;
            let at_home = origin(&uri) == origin(&self.endpoint);
            let mut request = match ask.head {
                true => self.agent.head(&url),
                false => self.agent.get(&url),
            };
            if let Some(token) = self.token.as_ref().filter(|_| at_home) {
                request = request.header("Authorization", format!("Bearer {}", token.secret()));
            }
            if let Some((first, last)) = ask.range {
                let last = last.map(|it| it.to_string()).unwrap_or_default();
                request = request.header("Range", format!("bytes={first}-{last}"));
            }
            let response = request.call().map_err(|error| unreachable(&url, &error))?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let location =
                header(&response, "location").ok_or_else(|| malformed("redirects to nowhere"))?;
            let next = join(&uri, &location);
            let next_uri: Uri = next
                .parse()
                .map_err(|_| malformed("redirects to what is not an address"))?;
            if uri.scheme_str() == Some("https") && next_uri.scheme_str() != Some("https") {
                return Err(malformed("redirects from https to an open connection"));
            }
            if ask.head && origin(&next_uri) != origin(&self.endpoint) {
                return Ok(response);
            }
            url = next;
        }
        Err(HubError::Malformed {
            origin: shown(&url),
            problem: format!("more than {MAX_REDIRECTS} redirects"),
        })
    }
}

/// Settings of a request that `hf-hub` prepares.
pub(super) struct Limits {
    pub(super) timeout: Duration,
    pub(super) direct: bool,
}

impl Limits {
    pub(super) fn new(options: &HubOptions) -> Self {
        let endpoint: Option<Uri> = options.endpoint.parse().ok();
        Self {
            timeout: options.timeout,
            direct: endpoint.is_some_and(|it| is_loopback(&it)),
        }
    }
}

/// The error that an answer other than success is.
pub(super) fn refusal(
    response: Response<Body>,
    url: &str,
    id: &ModelId,
    endpoint: &str,
    with_token: bool,
) -> HubError {
    let status = response.status().as_u16();
    let model = full_name(id);
    let code = header(&response, "x-error-code").unwrap_or_default();
    match (code.as_str(), status) {
        ("RevisionNotFound", _) => HubError::RevisionNotFound {
            model: id.name().into(),
            revision: id.revision().into(),
        },
        ("RepoNotFound", _) => HubError::ModelNotFound {
            model: id.name().into(),
            endpoint: shown(endpoint),
            with_token,
        },
        ("GatedRepo", _) | (_, 401 | 403) => HubError::Denied {
            model,
            status,
            with_token,
        },
        _ => HubError::Http {
            url: shown(url),
            status,
            message: message(response),
        },
    }
}

/// What the server says, in one line.
fn message(response: Response<Body>) -> String {
    let text = header(&response, "x-error-message").unwrap_or_else(|| {
        let mut text = Vec::new();
        let body = response.into_body().into_reader();
        let _ = body.take(MAX_MESSAGE).read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

pub(super) fn header(response: &Response<Body>, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

pub(super) fn unreachable(url: &str, error: &ureq::Error) -> HubError {
    HubError::Unreachable {
        url: shown(url),
        problem: match error {
            // The words of the operating system, without a prefix.
            ureq::Error::Io(error) => error.to_string(),
            other => other.to_string(),
        },
    }
}

/// An address for people: without user, password and the signatures of a query.
pub(super) fn shown(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = bare.split_once("://") else {
        return bare.into();
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Scheme, host and port: what a browser calls the same origin.
fn origin(uri: &Uri) -> (String, String, Option<u16>) {
    let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
    let standard = match scheme.as_str() {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    };
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    (scheme, host, uri.port_u16().or(standard))
}

/// This machine, which no proxy stands before.
fn is_loopback(uri: &Uri) -> bool {
    matches!(uri.host(), Some("127.0.0.1" | "localhost" | "[::1]"))
}

/// Where a redirect of `base` leads.
fn join(base: &Uri, location: &str) -> String {
    let scheme = base.scheme_str().unwrap_or("https");
    let authority = base.authority().map_or("", |it| it.as_str());
    if location.starts_with("http://") || location.starts_with("https://") {
        location.into()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let folder = base
            .path()
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_messages_hold_no_secret() {
        assert_eq!(
            shown("https://me:secret@host:8/a/b?Signature=secret#x"),
            "https://host:8/a/b"
        );
        assert_eq!(shown("http://host"), "http://host");
    }

    #[test]
    fn redirects_lead_where_a_browser_would_go() {
        let base: Uri = "https://a.b:1/c/d/e?f=g".parse().unwrap();
        for (location, url) in [
            ("https://x/y?z", "https://x/y?z"),
            ("//x/y", "https://x/y"),
            ("/y?z", "https://a.b:1/y?z"),
            ("y", "https://a.b:1/c/d/y"),
        ] {
            assert_eq!(join(&base, location), url);
        }
    }

    #[test]
    fn the_origin_is_scheme_host_and_port() {
        let origin = |url: &str| super::origin(&url.parse().unwrap());
        assert_eq!(origin("https://HOST/a"), origin("https://host:443/b"));
        for other in ["http://host/a", "https://host:444/a", "https://host.x/a"] {
            assert_ne!(origin("https://host/a"), origin(other));
        }
    }
}
