//! Downloads: whole, cut off, stalled, damaged, in parts.

use std::fs;
use std::path::Path;
use std::time::Duration;

use deberta::backend::DefaultBackend;
use deberta::data::tokenizer::{Tokenize, Tokenizer};
use deberta::hub::{self, ContentHash, HubError, HubOptions, Parts};
use deberta::model::checkpoint::{Compatibility, load_model};

use crate::server::{Fault, Model, fixture, git_sha1, sha256};
use crate::{NAME, Watcher, World, names, tiny, tokenizer, weights};

/// Where the bytes of an unfinished download of the weights are.
fn partial(world: &World, bytes: &[u8]) -> std::path::PathBuf {
    let name = format!("{}.incomplete", sha256(bytes));
    world.root().join("blobs").join(name)
}

#[test]
fn a_name_becomes_a_folder_that_loads() {
    let world = World::new(tiny());
    let mut watcher = Watcher::default();
    let dir = hub::resolve(NAME, &world.options, &mut watcher).unwrap();

    let needed = [
        "config.json",
        "model.safetensors",
        "spm.model",
        "tokenizer_config.json",
    ];
    assert_eq!(names(&dir), needed);
    assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
    let device = Default::default();
    let (_, config) =
        load_model::<DefaultBackend>(&dir, Compatibility::Microsoft, &device).unwrap();
    assert!(config.hidden_size > 0);
    assert!(Tokenizer::open(&dir).unwrap().vocab_size() > 0);

    // Weights come last: whoever has them has all the rest.
    let order = [
        "config.json",
        "spm.model",
        "tokenizer_config.json",
        "model.safetensors",
    ];
    assert_eq!(watcher.finished, order);
    let total: u64 = watcher.started.iter().map(|(_, size, _)| size).sum();
    assert_eq!(watcher.bytes, total);
}

#[test]
fn a_configuration_may_have_the_name_that_gliner_gives_it() {
    let config = fixture("deberta-model/tests/fixtures/hf/v3_seqcls/config.json");
    let model = Model::new()
        .small("gliner_config.json", config)
        .large("model.safetensors", weights())
        .large("spm.model", tokenizer());
    let world = World::new(model);
    let dir = world.resolve().unwrap();
    assert!(names(&dir).contains(&"gliner_config.json".to_owned()));
    let offline = hub::resolve(NAME, &world.offline(), &mut ()).unwrap();
    assert_eq!(offline, dir);
}

#[test]
fn a_second_call_downloads_nothing() {
    let world = World::new(tiny());
    let dir = world.resolve().unwrap();
    assert_eq!(world.server.downloaded().len(), 4);
    assert_eq!(world.resolve().unwrap(), dir);
    assert_eq!(world.server.downloaded(), Vec::<String>::new());
}

#[test]
fn a_new_commit_brings_what_changed_only() {
    let world = World::new(tiny());
    let old = world.resolve().unwrap();
    world.server.downloaded();
    let mut changed = tiny().small("tokenizer_config.json", "{}");
    changed.commit = "b".repeat(40);
    world.server.publish(NAME, changed);
    let new = world.resolve().unwrap();
    assert_eq!(world.server.downloaded(), ["tokenizer_config.json"]);
    assert_ne!(new, old);
    assert_eq!(fs::read(new.join("model.safetensors")).unwrap(), weights());
    assert_eq!(
        fs::read(old.join("tokenizer_config.json")).unwrap(),
        br#"{"do_lower_case": false}"#
    );
}

