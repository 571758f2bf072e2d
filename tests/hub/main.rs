//! Models by name, from a Hub on this machine.
#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod cache;
mod download;
mod environment;
mod refusal;
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use deberta::hub::{self, DownloadProgress, HubError, HubOptions, Parts};
use server::{Model, Server, fixture};
use tempfile::TempDir;

/// The name under which tests publish.
const NAME: &str = "someone/deberta-tiny";

/// A Hub, an empty cache and the settings that join them.
struct World {
    server: Server,
    home: TempDir,
    options: HubOptions,
}

impl World {
    fn new(model: Model) -> Self {
        let server = Server::start();
        server.publish(NAME, model);
        let home = tempfile::tempdir().unwrap();
        let options = HubOptions {
            endpoint: server.url.clone(),
            cache_dir: Some(home.path().join("hub")),
            token: None,
            offline: false,
            parts: Parts::All,
            timeout: Duration::from_secs(20),
            retries: 0,
        };
        Self {
            server,
            home,
            options,
        }
    }

    fn resolve(&self) -> Result<PathBuf, HubError> {
        hub::resolve(NAME, &self.options, &mut ())
    }

    /// The folder of the model in the cache.
    fn root(&self) -> PathBuf {
        self.home.path().join("hub/models--someone--deberta-tiny")
    }

    fn offline(&self) -> HubOptions {
        HubOptions {
            offline: true,
            ..self.options.clone()
        }
    }
}

/// A classifier that transformers saved, and a tokenizer that SentencePiece trained.
fn tiny() -> Model {
    Model::new()
        .small("README.md", "not needed")
        .small(
            "config.json",
            fixture("deberta-model/tests/fixtures/hf/v3_seqcls/config.json"),
        )
        .large("model.safetensors", weights())
        .large("pytorch_model.bin", "not needed either")
        .large("spm.model", tokenizer())
        .small("tokenizer_config.json", r#"{"do_lower_case": false}"#)
}

fn weights() -> Vec<u8> {
    fixture("deberta-model/tests/fixtures/hf/v3_seqcls/model.safetensors")
}

fn tokenizer() -> Vec<u8> {
    fixture("deberta-data/tests/fixtures/tokenizer/nmt_nfkc.model")
}

/// Names in a folder, sorted.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Remembers what it was told.
#[derive(Debug, Default)]
struct Watcher {
    started: Vec<(String, u64, u64)>,
    bytes: u64,
    finished: Vec<String>,
}

impl DownloadProgress for Watcher {
    fn start(&mut self, file: &str, size: u64, received: u64) {
        self.started.push((file.into(), size, received));
    }

    fn advance(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    fn finish(&mut self, file: &str) {
        self.finished.push(file.into());
    }
}
