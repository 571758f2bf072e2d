//! A Hub on this machine: an endpoint, and a second server that it redirects large files to.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use sha1::{Digest as _, Sha1};
use sha2::{Digest as _, Sha256};

/// What the server should do wrong, once.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Closes the connection after so many bytes of the body.
    Cut(usize),
    /// Sends nothing more after so many bytes, and keeps the connection.
    Stall(usize),
    /// Refuses, with this status and these headers.
    Refuse(u16, &'static str),
    /// Sends all of it whatever was asked for.
    IgnoreRange,
    /// Sends other bytes.
    Send(Vec<u8>),
}

/// A request, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Whether it came to the second server.
    pub(crate) at_cdn: bool,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
}

/// A model: its commit, and its files with whether they are in large-file storage.
#[derive(Debug, Default, Clone)]
pub(crate) struct Model {
    pub(crate) commit: String,
    pub(crate) files: BTreeMap<String, (Vec<u8>, bool)>,
    /// Leaves sizes and hashes out of the list of files.
    pub(crate) tells_little: bool,
}

#[derive(Debug, Default)]
struct State {
    models: BTreeMap<String, Model>,
    /// Faults of a file, or of `list`.
    faults: BTreeMap<String, VecDeque<Fault>>,
    seen: Vec<Seen>,
    cdn: String,
    /// Connections that are kept without an answer.
    stalled: Vec<TcpStream>,
}

/// A running Hub.
pub(crate) struct Server {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

pub(crate) const COMMIT: &str = "8ccc9b6f36199bec6961081d44eb72fb3f7353f3";

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn git_sha1(bytes: &[u8]) -> String {
    let hasher = Sha1::new().chain_update(format!("blob {}\0", bytes.len()));
    hex(&hasher.chain_update(bytes).finalize())
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            commit: COMMIT.into(),
            ..Self::default()
        }
    }

    /// A small file, kept in git.
    pub(crate) fn small(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.insert(name.into(), (bytes.into(), false));
        self
    }

    /// A large file, kept in large-file storage.
    pub(crate) fn large(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.insert(name.into(), (bytes.into(), true));
        self
    }

    /// Name of the content in the cache.
    pub(crate) fn digits(&self, name: &str) -> String {
        let (bytes, is_large) = &self.files[name];
        if *is_large {
            sha256(bytes)
        } else {
            git_sha1(bytes)
        }
    }

    fn list(&self) -> String {
        let siblings: Vec<serde_json::Value> = self
            .files
            .iter()
            .map(|(name, (bytes, is_large))| {
                let mut file = serde_json::json!({"rfilename": name});
                if !self.tells_little {
                    file["size"] = bytes.len().into();
                    file["blobId"] = git_sha1(if *is_large { b"pointer" } else { bytes }).into();
                }
                if *is_large && !self.tells_little {
                    file["lfs"] = serde_json::json!(
                        {"sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134}
                    );
                }
                file
            })
            .collect();
        serde_json::json!({"sha": self.commit, "siblings": siblings}).to_string()
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let hub = TcpListener::bind("127.0.0.1:0").unwrap();
        let cdn = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = |it: &TcpListener| format!("http://{}", it.local_addr().unwrap());
        let url = address(&hub);
        state.lock().unwrap().cdn = address(&cdn);
        for (listener, at_cdn) in [(hub, false), (cdn, true)] {
            let state = Arc::clone(&state);
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let state = Arc::clone(&state);
                    thread::spawn(move || serve(stream, at_cdn, &state));
                }
            });
        }
        Self { url, state }
    }

    pub(crate) fn publish(&self, name: &str, model: Model) {
        self.state.lock().unwrap().models.insert(name.into(), model);
    }

    /// Does something wrong at the next request for the file, or for the list.
    pub(crate) fn fail(&self, file: &str, fault: Fault) {
        let mut state = self.state.lock().unwrap();
        state
            .faults
            .entry(file.into())
            .or_default()
            .push_back(fault);
    }

    /// The requests since this was last asked.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }

    /// The files whose content was asked for since this was last asked.
    pub(crate) fn downloaded(&self) -> Vec<String> {
        let requests = self.seen().into_iter();
        let files = requests.filter(|it| !it.at_cdn && it.method == "GET");
        files
            .filter_map(|it| {
                Some(
                    it.target
                        .split_once("/resolve/")?
                        .1
                        .split_once('/')?
                        .1
                        .into(),
                )
            })
            .collect()
    }
}

