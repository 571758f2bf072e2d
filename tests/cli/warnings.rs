//! What the library says beside its results reaches whoever runs the program.

use std::path::Path;
use std::process::Command;

use crate::answers::checkpoint;
use crate::text;

/// What the program writes to standard error with a token that cannot be one.
fn messages(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_deberta"))
        .args(arguments)
        .env("HF_TOKEN", "two words")
        .output()
        .unwrap();
    let messages = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{messages}");
    messages
}

const TOKEN: &str = "warning: the token for the Hub has letters that no token has and is not used";

#[test]
fn warnings_of_the_library_are_seen() {
    let dir = checkpoint("classify_softmax");
    let said = messages(&["classify", "-m", text(dir.path()), "good"]);
    assert!(said.lines().any(|line| line == TOKEN), "{said}");
}

#[test]
fn warnings_of_a_training_run_are_seen() {
    let model = checkpoint("classify_softmax");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("reviews.tsv");
    let rows = "review\tnegative\nreview\tneutral\nreview\tpositive\n".repeat(4);
    std::fs::write(&file, format!("text\tlabel\n{rows}")).unwrap();
    let out = dir.path().join("run");
    let flags = |more: &[&'static str]| -> Vec<String> {
        let base = ["finetune", "--task", "classify", "--train-part", "0.5"];
        let paths = ["--train", text(&file), "--model", text(model.path())];
        let out = ["--steps", "2", "--plain", "--out", text(&out)];
        let all = [&base[..], &paths, &out, more].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    let train = |more| {
        let flags = flags(more);
        messages(&flags.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let said = train(&["--set", "train.run.save_every=1"]);
    assert!(said.lines().any(|line| line == TOKEN), "{said}");

    damage_latest(&out.join("checkpoints"));
    let said = train(&["--set", "train.run.save_every=1", "--resume"]);
    assert!(
        said.lines()
            .any(|line| line.starts_with("warning: checkpoint ") && line.contains("is not used")),
        "{said}"
    );
}

/// Cuts a file of the checkpoint that was saved last.
fn damage_latest(checkpoints: &Path) {
    let folders = std::fs::read_dir(checkpoints).unwrap();
    let folders = folders.map(|it| it.unwrap().path());
    let latest = folders.filter(|it| it.is_dir()).max().unwrap();
    let files = std::fs::read_dir(latest).unwrap();
    let files = files.map(|it| it.unwrap().path());
    let largest = files.max_by_key(|it| it.metadata().unwrap().len()).unwrap();
    let bytes = std::fs::read(&largest).unwrap();
    std::fs::write(&largest, &bytes[..bytes.len() / 2]).unwrap();
}