#[test]
fn a_download_that_was_cut_off_is_continued_by_the_next_call() {
    let world = World::new(tiny());
    world.server.fail("model.safetensors", Fault::Cut(30_000));
    let error = world.resolve().unwrap_err();
    let size = weights().len() as u64;
    match &error {
        HubError::Interrupted {
            file,
            received,
            size: of,
            partial: at,
            ..
        } => {
            assert_eq!(
                (file.as_str(), *received, *of),
                ("model.safetensors", 30_000, size)
            );
            assert_eq!(fs::read(at).unwrap(), weights()[..30_000]);
        }
        other => panic!("{other}"),
    }
    assert!(!world.root().join("blobs").join(sha256(&weights())).exists());
    assert!(
        !world.root().join("refs/main").exists(),
        "noted before it was complete"
    );

    world.server.seen();
    let mut watcher = Watcher::default();
    let dir = hub::resolve(NAME, &world.options, &mut watcher).unwrap();
    assert_eq!(
        watcher.started,
        [("model.safetensors".to_owned(), size, 30_000)]
    );
    let ranges: Vec<_> = world
        .server
        .seen()
        .into_iter()
        .filter_map(|it| it.range)
        .collect();
    assert_eq!(
        ranges, ["bytes=30000-"; 2],
        "at the endpoint and where it redirects to"
    );
    assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
    assert!(!partial(&world, &weights()).exists());
}

#[test]
fn a_download_is_continued_at_once_while_retries_last() {
    let mut world = World::new(tiny());
    world.options.retries = 2;
    world.options.timeout = Duration::from_millis(500);
    world.server.fail("model.safetensors", Fault::Cut(10_000));
    world.server.fail("model.safetensors", Fault::Stall(10_000));
    let dir = world.resolve().unwrap();
    let seen = world.server.seen();
    let ranges: Vec<_> = seen
        .iter()
        .filter(|it| it.at_cdn)
        .filter_map(|it| it.range.clone())
        .collect();
    assert_eq!(ranges, ["bytes=10000-", "bytes=20000-"]);
    assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn what_changed_since_the_interruption_is_downloaded_anew() {
    let world = World::new(tiny());
    world.server.fail("model.safetensors", Fault::Cut(30_000));
    world.resolve().unwrap_err();
    let mut other = weights();
    other.reverse();
    let mut changed = tiny().large("model.safetensors", other.clone());
    changed.commit = "c".repeat(40);
    world.server.publish(NAME, changed);
    let dir = world.resolve().unwrap();
    assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), other);
}

