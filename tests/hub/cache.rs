//! The cache on disk: shared with Python, used offline, filled by several at once.

use std::fs;
use std::path::Path;
use std::thread;

use deberta::hub::{self, HubError, HubOptions, Parts};

use crate::server::{COMMIT, Fault, Model, Server};
use crate::{NAME, World, names, tiny, weights};

/// The cache as Python's `huggingface_hub` leaves it: blobs and links to them, or plain files where
/// the system has no links.
fn as_python_does(root: &Path, model: &Model, with_links: bool) {
    let snapshot = root.join("snapshots").join(&model.commit);
    for dir in ["blobs", "refs"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(root.join("refs/main"), &model.commit).unwrap();
    for (name, (bytes, _)) in &model.files {
        if with_links {
            let digits = model.digits(name);
            fs::write(root.join("blobs").join(&digits), bytes).unwrap();
            #[cfg(unix)]
            std::os::unix::fs::symlink(Path::new("../../blobs").join(&digits), snapshot.join(name))
                .unwrap();
        } else {
            fs::write(snapshot.join(name), bytes).unwrap();
        }
    }
}

#[test]
fn what_python_downloaded_is_found() {
    for with_links in [cfg!(unix), false] {
        let world = World::new(tiny());
        as_python_does(&world.root(), &tiny(), with_links);
        let dir = world.resolve().unwrap();
        assert_eq!(world.server.downloaded(), Vec::<String>::new());
        assert_eq!(dir, world.root().join("snapshots").join(COMMIT));
        let offline = hub::resolve(NAME, &world.offline(), &mut ()).unwrap();
        assert_eq!(offline, dir);
        assert_eq!(world.server.seen().len(), 0, "a request offline");
    }
}

#[cfg(unix)]
#[test]
fn what_is_downloaded_lies_where_python_looks_for_it() {
    let world = World::new(tiny());
    let dir = world.resolve().unwrap();
    assert_eq!(dir, world.root().join("snapshots").join(COMMIT));
    assert_eq!(
        fs::read_to_string(world.root().join("refs/main")).unwrap(),
        COMMIT
    );
    for name in names(&dir) {
        let target = fs::read_link(dir.join(&name)).unwrap();
        assert_eq!(target, Path::new("../../blobs").join(tiny().digits(&name)));
    }
    let absent = world.root().join(".no_exist").join(COMMIT);
    assert!(absent.join("vocab.json").exists() && !absent.join("spm.model").exists());
    let locks = world
        .home
        .path()
        .join("hub/.locks/models--someone--deberta-tiny");
    assert!(
        locks
            .join(format!("{}.lock", tiny().digits("spm.model")))
            .exists()
    );
}

#[test]
fn offline_the_message_names_what_the_cache_lacks() {
    let world = World::new(tiny());
    let lacks = |expected: &str| {
        let error = hub::resolve(NAME, &world.offline(), &mut ()).unwrap_err();
        match &error {
            HubError::Offline { missing, .. } => assert_eq!(missing, expected),
            other => panic!("{other}"),
        }
        assert!(
            error.to_string().contains("someone/deberta-tiny@main"),
            "{error}"
        );
    };
    lacks("the revision `main`");
    as_python_does(&world.root(), &Model::new(), false);
    lacks("config.json");
    let snapshot = world.root().join("snapshots").join(COMMIT);
    fs::write(snapshot.join("config.json"), "{}").unwrap();
    lacks("a tokenizer (spm.model, vocab.json or tokenizer.json)");
    fs::write(snapshot.join("vocab.json"), "{}").unwrap();
    lacks("merges.txt");
    fs::write(snapshot.join("merges.txt"), "").unwrap();
    lacks("weights (model.safetensors or another format)");
    let index = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    fs::write(snapshot.join("model.safetensors.index.json"), index).unwrap();
    fs::write(snapshot.join("model-1.safetensors"), "").unwrap();
    lacks("model-2.safetensors");
    fs::write(snapshot.join("model-2.safetensors"), "").unwrap();
    assert_eq!(
        hub::resolve(NAME, &world.offline(), &mut ()).unwrap(),
        snapshot
    );
    assert_eq!(world.server.seen().len(), 0, "a request offline");
}

#[test]
fn a_model_without_tokenizer_is_complete_without_one() {
    let model = Model::new()
        .small("config.json", "{}")
        .large("model.safetensors", "weights");
    let world = World::new(model);
    let dir = world.resolve().unwrap();
    assert_eq!(hub::resolve(NAME, &world.offline(), &mut ()).unwrap(), dir);
}

#[test]
fn a_hub_that_does_not_answer_is_replaced_by_the_cache() {
    let mut world = World::new(tiny());
    let dir = world.resolve().unwrap();
    world.server.fail(
        "list",
        Fault::Refuse(503, "X-Error-Message: down for maintenance"),
    );
    assert_eq!(world.resolve().unwrap(), dir);
    // A port that nobody listens at.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    world.options.endpoint = format!("http://{port}");
    assert_eq!(world.resolve().unwrap(), dir);
    fs::remove_file(dir.join("spm.model")).unwrap();
    let error = world.resolve().unwrap_err();
    let expected = format!("no answer from http://{port}/api/models/{NAME}: ");
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn a_revision_is_a_part_of_the_name() {
    let world = World::new(tiny());
    let resolve = |model: &str, options: &HubOptions| hub::resolve(model, options, &mut ());
    let dir = resolve(&format!("{NAME}@refs/pr/1"), &world.options).unwrap();
    let asked = world.server.seen().remove(0).target;
    assert_eq!(
        asked,
        format!("/api/models/{NAME}/revision/refs%2Fpr%2F1?blobs=true")
    );
    assert_eq!(
        fs::read_to_string(world.root().join("refs/refs/pr/1")).unwrap(),
        COMMIT
    );
    assert!(resolve(NAME, &world.offline()).is_err(), "another revision");

    // The files of a commit never change: nothing has to be asked.
    let pinned = format!("{NAME}@{COMMIT}");
    assert_eq!(resolve(&pinned, &world.options).unwrap(), dir);
    assert_eq!(world.server.seen().len(), 0);
    let tokenizer = dir.join("spm.model");
    fs::remove_file(&tokenizer).unwrap();
    assert_eq!(resolve(&pinned, &world.options).unwrap(), dir);
    assert!(tokenizer.exists());
    assert!(!world.root().join("refs").join(COMMIT).exists());
}

#[test]
fn looking_at_a_new_commit_keeps_the_old_one_for_offline_use() {
    let world = World::new(tiny());
    let old = world.resolve().unwrap();
    let mut changed = tiny().large("model.safetensors", "new");
    changed.commit = "d".repeat(40);
    world.server.publish(NAME, changed);
    let new = hub::inspect(NAME, &world.options, &mut ());
    assert!(new.is_err(), "no header: {new:?}");
    let metadata = HubOptions {
        parts: Parts::Metadata,
        ..world.options.clone()
    };
    assert_ne!(hub::resolve(NAME, &metadata, &mut ()).unwrap(), old);
    assert_eq!(hub::resolve(NAME, &world.offline(), &mut ()).unwrap(), old);
}

#[test]
fn a_truncated_blob_is_replaced() {
    let world = World::new(tiny());
    let dir = world.resolve().unwrap();
    let blob = world
        .root()
        .join("blobs")
        .join(tiny().digits("model.safetensors"));
    fs::write(&blob, "short").unwrap();
    world.server.seen();
    world.resolve().unwrap();
    assert_eq!(world.server.downloaded(), ["model.safetensors"]);
    assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn several_downloads_at_once_make_one_cache() {
    let world = World::new(tiny());
    let dirs: Vec<_> = thread::scope(|scope| {
        let calls: Vec<_> = (0..6).map(|_| scope.spawn(|| world.resolve())).collect();
        calls
            .into_iter()
            .map(|it| it.join().unwrap().unwrap())
            .collect()
    });
    for dir in dirs {
        assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
    }
    // Who waits for a lock finds the file afterwards.
    assert_eq!(world.server.downloaded().len(), 4);
    for folder in ["blobs".into(), format!("snapshots/{COMMIT}")] {
        let left = names(&world.root().join(folder));
        assert_eq!(left.len(), 4, "{left:?}");
    }
    assert_eq!(names(&world.root().join("refs")), ["main"]);
}

#[test]
fn a_folder_is_its_own_answer() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = HubOptions::from_lookup(|_| None);
    let model = dir.path().to_str().unwrap();
    assert_eq!(hub::resolve(model, &nothing, &mut ()).unwrap(), dir.path());
    let error = hub::resolve("./not/here", &nothing, &mut ()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("`./not/here` is not a folder"),
        "{error}"
    );
    let error = hub::resolve(NAME, &nothing, &mut ()).unwrap_err();
    assert!(matches!(error, HubError::NoCacheDir), "{error}");
}

#[test]
fn an_endpoint_is_an_address() {
    for endpoint in ["", "huggingface.co", "ftp://host", "https://host?x"] {
        let world = World::new(tiny());
        let options = HubOptions {
            endpoint: endpoint.into(),
            ..world.options.clone()
        };
        let error = hub::resolve(NAME, &options, &mut ()).unwrap_err();
        assert!(
            matches!(error, HubError::Endpoint { .. }),
            "{endpoint}: {error}"
        );
    }
    let server = Server::start();
    server.publish(NAME, tiny());
    let world = World::new(Model::new());
    let options = HubOptions {
        endpoint: format!("{}/", server.url),
        ..world.options.clone()
    };
    assert!(
        hub::resolve(NAME, &options, &mut ()).is_ok(),
        "a slash at the end"
    );
}
