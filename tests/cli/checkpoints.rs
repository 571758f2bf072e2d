//! `deberta inspect`, `convert` and `init`.

use serde_json::Value;

use crate::{fail, fixture, succeed, text};

fn inspect(dir: &str) -> Value {
    serde_json::from_str(&succeed(&["inspect", dir, "--json"])).unwrap()
}

#[test]
fn a_checkpoint_says_what_it_is() {
    let report = inspect(text(&fixture("ms/emd_v3")));
    assert_eq!(report["weights"]["encoder"]["complete"], true);
    let heads: Vec<&str> = report["weights"]["heads"]
        .as_array()
        .unwrap()
        .iter()
        .map(|head| head["head"].as_str().unwrap())
        .collect();
    assert_eq!(
        heads,
        [
            "masked language model with the enhanced mask decoder",
            "replaced-token detection"
        ]
    );
    assert_eq!(report["weights"]["dtypes"][0], "f32");
    assert!(
        report["tokenizer"]["Err"]
            .as_str()
            .unwrap()
            .contains("no tokenizer at")
    );

    let printed = succeed(&["inspect", text(&fixture("hf/v1_seqcls")), "--tensors"]);
    assert!(
        printed.contains("sequence classification: complete"),
        "{printed}"
    );
    assert!(
        printed.contains("attention.self.in_proj.weight"),
        "{printed}"
    );
}

#[test]
fn what_is_missing_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    let source = fixture("hf/v3_tokcls");
    let copy = |name: &str| std::fs::copy(source.join(name), dir.path().join(name)).unwrap();
    copy("model.safetensors");
    let config = std::fs::read_to_string(source.join("config.json")).unwrap();
    let deeper = config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    assert_ne!(config, deeper);
    std::fs::write(dir.path().join("config.json"), deeper).unwrap();
    let report = inspect(text(dir.path()));
    assert_eq!(report["weights"]["encoder"]["complete"], false);
    let missing = report["weights"]["encoder"]["missing"].as_array().unwrap();
    assert_eq!(missing.len(), 16, "{missing:?}");
    assert!(missing[0].as_str().unwrap().contains("layer.2."));
}

#[test]
fn conversion_keeps_the_numbers_and_rounds_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&dir.path().join(name)).to_owned();
    let source = fixture("hf/v1_mlm_legacy");
    succeed(&[
        "convert",
        text(&source),
        &path("pytorch"),
        "--format",
        "pytorch",
    ]);
    succeed(&[
        "convert",
        &path("pytorch"),
        &path("parts"),
        "--max-part-size",
        "50kB",
    ]);
    succeed(&["convert", &path("parts"), &path("whole")]);
    succeed(&["convert", text(&source), &path("direct")]);
    let read = |name: &str| std::fs::read(dir.path().join(name).join("model.safetensors")).unwrap();
    assert!(
        read("whole") == read("direct"),
        "numbers changed on the way"
    );
    assert!(
        dir.path()
            .join("parts/model.safetensors.index.json")
            .exists()
    );

    succeed(&["convert", text(&source), &path("half"), "--dtype", "bf16"]);
    assert_eq!(inspect(&path("half"))["weights"]["dtypes"][0], "bf16");
    assert!(read("half").len() < read("direct").len() * 6 / 10);

    let message = fail(&["convert", text(&source), text(&source)]);
    assert!(message.contains("v1_mlm_legacy"), "{message}");
    let message = fail(&["convert", &path("nowhere"), &path("x")]);
    assert!(message.contains("nowhere"), "{message}");
}

#[test]
fn weights_that_are_there_are_replaced_on_request_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let target = path("trained");
    let source = fixture("hf/v3_seqcls");
    succeed(&["convert", text(&source), text(&target)]);
    let read = || std::fs::read(target.join("model.safetensors")).unwrap();
    let trained = read();

    let other = fixture("hf/v3_tokcls");
    let convert = ["convert", text(&other), text(&target)];
    let size = [
        "--size",
        "deberta-v3-xsmall",
        "--layers",
        "1",
        "--vocab",
        "99",
    ];
    let init = [&["init", text(&target)], &size[..]].concat();
    let as_pytorch = [&convert[..], &["--format", "pytorch"]].concat();
    for command in [&convert[..], &init, &as_pytorch] {
        let message = fail(command);
        assert!(
            message.contains("model.safetensors is there already; --force"),
            "{message}"
        );
        assert!(read() == trained, "{command:?} changed the weights");
    }
    assert!(!target.join("pytorch_model.bin").exists());
    succeed(&[&init[..], &["--force"]].concat());
    assert!(read() != trained);
    // Readers prefer safetensors, of which nothing must be left.
    succeed(&[&as_pytorch[..], &["--force"]].concat());
    assert!(!target.join("model.safetensors").exists());
    let report = inspect(text(&target));
    assert_eq!(
        report["weights"]["heads"][0]["head"],
        "token classification"
    );
}

#[test]
fn configurations_of_other_names_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let source = fixture("hf/v3_seqcls");
    let copy = |name: &str, to: &str| {
        std::fs::copy(source.join(name), dir.path().join(to)).unwrap();
    };
    copy("model.safetensors", "model.safetensors");
    for name in ["model_config.json", "gliner_config.json"] {
        copy("config.json", name);
        let report = inspect(text(dir.path()));
        assert_eq!(report["weights"]["encoder"]["complete"], true, "{name}");
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    // The message names what most folders have.
    let message = fail(&["inspect", text(dir.path())]);
    assert!(message.contains("config.json"), "{message}");
}

#[test]
fn new_checkpoints_follow_from_the_seed() {
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str, seed: &str| {
        let target = dir.path().join(name);
        let size = [
            "--size",
            "deberta-v3-xsmall",
            "--layers",
            "1",
            "--vocab",
            "100",
        ];
        let head = [
            "--head",
            "sequence",
            "--labels",
            "no,yes,maybe",
            "--seed",
            seed,
        ];
        succeed(&[&["init", text(&target)], &size[..], &head].concat());
        std::fs::read(target.join("model.safetensors")).unwrap()
    };
    let first = make("a", "7");
    assert!(first == make("b", "7"));
    assert!(first != make("c", "8"));
    let report = inspect(text(&dir.path().join("a")));
    assert_eq!(report["labels"][2], "maybe");
    assert_eq!(
        report["weights"]["heads"][0]["head"],
        "sequence classification"
    );
    assert_eq!(report["weights"]["heads"][0]["complete"], true);
    let message = crate::run(&["init", "x", "--size", "bert-base"], "").stderr;
    assert!(
        message.contains("expected one of deberta-base, "),
        "{message}"
    );
}