#[test]
fn a_server_without_ranges_sends_everything_again() {
    let world = World::new(tiny());
    world.server.fail("model.safetensors", Fault::Cut(30_000));
    world.resolve().unwrap_err();
    world.server.fail("model.safetensors", Fault::IgnoreRange);
    let dir = world.resolve().unwrap();
    assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn bytes_of_the_wrong_hash_are_an_error_and_leave_nothing() {
    for (file, hash) in [
        ("model.safetensors", sha256 as fn(&[u8]) -> String),
        ("config.json", git_sha1),
    ] {
        let world = World::new(tiny());
        let mut wrong = tiny().files[file].0.clone();
        let last = wrong.len() - 1;
        wrong[last] ^= 1;
        world.server.fail(file, Fault::Send(wrong.clone()));
        match world.resolve().unwrap_err() {
            HubError::HashMismatch {
                file: named,
                expected,
                found,
            } => {
                assert_eq!((named.as_str(), &expected), (file, &tiny().digits(file)));
                assert_eq!(found, hash(&wrong));
            }
            other => panic!("{other}"),
        }
        let left = names(&world.root().join("blobs"));
        assert!(
            left.iter().all(|it| !it.starts_with(&tiny().digits(file))),
            "{left:?}"
        );
        let dir = world.resolve().unwrap();
        assert_eq!(fs::read(dir.join(file)).unwrap(), tiny().files[file].0);
    }
}

#[test]
fn a_damaged_remainder_is_thrown_away_and_the_file_fetched_whole() {
    let world = World::new(tiny());
    let path = partial(&world, &weights());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    for remainder in [
        vec![0; 5_000],
        vec![0; weights().len()],
        vec![0; weights().len() + 1],
    ] {
        let _ = fs::remove_dir_all(world.root().join("snapshots"));
        let _ = fs::remove_file(world.root().join("blobs").join(sha256(&weights())));
        fs::write(&path, remainder).unwrap();
        let dir = world.resolve().unwrap();
        assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
    }
}

#[test]
fn a_body_of_another_size_is_an_error() {
    let world = World::new(tiny());
    world.server.fail("spm.model", Fault::Send(vec![7; 10]));
    let error = world.resolve().unwrap_err();
    let expected = tokenizer().len() as u64;
    assert!(
        matches!(&error, HubError::WrongSize { file, expected: of, found: 10 }
            if file == "spm.model" && *of == expected),
        "{error}"
    );
}

#[test]
fn weights_in_parts_are_all_fetched() {
    let index = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}}"#;
    let model = || {
        Model::new()
            .small("config.json", "{}")
            .small("model.safetensors.index.json", index)
            .large("model-1.safetensors", "one")
            .large("model-2.safetensors", "two")
            .large("pytorch_model.bin", "not needed")
    };
    let world = World::new(model());
    let dir = world.resolve().unwrap();
    assert_eq!(fs::read(dir.join("model-2.safetensors")).unwrap(), b"two");
    assert!(!dir.join("pytorch_model.bin").exists());

    for (index, problem) in [
        (r#"{"weight_map": {"a": "../../secret"}}"#, "`../../secret`"),
        (r#"{"weight_map": {}}"#, "names no file"),
        (
            r#"{"weight_map": {"a": "model-3.safetensors"}}"#,
            "`model-3.safetensors`",
        ),
        ("[", "EOF"),
    ] {
        let world = World::new(model().small("model.safetensors.index.json", index));
        let error = world.resolve().unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn pytorch_weights_are_taken_where_there_are_no_others() {
    for name in ["pytorch_model.bin", "pytorch.model.bin"] {
        let model = Model::new()
            .small("config.json", "{}")
            .large(name, "pickle");
        let world = World::new(model.small("vocab.json", "{}").small("merges.txt", ""));
        let dir = world.resolve().unwrap();
        assert_eq!(fs::read(dir.join(name)).unwrap(), b"pickle");
        assert_eq!(
            fs::read(dir.join("merges.txt")).unwrap(),
            b"",
            "an empty file"
        );
    }
}

#[test]
fn a_list_without_hashes_is_completed_by_asking_for_each_file() {
    let mut model = tiny();
    model.tells_little = true;
    let world = World::new(model);
    let dir = world.resolve().unwrap();
    assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
    let mut expected: Vec<String> = names(&dir).iter().map(|name| tiny().digits(name)).collect();
    expected.sort();
    assert_eq!(names(&world.root().join("blobs")), expected);
}

#[test]
fn inspecting_a_model_does_not_download_its_weights() {
    let world = World::new(tiny());
    let model = hub::inspect(NAME, &world.options, &mut ()).unwrap();
    assert!(Tokenizer::open(&model.dir).is_ok());
    assert!(!model.dir.join("model.safetensors").exists());
    let of_fixture = fixture("deberta-model/tests/fixtures/hf/v3_seqcls/model.safetensors");
    assert_eq!(model.files.len(), tiny().files.len());
    assert_eq!(model.weights[0].size, Some(of_fixture.len() as u64));
    assert_eq!(
        model.weights[0].hash,
        Some(ContentHash::Sha256(sha256(&of_fixture)))
    );

    let tensors = model.tensors.unwrap();
    let table = "deberta.embeddings.word_embeddings.weight";
    let table = tensors.iter().find(|it| it.name == table).unwrap();
    let device = Default::default();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("crates/deberta-model/tests/fixtures/hf/v3_seqcls");
    let (_, config) =
        load_model::<DefaultBackend>(&dir, Compatibility::Microsoft, &device).unwrap();
    assert_eq!(
        table.shape,
        [config.vocab_size as u64, config.hidden_size as u64]
    );
    assert_eq!(table.dtype, "F32");
    for request in world.server.seen() {
        let is_weights = request.target.contains("model.safetensors");
        assert!(
            !is_weights || request.range.as_deref() == Some("bytes=0-65535"),
            "{request:?}"
        );
    }

    // What was learned is enough for the metadata, and not for the weights.
    let metadata = HubOptions {
        parts: Parts::Metadata,
        ..world.offline()
    };
    assert_eq!(hub::resolve(NAME, &metadata, &mut ()).unwrap(), model.dir);
    let error = hub::resolve(NAME, &world.offline(), &mut ()).unwrap_err();
    assert!(error.to_string().contains("lacks weights"), "{error}");
}