/// One request, one answer.
fn serve(stream: TcpStream, at_cdn: bool, state: &Mutex<State>) {
    let mut lines = BufReader::new(&stream).lines();
    let Some(Ok(first)) = lines.next() else {
        return;
    };
    let mut words = first.split(' ');
    let mut seen = Seen {
        at_cdn,
        method: words.next().unwrap().into(),
        target: words.next().unwrap().into(),
        range: None,
        authorization: None,
    };
    for line in lines.map_while(Result::ok).take_while(|it| !it.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        match name.to_ascii_lowercase().as_str() {
            "range" => seen.range = Some(value.into()),
            "authorization" => seen.authorization = Some(value.into()),
            _ => {}
        }
    }
    let mut state = state.lock().unwrap();
    state.seen.push(seen.clone());
    let stalls = answer(&stream, &seen, &mut state);
    if stalls {
        state.stalled.push(stream);
    } else {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Whether the connection is to be kept without another word.
fn answer(stream: &TcpStream, seen: &Seen, state: &mut State) -> bool {
    let path = seen.target.split('?').next().unwrap();
    if let Some(rest) = path.strip_prefix("/api/models/") {
        let (name, _revision) = rest.split_once("/revision/").unwrap();
        assert!(seen.target.ends_with("?blobs=true"), "{}", seen.target);
        let fault = state.faults.entry("list".into()).or_default().pop_front();
        return match state.models.get(name) {
            None => reply(stream, 404, "X-Error-Code: RepoNotFound", b"", seen, None),
            Some(model) => reply(stream, 200, "", model.list().as_bytes(), seen, fault),
        };
    }
    let (name, file) = if seen.at_cdn {
        path.trim_start_matches('/').split_once("/file/").unwrap()
    } else {
        let (name, rest) = path
            .trim_start_matches('/')
            .split_once("/resolve/")
            .unwrap();
        (name, rest.split_once('/').unwrap().1)
    };
    let model = &state.models[name];
    let (bytes, is_large) = model.files[file].clone();
    let etag = model.digits(file);
    let commit = format!("X-Repo-Commit: {}", model.commit);
    if is_large && !seen.at_cdn {
        // The signature must not reach a message.
        let headers = format!(
            "{commit}\r\nX-Linked-Etag: \"{etag}\"\r\nX-Linked-Size: {}\r\nETag: \"other\"\r\n\
             Location: {}/{name}/file/{file}?Signature=topsecret",
            bytes.len(),
            state.cdn
        );
        return reply(stream, 302, &headers, b"", seen, None);
    }
    let faults = state.faults.entry(file.into()).or_default();
    let fault = (seen.method == "GET").then(|| faults.pop_front()).flatten();
    let headers = format!("{commit}\r\nETag: W/\"{etag}\"");
    reply(stream, 200, &headers, &bytes, seen, fault)
}

fn reply(
    mut stream: &TcpStream,
    status: u16,
    headers: &str,
    body: &[u8],
    seen: &Seen,
    fault: Option<Fault>,
) -> bool {
    let mut headers: Vec<String> = headers.lines().map(str::to_owned).collect();
    let (mut status, mut body) = (status, body.to_vec());
    let range = seen.range.clone().filter(|_| status == 200);
    if let Some(range) = range.filter(|_| !matches!(fault, Some(Fault::IgnoreRange))) {
        let (first, last) = range
            .strip_prefix("bytes=")
            .unwrap()
            .split_once('-')
            .unwrap();
        let first: usize = first.parse().unwrap();
        let last = last.parse().unwrap_or(usize::MAX).min(body.len() - 1);
        headers.push(format!(
            "Content-Range: bytes {first}-{last}/{}",
            body.len()
        ));
        body = body[first..=last].to_vec();
        status = 206;
    }
    let mut sent = body.len();
    let mut stalls = false;
    match fault {
        Some(Fault::Cut(bytes)) => sent = bytes.min(sent),
        Some(Fault::Stall(bytes)) => (sent, stalls) = (bytes.min(sent), true),
        Some(Fault::Refuse(code, header)) => {
            (status, headers) = (code, vec![header.to_owned()]);
            (body, sent) = (Vec::new(), 0);
        }
        Some(Fault::Send(bytes)) => (sent, body) = (bytes.len(), bytes),
        Some(Fault::IgnoreRange) | None => {}
    }
    headers.retain(|line| !line.is_empty());
    headers.insert(0, format!("HTTP/1.1 {status} status"));
    headers.push(format!("Content-Length: {}", body.len()));
    headers.push("Connection: close\r\n\r\n".into());
    let _ = stream.write_all(headers.join("\r\n").as_bytes());
    if seen.method != "HEAD" {
        let _ = stream.write_all(&body[..sent]);
    }
    stalls
}

/// The bytes of a fixture of another crate.
pub(crate) fn fixture(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("crates")
        .join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
